"""An entrant in its own process, and what keeps it to its threads."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from convscope.bench.job import Entrant, Job


class AbsentError(Exception):
    """An entrant that cannot take part."""


class Worker:
    """An entrant in its own process; see ``worker.py`` for what it understands."""

    def __init__(self, entrant: Entrant, job: Job, folder: Path, python: str) -> None:
        self.entrant, self.gradient_file = entrant, folder / f"{entrant.name}.npz"
        environment = os.environ | thread_limits(job.threads) | entrant.environment
        command = [python, str(Path(__file__).with_name("worker.py"))]
        self.log = (folder / f"{entrant.name}.log").open("w+")
        self.process = subprocess.Popen(  # noqa: S603 - our own file, no shell
            [*command, entrant.name, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment,
        )
        if hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))[: job.threads]
            os.sched_setaffinity(self.process.pid, cores)

    def versions(self) -> dict[str, str]:
        """Of its libraries, once it is ready; called first, and once.

        Raises:
            AbsentError: It cannot do the work; the message is its own.
        """
        found: dict[str, str] = self._answer()["versions"]
        return found

    def ask(self, command: Any) -> dict[str, Any]:
        """One command, one answer.

        Raises:
            AbsentError: It failed; the message is its own.
        """
        if self.process.stdin is None or self.process.poll() is not None:
            raise AbsentError(self._last_words())
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise AbsentError(self._last_words())
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise AbsentError(found["error"].splitlines()[0])
        return found

    def _last_words(self) -> str:
        self.process.wait()
        self.log.seek(0)
        lines = self.log.read().strip().splitlines()
        return lines[-1] if lines else f"ended with code {self.process.returncode}"

    def close(self) -> None:
        """Ends the process."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.log.close()


def thread_limits(threads: int) -> dict[str, str]:
    """Variables by which each library is held to so many threads."""
    count = str(threads)
    return {
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "TF_NUM_INTRAOP_THREADS": count,
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
        "NPROC": count,  # XLA's pool
    }
