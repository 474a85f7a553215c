"""Every color that a stylesheet names is a token, and every token is the palette's."""

import re
from pathlib import Path

import pytest

import convscope
from convscope.viz.palette import THEMES
from convscope.viz.tokens import stylesheet

SHEETS = sorted(Path(convscope.__file__).parent.rglob("*.css"))


@pytest.mark.parametrize(
    ("theme", "place"), [("light", 0), ("dark", 1)], ids=["light", "dark"]
)
def test_the_tokens_are_the_palettes(theme, place):
    blocks = re.findall(r":root\{([^}]*--[^}]*)\}", stylesheet())
    found = dict(re.findall(r"--([a-z-]+):(#[0-9a-f]{6});", blocks[place]))
    fields = vars(THEMES[theme])
    assert found == {
        name.replace("_", "-"): value for name, value in fields.items()
        if name != "name"
    }  # fmt: skip


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda path: path.name)
def test_stylesheets_name_no_color_of_their_own(sheet):
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[;,) }])|rgba?\(|hsla?\(",
                      sheet.read_text()) == []  # fmt: skip


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda path: path.name)
def test_stylesheets_use_no_variable_that_is_not_there(sheet):
    folder = "".join(each.read_text() for each in sheet.parent.glob("*.*s*"))
    folder += "".join(each.read_text() for each in sheet.parent.glob("*.py"))
    there = set(re.findall(r"--([a-z-]+):", stylesheet() + folder))
    there |= set(re.findall(r'"--([a-z-]+)"', folder))  # set from a script
    assert set(re.findall(r"var\(--([a-z-]+)[,)]", sheet.read_text())) <= there
