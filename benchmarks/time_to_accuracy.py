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
import math
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
        {"epochs": 2, "batch_size": 128, "learning_rate": 0.1, "model": "lenet_page",
         "rotate": 0, "scale": 0},
    ),
    "mnist-99.5": Target(
        "mnist",
        99.5,
        30,
        "mnist",
        {"epochs": 9, "batch_size": 128, "learning_rate": 0.1, "model": "nielsen",
         "model_options": {"configuration": "relu_300"}},
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


def table(kept: dict[str, Any]) -> str:
    """What the results page shows, a row for each target that was measured."""
    rows = [
        "| data | model | epochs | test accuracy | seconds | goal |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for name, target in TARGETS.items():
        if name not in kept:
            continue
        runs = kept[name]["runs"]
        accuracies = [run["accuracy"] for run in runs]
        mean = statistics.mean(accuracies)
        spread = f" ± {statistics.stdev(accuracies):.2f}" if len(runs) > 1 else ""
        seconds = statistics.mean(run["seconds"] for run in runs)
        wanted = f"{target.accuracy:g} %"
        wanted += "" if target.seconds is None else f" in {target.seconds:g} s"
        met = mean >= target.accuracy and seconds <= (target.seconds or math.inf)
        rows.append(
            f"| {target.data} | {runs[0]['model']} | {runs[0]['epochs']} "
            f"| {mean:.2f}{spread} % | {seconds:.1f} "
            f"| {wanted}: {'met' if met else 'missed'} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *TARGETS], default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--table", action="store_true", help="print, run nothing")
    given = parser.parse_args()
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if given.table:
        print(table(kept))
        return
    cs.execution.keep_freed_memory()
    for name in given.names or TARGETS:
        target = TARGETS[name]
        data = cs.data.load(target.data, validation=0)
        runs = [measure(target, data, seed) for seed in range(given.seeds)]
        entry = {name: {"machine": machine(), "runs": runs}}
        print(table(entry).splitlines()[-1], flush=True)
        if given.keep:
            kept |= entry
            RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
