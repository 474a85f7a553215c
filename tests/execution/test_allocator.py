"""Freed memory is kept by the process, where the system's allocator can be told to."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from convscope.execution import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
for _ in range(30):
    torch.ones(16 * 2**20)  # 64 MiB, asked for and freed
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is on Linux")
def test_a_large_block_that_is_freed_is_not_mapped_again():
    faults = {
        how: int(subprocess.check_output([sys.executable, "-c", PROGRAM, how]))
        for how in ("given back", "kept")
    }
    assert faults["kept"] < faults["given back"]
