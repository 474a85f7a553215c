"""Every example runs, as a reader would run it."""

import subprocess
import sys
from pathlib import Path

import pytest

MORE_ARGUMENTS = {"lenet_by_hand": ["100"]}  # updates; all take a minute
EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path, tmp_path):
    command = [sys.executable, str(path), str(tmp_path / "made")]
    command += MORE_ARGUMENTS.get(path.stem, [])
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert (tmp_path / "made").exists()
