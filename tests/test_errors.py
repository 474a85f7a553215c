"""Errors say what to do; the library names arguments, the command line its flags."""

import ast
import pickle
import re
from pathlib import Path

import pytest

from convscope.cli.remedies import with_flags
from convscope.errors import Remedy, RunExistsError

SOURCE = Path(__file__).parents[1] / "src" / "convscope"
LIBRARY = sorted(
    path
    for path in SOURCE.rglob("*.py")
    if path.relative_to(SOURCE).parts[0] not in ("cli", "bench")
)
FLAG = re.compile(r"(^|[\s(`])--[a-z]")


def flags_named(code):
    """Texts in ``code``, docstrings left out, that name a flag."""
    tree = ast.parse(code)
    docs = {
        ast.get_docstring(node, clean=False)
        for node in ast.walk(tree)
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        )
    }
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    return [
        text
        for text in texts
        if isinstance(text, str)
        and text not in docs
        and FLAG.search(text)
        and not text.startswith("<!doctype html>")  # CSS has names like flags
        and not re.search(r"var\(--|^--[a-z]+:", text)
        and not re.fullmatch("--[a-z-]+", text)  # a word of a command, no message
    ]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_message_of_the_library_names_a_flag(path):
    assert flags_named(path.read_text()) == []


def test_a_flag_in_a_message_is_noticed():
    assert flags_named('raise E("Give it (--size 3).")') == ["Give it (--size 3)."]
    assert flags_named('def f():\n    """See --size."""\n    return "a -- b"') == []


def full():
    return RunExistsError(
        "taken.",
        remedies=[
            Remedy("go on", "resume", "a run", is_call=True),
            Remedy("wait"),
            Remedy("replace it", "force", True),
            Remedy("set a part aside", "validation"),
        ],
    )


def test_one_remedy_is_told_in_the_words_of_who_asks():
    assert str(full()) == (
        "taken. Go on (cs.resume('a run')), wait, replace it (force=True), or set a "
        "part aside (validation=...)."
    )
    assert with_flags(full()) == (
        "taken. Go on (convscope train --resume 'a run'), wait, replace it (--force), "
        "or set a part aside (--validation)."
    )


def test_an_error_travels_between_processes_with_its_remedies():
    assert str(pickle.loads(pickle.dumps(full()))) == str(full())
