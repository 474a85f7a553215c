"""The house stands: a file imports from its own room and from rooms below it.

The order is read from the table that CONTRIBUTING.md shows. A row is a room, a room
within a room, or one file of a room that stands higher than the rest of it.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "convscope"
TABLE = (ROOT / "CONTRIBUTING.md").read_text()


def rows(text):
    """The rows of the table of rooms, from the top: place, and whether it is there."""
    table = text.split("| room in `src/convscope/`")[1].split("\n\n")[0]
    found = re.findall(r"^\| `([\w/.]+)` \|(.*)\|$", table, re.MULTILINE)
    return {place: "to come" not in said for place, said in found}


PLACES = list(rows(TABLE))


def place_of(file):
    """The row that a file belongs to: the longest that its path begins with.

    What a room shows to others, its ``__init__.py``, is as high as its highest row.
    """
    room, _, rest = file.partition("/")
    if rest == "__init__.py":
        return next(place for place in PLACES if place.startswith(f"{room}/"))
    fitting = [p for p in PLACES if file == p or (p[-1] == "/" and file.startswith(p))]
    return max(fitting, key=len)


def file_of(module):
    """The file of a module, ``data/batching/batches.py``; none if it is no module."""
    path = module.removeprefix("convscope.").replace(".", "/")
    for file in (f"{path}.py", f"{path}/__init__.py"):
        if (SOURCE / file).exists():
            return file
    return None


def imported_files(code):
    """Files of the house that a piece of code imports."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [(f"{module}.{alias.name}", module) for alias in node.names]
        else:
            continue
        for name, outer in names:
            if name.startswith("convscope."):
                yield file_of(name) or file_of(outer)


def upward(file, code):
    """What a file imports from above itself."""
    floor = PLACES.index(place_of(file))
    files = {other for other in imported_files(code) if other != "__init__.py"}
    return {other for other in files if PLACES.index(place_of(other)) < floor}


FILES = [str(p.relative_to(SOURCE)) for p in sorted(SOURCE.rglob("*.py"))]


@pytest.mark.parametrize("file", [file for file in FILES if file != "__init__.py"])
def test_a_file_imports_only_from_below(file):
    assert not upward(file, (SOURCE / file).read_text())


def test_an_import_from_above_is_noticed():
    low = "data/dataset.py"
    assert upward(low, "from convscope.train import fit") == {"train/__init__.py"}
    assert upward(low, "import convscope.cli.main") == {"cli/main.py"}
    assert upward(low, "from convscope import viz") == {"viz/__init__.py"}
    assert upward(low, "from convscope.data import load") == {"data/__init__.py"}
    within = "from convscope.data.batching.batches import Batch"
    assert upward(low, within) == {"data/batching/batches.py"}
    assert upward("data/loading.py", within) == set()
    assert upward("train/run.py", "from convscope.data import load") == set()


def test_every_folder_has_its_place_and_every_place_that_is_not_to_come_is_there():
    folders = [p for p in SOURCE.rglob("*") if any(p.glob("*.py"))]
    missing = [
        place
        for place in (f"{p.relative_to(SOURCE)}/" for p in folders)
        if place not in PLACES
    ]
    assert missing == []
    there = {place: (SOURCE / place).exists() for place in PLACES}
    assert there == rows(TABLE)


def test_a_place_to_come_is_told_from_one_that_is_there():
    table = (
        "| room in `src/convscope/` | what |\n| `a/` | one |\n| `b/` | two; to come |"
    )
    assert rows(table) == {"a/": True, "b/": False}


def test_every_file_that_contributing_names_is_there():
    named = re.findall(r"`((?:[\w.]+/)*\w+\.(?:py|txt|md))`", TABLE)
    assert len(named) > 10
    files = {str(p) for p in ROOT.rglob("*.*") if ".venv" not in p.parts}
    assert [n for n in named if not any(f.endswith(f"/{n}") for f in files)] == []


def private_names(code):
    """Names of torch with an underscore in front that a piece of code uses."""
    code = re.sub(r"#.*", "", code)
    dotted = r"\b(?:torch|nn|F|forward_ad)(?:\.\w+)*\._\w+(?:\.\w+)*"
    imported = r"^\s*from (torch[\w.]*) import .*?\b(_[a-z]\w*|_[A-Z]\w*)"
    below = r"^\s*(?:from|import) (torch(?:\.\w+)*\._\w+(?:\.\w+)*)"
    found = re.findall(dotted, code) + re.findall(below, code, re.MULTILINE)
    found += [".".join(pair) for pair in re.findall(imported, code, re.MULTILINE)]
    return {name for name in found if "__" not in name}


def test_private_names_of_torch_are_in_one_file():
    used = {file: private_names((SOURCE / file).read_text()) for file in FILES}
    assert len(used.pop("private_torch.py")) > 5
    assert {file: names for file, names in used.items() if names} == {}


def test_a_private_name_of_torch_is_noticed():
    assert private_names("x = torch._C._len()") == {"torch._C._len"}
    assert private_names("from torch.nn.modules.conv import _ConvNd")
    assert private_names("from torch.utils._pytree import tree_map")
    assert private_names("nn.modules.batchnorm._BatchNorm")
    assert private_names("torch.__version__, layer._modules  # torch._C") == set()
