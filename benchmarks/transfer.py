"""What beginning with ImageNet weights is worth where pictures are few.

    python benchmarks/transfer.py                        every row: hours
    python benchmarks/transfer.py cifar10-20 --draws 1   one row, one draw
    python benchmarks/transfer.py --keep                 into results/transfer.json

Each draw takes so many training pictures of each class, trains from scratch, fits the
last layer alone and tunes all layers, each by the recipe that ``convscope.plan`` takes,
and judges on the same test pictures. Times are of training, without judging: CPU
seconds, so that other work on the machine does not count; two cores have two a second.
"""

import argparse
import json
import math
import statistics
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

import convscope as cs
from convscope.bench.machine import machine

RESULTS = Path(__file__).parent / "results" / "transfer.json"
WAYS: dict[str, dict[str, Any]] = {
    "scratch": {"start": None},
    "head only": {"start": "imagenet", "head_only": True},
    "fine-tuned": {"start": "imagenet"},
}


@dataclass(frozen=True)
class Row:
    """Data, how many pictures of each class, and what is wanted of each way.

    All of them where ``of_each`` is 0; ``ways`` names those that are run.
    """

    data: str
    of_each: int
    size: int  # that pictures are read at with weights, in pixels
    draws: int
    goals: dict[str, tuple[float, float]]  # accuracy in percent, seconds at most
    tested: int = 10_000  # test pictures
    changes: dict[str, Any] = field(default_factory=dict)
    ways: tuple[str, ...] = tuple(WAYS)


ROWS = {
    "cifar10-20": Row(
        "cifar10", 20, 160, 5, {"head only": (75, 60), "fine-tuned": (80, 300)}
    ),
    "cifar10-100": Row("cifar10", 100, 160, 3, {"fine-tuned": (87, 720)}),
    "cifar10-all": Row(
        "cifar10", 0, 96, 1, {"fine-tuned": (95, 3600)}, ways=("fine-tuned",)
    ),
    "fashion-mnist-20": Row("fashion-mnist", 20, 96, 5, {}),
}


def drawn(data: cs.Dataset, of_each: int, tested: int, seed: int) -> cs.Dataset:
    """So many training pictures of each class, or all; nothing to validate on."""
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for number in range(len(data.classes)):
        own = torch.nonzero(data.train.labels == number).flatten()
        chosen.append(
            own[torch.randperm(len(own), generator=generator)[: of_each or None]]
        )
    return data.replace(
        source="",
        train=data.train.subset(torch.cat(chosen).numpy()),
        val=data.val.subset(torch.arange(0).numpy()),
        test=data.test.subset(torch.arange(min(tested, len(data.test))).numpy()),
    )


def measure(row: Row, data: cs.Dataset, way: str, seed: int) -> dict[str, Any]:
    """One training and its judgment."""
    part = drawn(data, row.of_each, row.tested, seed)
    options = {**row.changes, **WAYS[way], "seed": seed}
    if options["start"] is not None:
        options["size"] = row.size
    made = cs.train.plan(part, **options)
    for note in (*made.notes, *made.data.notes, made.recipe.augmentation):
        print(f"  {note}", flush=True)
    began, used = time.perf_counter(), time.process_time()
    run = cs.fit(made.network(), made.data, made.recipe, listeners=[])
    seconds, used = time.perf_counter() - began, time.process_time() - used
    return {
        "draw": seed,
        "model": made.model,
        "seconds": seconds,
        "cpu_seconds": used,
        "accuracy": 100 * run.evaluate().accuracy,
    }


def table(kept: dict[str, Any]) -> str:
    """A row for each way of each row that was measured."""
    lines = [
        "| pictures of each class | way | test accuracy | CPU seconds | goal |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for name, row in ROWS.items():
        for way, runs in kept.get(name, {}).get("ways", {}).items():
            accuracies = [run["accuracy"] for run in runs]
            mean = statistics.mean(accuracies)
            half = 0.0
            if len(runs) > 1:
                half = 1.96 * statistics.stdev(accuracies) / math.sqrt(len(runs))
            seconds = statistics.mean(run["cpu_seconds"] for run in runs)
            goal = "-"
            if way in row.goals:
                wanted, most = row.goals[way]
                met = "met" if mean >= wanted and seconds <= 2 * most else "missed"
                goal = f"{wanted:g} % in {most:g} s of two cores: {met}"
            accuracy = f"{mean:.1f} ± {half:.1f} %" if half else f"{mean:.2f} %"
            lines.append(
                f"| {row.data}, {row.of_each or 'all'} | {way} | {accuracy} "
                f"| {seconds:.0f} | {goal} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *ROWS], default=[])
    parser.add_argument("--draws", type=int, help="in place of 5 or 3")
    parser.add_argument("--tested", type=int, help="test pictures, in place of 10,000")
    parser.add_argument("--minutes", type=float, help="of training, in place of epochs")
    parser.add_argument(
        "--ways",
        nargs="+",
        choices=WAYS,
        help="only these; what is known of others stays",
    )
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--table", action="store_true", help="print, run nothing")
    given = parser.parse_args()
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if given.table:
        print(table(kept))
        return
    cs.execution.keep_freed_memory()
    for name in given.names or ROWS:
        row = ROWS[name]
        if given.tested is not None:
            row = replace(row, tested=given.tested)
        if given.minutes is not None:
            row = replace(row, changes={**row.changes, "minutes": given.minutes})
        data = cs.data.load(row.data, validation=0)
        entry: dict[str, Any] = {
            "machine": machine(), "tested": row.tested, **row.changes, "ways": {}
        }  # fmt: skip
        if given.ways:
            entry["ways"].update(kept.get(name, {}).get("ways", {}))
        for way in given.ways or row.ways:
            entry["ways"][way] = [
                measure(row, data, way, seed)
                for seed in range(given.draws or row.draws)
            ]
            print(table({name: entry}).splitlines()[-1], flush=True)
            if given.keep:
                # What another run has kept meanwhile stays.
                kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
                kept[name] = entry
                RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
