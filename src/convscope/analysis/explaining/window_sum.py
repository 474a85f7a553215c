"""A window times a kernel, added up: convolution, linear, pooling by sums."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np

from convscope.analysis.explaining.site import Array, Index, Source, added, shown

TAPS = 49  # of one channel that are written out
CHANNELS = 16  # that have a line of their own


@dataclass(frozen=True, eq=False)
class WindowSum:
    """Products of a patch and a kernel, their sums by channel, and the bias.

    Attributes:
        what: The operation in words.
        patch: What lies under the kernel, (channels, *taps); padding as it counts.
        kernel: What it is multiplied by, of the same shape.
        inside: Which taps lie on the input, of the same shape; the rest is padding, or
            no element reaches the output through them.
        window: For each axis of space, the element of the layer's input under each tap;
            None on padding that repeats no element.
        channels: Which channels of the input they are.
        bias: What is added; None if the layer has none.
        scale: What the sum is multiplied by before: 1 but in partial convolution and
            trained subsampling.
        scale_text: Where that comes from.
        unit: Rounding unit of the network's arithmetic.
    """

    what: str
    patch: Array
    kernel: Array
    inside: "np.ndarray[Any, np.dtype[np.bool_]]"
    window: tuple[tuple[int | None, ...], ...]
    channels: tuple[int, ...]
    bias: float | None
    unit: float
    scale: float = 1.0
    scale_text: str = ""

    @property
    def products(self) -> Array:
        """Patch times kernel, element by element."""
        return self.patch * self.kernel

    @property
    def sums(self) -> Array:
        """Products added up, channel by channel."""
        made: Array = np.array([math.fsum(one.flat) for one in self.products])
        return made

    @property
    def total(self) -> float:
        """All products added up."""
        return math.fsum(self.products.flat)

    @property
    def value(self) -> float:
        """The number."""
        return self.total * self.scale + (self.bias or 0.0)

    @property
    def tolerance(self) -> float:
        """Each of n roundings errs by at most the unit of what has been added up.

        ``(n + 4) unit (sum |products| scale + |bias|)`` holds for any order of adding
        (Higham 2002, section 4.2).
        """
        size = float(np.abs(self.products).sum()) * abs(self.scale)
        terms = int(np.count_nonzero(self.kernel)) + 4
        return terms * self.unit * (size + abs(self.bias or 0.0))

    @property
    def follows(self) -> Source | None:
        """None: it was made from many."""
        return None

    @property
    def sources(self) -> tuple[tuple[Index, float], ...]:
        """Each element of the layer's input that it reads, and what it counts for."""
        found = []
        for at, channel in enumerate(self.channels):
            for taps in product(*(range(len(axis)) for axis in self.window)):
                place = tuple(a[t] for a, t in zip(self.window, taps, strict=True))
                weight = float(self.kernel[(at, *taps)])
                if self.inside[(at, *taps)] and None not in place:
                    spot = tuple(int(p) for p in place if p is not None)
                    found.append(((channel, *spot), weight * self.scale))
        return tuple(found)

    @property
    def lines(self) -> tuple[str, ...]:
        """Products, sums by channel, bias."""
        return tuple(self._lines())

    def _lines(self) -> list[str]:
        where = [_axis_text(axis) for axis in self.window]
        lines = [self.what + (f": window {' x '.join(where)}" if where else "")]
        if not self.inside.all() and self.window:
            lines.append("[ ] is padding")
        sums = self.sums
        many = len(sums) > CHANNELS and self.patch[0].size > 1
        largest = np.argsort(-np.abs(sums), kind="stable")[: CHANNELS // 2]
        chosen = sorted(largest.tolist()) if many else range(len(sums))
        if self.patch[0].size == 1 and len(sums) > 1:  # as in a linear layer
            lines.append(self._products(slice(None)) + f" = {shown(self.total)}")
        else:
            for at in chosen:
                text = self._products(at)
                name = f"channel {self.channels[at]}: "
                lines.append(f"{name}{text} = {shown(sums[at])}")
            if many:
                rest = [s for at, s in enumerate(sums) if at not in chosen]
                together = shown(math.fsum(rest))
                lines.append(f"the other {len(rest)} channels: {together}")
            if len(sums) > 1:
                few = [float(sums[at]) for at in chosen]
                few += [math.fsum(rest)] if many else []
                text = added(few, CHANNELS + 1)
                lines.append(f"sum of channels: {text} = {shown(self.total)}")
        now = self.total
        if self.scale != 1.0 or self.scale_text:
            lines.append(
                f"{self.scale_text}: {shown(now)} x {shown(self.scale)} = "
                f"{shown(now * self.scale)}"
            )
            now *= self.scale
        if self.bias is not None:
            lines.append(f"bias: {added([now, self.bias])} = {shown(self.value)}")
        return lines

    def _products(self, at: Any) -> str:
        """``0.5*2 + [0]*1 + ...``, padding in brackets."""
        values, taps = self.patch[at].ravel(), self.kernel[at].ravel()
        inside = self.inside[at].ravel()
        order = range(len(values))
        left = 0.0
        if len(values) > TAPS:
            size = np.abs(self.products[at].ravel())
            order = sorted(np.argsort(-size, kind="stable")[: TAPS // 4].tolist())  # type: ignore[assignment]
            kept = math.fsum(self.products[at].ravel()[list(order)])
            left = math.fsum(self.products[at].flat) - kept
        parts = []
        for tap in order:
            value = shown(values[tap]) if inside[tap] else f"[{shown(values[tap])}]"
            parts.append(f"{value}*{shown(taps[tap])}")
        if len(values) > TAPS:
            parts.append(f"({len(values) - len(parts)} smaller: {shown(left)})")
        return " + ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Arrays as nested lists."""
        return {
            "operation": self.what,
            "window": [list(axis) for axis in self.window],
            "channels": list(self.channels),
            "patch": self.patch.tolist(),
            "kernel": self.kernel.tolist(),
            "inside": self.inside.tolist(),
            "products": self.products.tolist(),
            "sums": self.sums.tolist(),
            "scale": self.scale,
            "bias": self.bias,
        }


def _axis_text(axis: Sequence[int | None]) -> str:
    """Elements of one axis as a span: ``3-7``, ``0-4 step 2``."""
    there = [place for place in axis if place is not None]
    if not there:
        return "(padding)"
    text = f"{min(there)}-{max(there)}" if len(set(there)) > 1 else str(there[0])
    step = {b - a for a, b in pairwise(there)}
    if len(step) == 1 and (only := step.pop()) > 1:
        text += f" step {only}"
    return text
