"""``import convscope`` is quick: it loads torch and numpy and nothing else heavy."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import convscope as cs

HEAVY = ("sklearn", "scipy", "pydantic", "PIL", "rich", "typer", "matplotlib", "onnx")


def test_importing_the_package_loads_nothing_of_its_other_dependencies():
    program = "import sys, json, convscope; print(json.dumps(list(sys.modules)))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", program]))
    assert "torch" in loaded
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize("name", cs.__all__)
def test_every_public_name_can_be_had(name):
    assert getattr(cs, name) is not None
    assert name in dir(cs)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'convscope' has no attribute"):
        cs.nothing  # noqa: B018


def test_there_is_a_version():
    assert cs.__version__.count(".") == 2


def test_the_tests_run_with_the_oldest_torch_that_is_allowed():
    root = Path(__file__).parents[1]
    allowed = re.search(r'"torch>=([\d.]+)"', (root / "pyproject.toml").read_text())
    pinned = re.search(
        r"^torch==(\d+\.\d+)", (root / "constraints.txt").read_text(), re.MULTILINE
    )
    assert allowed.group(1) == pinned.group(1)
