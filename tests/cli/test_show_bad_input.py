"""Whatever is wrong with what ``convscope show`` is given, it says so in one line."""

import json
import os
import re
from pathlib import Path

import pytest
from PIL import Image

from convscope.cli.show import app

pytest.importorskip("matplotlib")
UNIT = ("--layer", "0", "--channel", "0")
# What each command needs to work, besides the network; none of them loads data.
NEEDS = {
    "filters": (),
    "maps": ("--image", "gray.png"),
    "field": ("--samples", "0"),
    "unit": UNIT,
    "patches": ("--data", "digits"),
    "why": ("gray.png", "--no-trust"),
    "health": ("--data", "digits"),
    "pooling": ("--image", "gray.png"),
    "graph": (),
    "film": (),
}
DRAWN = [name for name in (*NEEDS, "arithmetic") if name != "unit"]
OF_A_RUN = ("why", "film")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on the built-in digits that kept a film."""
    from convscope.data import load
    from convscope.train import fit
    from convscope.train.training.film_keeper import FilmKeeper

    place = tmp_path_factory.mktemp("show") / "run"
    digits = load("digits", size=32)
    few = {part: s.subset(range(64)) for part, s in digits.parts.items()}
    fit("lenet_page", digits.replace(**few), folder=place, epochs=1,
        listeners=[FilmKeeper(place)])  # fmt: skip
    return place


@pytest.fixture(autouse=True)
def _among_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (40, 30), 99).save("gray.png")
    Path("text.png").write_text("hello")
    Path("folder").mkdir()


@pytest.fixture
def refused(convscope):
    """What a command says, which is one line; it leaves nothing behind."""

    def call(name, *arguments):
        before = sorted(Path().rglob("*"))
        outcome = convscope("show", name, *arguments)
        assert is_one_sentence(outcome), outcome
        assert sorted(Path().rglob("*")) == before
        return outcome.err.removeprefix("Error: ").rstrip("\n")

    return call


def is_one_sentence(outcome):
    """Whether it failed with a line that says why, and nothing else."""
    lines = outcome.err.splitlines()
    return (
        outcome.code in (1, 2)
        and outcome.out == ""
        and len(lines) == 1
        and re.match(r"Error: \S.*[.?]$", lines[0]) is not None
    )


def target(name, run):
    return run if name in OF_A_RUN else "lenet_page"


@pytest.mark.parametrize("name", [n for n in NEEDS if n not in ("graph", "health")])
def test_a_layer_that_does_not_exist_is_answered_with_one_that_does(name, run, refused):
    needs = UNIT[2:] if name == "unit" else NEEDS[name]
    kind = "layer in the film" if name == "film" else "layer"
    said = refused(name, target(name, run), *needs, "--layer", "33")
    other = {"pooling": "Known: 2, 5."}  # of which none is near
    assert said == f"unknown {kind} '33'. " + other.get(name, "Did you mean '3'?")


@pytest.mark.parametrize("name", NEEDS)
@pytest.mark.parametrize("wrong", ["runs/no", "lenet55", "folder", "gray.png", "no:f"])
def test_a_network_that_is_none_is_named(name, wrong, refused):
    if name == "film" and wrong == "no:f":
        wrong = "runs/no"
    said = refused(name, wrong, *NEEDS[name])
    assert wrong in said
    assert re.search(r"(Give a|Did you mean)", said)


@pytest.mark.parametrize("name", ["maps", "field", "unit", "pooling", "why"])
@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ("no.png", "no such file"),
        ("text.png", "is not a picture in a known format"),
        ("folder", "folder"),
    ],
)
def test_a_picture_that_is_none_is_named(name, wrong, text, run, refused):
    if name == "why":
        said = refused(name, run, wrong, "--no-trust")
    else:
        rest = UNIT if name == "unit" else ()
        said = refused(name, "lenet_page", *rest, "--image", wrong)
    assert wrong in said
    assert text in said


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("a.xyz", "ends in '.xyz', which is no format of this. Use "),
        ("folder/.", "folder"),
        ("gray.png/a{}", "Not a directory. Give a file in a folder that is there."),
        ("none/a{}", "No such file or directory. Give a file in a folder that is"),
        ("/proc/a{}", "No such file or directory. Give a file in a folder that is"),
    ],
)
def test_a_place_that_takes_no_file_is_refused_before_the_work(
    name, place, text, run, refused, monkeypatch
):
    if name == "why" and place.startswith(("none", "folder")):
        pytest.skip("makes a page in a folder of its own")
    if place.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("no place here that takes no file")
    from convscope.cli import network as naming
    from convscope.cli import show_arithmetic, show_film, show_graph, show_why

    def works(*_arguments, **_settings):
        raise AssertionError("it worked before it looked where to write")

    monkeypatch.setattr(naming, "_of_model", works)
    monkeypatch.setattr(show_arithmetic, "convolution_steps", works)
    monkeypatch.setattr(show_film, "Run", works)
    monkeypatch.setattr(show_graph, "network_graph", works)
    monkeypatch.setattr(show_why, "named_network", works)
    suffix = ".html" if name in ("arithmetic", "film", "graph") else ".png"
    given = () if name == "arithmetic" else (target(name, run), *NEEDS[name])
    said = refused(name, *given, "--save", place.format(suffix))
    assert said.startswith(f"show {name} --save: path=")
    assert text in said


def test_a_folder_that_may_only_be_read_is_refused(refused):
    Path("folder").chmod(0o500)
    if os.access("folder", os.W_OK):
        pytest.skip("nothing here is only to be read")
    said = refused("filters", "lenet_page", "--save", "folder/a.png")
    assert "Permission denied" in said


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--position", "99,0", "--channel", "0"], "Use 0 to 27."),
        (["--position=-1,0", "--channel", "0"], "Use 0 to 27."),
        (["--position", "1", "--channel", "0"], "has 1 number"),
        (["--position", "a", "--channel", "0"], "is not a place"),
        (["--position", "1,1", "--channel", "6"], "Use 0 to 5."),
        (["--position", "1,1"], "Give a channel of 0 to 5."),
    ],
)
def test_a_unit_outside_of_the_map(arguments, text, refused):
    assert text in refused("unit", "lenet_page", "--layer", "0", *arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("field", ["--layer", "0", "--position", "99,0"], "Use 0 to 27."),
        ("field", ["--layer", "0", "--position", "1"], "has 1 number, the map has 2"),
        ("field", ["--samples", "-1"], "samples=-1 is below 1"),
        ("pooling", ["--image", "gray.png", "--channel", "6"], "Use 0 to 5."),
        ("pooling", ["--image", "gray.png", "--class", "10"], "Use 0 to 9."),
        ("pooling", ["--image", "gray.png", "--class", "x"], "is no number"),
        ("patches", ["--data", "digits", "--channel", "6"], "Use 0 to 5."),
        ("patches", ["--data", "digits", "--top", "0"], "at least 1"),
        ("patches", ["--data", "digits", "--part", "tset"], "Did you mean 'test'?"),
        ("health", ["--data", "digits", "--part", "tset"], "Did you mean 'test'?"),
        ("health", ["--data", "digits", "--most", "0"], "at least 2 images"),
        ("health", ["--data", "nowhere"], "nowhere"),
        ("health", [], "show health: lenet_page has no data. Give --data DATA."),
        ("patches", [], "show patches: lenet_page has no data. Give --data DATA."),
        ("maps", [], "show maps: lenet_page has no data. Give --image FILE."),
        ("maps", ["--image", "gray.png", "--most", "0"], "most=0 is below 1"),
        ("maps", ["--image", "gray.png", "--order", "x"], "order='x'"),
        ("maps", ["--image", "gray.png", "--scale", "x"], "unknown scale 'x'"),
        ("filters", ["--most", "0"], "most=0 is below 1"),
        ("filters", ["--most-inputs", "0"], "most_inputs=0 is below 1"),
        ("filters", ["--order", "nrom"], "Did you mean 'norm'?"),
        ("filters", ["--versus", "lenet55"], "Did you mean 'lenet5'?"),
        ("filters", ["--arg", "width"], "is not key=value"),
        ("filters", ["--weights", "none.safetensors"], "none.safetensors"),
        ("graph", ["--savee", "a.svg"], "Did you mean '--save'?"),
    ],
)  # fmt: skip
def test_a_bound_or_a_name_that_is_wrong(name, arguments, text, refused):
    assert text in refused(name, "lenet_page", *arguments)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--class", "10"], "target=10 is outside the 10 outputs. Use 0 to 9."),
        (["--class", "x"], "unknown class 'x'. Known: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9."),
        (["--minus", "10"], "minus=10 is outside the 10 outputs. Use 0 to 9."),
        (["--method", "grad_cm"], "unknown method 'grad_cm'. Did you mean 'grad_cam'?"),
    ],
)
def test_a_class_or_a_method_that_there_is_not(flags, text, run, refused):
    said = refused("why", run, "gray.png", "--no-trust", *flags)
    assert said.removeprefix("attribute: ") == text


@pytest.mark.parametrize("name", [n for n in NEEDS if n not in OF_A_RUN])
@pytest.mark.parametrize("size", ["1,2,2", "0,4", "a", "1", "32,32"])
def test_a_size_that_the_network_cannot_take(name, size, refused):
    said = refused(name, "lenet_page", *NEEDS[name], "--input", size)
    assert re.search(r"(Give|Resize)", said)


RELU = ("torch.nn:ReLU", "--input", "1,4,4")


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("filters", RELU, "has no convolution among its modules."),
        (
            "patches",
            (*RELU, "--data", "digits", "--scaling", "none"),
            "Name a layer with --layer.",
        ),
        (
            "pooling",
            (*RELU, "--image", "gray.png", "--scaling", "none"),
            "no max pooling among its modules",
        ),
        ("graph", RELU[:1], "Add --input 3,224,224"),
        ("field", RELU[:1], "Give --input"),
        ("maps", (*RELU[:1], "--image", "gray.png"), "Give --input"),
        ("why", ("lenet_page", "gray.png"), "random weights"),
    ],
)
def test_a_network_without_what_is_asked_for(name, given, text, refused):
    assert text in refused(name, *given)


@pytest.mark.parametrize(
    "flags",
    [
        ["--input", "0"], ["--input", "a,b"], ["--input", "1,1,1,1"], ["--kernel", "9"],
        ["--kernel", "99"], ["--stride", "0"], ["--stride", "-1"],
        ["--padding", "smae"], ["--padding", "9999"], ["--padding-mode", "mirror"],
        ["--dilation", "0"],
        ["--channels", "9"], ["--output-padding", "1"],
        ["--kernel", "3,3,3"], ["--input", "64,64"],
    ],
)  # fmt: skip
def test_arithmetic_that_does_not_go(flags, refused):
    refused("arithmetic", *flags)


def test_the_sweep_knows_every_command():
    every = {c.name or c.callback.__name__ for c in app.registered_commands}
    assert every == {*NEEDS, "arithmetic"}


def test_what_each_needs_is_enough(run, convscope):
    for name in ("pooling", "field"):
        outcome = convscope("show", name, target(name, run), *NEEDS[name], "--json")
        assert json.loads(outcome.out)


def test_the_helper_rejects_a_traceback_and_two_lines(convscope):
    outcome = convscope("models")
    assert not is_one_sentence(outcome)
    for wrong in ("Error: a\nb.", "Traceback (most recent call last):", "Error: "):
        assert not is_one_sentence(type(outcome)(2, "", wrong))
