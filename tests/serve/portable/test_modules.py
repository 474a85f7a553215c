"""Modules of the page are put into one script."""

import pytest

from convscope.errors import ArgumentError
from convscope.serve.portable.modules import name_of, one_script


def script(tmp_path, files, entry="a.js"):
    """All of some files as one script."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return one_script(tmp_path, (entry,), "last();")


def test_what_a_module_needs_comes_before_it_and_only_once(tmp_path):
    made = script(tmp_path, {
        "a.js": 'import {b, c as d} from "./in/b.js";\nimport {e} from "./e.js";\n',
        "in/b.js": 'import {e} from "../e.js";\nexport const b = 1;\nexport class c {}',
        "e.js": "// what e is\nexport async function e() {}",
    })  # fmt: skip
    assert made.index("const e_js =") < made.index("const in_b_js =")
    assert made.index("const in_b_js =") < made.index("const a_js =")
    assert made.count("const e_js =") == 1
    assert "const {b, c: d} = in_b_js;" in made
    assert "return {b, c};" in made
    assert "//" not in made
    assert made.endswith("\nlast();")


def test_names_of_scripts_are_identifiers():
    assert name_of("engine/sums.js") == "engine_sums_js"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('import x from "./b.js";', "import"),
        ('import {x} from "https://x/b.js";', "import"),
        ("export default 3;", "export"),
    ],
)
def test_other_forms_are_refused_with_their_line(tmp_path, line, what):
    with pytest.raises(ArgumentError) as caught:
        script(tmp_path, {"a.js": f"\n{line}\n"})
    assert str(caught.value) == f"play: a.js:2: {line} is no known {what}."


def test_indentation_is_left_out_and_a_text_of_several_lines_is_refused(tmp_path):
    made = script(tmp_path, {"a.js": "if (x) {\n    // why\n\n    y(`z`);\n}"})
    assert "\nif (x) {\ny(`z`);\n}\n" in made
    with pytest.raises(ArgumentError) as caught:
        script(tmp_path, {"a.js": "f(`one\n  two`);"})
    assert str(caught.value) == "play: a.js:1: a text spans several lines."


def test_modules_that_import_each_other_are_refused(tmp_path):
    files = {"a.js": 'import {b} from "./b.js";', "b.js": 'import {a} from "./a.js";'}
    with pytest.raises(ArgumentError, match=r"^play: a.js and b.js import each other"):
        script(tmp_path, files)
