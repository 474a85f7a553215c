"""``convscope show``: each picture from the command line."""

import json

import pytest

from convscope.cli.show import app

pytest.importorskip("matplotlib")
COMMANDS = [c.name or c.callback.__name__ for c in app.registered_commands]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(convscope, name):
    outcome = convscope("show", name, "--help")
    assert outcome.code == 0
    assert f"Example: convscope show {name}" in " ".join(outcome.out.split())
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_filters_are_written_where_asked_and_the_path_is_printed(convscope, tmp_path):
    place = tmp_path / "filters.svg"
    outcome = convscope("show", "filters", "lenet5", "--save", place)
    assert (outcome.code, outcome.out) == (0, f"{place}\n")
    assert place.read_text().startswith("<?xml")


def test_without_a_file_there_is_one_whose_path_is_printed(
    convscope, tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    outcome = convscope("show", "filters", "mlp", "--theme", "dark")
    (place,) = tmp_path.glob("convscope-*/filters.png")
    assert outcome.out == f"{place}\n"


def test_a_second_network_shows_the_same_filters(convscope):
    outcome = convscope("show", "filters", "lenet5", "--layer", "3", "--order", "norm",
                        "--versus", "lenet5", "--json")  # fmt: skip
    one, other = json.loads(outcome.out)
    assert one["filters"] == other["filters"]
    assert one["network"] == "lenet5 (random weights)"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["lenet5", "--layer", "x"], "unknown layer 'x'. Known: 0, 3, 6."),
        (["lenet5", "--layer", "1"],
         "filters: layer='1' is Tanh, not a convolution. Choose one of 0, 3, 6."),
        (["leenet5"], "unknown model 'leenet5'. Did you mean 'lenet5'?"),
        (["runs/nothing"], "show filters: runs/nothing is not there. Give a run "
         "folder, a model's name, or package.module:factory."),
        (["lenet5", "--theme", "drak"], "unknown theme 'drak'. Did you mean 'dark'?"),
        (["lenet5", "--save", "a.gif"],
         "show filters --save: path='a.gif' ends in '.gif', which is no format of "
         "this. Use .png, .svg or .pdf."),
        (["torch.nn:Linear", "--arg", "in_features=4", "--arg", "out_features=2"],
         "show filters: Linear does not say what input it takes. Give --input, such as "
         "--input 1,28,28."),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(convscope, arguments, text):
    outcome = convscope("show", "filters", *arguments)
    assert (outcome.code, outcome.err) == (2, f"Error: {text}\n")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on the built-in digits."""
    from convscope.data import load
    from convscope.train import fit

    place = tmp_path_factory.mktemp("show") / "run"
    fit("lenet_page", load("digits", size=32), folder=place, epochs=1, listeners=[])
    return place


def test_maps_of_a_runs_own_picture_and_of_a_file(convscope, run, tmp_path):
    from PIL import Image

    outcome = convscope("show", "maps", run, "--sample", "2", "--json")
    found = json.loads(outcome.out)
    assert found["network"].startswith("run, ")
    assert found["layers"][0]["shape"][0] == 6
    Image.new("L", (50, 40), 200).save(tmp_path / "gray.png")
    outcome = convscope("show", "maps", run, "--image", tmp_path / "gray.png",
                        "--layer", "0", "--save", tmp_path / "maps.png")  # fmt: skip
    assert outcome.out == f"{tmp_path}/maps.png\n"


def test_what_there_is_no_picture_for_is_said(convscope, run):
    for arguments, text in (
        (["lenet5"], "show maps: lenet5 has no data. Give --image FILE."),
        ([run, "--sample", "9999"],
         "show maps: --sample 9999 is outside the 359 images. Use 0 to 358."),
        ([run, "--layer", "conv9"], "unknown layer 'conv9'"),
        (["lenet5", "--image", "no.png"], "no.png"),
    ):  # fmt: skip
        outcome = convscope("show", "maps", *arguments)
        assert outcome.code == 2
        assert text in outcome.err


def test_health_is_a_table_and_a_picture(convscope, run, tmp_path):
    place = tmp_path / "health.png"
    outcome = convscope("show", "health", run, "--most", "64", "--save", place)
    lines = outcome.out.splitlines()
    assert lines[0].split() == [
        "layer", "dead", "zeros", "saturated", "mean", "std", "gradient",
    ]  # fmt: skip
    assert lines[-1] == str(place)
    outcome = convscope("show", "health", "lenet5")
    assert outcome.err == "Error: show health: lenet5 has no data. Give --data DATA.\n"


def test_patches_of_a_run_and_an_input_made_for_each_channel(convscope, run, tmp_path):
    place = tmp_path / "patches.png"
    outcome = convscope("show", "patches", run, "--channel", "1", "--top", "2",
                        "--maximize", "--steps", "2", "--save", place)  # fmt: skip
    assert outcome.out == f"{place}\n"
    outcome = convscope("show", "patches", run, "--layer", "0", "--json")
    assert json.loads(outcome.out)["images"] == 359
    outcome = convscope("show", "patches", "mlp")
    assert outcome.err == "Error: show patches: mlp has no data. Give --data DATA.\n"


def test_the_field_of_a_unit_on_a_picture(convscope, run, tmp_path):
    place = tmp_path / "field.svg"
    outcome = convscope("show", "field", run, "--layer", "0", "--position", "3,5",
                        "--sample", "0", "--samples", "1", "--save", place)  # fmt: skip
    assert outcome.out == f"{place}\n"
    outcome = convscope("show", "field", "lenet5", "--position", "1,x")
    assert outcome.err.startswith("Error: show field: --position 1,x is not a place.")


def test_a_run_trained_with_a_film_shows_it(convscope, run, tmp_path):
    place = tmp_path / "run"
    how = ["--model", "softmax_regression", "--epochs", "1", "--no-report"]
    done = convscope("train", "digits", *how, "--film", "--run", place)
    assert done.code == 0
    outcome = convscope("show", "film", place, "--save", tmp_path / "film.gif")
    assert outcome.out == f"{tmp_path}/film.gif\n"
    outcome = convscope("show", "filters", place, "--before", "--json")
    before, after = json.loads(outcome.out)
    assert (before["network"], after["network"]) == (
        "before training",
        "after training",
    )
    assert before["filters"] == after["filters"]
    assert before["weight"] != after["weight"]
    outcome = convscope("show", "filters", "lenet5", "--before")
    assert outcome.err.startswith("Error: show filters: --before is for a run")
    outcome = convscope("show", "film", run)
    assert (outcome.code, outcome.err) == (
        2,
        f"Error: run {run} has no film: its training kept none. Train again and keep "
        "one (--film).\n",
    )
    outcome = convscope("train", "digits", "--film", "--folds", "3")
    assert outcome.err.startswith("Error: train: --film and --folds exclude each other")


def test_winners_of_a_pooling(convscope, run, tmp_path):
    place = tmp_path / "pooling.png"
    outcome = convscope("show", "pooling", run, "--channel", "2", "--save", place)
    assert outcome.out == f"{place}\n"
    outcome = convscope("show", "pooling", run, "--class", "10")
    assert outcome.code == 2
    assert "target=10 is outside the output" in outcome.err
