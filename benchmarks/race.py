"""Training steps and forward passes beside the peers, the work that goals are set for.

    python benchmarks/race.py                          all of it: a quarter of an hour
    python benchmarks/race.py --python ../peers/bin/python --threads 2 --keep
    python benchmarks/race.py --table                  what the results page shows

Every row is `convscope bench` of one piece of work. JAX and Keras may live in another
interpreter, named by ``--python``. ``--keep`` writes results/race.json and the pictures
in docs/images.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from convscope.bench import Job, race, record
from convscope.bench import table as race_table
from convscope.viz import race as bars
from convscope.viz import roofline

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "race.json"
PICTURES = ROOT / "docs" / "images"

DIGITS, MNIST, COLOR = (1, 32, 32), (1, 28, 28), (3, 32, 32)
RELU = {"configuration": "relu"}
# network, shape, batch, task, options; goals against PyTorch, and against the best
WORK: tuple[
    tuple[str, tuple[int, int, int], int, str, dict[str, str], float, float], ...
]
WORK = (
    ("lenet_page", DIGITS, 64, "train", {}, 6, 3.5),
    ("lenet_page", DIGITS, 512, "train", {}, 6, 3.5),
    ("lenet5", DIGITS, 64, "train", {}, 6, 3.5),
    ("lenet5", DIGITS, 512, "train", {}, 6, 3.5),
    ("nielsen", MNIST, 10, "train", RELU, 4, 0),
    ("nielsen", MNIST, 128, "train", RELU, 4, 0),
    ("lenet_page", DIGITS, 512, "forward", {}, 6, 0),
    ("airbench94", COLOR, 512, "train", {}, 10, 1.4),
    ("resnet9", COLOR, 256, "train", {}, 0, 0),
)


def run(threads: int, python: str, repeats: int, only: list[str]) -> list[Any]:
    """Every race in turn, printed as it ends."""
    kept = []
    for network, shape, batch, task, options, *_ in WORK:
        if only and network not in only:
            continue
        job = Job(network, shape, batch, threads, task, options=options)  # type: ignore[arg-type]  # a literal
        kept.append(record(job, race(job, repeats=repeats, python=python)))
        print(f"\n{network} {options or ''} batch {batch}, {task}, {threads} threads")
        print(race_table(kept[-1]), flush=True)
    return kept


def table(records: list[Any]) -> str:
    """One line for each piece of work, as docs/explanation/results.md shows it."""
    rows = [
        "| work | threads | convscope | PyTorch as it comes | fastest of all others "
        "| goals |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for each, (*_, base_goal, best_goal) in zip(records, WORK, strict=True):
        job = each["job"]
        took = {r["name"]: r for r in each["results"] if not r["absent"]}
        own = took.get("convscope") or took["convscope, float32"]
        ours = own["microseconds_per_image"]
        others = {k: r for k, r in took.items() if not k.startswith("convscope")}
        name, best = min(
            others.items(), key=lambda item: item[1]["microseconds_per_image"]
        )
        base = others["PyTorch"]["microseconds_per_image"]
        fastest = best["microseconds_per_image"]
        goals = [
            f"{goal:g}x: {'met' if times >= goal else 'missed'}"
            for goal, times in ((base_goal, base / ours), (best_goal, fastest / ours))
            if goal
        ]
        what = {"train": "step", "forward": "forward"}[job["task"]]
        options = "".join(f" {value}" for value in job["options"].values())
        rows.append(
            f"| {job['network']}{options}, {what}, batch {job['batch']} "
            f"| {job['threads']} | {ours:.1f} µs | {base:.1f} µs: {base / ours:.1f}x "
            f"| {name}, {fastest:.1f} µs: {fastest / ours:.1f}x "
            f"| {', '.join(goals) or '-'} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="networks; all of them by default")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--table", action="store_true", help="print, run nothing")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(RESULTS.read_text())))
        return
    kept = run(given.threads, given.python, given.repeats, given.names)
    if given.keep and not given.names:
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
        PICTURES.mkdir(exist_ok=True)
        bars(kept).save(PICTURES / "race.svg")
        roofline(kept).save(PICTURES / "roofline.svg")
    if not given.names:
        print("\n" + table(kept))


if __name__ == "__main__":
    main()
