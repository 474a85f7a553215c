"""Several ways of doing the same work, compared before they are timed, in turn."""

import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convscope.bench.job import ENTRANTS, Entrant, Job, Result
from convscope.bench.networks import build, plain_layers
from convscope.bench.process import AbsentError, Worker
from convscope.errors import ArgumentError

Progress = Callable[[str], None]
BATCHES = 4  # different batches, used in turn
STEPS_COMPARED = 4
# Largest difference allowed, as a share of the length of what is compared. Where
# rounding flips the winner of a pooling or the sign before a ReLU, a gradient goes
# another way; on random labels gradients of many images nearly cancel, and flips show.
TOLERANCE = {"float32": 0.02, "bfloat16": 0.3}


def race(
    job: Job,
    entrants: Sequence[Entrant] = ENTRANTS,
    *,
    repeats: int = 7,
    seconds: float = 0.5,
    python: str = sys.executable,
    progress: Progress = lambda _: None,
) -> list[Result]:
    """Times every entrant that gives the same numbers, in turn.

    Args:
        job: The work.
        entrants: Who takes part; the one named ``PyTorch`` is what all are held to.
        repeats: Times that each is timed; they take turns.
        seconds: About how long one timing lasts.
        python: Interpreter for JAX, Keras and ONNX Runtime, if they live elsewhere.
        progress: Told what happens now.

    Returns:
        A result for each entrant, in the order given; those that lack a library or
        cannot do the work say why in ``absent``.

    Raises:
        ArgumentError: There is no entrant named PyTorch to compare with.
    """
    if not any(entrant.name == "PyTorch" for entrant in entrants):
        raise ArgumentError("bench: entrants lack 'PyTorch', which all are held to.")
    results = {entrant.name: Result(entrant.name) for entrant in entrants}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        layers = prepare(job, folder)
        workers: dict[str, Worker] = {}
        for entrant in entrants:
            progress(f"{entrant.name}: starting")
            result = results[entrant.name]
            result.absent = why_not(entrant, job, layers is not None)
            if result.absent:
                continue
            theirs = python if entrant.library != "torch" else sys.executable
            write_job(job, entrant, layers, folder)
            worker = Worker(entrant, job, folder, theirs)
            stack.callback(worker.close)
            try:
                result.versions = worker.versions()
            except AbsentError as error:
                result.absent = str(error)
                continue
            workers[entrant.name] = worker
        exclude_those_that_differ(job, workers, results, progress)
        take_turns(workers, results, repeats, seconds, progress)
    return list(results.values())


def prepare(job: Job, folder: Path) -> list[dict[str, Any]] | None:
    """Writes weights and data; the layers, where the network is a plain chain."""
    torch.manual_seed(0)
    net = build(job.network, job.shape, job.options)
    arrays = {f"w/{name}": t.numpy() for name, t in net.state_dict().items()}
    count = BATCHES * job.batch
    arrays["images"] = torch.randn(count, *job.shape).numpy()
    arrays["labels"] = torch.randint(10, (count,)).numpy()
    np.savez(folder / "arrays.npz", **arrays)
    return plain_layers(net)


def write_job(
    job: Job, entrant: Entrant, layers: list[dict[str, Any]] | None, folder: Path
) -> None:
    """Writes what a worker reads; the network as an ONNX file where that is asked."""
    record: dict[str, Any] = {
        **vars(job),
        "library": entrant.library,
        "variant": entrant.variant,
        "layers": layers,
    }
    if entrant.library == "onnx":
        record["onnx"] = str(folder / "net.onnx")
        export(job, folder)
    (folder / "job.json").write_text(json.dumps(record))


def export(job: Job, folder: Path) -> None:
    """Writes the network as ``net.onnx``."""
    net = build(job.network, job.shape, job.options).eval()
    with np.load(folder / "arrays.npz") as stored:
        weights = {k[2:]: torch.from_numpy(stored[k]) for k in stored if k[:2] == "w/"}
    net.load_state_dict(weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        example = torch.zeros(job.batch, *job.shape)
        program = torch.onnx.export(net, (example,), dynamo=True, verbose=False)
    if program is None:
        raise AbsentError("the network has no form in ONNX")
    program.save(folder / "net.onnx")


def why_not(entrant: Entrant, job: Job, plain: bool) -> str:
    """Why an entrant cannot do this work; empty if it can."""
    if entrant.library == "onnx" and job.task == "train":
        return "does not train"
    if entrant.library in ("jax", "keras") and not plain:
        return "the network is more than a plain chain of layers"
    return ""


def exclude_those_that_differ(
    job: Job, workers: dict[str, Worker], results: dict[str, Result], progress: Progress
) -> None:
    """Excludes whoever does not compute what PyTorch computes."""
    expected: dict[str, np.ndarray] = {}
    names = sorted(workers, key=lambda name: name != "PyTorch")  # PyTorch first
    for name in names:
        progress(f"{name}: compared with PyTorch")
        worker, result = workers[name], results[name]
        try:
            found = numbers(worker, job)
        except AbsentError as error:
            result.absent = str(error)
            del workers[name]
            continue
        expected = expected or found
        result.difference = max(
            distance(found[key], expected[key]) for key in found if key in expected
        )
        allowed = TOLERANCE[worker.entrant.precision]
        if not result.difference <= allowed:  # NaN is refused too
            result.absent = f"differs from PyTorch by {result.difference:.1e}"
            del workers[name]


def numbers(worker: Worker, job: Job) -> dict[str, np.ndarray]:
    """The first batch's loss and gradients and the losses of the first steps."""
    loss = worker.ask("gradients")["loss"]
    with np.load(worker.gradient_file) as stored:
        found = dict(stored)
    if job.task == "train":
        losses = worker.ask(["losses", STEPS_COMPARED])["losses"]
        found |= {"the loss": np.array([loss]), "the losses": np.array(losses)}
    return found


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Length of the difference, as a share of the length of what was expected."""
    scale = float(np.linalg.norm(expected)) or 1.0
    return float(np.linalg.norm(found - expected)) / scale


def take_turns(
    workers: dict[str, Worker],
    results: dict[str, Result],
    repeats: int,
    seconds: float,
    progress: Progress,
) -> None:
    """Times each in turn; the first, shortest round warms up and sets the steps."""
    steps = {}
    for name, worker in workers.items():
        progress(f"{name}: warming up")
        worker.ask(["run", 3])
        once = max(worker.ask(["run", 3])["seconds"] / 3, 1e-6)
        steps[name] = max(1, round(seconds / once))
    for turn in range(repeats):
        for name, worker in workers.items():
            progress(f"{name}: {turn + 1} of {repeats}")
            took = worker.ask(["run", steps[name]])
            results[name].seconds.append(took["seconds"] / steps[name])
            results[name].cpu_seconds.append(took["cpu_seconds"] / steps[name])
    for name, worker in workers.items():
        results[name].memory_bytes = worker.ask("memory")["bytes"]
