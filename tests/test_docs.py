"""Every public name has its page, and every docstring can be shown on one."""

import ast
import importlib
import inspect
import re
import subprocess
from functools import cached_property
from pathlib import Path
from types import FunctionType

import pytest
from docutils.core import publish_doctree
from docutils.nodes import literal, system_message
from docutils.parsers.rst import roles
from sphinx.ext.napoleon import Config, GoogleDocstring

import commands
import docstrings
import public_names
from convscope.cli.main import app

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
MEMBERS = (FunctionType, classmethod, staticmethod, property, cached_property)


def offered():
    """Every (package, name) in an ``__all__``, as the source files write them."""
    for path in sorted(SOURCE.rglob("__init__.py")):
        package = ".".join(path.relative_to(SOURCE).parts[:-1])
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
                yield from ((package, name) for name in ast.literal_eval(node.value))


def shown(text):
    """The paths that have an entry on a page."""
    kinds = r"^\.\. (?:autoclass|autofunction|py:data):: (\S+)$"
    return set(re.findall(kinds, text, re.MULTILINE))


def without_entry(pages):
    """Public names that a reader finds on no page."""
    entries = set().union(*(shown(text) for text in pages.values()))
    lost = []
    for package, name in offered():
        page = pages[package.removeprefix("convscope.")]
        alias = re.search(rf":py:obj:`\S*\b{name} <(\S+)>`", page)
        room = (
            inspect.ismodule(getattr(importlib.import_module(package), name))
            and f":doc:`{package}.{name} <" in (pages["index"])
        )
        if not room and (alias is None or alias.group(1) not in entries):
            lost.append(f"{package}.{name}")
    return lost


def test_every_public_name_is_on_a_page():
    assert len(list(offered())) > 300
    assert without_entry(public_names.pages()) == []


def test_a_name_that_is_on_no_page_is_noticed():
    entry = ".. autofunction:: convscope.models.vgg\n"
    pages = {p: t.replace(entry, "") for p, t in public_names.pages().items()}
    assert without_entry(pages) == ["convscope.models.vgg"]


def test_every_error_is_on_a_page():
    entries = shown(public_names.pages()["errors"])
    classes = re.findall(
        r"^class (\w+)", (SOURCE / "convscope/errors.py").read_text(), re.MULTILINE
    )
    assert {f"convscope.errors.{name}" for name in classes} <= entries


def complaints(docstring):
    """What docutils finds wrong with a docstring as it goes on a page."""
    lines = docstrings.with_fields(inspect.cleandoc(docstring).splitlines())
    text = str(GoogleDocstring(lines, Config(napoleon_use_ivar=True)))
    text = text.replace(".. attribute::", ".. rubric::")  # a directive of Sphinx
    options = {"report_level": 2, "halt_level": 5, "warning_stream": False}
    tree = publish_doctree(text, settings_overrides=options)
    return [node.astext() for node in tree.findall(system_message)]


@pytest.fixture(scope="module", autouse=True)
def single_backticks():
    roles.register_canonical_role("own", roles.GenericRole("own", literal))
    roles.DEFAULT_INTERPRETED_ROLE, before = "own", roles.DEFAULT_INTERPRETED_ROLE
    yield
    roles.DEFAULT_INTERPRETED_ROLE = before


def public_docstrings():
    """Where and what: of classes, their methods, and functions with a page."""
    for name in public_names.homes().values():
        value = name.value
        if not public_names.is_documented_object(value):
            continue
        yield name.path, value.__doc__
        for member, inner in vars(value).items() if inspect.isclass(value) else ():
            if member[0] != "_" and isinstance(inner, MEMBERS) and inner.__doc__:
                yield f"{name.path}.{member}", inner.__doc__


def test_every_docstring_can_be_shown():
    checked = [(path, complaints(doc)) for path, doc in public_docstrings() if doc]
    assert len(checked) > 400
    assert [(path, wrong) for path, wrong in checked if wrong] == []


def test_a_docstring_that_cannot_be_shown_is_noticed():
    assert complaints("Sums ``x``.\n\nShape:\n    x: (N, *space)") == []
    assert complaints("Takes (N, *space).") == []
    assert "start-string without end" in complaints("Takes (N, ``*space).")[0]


def test_every_public_class_and_function_has_a_docstring():
    assert [path for path, doc in public_docstrings() if not doc] == []


def test_every_command_is_on_the_page_of_the_commands():
    page = commands.page()
    known = [each.callback.__name__ for each in app.registered_commands]
    assert len(known) > 5
    titles = re.findall(r"^convscope ([a-z]+)(?: [a-z]+)?\n-+\n", page, re.MULTILINE)
    groups = [group.name for group in app.registered_groups]
    assert {*known, *groups} == set(titles)
    assert "--epochs" in page
    assert "Error" not in page


def test_make_alone_lists_every_command():
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE).group(1).split()
    listed = subprocess.check_output(["make", "-s", "-C", ROOT], text=True)
    rows = [line.split()[1] for line in listed.splitlines() if line[:5] == "make "]
    assert sorted(rows) == sorted(phony)


def test_every_public_value_says_what_it_is():
    named = [each.value for each in public_names.homes().values()]
    assert -1 in named  # data.UNLABELED
    silent = [
        each.path
        for each in public_names.homes().values()
        if not public_names.is_documented_object(each.value)
        and not public_names.comment_on(each)
    ]
    assert silent == []
