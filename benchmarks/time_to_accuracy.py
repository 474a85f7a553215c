"""Seconds from data in memory to a judged network of a wanted accuracy.

    python benchmarks/time_to_accuracy.py                 all of them: half an hour
    python benchmarks/time_to_accuracy.py mnist-99        one
    python benchmarks/time_to_accuracy.py --seeds 1 --keep

Each row is one call of ``convscope.fit`` and one of ``evaluate``, timed together, for
each seed; whatever is measured, choosing kernels included, happens within that time.
With ``--keep`` rows go into results/time_to_accuracy.json as they come.
"""

import argparse
import json
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import convscope as cs
from convscope.bench.machine import machine
from convscope.train import recipes

RESULTS = Path(__file__).parent / "results" / "time_to_accuracy.json"


@dataclass(frozen=True)
class Target:
    """An accuracy that is wanted, and the recipe that is to reach it."""

    data: str
    accuracy: float  # percent of the test images
    seconds: float | None  # at most, on two cores with AMX; None: no goal was set
    recipe: str
    changes: dict[str, Any] = field(default_factory=dict)


TARGETS = {
    "mnist-99": Target(
        "mnist",
        99.0,
        3,
        "mnist",
        {"epochs": 3, "batch_size": 100, "learning_rate": 0.1, "shift": 1,
         "rotate": 0, "scale": 0},
    ),
    "mnist-99.5": Target(
        "mnist", 99.5, 30, "mnist", {"epochs": 20, "model": "nielsen"}
    ),
    "fashion-mnist-92": Target(
        "fashion-mnist", 92.0, None, "fashion-mnist", {"epochs": 4}
    ),
    "cifar10-90": Target("cifar10", 90.0, None, "cifar10-94", {"epochs": 4}),
    "cifar10-94": Target("cifar10", 94.0, 480, "cifar10-94"),
}  # fmt: skip


def measure(target: Target, data: cs.Dataset, seed: int) -> dict[str, Any]:
    """One training and its judgment on the test images."""
    recipe = recipes.find(target.recipe).with_changes({**target.changes, "seed": seed})
    began = time.perf_counter()
    run = cs.fit(recipe.model or "lenet5", data, recipe, listeners=[])
    accuracy = run.evaluate().accuracy
    return {
        "seed": seed,
        "accuracy": 100 * accuracy,
        "seconds": time.perf_counter() - began,
        "epochs": recipe.epochs,
        "model": recipe.model,
    }


def line(name: str, target: Target, rows: list[dict[str, Any]]) -> str:
    """One aligned line of the table."""
    accuracies = [row["accuracy"] for row in rows]
    seconds = [row["seconds"] for row in rows]
    spread = statistics.stdev(accuracies) if len(rows) > 1 else 0.0
    mean = statistics.mean(accuracies)
    most = "" if target.seconds is None else f" in {target.seconds:g} s"
    met = mean >= target.accuracy and (
        target.seconds is None or statistics.mean(seconds) <= target.seconds
    )
    return (
        f"{name:18} {rows[0]['model']:12} {rows[0]['epochs']:>3} epochs "
        f"{mean:6.2f} ± {spread:4.2f} %  {statistics.mean(seconds):7.1f} s   "
        f"goal {target.accuracy:g} %{most}: {'met' if met else 'missed'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *TARGETS], default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    cs.execution.keep_freed_memory()
    for name in given.names or TARGETS:
        target = TARGETS[name]
        data = cs.data.load(target.data, validation=0)
        rows = [measure(target, data, seed) for seed in range(given.seeds)]
        print(line(name, target, rows), flush=True)
        if given.keep:
            kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            kept[name] = {
                "machine": machine(),
                "threads": torch.get_num_threads(),
                "runs": rows,
            }
            RESULTS.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
