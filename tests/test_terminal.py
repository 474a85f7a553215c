"""Whatever files and classes are called, nothing but text reaches the terminal."""

import io
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from rich.text import Text

from convscope.terminal import Screen, cell, printable, printable_lines, say

QUICK = ("--model", "softmax_regression", "--epochs", "1", "--device", "cpu")
HOSTILE = (
    "cat\x1b[31m\x1b[2J",  # colors, clears the screen
    "dog\ntwo lines\r",
    "emu\x07\x08\x9b31m",  # rings; the one-byte form of ESC [
    "fox\u202egnp.exe\u2066",  # turns the direction of reading
    os.fsdecode(b"gnu\xff\xfe"),  # not UTF-8
)


def moves(text):
    """Characters that do more than show, other than line ends."""
    return {
        c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c != "\n"
    }


def test_what_moves_is_replaced_and_letters_are_not():
    for name in HOSTILE:
        assert not moves(printable(name))
        assert "\n" not in printable(name)
    for name in ("Größe ∕ size", "猫", "[red]", "na\u200cme", "e\u0301", "👩\u200d🔬"):
        assert printable(name) == name
    assert printable("a\u3000b\xa0c") == "a b c"
    assert printable_lines("a\n\tb\x1b") == "a\n\tb\ufffd"


def test_planted_control_characters_are_noticed():
    assert moves("a\x1bb\u202e\n") == {"\x1b", "\u202e"}


def test_a_screen_keeps_its_own_styles_and_nobody_else_s():
    screen = Screen(file=io.StringIO(), force_terminal=True, color_system="standard")
    screen.print(Text("a\x1b[32mb", style="bold"))
    assert screen.file.getvalue() == "\x1b[1ma\ufffd[32mb\x1b[0m\n"
    assert cell("two\nlines").plain == "two\ufffdlines"


def test_standard_output_that_is_closed_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    say("nobody hears")


@pytest.fixture
def hostile(tmp_path, monkeypatch, pictures):
    """A folder of classes, and of files, with such names; the working folder."""
    monkeypatch.chdir(tmp_path)
    folder = pictures(dict.fromkeys(HOSTILE, 12), "pic\x1b[5mtures")
    for place in folder.iterdir():
        for path, name in zip(sorted(place.iterdir()), HOSTILE, strict=False):
            path.rename(place / f"{name}.png")
    (folder / HOSTILE[0] / "broken\x1b[2J.png").write_bytes(b"no picture")
    return folder


def test_no_command_lets_a_name_move_the_terminal(convscope, hostile, capsys):
    printed = [convscope("data", "audit", hostile)]
    printed.append(convscope("train", hostile, *QUICK, "--run", "run\x1b[1m"))
    assert printed[-1].code == 0, printed[-1].err
    for arguments in (
        ("evaluate", "run\x1b[1m"),
        ("evaluate", "run\x1b[1m", "--csv"),
        ("evaluate", "run\x1b[1m", hostile, "--part", "all"),
        ("evaluate", "run\x1b[1m", "--json"),
        ("predict", "run\x1b[1m", hostile),
        ("predict", "run\x1b[1m", hostile, "--format", "csv"),
        ("predict", "run\x1b[1m", hostile, "--format", "jsonl"),
        ("predict", "run\x1b[1m", hostile, "--json"),
        ("predict", "run\x1b[1m", "nothing\x1b[1m"),
        ("summary", "run\x1b[1m"),
        ("summary", "x/\x1b[1m"),
        ("train", "--resume", "run\x1b[1m"),
        ("train", hostile, *QUICK, "--run", "run\x1b[1m"),
        ("train", hostile, *QUICK, "--run", "other", "--strict"),
        ("models", "\x1b[1m"),
        ("bench", "\x1b[1m"),
        ("data", "audit", "\x1b[1m"),
    ):
        printed.append(convscope(*arguments))
    for outcome in printed:
        assert not moves(outcome.out + outcome.err)
    shutil.rmtree(hostile / HOSTILE[1])


def test_json_keeps_the_very_names(convscope, hostile):
    assert convscope("train", hostile, *QUICK, "--run", "run").code == 0
    # Data are loaded with a class name in Latin-1 where it is not UTF-8.
    names = {*HOSTILE[:-1], "gnu\xff\xfe"}
    assert set(json.loads(Path("run/spec.json").read_text())["classes"]) == names
    judged = json.loads(convscope("evaluate", "run", "--json").out)
    assert set(judged["classes"]) == names


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [["models"], ["models", "--json"], ["--help"]])
def test_a_full_standard_output_is_one_line(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "convscope", *arguments],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    text = "Error: the output cannot be written: No space left on device.\n"
    assert (done.returncode, done.stderr) == (2, text)


def test_an_encoding_without_our_characters_is_no_error():
    done = subprocess.run(
        [sys.executable, "-c",
         "from convscope.cli import main; from convscope.terminal import say\n"
         "main._exit_code = lambda: say('5 ± 1')\nmain.run()"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "5 ? 1\n", "")
