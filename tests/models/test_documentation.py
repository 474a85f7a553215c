"""The page on networks shows what happens."""

import re
from pathlib import Path

from convscope.models import cards

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "networks.md"


def test_the_blocks_of_the_page_run(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.M)
    assert len(blocks) >= 3
    namespace = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), namespace)  # noqa: S102
    assert "Deep Residual Learning" in capsys.readouterr().out


def test_the_page_names_no_model_that_is_not_there():
    named = set(
        re.findall(r"`((?:vgg|resnet|alexnet|mobilenet)\w*)`", PAGE.read_text())
    )
    assert len(named) > 4
    assert named <= set(cards())
