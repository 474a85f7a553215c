"""``GradientExplanation``: a gradient, and the products it is a sum of."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope.analysis.explaining.site import Array, Index, place_text, shown
from convscope.analysis.explaining.slope import Places

TERMS = 12  # that are written out


@dataclass(frozen=True, eq=False)
class GradientPart:
    """What comes back through one call: upstream times local, for each output.

    Attributes:
        label: The call, as `capture` names it.
        kind: As one would write it.
        what: What the local slope is, in words.
        outputs: Indices of the outputs that use the number, (terms, axes).
        upstream: Gradient of the target at each of them.
        local: How much each of them changes with the number.
        parts: Where a slope is a sum, what it is made of, by name.
        units: By how many rounding units a slope may be off besides its own.
    """

    label: str
    kind: str
    what: str
    outputs: Places
    upstream: Array
    local: Array
    parts: dict[str, Array]
    units: float = 0.0

    @property
    def products(self) -> Array:
        """Upstream times local."""
        return self.upstream * self.local

    @property
    def value(self) -> float:
        """Their sum."""
        return math.fsum(self.products)

    @property
    def size(self) -> float:
        """What rounding is in proportion to: products without their signs."""
        if self.parts:
            each = [np.abs(self.upstream * part).sum() for part in self.parts.values()]
            return float(sum(each))
        largest = 0.0
        if len(self.local):
            largest = float(np.abs(self.upstream).max() * np.abs(self.local).max())
        doubt = self.units * float(np.abs(self.upstream).sum())
        return float(np.abs(self.products).sum()) + largest + doubt

    @property
    def lines(self) -> tuple[str, ...]:
        """The largest products, and the rest in one."""
        name = self.label or "the network"
        many = len(self.local)
        times = "1 output uses it" if many == 1 else f"{many} outputs use it"
        lines = [f"through {name} = {self.kind}: {times}", f"local slope: {self.what}"]
        order = np.argsort(-np.abs(self.products), kind="stable")[:TERMS]
        for at in sorted(order.tolist()):
            place = place_text(self.outputs[at].tolist())
            lines.append(
                f"{place}: {shown(self.upstream[at])} x {shown(self.local[at])} = "
                f"{shown(self.products[at])}"
            )
        if many > TERMS:
            rest = self.value - math.fsum(self.products[order])
            lines.append(f"the other {many - TERMS}: {shown(rest)}")
        for part, values in self.parts.items():
            lines.append(f"{part}: {shown(math.fsum(self.upstream * values))}")
        return tuple(lines)

    def to_dict(self) -> dict[str, Any]:
        """Arrays as lists."""
        return {
            "label": self.label,
            "kind": self.kind,
            "what": self.what,
            "outputs": self.outputs.tolist(),
            "upstream": self.upstream.tolist(),
            "local": self.local.tolist(),
            "products": self.products.tolist(),
            "parts": {name: values.tolist() for name, values in self.parts.items()},
            "value": self.value,
        }


@dataclass(frozen=True, eq=False, repr=False)
class GradientExplanation:
    """Why a gradient is what it is; ``str`` gives the lines.

    Attributes:
        of: The parameter, or the layer whose input it is.
        index: The element.
        target: What the gradient is of, in words.
        parts: What comes back through each call that uses the number.
        network_value: The gradient as autograd gives it.
        unit: Rounding unit of the network's arithmetic.
        is_parameter: Whether ``of`` is a parameter.
        notes: What is not as one would expect.
    """

    of: str
    index: Index
    target: str
    parts: tuple[GradientPart, ...]
    network_value: float
    unit: float
    is_parameter: bool
    notes: tuple[str, ...] = ()

    @property
    def value(self) -> float:
        """The sum of all products, by us in float64."""
        return math.fsum(part.value for part in self.parts)

    @property
    def tolerance(self) -> float:
        """What rounding can make of it: autograd's lies within.

        A unit for each of n products that are added up, and some for the slope.
        """
        terms = sum(len(part.local) for part in self.parts) + 64
        return terms * self.unit * sum(part.size for part in self.parts)

    @property
    def lines(self) -> tuple[str, ...]:
        """Products by call, and their sum; the last has the number."""
        where = f"{self.of}[{', '.join(map(str, self.index))}]"
        if not self.is_parameter:
            where = (
                f"the input of {self.of or 'the network'} at {place_text(self.index)}"
            )
        lines = [f"gradient of {self.target} at {where}: upstream x local"]
        for part in self.parts:
            lines += part.lines
        lines.append(f"sum = {shown(self.value)}")
        return tuple(lines)

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "of": self.of,
            "index": list(self.index),
            "target": self.target,
            "value": self.value,
            "network_value": self.network_value,
            "tolerance": self.tolerance,
            "parts": [part.to_dict() for part in self.parts],
            "lines": list(self.lines),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return "\n".join([*self.lines, *(f"- {note}" for note in self.notes)])

    def __repr__(self) -> str:
        return f"GradientExplanation({self.of}, {shown(self.value)})"
