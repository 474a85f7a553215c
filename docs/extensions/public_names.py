"""The reference: a page for every package, with every name of its ``__all__``.

The pages are written when the documentation is built, into ``docs/reference/``, so that
none can go stale. A name has one entry, in the uppermost room that offers it; the other
packages that offer it list it with a link. A package of many names has a page for each
of its files.
"""

import ast
import importlib
import inspect
import pkgutil
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = "convscope"
MANY = 36  # names on one page


@dataclass(frozen=True)
class Name:
    """A public name: which package offers it, and which file it is from."""

    package: str
    name: str

    @property
    def path(self) -> str:
        """How a user writes it."""
        return f"{self.package}.{self.name}"

    @property
    def value(self) -> Any:
        """What it names."""
        return getattr(importlib.import_module(self.package), self.name)

    @property
    def origin(self) -> str:
        """The module that defines it, followed through ``from ... import``."""
        module = self.package
        while (source := imported(module).get(self.name)) is not None:
            module = source
        return module


@cache
def tree(module: str) -> ast.Module:
    """The parsed source of a module."""
    found = inspect.getsourcefile(importlib.import_module(module))
    return ast.parse(Path(str(found)).read_text(encoding="utf-8"))


@cache
def imported(module: str) -> dict[str, str]:
    """Which of our modules each of a module's imported names is from."""
    return {
        alias.asname or alias.name: node.module
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ImportFrom)
        and node.module is not None
        and node.module.startswith(f"{ROOT}.")
        for alias in node.names
    }


@cache
def packages() -> tuple[str, ...]:
    """Every package that has public names, the uppermost first."""
    root = importlib.import_module(ROOT)
    found = [ROOT, f"{ROOT}.errors"]
    for module in pkgutil.walk_packages(root.__path__, f"{ROOT}."):
        if module.ispkg and hasattr(importlib.import_module(module.name), "__all__"):
            found.append(module.name)
    return tuple(sorted(found, key=lambda name: (name.count("."), name)))


def names_of(package: str) -> list[Name]:
    """What a package offers; modules in it are packages of their own."""
    module = importlib.import_module(package)
    offered = getattr(module, "__all__", None)
    if offered is None:  # errors.py
        offered = [n for n, v in vars(module).items() if inspect.isclass(v)]
        offered = [n for n in offered if getattr(module, n).__module__ == package]
    names = [Name(package, name) for name in offered]
    return [name for name in names if not inspect.ismodule(name.value)]


@cache
def homes() -> dict[tuple[str, str], Name]:
    """For each object, by file and name, the public name that has its entry."""
    found: dict[tuple[str, str], Name] = {}
    for package in packages()[1:]:
        for name in names_of(package):
            found.setdefault((name.origin, name.name), name)
    for name in names_of(ROOT):
        found.setdefault((name.origin, name.name), name)
    return found


def home(name: Name) -> Name:
    """The public name whose entry is this one's."""
    return homes()[name.origin, name.name]


def first_sentence(text: str | None) -> str:
    """The first sentence of a docstring, on one line."""
    paragraph = " ".join((text or "").strip().split("\n\n")[0].split())
    return re.split(r"(?<=[a-z0-9)`])[.](?=\s|$)", paragraph)[0].rstrip(".") + "."


def comment_on(name: Name) -> str:
    """What stands beside or below the assignment of a constant or a type."""
    lines = tree(name.origin).body
    for node, after in zip(lines, [*lines[1:], None], strict=True):
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if name.name in [getattr(target, "id", None) for target in targets]:
            said = getattr(getattr(after, "value", None), "value", None)
            return inspect.cleandoc(said) if isinstance(said, str) else ""
    return ""


def is_documented_object(value: Any) -> bool:
    """Whether it is a class or a function, which have docstrings of their own."""
    return inspect.isclass(value) or inspect.isroutine(value)


def summary_of(name: Name) -> str:
    """One line for a table."""
    if is_documented_object(name.value):
        return first_sentence(inspect.getdoc(name.value))
    return first_sentence(comment_on(name))


def heading(text: str, line: str = "=") -> list[str]:
    """A title."""
    return [text, line * len(text), ""]


def table(names: list[Name], shown: str) -> list[str]:
    """The names with their first sentences, each linked to its entry."""
    rows = [".. list-table::", "   :widths: 35 65", "   :class: names", ""]
    for name in names:
        text = f"{shown}{name.name}"
        rows.append(f"   * - :py:obj:`{text} <{home(name).path}>`")
        rows.append(f"     - {summary_of(name)}")
    return [*rows, ""]


def entry(name: Name) -> list[str]:
    """The directive that shows one name in full."""
    value = name.value
    if inspect.isclass(value):
        return [f".. autoclass:: {name.path}", "   :members:", ""]
    if inspect.isroutine(value):
        return [f".. autofunction:: {name.path}", ""]
    lines = [f".. py:data:: {name.path}", ""]
    lines += [f"   {line}" for line in comment_on(name).splitlines()]
    return [*lines, "", *alias_of(value), ""]


def alias_of(value: Any) -> list[str]:
    """A short value or the type that is meant."""
    text = repr(value).replace("typing.", "").replace("convscope.", "")
    return ["   .. code-block:: text", "", f"      {text}"] if len(text) < 300 else []


def pages_of(package: str) -> dict[str, list[str]]:
    """The lines of the pages of one package, by path below ``reference/``."""
    offered = names_of(package)
    own = [name for name in offered if home(name) == name]
    slug = package.removeprefix(f"{ROOT}.")
    doc = inspect.getdoc(importlib.import_module(package)) or ""
    short = package.replace(ROOT, "cs", 1) + "."
    index = [*heading(package), *doc.splitlines(), "", *table(offered, short)]
    if len(own) < MANY:
        for name in own:
            index += entry(name)
        return {slug: index}
    pages = {}
    index += [".. toctree::", "   :hidden:", ""]
    origins = list(dict.fromkeys(name.origin for name in own))
    files = [origin.rpartition(".")[2] for origin in origins]
    for origin, file in zip(origins, files, strict=True):
        # Two rooms may have a file of the same name: their pages are named by both.
        parts = origin.split(".")[-1 if files.count(file) == 1 else -2 :]
        family = "_".join(parts)
        about = first_sentence(inspect.getdoc(importlib.import_module(origin)))
        lines = [*heading(f"{slug}: {family.replace('_', ' ')}"), about, ""]
        for name in own:
            lines += entry(name) if name.origin == origin else []
        pages[f"{slug}/{family}"] = lines
        index.append(f"   {slug}/{family}")
    return {slug: [*index, ""], **pages}


def pages() -> dict[str, str]:
    """Every page of the reference, by path below ``reference/``."""
    made: dict[str, list[str]] = {}
    for package in packages():
        made |= pages_of(package)
    ordered = sorted(packages())
    tops = [package.removeprefix(f"{ROOT}.") for package in ordered]
    index = heading("Reference")
    index += ["Every public name, from its docstring. ``import convscope as cs``.", ""]
    index += [".. list-table::", "   :widths: 25 75", "   :class: names", ""]
    for package, slug in zip(ordered, tops, strict=True):
        about = first_sentence(inspect.getdoc(importlib.import_module(package)))
        index += [f"   * - :doc:`{package} <{slug}>`", f"     - {about}"]
    index.append("   * - :doc:`convscope on the command line <commands>`")
    index.append("     - What each command takes.")
    index += ["", ".. toctree::", "   :hidden:", "", *(f"   {slug}" for slug in tops)]
    index.append("   commands")
    made["index"] = [*index, ""]
    return {path: "\n".join(lines) for path, lines in made.items()}


def write(app: Any) -> None:
    """Write the pages that changed, and remove those that are no more."""
    folder = Path(app.srcdir) / "reference"
    wanted = {folder / f"{path}.rst": text for path, text in pages().items()}
    for stale in set(folder.rglob("*.rst")) - {*wanted, folder / "commands.rst"}:
        stale.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def is_foreign(
    app: Any, what: str, name: str, value: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out methods that another library puts into a class of ours."""
    module = getattr(value, "__module__", None) or ROOT
    return True if module.partition(".")[0] != ROOT else None


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-skip-member", is_foreign)
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
