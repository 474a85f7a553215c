"""The same recipe in float32 and in bfloat16, several seeds: is bfloat16 harmless?

    python benchmarks/precision.py            Fashion-MNIST, resnet9, 2 epochs, 5 seeds
    python benchmarks/precision.py --data cifar10 --epochs 9 --seeds 5 --keep

Prints mean and standard deviation of the test accuracy of both, and the difference
with its standard error; with ``--keep`` writes results/precision.json.
"""

import argparse
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

import convscope as cs
from convscope.bench.machine import machine
from convscope.train import recipes

RESULTS = Path(__file__).parent / "results" / "precision.json"
PRECISIONS = ("float32", "bfloat16")


def train(data: cs.Dataset, epochs: int, seed: int, precision: str) -> dict[str, Any]:
    """One run."""
    recipe = recipes.suited(data).with_changes(
        {"epochs": epochs, "seed": seed, "precision": precision}
    )
    began = time.perf_counter()
    run = cs.fit(recipe.model or "resnet9", data, recipe, listeners=[])
    accuracy = 100 * run.evaluate().accuracy
    seconds = time.perf_counter() - began
    return {"seed": seed, "accuracy": accuracy, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    cs.execution.keep_freed_memory()
    data = cs.data.load(given.data, validation=0)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in PRECISIONS}
    for seed in range(given.seeds):
        for name in PRECISIONS:  # in turn, so that a slow hour slows both
            runs[name].append(train(data, given.epochs, seed, name))
    for name in PRECISIONS:
        accuracy = [run["accuracy"] for run in runs[name]]
        seconds = statistics.mean(run["seconds"] for run in runs[name])
        print(
            f"{name:9} {statistics.mean(accuracy):6.2f} ± "
            f"{statistics.stdev(accuracy):.2f} %  {seconds:6.1f} s"
        )
    pairs = zip(*(runs[name] for name in PRECISIONS), strict=True)
    differences = [b["accuracy"] - a["accuracy"] for a, b in pairs]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    print(f"bfloat16 - float32: {statistics.mean(differences):+.2f} ± {error:.2f} %")
    if given.keep:
        kept = {"data": given.data, "epochs": given.epochs, "runs": runs}
        RESULTS.write_text(json.dumps(kept | {"machine": machine()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
