"""The command line in processes of its own that can be killed.

They are forked from one server that has imported the package once, so that each is
there at once; it never computed anything itself.
"""

import multiprocessing
import os
import sys
import time
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["convscope.cli.main", "sklearn.datasets", "torch._dynamo"]  # what `train` imports
)
PATIENCE = 60  # seconds


def command(arguments, folder, prepare=None):
    """What a process does: ``convscope`` with its output in two files."""
    import torch

    from convscope.cli import main

    torch.set_num_threads(1)
    os.chdir(folder)
    for stream, name in ((1, "out.txt"), (2, "err.txt")):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    sys.argv = ["convscope", *arguments]
    if prepare is not None:
        prepare()
    main.run()


class Command:
    """``convscope`` with these arguments, running in ``folder``."""

    def __init__(self, folder, *arguments, prepare=None):
        self.folder = Path(folder)
        texts = [str(argument) for argument in arguments]
        self.process = CONTEXT.Process(
            target=command, args=(texts, str(folder), prepare)
        )
        self.process.start()

    def send(self, number):
        os.kill(self.process.pid, number)

    def ended(self):
        """Exit code, standard output, standard error."""
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, "still running"
        texts = [(self.folder / n).read_text() for n in ("out.txt", "err.txt")]
        return self.process.exitcode, *texts


def wait_for(condition):
    """The first true value that ``condition`` gives."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.002)
    raise AssertionError("waited in vain")
