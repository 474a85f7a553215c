import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from convscope.cli.main import app
from convscope.data import load
from convscope.errors import ArgumentError, DataError, UnknownNameError
from convscope.train.run import Run
from convscope.train.training.fitting import fit

DIGITS = load("digits")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on digits, trained just enough to tell them apart."""
    path = tmp_path_factory.mktemp("runs") / "digits"
    fit("mlp", DIGITS, folder=path, listeners=(), epochs=2)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight test digits as PNG files in two folders."""
    path = tmp_path_factory.mktemp("images")
    for i in range(8):
        place = path / ("a" if i < 4 else "b") / f"{i}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(DIGITS.test.pixels[i, 0].numpy()).save(place)
    return path


def invoke(*arguments, stdin=None):
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_every_format_says_the_same(run, folder):
    found = lines(invoke("predict", run, folder, "--format", "jsonl"))
    assert [os.path.relpath(each["path"], folder) for each in found] == [
        f"{'a' if i < 4 else 'b'}/{i}.png" for i in range(8)
    ]
    whole = json.loads(invoke("predict", run, folder, "--json").stdout)
    assert whole == {"predictions": found, "failures": []}
    text = invoke("predict", run, folder, "--format", "csv").stdout
    for row, each in zip(csv.DictReader(io.StringIO(text)), found, strict=True):
        assert (row["path"], row["class"]) == (each["path"], each["class"])
        assert float(row["probability_3"]) == each["top"][2]["probability"]
    table = invoke("predict", run, folder).stdout
    for each in found:
        assert f"{each['probability']:.1%}" in table
        assert Path(each["path"]).name in table
    assert max(map(len, table.splitlines())) <= 80


def test_predictions_are_those_of_the_library(run, folder):
    found = lines(invoke("predict", run, folder, "--format", "jsonl"))
    expected = [each.to_dict() for each in Run.load(run).predict(folder, top_k=3)]
    assert found == expected


def test_top_says_how_many_classes(run, folder):
    for top in (1, 4, 99):
        found = lines(invoke("predict", run, folder, "--format", "jsonl", "--top", top))
        assert {len(each["top"]) for each in found} == {min(top, 10)}
    head = invoke("predict", run, folder, "--format", "csv", "--top", 1).stdout
    assert head.splitlines()[0] == "path,class,probability"


def test_a_bad_file_is_one_error_line_and_exit_code_1(run, folder, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    result = invoke(
        "predict", run, folder / "a", bad, folder / "b", "--format", "jsonl"
    )
    assert result.exit_code == 1
    assert len(lines(result)) == 8
    (error,) = result.stderr.splitlines()
    assert error.startswith(f"Error: {bad}: ")
    assert error.count(str(bad)) == 1
    whole = json.loads(invoke("predict", run, folder, bad, "--json").stdout)
    assert [each["path"] for each in whole["failures"]] == [str(bad)]


def test_when_all_files_are_bad_each_has_its_line(run, tmp_path):
    for name in ("x.png", "y.png"):
        (tmp_path / name).write_text("no image")
    result = invoke("predict", run, tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 2


def test_no_files_found_is_an_error_that_names_where_it_looked(run, tmp_path):
    error = invoke("predict", run, tmp_path).exception
    assert isinstance(error, DataError)
    assert str(error) == (
        f"predict: no images found ('{tmp_path}': the folder holds no images). Give "
        "files, folders, patterns in quotes, or - for standard input."
    )


def test_standard_input_is_read_as_bytes(run, folder):
    path = folder / "a" / "0.png"
    piped = lines(
        invoke("predict", run, "-", "--format", "jsonl", stdin=path.read_bytes())
    )
    named = lines(invoke("predict", run, path, "--format", "jsonl"))
    assert piped[0]["path"] == "-"
    assert piped[0]["top"] == named[0]["top"]


def test_the_program_ends_with_code_2_and_one_line_where_nothing_is_found(
    run, tmp_path
):
    command = [sys.executable, "-m", "convscope.cli.main", "predict", str(run)]
    found = subprocess.run(
        [*command, "none.png"], capture_output=True, text=True, cwd=tmp_path
    )
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == (
        "Error: predict: no images found ('none.png': no such file or folder). Give "
        "files, folders, patterns in quotes, or - for standard input.\n"
    )


def test_names_that_are_not_utf8_are_printed_with_a_replacement(run, folder, tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    path.write_bytes((folder / "a" / "0.png").read_bytes())
    for layout in ("table", "csv", "jsonl"):
        result = invoke("predict", run, tmp_path, "--format", layout)
        assert result.exit_code == 0


def test_without_a_terminal_there_is_no_bar(run, folder):
    assert invoke("predict", run, folder).stderr == ""


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            ("--format", "jsnol"),
            UnknownNameError,
            "unknown format 'jsnol'. Did you mean 'jsonl'?",
        ),
        (
            ("--json", "--format", "csv"),
            ArgumentError,
            "predict: --json and --format csv exclude each other. Choose one.",
        ),
        (("--top", "0"), ArgumentError, "predict: top_k=0 must be at least 1."),
        (
            ("--batch-size", "0"),
            ArgumentError,
            "predict: batch_size=0 must be at least 1.",
        ),
    ],
)
def test_wrong_options_say_what_to_change(run, folder, options, error, text):
    found = invoke("predict", run, folder, *options).exception
    assert isinstance(found, error)
    assert str(found) == text
