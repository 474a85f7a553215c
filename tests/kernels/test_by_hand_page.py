"""The page about the loops shows what they do."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "by-hand.md").read_text()


def blocks(language):
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found


def test_the_code_of_the_page_prints_what_the_page_says(capsys):
    for code in blocks("python"):
        exec(compile(code, "by-hand.md", "exec"), {})  # noqa: S102
        assert capsys.readouterr().out in blocks("text")


def test_the_lines_that_the_page_quotes_are_those_of_the_definition():
    definition = (
        ROOT / "src" / "convscope" / "kernels" / "reference" / "convolution.py"
    ).read_text()
    (quoted,) = [block for block in blocks("text") if "weight[o" in block]
    lines = re.sub("forward|backward", "", quoted).split("\n")
    assert len([line for line in lines if "=" in line]) == 4
    for line in lines:
        assert line.strip() in definition


def test_the_page_shows_the_lines_that_its_example_prints():
    example = (ROOT / "examples" / "lenet_by_hand.py").read_text()
    shown = next(block for block in blocks("text") if "test digits" in block)
    words = re.findall(r"[a-z ]{6,}", shown)
    assert len(words) >= 4
    for one in words:
        assert one in example
