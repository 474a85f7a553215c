"""Operations that act along each axis by itself, found by trying them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope.arithmetic import adaptive_windows
from convscope.serve.portable.program import Array, Operation

OUTSIDE = None  # an offset that leads to no element


class UnlikeError(Exception):
    """An operation is not of the expected form."""


def gathered(table: Array, start: int, fill: float) -> Operation:
    """Where each element comes from, as a base and one offset per axis.

    Args:
        table: For each element of the result its place in the source, -1 for ``fill``.
        start: The value that is the source.
        fill: What stands where nothing comes from the source.

    Raises:
        UnlikeError: The places are no such sum.
    """
    there = table >= 0
    if not there.any():
        raise UnlikeError
    axes: list[list[int | None]] = []
    at = np.unravel_index(int(there.argmax()), table.shape)
    base = int(table[at])
    total = np.full(table.shape, base, np.int64)
    known = np.ones(table.shape, bool)
    for axis, length in enumerate(table.shape):
        line = np.moveaxis(table, axis, -1)[tuple(np.delete(at, axis))]
        shape = [length if one == axis else 1 for one in range(table.ndim)]
        known &= (line >= 0).reshape(shape)
        total += (line - base).reshape(shape)
        axes.append([int(p) - base if p >= 0 else OUTSIDE for p in line])
    if not (np.where(known, total, -1) == table).all():
        raise UnlikeError
    return {"op": "gather", "in": [start], "base": base, "axes": axes, "fill": fill,
            "shape": list(table.shape)}  # fmt: skip


def weighted(call: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> Operation:
    """The weights of a sum along each axis of space.

    Args:
        call: The operation.
        shape: Of what it takes, (1, C, *space).

    Raises:
        UnlikeError: It is no product of sums along axes.
    """
    one = (1, 1, *shape[2:])
    total = call(torch.ones(one, dtype=torch.float64))
    if total.ndim != len(shape):
        raise UnlikeError
    best = np.unravel_index(int(total.abs().argmax()), total.shape)
    scale = float(total.numpy()[best])
    if not scale:
        raise UnlikeError
    found: list[dict[str, Any]] = []
    rest = scale
    for axis in range(2, len(shape)):
        rows = np.zeros((total.shape[axis], shape[axis]))
        for place in range(shape[axis]):
            x = torch.zeros(one, dtype=torch.float64)
            x.select(axis, place).fill_(1)
            made = np.moveaxis(call(x).numpy(), axis, -1)
            rows[:, place] = made[tuple(np.delete(best, axis))]
        if axis > 2:
            rows /= rest
        found.append(_rows(rows))
    return {"op": "axes", "taps": found, "shape": [1, shape[1], *total.shape[2:]]}


def _rows(rows: Array) -> dict[str, Any]:
    """Only what is not 0: where each row begins, and which weights it has."""
    first, weights = [], []
    different: dict[tuple[float, ...], int] = {}
    for row in rows:
        there = np.flatnonzero(np.abs(row) > 1e-12)
        begin, end = (there[0], there[-1] + 1) if there.size else (0, 1)
        kept = tuple(float(w) for w in row[begin:end])
        first.append(int(begin))
        weights.append(different.setdefault(kept, len(different)))
    return {"first": first, "row": weights, "rows": [list(one) for one in different]}


def sliding(
    taken: Any, given: Any, kernel: Any, stride: Any, padding: Any, dilation: Any
) -> list[dict[str, Any]]:
    """Where the windows of a max pooling begin and end, on the input alone.

    Args:
        taken: Shape of what it takes.
        given: Shape of what it gives.
        kernel: For each axis of space.
        stride: The same, or one for all axes; so are the rest.
        padding: At each end.
        dilation: Steps from tap to tap.
    """
    axes = len(kernel)
    each = [
        list(v) * (axes // len(v)) if isinstance(v, list | tuple) else [v] * axes
        for v in (kernel, stride, padding, dilation)
    ]
    taps = []
    for axis, (k, s, p, d) in enumerate(zip(*each, strict=True), -axes):
        begins = [o * s - p for o in range(given[axis])]
        first = [b + d * max(0, -(b // d)) if b < 0 else b for b in begins]
        last = [
            f + (min(b + (k - 1) * d, taken[axis] - 1) - f) // d * d
            for f, b in zip(first, begins, strict=True)
        ]
        taps.append({"first": first, "last": last, "step": d})
    return taps


def adaptive(taken: Any, outputs: Any) -> list[dict[str, Any]]:
    """The same of an adaptive pooling, for the sizes that it gives."""
    windows = [
        adaptive_windows(size, count)
        for size, count in zip(taken[-len(outputs) :], outputs, strict=True)
    ]
    return [
        {
            "first": [one[0] for one in axis],
            "last": [one[-1] for one in axis],
            "step": 1,
        }
        for axis in windows
    ]
