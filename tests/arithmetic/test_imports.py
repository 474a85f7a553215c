import ast
from pathlib import Path

import pytest

import convscope.arithmetic

FOLDER = Path(convscope.arithmetic.__file__).parent
ALLOWED = {"collections", "dataclasses", "fractions", "math", "typing"}


def imported(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


def is_allowed(name):
    if name.startswith("convscope"):
        return name == "convscope.errors" or name.startswith("convscope.arithmetic")
    return name.split(".")[0] in ALLOWED


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda p: p.name)
def test_arithmetic_imports_only_errors(path):
    assert [name for name in imported(path.read_text()) if not is_allowed(name)] == []


def test_the_check_of_imports_rejects_a_planted_import():
    source = "def late():\n    import torch\n    from convscope.layers import Conv2d"
    assert [is_allowed(name) for name in imported(source)] == [False, False]


def test_every_public_name_is_there_and_listed_once():
    names = convscope.arithmetic.__all__
    assert len(set(names)) == len(names)
    assert all(hasattr(convscope.arithmetic, name) for name in names)
