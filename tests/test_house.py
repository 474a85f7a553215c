"""The house stands: a file is above everything that it imports."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "convscope"
ORDER = [
    "cli",
    "bench",
    "serve",
    "export",
    "viz",
    "train",
    "analysis",
    "data",
    "models",
    "execution",
    "layers",
    "functional",
    "kernels",
    "arithmetic",
    "errors",
]


def imports_of(code: str) -> set[str]:
    """Rooms of the house that a file imports from."""
    rooms = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "convscope":
            names = [f"convscope.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        rooms |= {n.split(".")[1] for n in names if n.startswith("convscope.")}
    return rooms


def upward(room: str, code: str) -> set[str]:
    """What a file in ``room`` imports from above itself."""
    floor = ORDER.index(room)
    return {other for other in imports_of(code) if ORDER.index(other) < floor}


FILES = [p for p in sorted(SOURCE.rglob("*.py")) if p.parent != SOURCE]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_file_imports_only_from_below(path):
    room = path.relative_to(SOURCE).parts[0]
    assert not upward(room, path.read_text())


def test_an_import_from_above_is_noticed():
    assert upward("data", "from convscope.train import fit") == {"train"}
    assert upward("data", "import convscope.cli.main") == {"cli"}
    assert upward("data", "from convscope import viz") == {"viz"}
    assert upward("train", "from convscope.data import load") == set()


def test_every_folder_has_its_place_in_the_order():
    rooms = {p.name for p in SOURCE.iterdir() if p.is_dir() and p.name[0] != "_"}
    assert rooms <= set(ORDER)
