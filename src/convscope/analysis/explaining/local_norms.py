"""Local response norm and local contrast norm: a value against its surroundings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from convscope.analysis.explaining.site import (
    Array,
    Detail,
    Index,
    Rule,
    Site,
    Source,
    one,
    shown,
    wide,
)
from convscope.arithmetic import border_element
from convscope.functional.filters import gaussian_taps


@dataclass(frozen=True, eq=False)
class Divided:
    """A value, what is subtracted from it and what it is divided by.

    Attributes:
        what: The operation in words.
        x: The value.
        subtracted: The mean around it; 0 where nothing is subtracted.
        divisor: What the rest is divided by.
        texts: How both came about, a line each.
        source: The element of the layer's input.
        tolerance: What the network's own may differ by.
    """

    what: str
    x: float
    subtracted: float
    divisor: float
    texts: tuple[str, ...]
    source: Index
    tolerance: float

    @property
    def value(self) -> float:
        """The number; 0 where the divisor is."""
        rest = self.x - self.subtracted
        return rest / self.divisor if self.divisor else 0.0

    @property
    def follows(self) -> Source | None:
        """What was normalized."""
        return 0, self.source

    @property
    def lines(self) -> tuple[str, ...]:
        """Mean and divisor, and the quotient."""
        top = shown(self.x)
        if self.subtracted:
            top = f"({top} - {shown(self.subtracted)})"
        last = f"{top} / {shown(self.divisor)} = {shown(self.value)}"
        return (f"{self.what}:", *self.texts, last)

    def to_dict(self) -> dict[str, Any]:
        """Numbers by name."""
        return {
            "operation": self.what,
            "x": self.x,
            "subtracted": self.subtracted,
            "divisor": self.divisor,
            "texts": list(self.texts),
        }


def _response(site: Site) -> Detail | None:
    settings = [("size", 5), ("alpha", 1e-4), ("beta", 0.75), ("k", 1.0)]
    size, alpha, beta, k = (
        site.setting(place, name, default)
        for place, (name, default) in enumerate(settings, start=1)
    )
    axes = getattr(site.module, "axes", None)
    batched = 1 if axes is None else site.x.ndim - axes - 1
    channel, channels = site.index[batched], site.x.shape[batched]
    first, last = max(0, channel - size // 2), min(channels, channel + (size + 1) // 2)
    lead, rest = site.index[:batched], site.index[batched + 1 :]
    values = [one(site.x, (*lead, c, *rest)) for c in range(first, last)]
    squares = math.fsum(v * v for v in values)
    factor = alpha / size if getattr(site.module, "average", True) else alpha
    base = k + factor * squares
    x = one(site.x, site.index)
    divisor = base**beta
    tolerance = (size + 16 * max(1.0, abs(beta))) * site.unit * abs(x / divisor)
    text = (
        f"maps {first}-{last - 1} at this place: squares add up to {shown(squares)}",
        f"({shown(k)} + {shown(factor)} x {shown(squares)})^{beta:g} = "
        f"{shown(divisor)}",
    )
    return Divided("local response norm", x, 0.0, divisor, text, site.index, tolerance)


def _contrast(site: Site) -> Detail | None:
    module = site.module
    axes = module.axes
    lead = site.index[: -axes - 1]
    maps = wide(site.x[lead])
    matrices = [
        _blur(size, module.kernel_size[a], module.sigma[a], module.padding_mode)
        for a, size in enumerate(maps.shape[1:])
    ]

    def blurred(values: Array) -> Array:
        return reduce(
            lambda v, a: np.moveaxis(np.tensordot(matrices[a], v, (1, a)), 0, a),
            range(axes),
            values,
        )

    place = site.index[-axes:]
    x, mean = one(site.x, site.index), np.zeros(maps.shape[1:])
    texts = []
    if module.subtractive:
        mean = blurred(maps.mean(0))
        texts.append(
            f"mean of all maps under the Gaussian window: {shown(float(mean[place]))}"
        )
    left, divisor = maps - mean, 1.0
    if module.divisive:
        deviation = np.sqrt(np.maximum(blurred((left**2).mean(0)), 0.0))
        floor = module.threshold
        floor = float(deviation.mean()) if floor == "mean" else float(floor)
        own = float(deviation[place])
        divisor = max(own, floor)
        texts.append(
            f"deviation under the window {shown(own)}, at least {shown(floor)}: "
            f"divided by {shown(divisor)}"
        )
    # Each blur adds up one axis after the other; in float32 all of it errs by so much.
    terms = 4 * sum(maps.shape[1:]) + maps.shape[0] + 32
    largest = float(np.abs(maps).max()) + float(np.abs(mean).max())
    ratio = 1 + abs(x - float(mean[place])) / (divisor or 1.0)
    tolerance = terms * site.unit * largest / (divisor or 1.0) * ratio
    return Divided(
        "local contrast norm", x, float(mean[place]), divisor, tuple(texts), site.index,
        tolerance,
    )  # fmt: skip


def _blur(size: int, taps: int, sigma: float, mode: Any) -> Array:
    """What a Gaussian window sees of an axis, one row for each place."""
    weights = wide(gaussian_taps(taps, sigma))
    matrix = np.zeros((size, size))
    for place in range(size):
        for tap, weight in enumerate(weights):
            spot = place - (taps - 1) // 2 + tap
            border: Any = "zeros" if mode == "partial" else mode
            seen = border_element(spot, size, border)
            if seen is not None:
                matrix[place, seen] += weight
    return matrix / matrix.sum(1, keepdims=True) if mode == "partial" else matrix


def _each(name: str) -> Sequence[str]:
    return [f"{name}{axes}d" for axes in (1, 2, 3)]


RULES = (
    Rule(
        "local response norm", _response,
        ["LocalResponseNorm", *_each("LocalResponseNorm")], ["local_response_norm"],
    ),
    Rule("local contrast norm", _contrast, _each("LocalContrastNorm")),
)  # fmt: skip
