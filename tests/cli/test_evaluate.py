import csv
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from convscope.cli.evaluation_report import report
from convscope.cli.main import app
from convscope.data import load
from convscope.errors import ArgumentError, DataError, UnknownNameError
from convscope.train.judging.metrics import Evaluation
from convscope.train.run import Run
from convscope.train.training.fitting import fit

DIGITS = load("digits")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on digits, trained just enough to make mistakes."""
    path = tmp_path_factory.mktemp("runs") / "digits"
    fit("mlp", DIGITS, folder=path, listeners=(), epochs=1)
    return path


def invoke(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def invoke_raising(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def folder_of(tmp_path, classes, count=3):
    """Test digits as PNG files, filed under the given names of the ten classes."""
    test = DIGITS.test
    for name, digit in classes.items():
        (tmp_path / name).mkdir()
        rows = (test.labels == digit).nonzero()[:count, 0].tolist()
        for row in rows:
            image = Image.fromarray(test.pixels[row, 0].numpy())
            image.save(tmp_path / name / f"{row}.png")
    return tmp_path


def test_it_judges_the_test_part_of_what_the_run_was_trained_on(run):
    found = json.loads(invoke("evaluate", run, "--json").stdout)
    assert (found["data"], found["part"]) == ("digits", "test")
    assert found["samples"] == len(DIGITS.test)
    assert found["interval"][0] < found["accuracy"] < found["interval"][1]
    assert sum(map(sum, found["confusion"])) == found["samples"]
    assert found["notes"] == []


def test_another_part_and_averaged_copies_can_be_asked_for(run):
    found = json.loads(invoke("evaluate", run, "--part", "val", "--json").stdout)
    assert found["samples"] == len(DIGITS.val)
    shifted = json.loads(invoke("evaluate", run, "--tta", "shift", "--json").stdout)
    plain = json.loads(invoke("evaluate", run, "--json").stdout)
    name = "negative_log_likelihood"
    assert shifted[name] != plain[name]


def test_csv_says_the_same_as_json(run):
    found = json.loads(invoke("evaluate", run, "--json").stdout)
    rows = list(csv.DictReader(io.StringIO(invoke("evaluate", run, "--csv").stdout)))
    numbers = {row["metric"]: row["value"] for row in rows if not row["class"]}
    assert float(numbers["accuracy"]) == found["accuracy"]
    counts = [int(row["value"]) for row in rows if row["metric"] == "confusion"]
    assert counts == [count for row in found["confusion"] for count in row]


def test_the_screen_shows_headline_classes_confusion_calibration_and_mistakes(run):
    text = invoke("evaluate", run).stdout
    parts = ("accuracy ", "Per class", "Confusion", "Calibration", "Worst mistakes")
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert max(map(len, text.splitlines())) <= 80


def test_images_in_a_folder_get_what_they_get_in_the_data_set(run, tmp_path):
    classes = {str(digit): digit for digit in range(10)}
    folder = folder_of(tmp_path, classes, count=1000)
    by_name = json.loads(invoke("evaluate", run, "--json").stdout)
    by_file = json.loads(invoke("evaluate", run, folder, "--json").stdout)
    assert (by_file["part"], by_file["samples"]) == ("all", by_name["samples"])
    assert by_file["confusion"] == by_name["confusion"]
    likelihood = by_name["negative_log_likelihood"]
    # The same inputs to the bit, in other batches: float32 sums, rounded otherwise.
    assert by_file["negative_log_likelihood"] == pytest.approx(likelihood, rel=1e-5)


def test_classes_are_matched_by_name_not_by_position(run, tmp_path):
    folder = folder_of(tmp_path, {"3": 3, "7": 7})
    found = json.loads(invoke("evaluate", run, folder, "--json").stdout)
    supports = {each["name"]: each["support"] for each in found["per_class"]}
    assert [supports[str(i)] for i in range(10)] == [0, 0, 0, 3, 0, 0, 0, 3, 0, 0]


def test_a_folder_of_one_class_or_one_image_can_be_judged_by(run, tmp_path):
    folder = folder_of(tmp_path, {"3": 3}, count=1)
    found = json.loads(invoke("evaluate", run, folder, "--json").stdout)
    assert (found["part"], found["samples"]) == ("all", 1)


def test_a_layout_insists_that_folders_are_classes(run, tmp_path):
    folder_of(tmp_path, {"0": 0, "1": 1})
    for name in ("0", "1"):  # as where each class has the same parts
        files = list((tmp_path / name).iterdir())
        for number, file in enumerate(files):
            folder = tmp_path / name / ("scans" if number else "photos")
            folder.mkdir(exist_ok=True)
            file.rename(folder / file.name)
    with pytest.raises(DataError):
        invoke_raising("evaluate", run, tmp_path)
    judged = invoke("evaluate", run, tmp_path, "--layout", "classes", "--json")
    assert json.loads(judged.stdout)["samples"] == 6
    with pytest.raises(ArgumentError, match="Name the folder"):
        invoke_raising("evaluate", run, "--layout", "classes")


def test_a_folder_of_drawings_is_centered_as_the_run_says(run, tmp_path):
    folder = folder_of(tmp_path, {"3": 3, "7": 7})
    for path in folder.rglob("*.png"):  # larger paper, the digit in a corner
        wide = Image.new("L", (40, 40), 0)
        wide.paste(Image.open(path).resize((24, 24)), (0, 0))
        wide.save(path)
    whole = Run.load(run)
    assert whole.spec.preprocessing.centering == "box"
    found = whole.load_data(folder)
    for pixels, name in zip(found.train.pixels, found.train.names, strict=True):
        assert np.array_equal(whole.spec.preprocessing.decode(name), pixels)


def test_color_files_are_made_gray_for_a_gray_network_and_it_is_said(run, tmp_path):
    folder = folder_of(tmp_path, {"3": 3, "7": 7})
    plain = json.loads(invoke("evaluate", run, folder, "--json").stdout)
    assert not any("gray" in note for note in plain["notes"][1:])
    for path in folder.rglob("*.png"):
        Image.open(path).convert("RGB").save(path)
    found = json.loads(invoke("evaluate", run, folder, "--json").stdout)
    assert found["samples"] == 6
    assert "6 of 6 images are in color; made gray." in found["notes"]
    assert found["accuracy"] == plain["accuracy"]


def test_gray_files_are_given_to_a_color_network_and_it_is_said(tmp_path):
    color = load("digits", channels=3)
    trained = fit("mlp", color, listeners=(), epochs=1)
    found = trained.evaluate(folder_of(tmp_path, {"3": 3, "7": 7}))
    assert "6 of 6 images are gray; made red-green-blue." in found.notes


def test_labels_that_the_run_never_saw_are_named(run, tmp_path):
    folder = folder_of(tmp_path, {"3": 3, "seven": 7})
    error = invoke("evaluate", run, folder).exception
    assert isinstance(error, DataError)
    assert str(error) == (
        f"evaluate: {folder.name} holds 'seven', which this run never saw; it knows "
        "'0', '1', '2', '3', '4', '5', '6', '7' and 2 more. Rename or remove those "
        "classes, or train on data that holds them."
    )


def test_a_typo_gets_a_suggestion(run):
    for option, text in (
        (("--tta", "flop"), "unknown tta 'flop'. Did you mean 'flip'?"),
        (("--part", "tests"), "unknown part 'tests'. Did you mean 'test'?"),
    ):
        error = invoke("evaluate", run, *option).exception
        assert isinstance(error, UnknownNameError)
        assert str(error) == text


@pytest.mark.parametrize("command", [["evaluate"], ["predict", "x.png"]])
def test_a_device_that_is_not_there_is_refused(run, command, tmp_path):
    Image.fromarray(DIGITS.test.pixels[0, 0].numpy()).save(tmp_path / "x.png")
    paths = [tmp_path / name for name in command[1:]]
    with pytest.raises(ArgumentError, match=r"^device='tpu' is not one of auto"):
        invoke_raising(command[0], run, *paths, "--device", "tpu")


def test_json_and_csv_exclude_each_other(run):
    error = invoke("evaluate", run, "--json", "--csv").exception
    assert str(error) == "evaluate: --json and --csv exclude each other. Choose one."


def evaluation(names, images=2000):
    rng = np.random.default_rng(0)
    y = rng.integers(0, len(names), images)
    scores = rng.normal(size=(images, len(names)))
    scores[np.arange(images), y] += 2
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    files = [f"/home/a user/pictures/{i}/{'x' * 60}.jpg" for i in range(images)]
    return Evaluation.from_probabilities(p, y, names, files)


@pytest.mark.parametrize(
    "names",
    [
        ["no", "yes"],
        [str(i) for i in range(12)],
        [f"a class with a name of {'very ' * i}many words" for i in range(12)],
        ["鳥の写真" * 3, "[bold]x[/bold]", "a/b", "ß"],
        [f"class {i}" for i in range(100)],
    ],
)
def test_tables_are_aligned_and_fit_into_80_columns(names):
    console = Console(width=200, file=io.StringIO(), highlight=False)
    shown = Console(width=80, file=io.StringIO(), highlight=False)
    for each in report(evaluation(names)):
        shown.print(each)
        console.print(each)
    lines = shown.file.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert not any("  …" in line for line in lines)
    if "[bold]x[/bold]" in names:
        assert "[bold]x[/bold]" in console.file.getvalue()


def test_the_confusion_matrix_shows_every_count():
    e = evaluation([f"a class with a long name, number {i}" for i in range(12)])
    shown = Console(width=80, file=io.StringIO(), highlight=False)
    for each in report(e):
        shown.print(each)
    lines = shown.file.getvalue().split("Confusion")[1].splitlines()
    rows = [line.split()[-12:] for line in lines if re.match("[a-l] a class", line)]
    assert [[int(c.replace("·", "0")) for c in row] for row in rows] == [
        list(row) for row in e.confusion
    ]


def test_many_classes_show_those_that_go_worst():
    shown = Console(width=80, file=io.StringIO(), highlight=False)
    e = evaluation([f"class {i}" for i in range(100)])
    for each in report(e):
        shown.print(each)
    text = shown.file.getvalue()
    assert "The 30 of 100 classes with the lowest F1" in text
    assert "Most often confused; every count is in --json and --csv" in text
    worst = min(e.per_class, key=lambda score: score.f1)
    assert worst.name in text.split("lowest F1")[1].splitlines()[4]
