"""A number made from few numbers by a formula."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from convscope.analysis.explaining.site import Site, Source, shown

Made: TypeAlias = tuple[float, str]
"""A number, and the formula with its numbers."""


@dataclass(frozen=True, eq=False)
class Formula:
    """A number made from few by a formula.

    Attributes:
        what: The operation in words.
        text: The formula with its numbers.
        value: The number.
        tolerance: What the network's own may differ by.
        follows: The element that it goes back to: the first operand.
        operands: The numbers, in order.
    """

    what: str
    text: str
    value: float
    tolerance: float
    follows: Source | None
    operands: tuple[float, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """The formula."""
        return (f"{self.what}: {self.text} = {shown(self.value)}",)

    def to_dict(self) -> dict[str, Any]:
        """Numbers by name."""
        return {
            "operation": self.what,
            "text": self.text,
            "operands": list(self.operands),
        }


def nan_or(call: Callable[[float], float]) -> Callable[[float], float]:
    """What torch gives where Python refuses."""

    def safe(x: float) -> float:
        try:
            return call(x)
        except OverflowError:
            return math.inf
        except (ValueError, ZeroDivisionError):
            return math.nan

    return safe


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), without overflow."""
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    return math.exp(x) / (1 + math.exp(x))


def of_one(
    site: Site, name: str, value: float, text: str, x: float, *others: float
) -> Formula:
    """Of one element of the first input, within some roundings of its size."""
    size = max(abs(x), abs(value), *map(abs, others), 0.0)
    steps = 0.0 if value in (x, 0.0, *others) and name in _COPYING else 16.0
    return Formula(
        name, text, value, steps * site.unit * size, (0, site.index), (x, *others)
    )


_COPYING = ("ReLU", "ReLU6", "threshold", "hard shrink", "absolute value", "negative")
