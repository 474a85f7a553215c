"""The gallery shows every kind of picture, and its lines of Python run."""

import re
from pathlib import Path

import matplotlib as mpl
import pytest
import torch
from torch import nn

import convscope as cs
from convscope.cli.show import app
from convscope.train.training.film_keeper import FilmKeeper

GALLERY = Path(__file__).parents[1] / "docs" / "gallery" / "index.md"
TEXT = GALLERY.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
LOADING, *LINES = BLOCKS  # the first opens the run


def without_picture(text):
    """Commands of `show` that a text does not give."""
    every = [c.name or c.callback.__name__ for c in app.registered_commands]
    return [name for name in every if f"`convscope show {name} " not in text]


def test_every_command_of_show_is_there():
    assert without_picture(TEXT) == []


def test_a_command_that_is_missing_is_noticed():
    assert without_picture(TEXT.replace("show pooling ", "")) == ["pooling"]


def test_every_picture_is_there_and_every_one_is_shown():
    shown = {(GALLERY.parent / each).resolve()
             for each in re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT)}  # fmt: skip
    assert [each for each in shown if not each.is_file()] == []
    inside = set((GALLERY.parent.parent / "images" / "inside").resolve().iterdir())
    assert inside - shown == set()


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the lines on the page stand on, of a run that is trained in a second."""
    digits = cs.data.load("digits", size=32)
    few = digits.replace(**{k: p.subset(range(32)) for k, p in digits.parts.items()})
    place = tmp_path_factory.mktemp("gallery") / "run"
    run = cs.fit("lenet5", few, epochs=1, folder=place, listeners=[FilmKeeper(place)])
    pixels = few.test.pixels[:1]
    return {
        "cs": cs, "torch": torch, "nn": nn, "run": run, "net": run.net, "digits": few,
        "softmax": cs.models.build("softmax_regression", input_size=(32, 32)),
        "pixels": pixels, "x": few.preprocessing.normalize(pixels),
        "picture": pixels[0].numpy().transpose(1, 2, 0),
        "image": [[1, 2, 3], [4, 5, 6], [7, 8, 9]], "kernel": [[1, 0], [0, 1]],
    }  # fmt: skip


def test_the_lines_of_python_run(names):
    assert "cs.Run.load" in LOADING
    with mpl.rc_context({"figure.max_open_warning": 0}):
        for block in LINES:
            exec(block, names)  # noqa: S102 - the very lines of the page
