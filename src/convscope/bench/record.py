"""A race as a record that can be kept, and as a table that can be read."""

import statistics
from dataclasses import asdict
from typing import Any

import torch

from convscope.bench.job import Job, Result
from convscope.bench.limits import matrix_product_limit, memory_bandwidth
from convscope.bench.machine import machine
from convscope.bench.networks import work

Record = dict[str, Any]


def record(job: Job, results: list[Result]) -> Record:
    """Everything that was measured, with what it was measured on.

    Ratios are medians over the turns, each entrant's time beside PyTorch's of the same
    turn, so that a machine that gets slower does not favor anybody. ``share`` is of
    the speed at which this machine multiplies float32 matrices with as many threads.
    """
    by_name = {result.name: result for result in results}
    base = by_name["PyTorch"]
    limit = matrix_product_limit(torch.float32, job.threads)
    operations, moved = work(job)
    rows = []
    for result in results:
        row: Record = asdict(result)
        if result.seconds:
            row |= {
                "microseconds_per_image": result.median * 1e6 / job.batch,
                "spread_microseconds": spread(result.seconds) * 1e6 / job.batch,
                "ratio": ratio(base.seconds, result.seconds),
                "share_of_limit": operations / result.median / limit,
            }
        rows.append(row)
    return {
        "job": asdict(job),
        "machine": machine(),
        "limit_operations_per_second": limit,
        "limit_bytes_per_second": memory_bandwidth(job.threads),
        "operations_per_step": operations,
        "bytes_per_step": moved,
        "results": rows,
    }


def spread(values: list[float]) -> float:
    """Half the distance between the quartiles."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2


def ratio(base: list[float], ours: list[float]) -> float:
    """How many times faster than the base, the median over the turns."""
    if not base:
        return float("nan")
    return statistics.median(b / o for b, o in zip(base, ours, strict=True))


def table(kept: Record) -> str:
    """The rows of a record, aligned; fastest first, the absent last.

    >>> row = {"name": "PyTorch", "absent": "", "seconds": [1.0], "difference": 0.0,
    ...        "microseconds_per_image": 9.5, "spread_microseconds": 0.25, "ratio": 1,
    ...        "share_of_limit": 0.125, "memory_bytes": 5_000_000}
    >>> print(table({"results": [row]}))
                  us/image        x   limit   memory    differs
    PyTorch    9.5 ±  0.2     1.00   12.5%     5 MB    0.0e+00
    """
    took_part = [row for row in kept["results"] if not row["absent"]]
    absent = [row for row in kept["results"] if row["absent"]]
    took_part.sort(key=lambda row: row["microseconds_per_image"])
    width = max(len(row["name"]) for row in kept["results"])
    lines = [f"{'':{width}}  {'us/image':>13} {'x':>8} {'limit':>7} {'memory':>8}"]
    lines[0] += f" {'differs':>10}"
    for row in took_part:
        lines.append(
            f"{row['name']:{width}} {row['microseconds_per_image']:>6.1f} ± "
            f"{row['spread_microseconds']:>4.1f} {row['ratio']:>8.2f} "
            f"{row['share_of_limit']:>7.1%} {row['memory_bytes'] / 1e6:>5.0f} MB "
            f"{row['difference']:>10.1e}"
        )
    lines += [f"{row['name']:{width}}  {row['absent']}" for row in absent]
    return "\n".join(lines)
