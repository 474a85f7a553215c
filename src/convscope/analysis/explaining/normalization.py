"""Norms: a mean and a deviation, where they are from, scale and shift."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
class Normalized:
    """``(x - mean) / sqrt(variance + eps) * weight + bias``.

    Attributes:
        what: The operation in words.
        x: What is normalized.
        mean: What is subtracted; 0 where nothing is.
        variance: Mean square of what is left.
        eps: What is added to it.
        weight: The scale; None if there is none.
        bias: The shift; None if there is none.
        statistics: Where mean and variance are from.
        values: How many values they are over; 0 for running averages.
        source: The element of the layer's input.
        unit: Rounding unit of the network's arithmetic.
    """

    what: str
    x: float
    mean: float
    variance: float
    eps: float
    weight: float | None
    bias: float | None
    statistics: str
    values: int
    source: Index
    unit: float

    @property
    def scale(self) -> float:
        """What the difference to the mean is multiplied by."""
        return (1.0 if self.weight is None else self.weight) / self._deviation

    @property
    def _deviation(self) -> float:
        return math.sqrt(self.variance + self.eps)

    @property
    def value(self) -> float:
        """The number."""
        return (self.x - self.mean) * self.scale + (self.bias or 0.0)

    @property
    def tolerance(self) -> float:
        """Roundings of the formula, and of mean and variance added up in a tree.

        The latter err by about ``log2 n`` units of what is added up: of ``|mean| +
        deviation``, and of the variance with the squared mean that it is freed of.
        """
        terms = 8 + (math.log2(self.values) + 8 if self.values else 0)
        spread = abs(self.scale) * (abs(self.x) + abs(self.mean) + self._deviation)
        ratio = 1 + self.mean**2 / (self.variance + self.eps)
        centered = abs((self.x - self.mean) * self.scale)
        more = centered * ratio if self.values else 0.0
        return terms * self.unit * (spread + more + abs(self.bias or 0.0))

    @property
    def follows(self) -> Source | None:
        """What was normalized."""
        return 0, self.source

    @property
    def lines(self) -> tuple[str, ...]:
        """Mean, deviation, scale and shift."""
        lines = [
            f"{self.what}: mean {shown(self.mean)}, variance {shown(self.variance)} "
            f"({self.statistics})"
        ]
        centered = self.x - self.mean
        now = centered / self._deviation
        lines.append(
            f"({shown(self.x)} - {shown(self.mean)}) / sqrt({shown(self.variance)} + "
            f"{shown(self.eps)}) = {shown(now)}"
        )
        if self.weight is not None or self.bias is not None:
            scale = 1.0 if self.weight is None else self.weight
            lines.append(
                f"scale and shift: {shown(now)} x {shown(scale)} + "
                f"{shown(self.bias or 0.0)} = {shown(self.value)}"
            )
        return tuple(lines)

    def to_dict(self) -> dict[str, Any]:
        """Numbers by name."""
        names = ("x", "mean", "variance", "eps", "weight", "bias", "statistics")
        found = {name: getattr(self, name) for name in (*names, "values")}
        return {"operation": self.what, **found}


def _arguments(site: Site, names: Sequence[str]) -> list[Any]:
    return [site.argument(place, name) for place, name in enumerate(names, start=1)]


def _batch(site: Site) -> Detail | None:
    module, channel = site.module, site.index[1]
    if module is None:
        mean, variance = (
            site.argument(1, "running_mean"),
            site.argument(2, "running_var"),
        )
        weight, bias = site.argument(3, "weight"), site.argument(4, "bias")
        of_batch, eps = (
            site.argument(5, "training", False),
            site.argument(7, "eps", 1e-5),
        )
    else:
        mean, variance, eps = module.running_mean, module.running_var, module.eps
        weight, bias = module.weight, module.bias
        of_batch = site.training or mean is None
    if not of_batch:
        return _made(
            site, "batch norm", (one(mean, (channel,)), one(variance, (channel,))),
            eps, weight, bias, "running averages", 0,
        )  # fmt: skip
    values = wide(site.x)[:, channel]
    return _made(
        site, "batch norm", _moments(values), eps, weight, bias,
        f"of this batch, {values.size} values", values.size,
    )  # fmt: skip


def _instance(site: Site) -> Detail | None:
    module = site.module
    if module is None:
        mean, variance = (
            site.argument(1, "running_mean"),
            site.argument(2, "running_var"),
        )
        weight, bias = site.argument(3, "weight"), site.argument(4, "bias")
        of_map, eps = (
            site.argument(5, "use_input_stats", True),
            site.argument(7, "eps", 1e-5),
        )
    else:
        mean, variance, eps = module.running_mean, module.running_var, module.eps
        weight, bias = module.weight, module.bias
        of_map = site.training or mean is None
    batched = site.index if _is_batched(site) else (0, *site.index)
    channel = batched[1]
    if not of_map:
        found = one(mean, (channel,)), one(variance, (channel,))
        return _made(
            site,
            "instance norm",
            found,
            eps,
            weight,
            bias,
            "running averages",
            0,
            channel,
        )
    values = wide(site.x)[site.index[: len(site.index) - len(batched) + 2]]
    return _made(
        site, "instance norm", _moments(values), eps, weight, bias,
        f"of this map, {values.size} values", values.size, (channel,),
    )  # fmt: skip


def _is_batched(site: Site) -> bool:
    """Whether a map of an instance norm has a batch axis."""
    name = type(site.module).__name__ if site.module is not None else ""
    axes = int(name[-2]) if name[-2:-1].isdigit() else site.x.ndim - 2
    return site.x.ndim == axes + 2


def _group(site: Site) -> Detail | None:
    module = site.module
    groups = site.setting(1, "num_groups")
    weight = site.argument(2, "weight") if module is None else module.weight
    bias = site.argument(3, "bias") if module is None else module.bias
    eps = site.argument(4, "eps", 1e-5) if module is None else module.eps
    image, channel = site.index[0], site.index[1]
    each = site.x.shape[1] // groups
    group = channel // each
    values = wide(site.x[image])[group * each : (group + 1) * each]
    return _made(
        site, "group norm", _moments(values), eps, weight, bias,
        f"of group {group} of {groups}, {values.size} values", values.size,
    )  # fmt: skip


def _layer(site: Site) -> Detail | None:
    return _over_last(site, "layer norm")


def _root_mean_square(site: Site) -> Detail | None:
    return _over_last(site, "RMS norm")


def _over_last(site: Site, what: str) -> Detail | None:
    module, shape = site.module, tuple(site.setting(1, "normalized_shape"))
    weight = site.argument(2, "weight") if module is None else module.weight
    centered = what == "layer norm"
    bias = None
    if centered:
        bias = site.argument(3, "bias") if module is None else module.bias
    eps = site.setting(4 if centered else 3, "eps", 1e-5 if centered else None)
    if eps is None:
        eps = torch.finfo(site.x.dtype).eps
    lead = site.index[: site.x.ndim - len(shape)]
    values = wide(site.x[lead])
    moments = _moments(values) if centered else (0.0, float((values**2).mean()))
    return _made(
        site, what, moments, eps, weight, bias, f"of {values.size} values", values.size,
        site.index[len(lead) :],
    )  # fmt: skip


def _moments(values: Array) -> tuple[float, float]:
    mean = math.fsum(values.flat) / values.size
    return mean, math.fsum(((values - mean) ** 2).flat) / values.size


def _made(
    site: Site,
    what: str,
    moments: tuple[float, float],
    eps: float,
    weight: Tensor | None,
    bias: Tensor | None,
    statistics: str,
    values: int,
    place: Any = None,
) -> Normalized:
    at: Index = site.index[1:2] if place is None else place
    return Normalized(
        what,
        one(site.x, site.index),
        *moments,
        float(eps),
        None if weight is None else one(weight, at),
        None if bias is None else one(bias, at),
        statistics,
        values,
        site.index,
        site.unit,
    )


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
        "batch norm", _batch, [*_each("BatchNorm"), "SyncBatchNorm"], ["batch_norm"]
    ),
    Rule("instance norm", _instance, _each("InstanceNorm"), ["instance_norm"]),
    Rule("group norm", _group, ["GroupNorm"], ["group_norm"]),
    Rule("layer norm", _layer, ["LayerNorm"], ["layer_norm"]),
    Rule("RMS norm", _root_mean_square, ["RMSNorm"], ["rms_norm"]),
    Rule(
        "local response norm", _response,
        ["LocalResponseNorm", *_each("LocalResponseNorm")], ["local_response_norm"],
    ),
    Rule("local contrast norm", _contrast, _each("LocalContrastNorm")),
)  # fmt: skip
