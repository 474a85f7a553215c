import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from convscope.cli.main import app
from convscope.data import load
from convscope.errors import ArgumentError, DataError, UnknownNameError
from convscope.train.training.fitting import fit

DIGITS = load("digits", size=16)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "digits"
    fit("resnet9", DIGITS, folder=path, listeners=(), epochs=1, optimize=False,
        model_options={"width": 4})  # fmt: skip
    return path


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "three.png"
    Image.fromarray(DIGITS.test.pixels[3, 0].numpy()).save(path)
    return path


def invoke(*arguments, catch=True):
    words = ["show", "why", *map(str, arguments)]
    return CliRunner().invoke(app, words, catch_exceptions=catch)


def test_a_picture_is_written_and_the_verdict_said(run, picture, tmp_path):
    place = tmp_path / "why.png"
    result = invoke(run, picture, "--save", place)
    assert result.exit_code == 0, result.output
    assert place.read_bytes()[1:4] == b"PNG"
    assert "grad_cam at" in result.output
    assert "three.png: " in result.output


def test_json_holds_the_figures(run, picture):
    found = json.loads(invoke(run, picture, "--class", "7", "--json").output)
    assert found["target"] == "class 7"
    assert len(found["trust"][0]["random_insertion"]) == 4


def test_a_class_that_is_not_there_and_a_file_that_is_not_there_are_refused(
    run, picture
):
    with pytest.raises(UnknownNameError, match="unknown class 'cat'"):
        invoke(run, picture, "--class", "cat", catch=False)
    with pytest.raises(DataError, match=r"no\.png"):
        invoke(run, "no.png", catch=False)
    with pytest.raises(ArgumentError, match="how pictures become inputs"):
        invoke("resnet18", picture, catch=False)
