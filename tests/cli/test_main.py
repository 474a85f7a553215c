"""The command line as a whole: help, versions, mistakes, pipes."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from convscope.cli.main import app

COMMANDS = [c.callback.__name__ for c in app.registered_commands]


def test_help_names_every_command_in_one_line(convscope):
    outcome = convscope("--help")
    assert (outcome.code, outcome.err) == (0, "")
    for name in (*COMMANDS, "data"):
        (line,) = [x for x in outcome.out.splitlines() if x.startswith(f"  {name} ")]
        assert line.endswith("."), line
        assert "..." not in line
    assert max(map(len, outcome.out.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(convscope, name):
    outcome = convscope(name, "--help")
    assert outcome.code == 0
    assert "Example" in outcome.out
    assert f"convscope {name}" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert convscope(name, "-h").out == outcome.out


def test_without_a_command_help_is_shown(convscope):
    outcome = convscope()
    assert "Begin with: convscope train" in outcome.out + outcome.err


def test_the_version_is_the_installed_one(convscope):
    assert convscope("--version").out == f"convscope {version('convscope')}\n"


def test_an_error_of_ours_is_one_line_and_code_2(convscope, tmp_path):
    outcome = convscope("evaluate", tmp_path / "nothing")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"Error: run {tmp_path}/nothing does not exist. Give a folder that `train` "
        "made.\n"
    )


def test_an_error_that_is_not_ours_keeps_its_traceback(convscope, monkeypatch):
    def fail():
        raise ZeroDivisionError

    monkeypatch.setattr("convscope.cli.models.cards", fail)
    with pytest.raises(ZeroDivisionError):
        convscope("models")


def test_a_reader_that_has_seen_enough_is_no_error():
    code = "from convscope.cli import main; main.run()"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code, "models"], stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert b"Traceback" not in done.stderr
