"""Norms: a mean and a deviation, where they are from, scale and shift."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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


def _running(
    site: Site, flag: str, usual: bool
) -> tuple[Any, Any, Any, Any, float, bool]:
    """Mean, variance, weight, bias, eps, and whether the input's own moments count.

    Args:
        site: A module with running averages, or the function with its arguments.
        flag: The function's argument for the last.
        usual: Its default.
    """
    module = site.module
    if module is None:
        moments = (site.argument(1, "running_mean"), site.argument(2, "running_var"))
        scale = (site.argument(3, "weight"), site.argument(4, "bias"))
        own = site.argument(5, flag, usual)
        return (*moments, *scale, site.argument(7, "eps", 1e-5), own)
    mean = module.running_mean
    return (
        mean, module.running_var, module.weight, module.bias, module.eps,
        site.training or mean is None,
    )  # fmt: skip


def _batch(site: Site) -> Detail | None:
    channel = site.index[1]
    mean, variance, weight, bias, eps, of_batch = _running(site, "training", False)
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
    mean, variance, weight, bias, eps, of_map = _running(site, "use_input_stats", True)
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
)  # fmt: skip
