"""The pages on networks and on weights show what happens."""

import re
from pathlib import Path

from convscope.models import cards

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
PAGE = HOW_TO / "networks.md"


def test_the_blocks_of_the_page_run(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.M)
    assert len(blocks) >= 3
    namespace = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), namespace)  # noqa: S102
    assert "Deep Residual Learning" in capsys.readouterr().out


def test_the_page_on_weights_names_no_model_that_is_not_there():
    text = (HOW_TO / "weights.md").read_text()
    first_column = "".join(re.findall(r"^\| (`.*?) \|", text, re.M))
    named = re.findall(r"`((?:vgg|resnet|alexnet|mobilenet)\w*)`", first_column)
    assert len(named) > 4
    assert set(named) <= set(cards())
