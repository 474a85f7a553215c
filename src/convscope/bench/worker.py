"""One entrant in a process of its own, told by lines of JSON what to do.

Run as a file, ``python worker.py ENTRANT FOLDER``, by any interpreter that has NumPy
and that entrant's library: it imports nothing of convscope, which need not be
installed there. ``FOLDER`` holds ``job.json`` and ``arrays.npz`` (see `Job`).

Each line that comes in is a command, each line that goes out its answer:

======================  ===========================================================
``"gradients"``         the loss of the first batch; its gradients go to a file
``["losses", n]``       the losses of ``n`` steps from the weights given
``["run", n]``          seconds for ``n`` steps, and this process's CPU seconds
``"memory"``            most bytes that were ever resident beyond the libraries
======================  ===========================================================
"""

import importlib.util
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Builds the implementation, then answers until the input ends."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    answers = sys.stdout
    sys.stdout = sys.stderr  # what libraries print must not look like an answer
    numpy = importlib.import_module("numpy")
    job = json.loads((folder / "job.json").read_text())
    with numpy.load(folder / "arrays.npz") as stored:
        arrays = dict(stored)
    source = Path(__file__).parent / "libraries" / f"with_{job['library']}.py"
    try:
        module = load(source)
        before = resident_bytes()
        implementation = module.Implementation(job, arrays)
        answer({"ready": name, "versions": module.versions()}, answers)
    except Exception as error:  # whatever a library raises: the race goes on without it
        answer({"error": f"{type(error).__name__}: {error}"}, answers)
        return
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer(
                obey(implementation, command, folder / f"{name}.npz", before), answers
            )
        except Exception as error:  # as above
            answer({"error": f"{type(error).__name__}: {error}"}, answers)


def obey(implementation: Any, command: Any, gradients: Path, before: int) -> Any:
    """What one command comes to."""
    if command == "gradients":
        loss, found = implementation.gradients()
        importlib.import_module("numpy").savez(gradients, **found)
        return {"loss": loss}
    if command == "memory":
        return {"bytes": max(0, peak_bytes() - before)}
    what, steps = command
    if what == "losses":
        return {"losses": implementation.losses(steps)}
    began, used = time.perf_counter(), time.process_time()
    implementation.run(steps)
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - used,
    }


def load(source: Path) -> Any:
    """The module in a file."""
    spec = importlib.util.spec_from_file_location(source.stem, source)
    if spec is None or spec.loader is None:
        raise ImportError(f"{source} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answer(what: Any, stream: Any) -> None:
    """One line of JSON, at once."""
    stream.write(json.dumps(what) + "\n")
    stream.flush()


def resident_bytes() -> int:
    """Memory that this process holds now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux: what it held at most is the nearest
        return peak_bytes()
    return pages * resource.getpagesize()


def peak_bytes() -> int:
    """Most memory that this process ever held."""
    status = Path("/proc/self/status")  # rusage counts what the parent held as well
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
