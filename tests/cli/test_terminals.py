"""Narrow terminals, without color and without Unicode: nothing crashes or is torn."""

import io
import re
import sys

import numpy as np
import pytest
from PIL import Image

from convscope.cli import main
from convscope.cli.show import app as show
from convscope.data import load
from convscope.train import fit

pytest.importorskip("matplotlib")
WIDTHS = (40, 60, 80)
LEAST_OF_HELP = 50  # what click takes at least
HELPED = [["play"], ["report"], ["features"], ["show"]]
HELPED += [["show", c.name or c.callback.__name__] for c in show.registered_commands]
TOLD = {
    "unit": ["show", "unit", "run", "--layer", "2", "--channel", "0", "--position",
             "1,1", "--image", "signs/\u00e9t\u00e9/1.png"],
    "health": ["show", "health", "run", "--most", "4", "--save", "h.png"],
    "why": ["show", "why", "run", "signs/\u00e9t\u00e9/1.png", "--no-trust",
            "--save", "w.png"],
    "filters": ["show", "filters", "run", "--save", "f.png"],
    "graph": ["show", "graph", "run", "--save", "g.svg"],
    "features": ["features", "run", "signs", "--save", "x.npz", "--force"],
    "mistake": ["show", "filters", "run", "--layer", "\u00e9"],
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures of classes whose names are not ASCII, and a run on them."""
    folder = tmp_path_factory.mktemp("terminals")
    rng = np.random.default_rng(0)
    for number, name in enumerate(("\u00e9t\u00e9", "\u00f1and\u00fa")):
        (folder / "signs" / name).mkdir(parents=True)
        for index in range(12):
            pixels = rng.integers(0, 100 + 100 * number, (32, 32), np.uint8)
            Image.fromarray(pixels).save(folder / "signs" / name / f"{index}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fit("lenet_page", load("signs", size=32), folder="run", listeners=(), epochs=1)
    return folder


def printed(arguments, columns, monkeypatch):
    """Code and both streams of a command in an ASCII terminal without color."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    raw = [io.BytesIO(), io.BytesIO()]
    streams = [io.TextIOWrapper(each, encoding="ascii", newline="") for each in raw]
    for each in streams:
        each.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    monkeypatch.setattr(sys, "argv", ["convscope", *arguments])
    code = 0
    try:
        main.run()
    except SystemExit as stop:
        code = stop.code or 0
    for each in streams:
        each.flush()
    return code, *(each.getvalue().decode("ascii") for each in raw)


def torn(text, columns):
    """Lines that a terminal of so many columns would break, but for paths."""
    return [line for line in text.splitlines()
            if len(line.rstrip()) > columns and "/" not in line]  # fmt: skip


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("words", HELPED, ids=" ".join)
def test_help_fits(words, columns, monkeypatch):
    code, out, err = printed([*words, "--help"], columns, monkeypatch)
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert torn(out, max(columns, LEAST_OF_HELP)) == []


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("name", TOLD)
def test_what_is_told_is_plain(name, columns, place, monkeypatch):
    monkeypatch.chdir(place)
    code, out, err = printed(TOLD[name], columns, monkeypatch)
    assert code == (2 if name == "mistake" else 0), err
    assert "Traceback" not in err
    assert not re.search(r"\x1b\[[0-9;]*m", out)
    if name == "health":
        assert torn(out, columns) == []
        assert ("layer " in out) == (columns > 40)
        assert len(re.findall(r"gradient", out)) >= 1


def test_the_helper_finds_a_torn_line():
    assert torn("a" * 41, 40) == ["a" * 41]
    assert torn("runs/" + "a" * 41, 40) == []
