import json

import numpy as np
import pytest
from typer.testing import CliRunner

from convscope.cli.main import app
from convscope.data import load
from convscope.errors import ArgumentError
from convscope.train.training.fitting import fit

DIGITS = load("digits")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "digits"
    fit("mlp", DIGITS, folder=path, listeners=(), epochs=1, optimize=False)
    return path


def invoke(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_the_page_the_mistakes_and_the_card_are_written_and_named(run):
    result = invoke("report", run, "--card")
    assert result.exit_code == 0, result.output
    names = ["report.html", "mistakes.csv", "README.md"]
    assert result.output.split() == [str(run / name) for name in names]
    assert all((run / name).stat().st_size > 100 for name in names)


def test_json_is_the_record(run):
    result = invoke("report", run, "--json")
    assert json.loads(result.output)["evaluation"]["samples"] == 359


def test_two_runs_are_compared(run, tmp_path):
    place = tmp_path / "comparison.html"
    result = invoke("report", run, run, "--save", place)
    assert result.exit_code == 0, result.output
    assert "2 runs on 359 test images" in place.read_text()


def test_a_card_of_two_runs_is_refused(run):
    with pytest.raises(ArgumentError, match="--card describes one run"):
        CliRunner().invoke(
            app, ["report", str(run), str(run), "--card"], catch_exceptions=False
        )


def test_training_writes_a_report_unless_told_not_to(tmp_path):
    common = ("train", "digits", "--model", "softmax_regression", "--epochs", 1)
    with_it = invoke(*common, "--run", tmp_path / "a", "--calibrate")
    assert with_it.exit_code == 0, with_it.output
    assert (tmp_path / "a" / "report.html").exists()
    assert "calibrated: temperature" in with_it.output
    assert "see where it fails" in with_it.output
    without = invoke(*common, "--run", tmp_path / "b", "--no-report")
    assert without.exit_code == 0
    assert not (tmp_path / "b" / "report.html").exists()
    assert invoke("verify", tmp_path / "a").exit_code == 0


def test_of_a_run_without_data_it_says_what_is_missing_and_writes_the_rest(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (40, 8, 8), dtype=np.uint8)
    fit("mlp", (pixels, np.arange(40) % 2), epochs=1, listeners=(), folder=tmp_path)
    result = invoke("report", tmp_path)
    assert result.exit_code == 0, result.output
    why = "Figures, mistakes, labels and data are missing, for the images are: run"
    assert why in " ".join(result.output.split())
    page = (tmp_path / "report.html").read_text()
    assert why in page
    for chapter in ("training", "inside", "again"):
        assert f'<section id="{chapter}">' in page
    known = json.loads(invoke("report", tmp_path, "--json").stdout)
    assert list(known["missing"]) == ["data"]
