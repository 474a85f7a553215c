"""Test accuracy of the named recipes, by the command that a user types.

    python benchmarks/figures.py                 all of them: hours
    python benchmarks/figures.py digits mnist    some
    python benchmarks/figures.py --seeds 1 cifar10

Each run is ``convscope train`` in a process of its own, from command to result. With
``--keep``, rows go into results/figures.json as they come, which is what the results
page shows; ``--table`` prints that file without running anything.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from convscope.bench.machine import machine

RESULTS = Path(__file__).parent / "results" / "figures.json"

# name: (data, arguments, goal in percent, most seconds, most epochs)
FIGURES: dict[str, tuple[str, list[str], float, float | None, int | None]] = {
    "digits": ("digits", [], 98.5, 15, None),
    "mnist": ("mnist", [], 99.2, None, 12),
    "mnist-best": ("mnist", ["--recipe", "mnist-best"], 99.6, 1200, None),
    "fashion-mnist": ("fashion-mnist", [], 93.5, 1200, None),
    "cifar10": ("cifar10", [], 90.0, 1200, None),
}


def train(name: str, seed: int) -> dict[str, Any]:
    """One run of the command, timed from outside."""
    data, arguments, *_ = FIGURES[name]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "convscope.cli.main", "train", data]
        command += [*arguments, "--seed", str(seed), "--json", "--run", f"{folder}/run"]
        began = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        seconds = time.perf_counter() - began
        found = json.loads(done.stdout)
        spec = json.loads(Path(folder, "run", "spec.json").read_text())
    return {
        "seed": seed,
        "accuracy": found["evaluation"]["accuracy"],
        "calibration_error": found["evaluation"]["calibration_error"],
        "epochs": found["epochs"],
        "seconds": round(seconds, 1),
        "model": spec["model"],
    }


def table(results: dict[str, Any]) -> str:
    """The figures as the results page shows them."""
    rows = [
        "| data, recipe | model | epochs | test accuracy | goal | command to result |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, entry in results["figures"].items():
        runs = entry["runs"]
        accuracy = [100 * run["accuracy"] for run in runs]
        spread = f" ± {statistics.stdev(accuracy):.2f}" if len(runs) > 1 else ""
        seconds = statistics.mean(run["seconds"] for run in runs)
        goal = FIGURES[name][2]
        met = "met" if statistics.mean(accuracy) >= goal else "missed"
        length = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
        rows.append(
            f"| {name} | {runs[0]['model']['name']} | {runs[0]['epochs']} "
            f"| {statistics.mean(accuracy):.2f}{spread} % "
            f"| {goal} %: {met} | {length}, {_threads(entry)} |"
        )
    return "\n".join(rows)


def _threads(entry: dict[str, Any]) -> str:
    threads = entry["machine"]["threads"]
    return f"{threads} thread{'s' if threads > 1 else ''}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FIGURES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--keep", action="store_true", help="write results/figures.json"
    )
    parser.add_argument("--table", action="store_true", help="print, run nothing")
    asked = parser.parse_args()
    names = asked.names or list(FIGURES)
    if unknown := set(names) - set(FIGURES):
        parser.error(f"unknown figure {unknown.pop()!r}; known: {', '.join(FIGURES)}")
    results: dict[str, Any] = {"figures": {}}
    if (asked.keep or asked.table) and RESULTS.exists():
        results = json.loads(RESULTS.read_text())
    for name in [] if asked.table else names:
        runs: list[dict[str, Any]] = []
        for seed in range(asked.seeds):
            runs.append(train(name, seed))
            results["figures"][name] = {"runs": runs, "machine": machine()}
            ordered = {n: results["figures"].get(n) for n in FIGURES}
            results["figures"] = {n: entry for n, entry in ordered.items() if entry}
            if asked.keep:
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
