"""Slopes of pooling and batch norm: winners, shares, and what the batch passes on."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from convscope.analysis.explaining.normalization import Normalized
from convscope.analysis.explaining.pooling import Winner
from convscope.analysis.explaining.registry import rule_of
from convscope.analysis.explaining.site import Array, Index, Site, wide
from convscope.analysis.explaining.slope import (
    Places,
    Slopes,
    Variable,
    at,
    listed,
)
from convscope.analysis.explaining.window_sum import WindowSum


def pooling(site: Site, variable: Variable) -> Slopes | None:
    """Each window that the element lies in: whether it wins, or its share."""
    rule = rule_of(site.call)
    if rule is None or variable.number != 0:
        return None
    axes = _space(site)
    lead, place = variable.index[:-axes], variable.index[-axes:]
    sizes = site.output.shape[-axes:] if site.output.ndim == site.x.ndim else ()
    rows: list[list[int]] = []
    for axis, size in enumerate(sizes):
        found = []
        for output in range(size):
            spot = [0] * len(sizes)
            spot[axis] = output
            detail = rule.explain(at(site, (*lead, *spot)))
            if not isinstance(detail, Winner | WindowSum):
                return None
            if place[axis] in detail.window[axis]:
                found.append(output)
        rows.append(found)
    outputs: list[Index] = []
    values: list[float] = []
    wins = False
    for spot_of in product(*rows):
        index = (*lead, *spot_of)
        detail = rule.explain(at(site, index))
        if isinstance(detail, Winner):
            wins = True
            values.append(float(detail.source == variable.index))
        elif isinstance(detail, WindowSum):
            own = variable.index[-axes - 1 :]
            values.append(math.fsum(w for p, w in detail.sources if p == own))
        else:
            return None
        outputs.append(index)
    what = "1 where it is the winner, else 0" if wins else "its share of the window"
    return listed(what, outputs, values, site.output.ndim)


def _space(site: Site) -> int:
    if site.module is not None:
        name = type(site.module).__name__
        axes: int = getattr(site.module, "axes", 0) or int(name[-2])
        return axes
    return next(int(c) for c in site.call.name if c.isdigit())


def batch_norm(site: Site, variable: Variable) -> Slopes | None:
    """Through a batch norm: to its input, its weight or its bias."""
    rule = rule_of(site.call)
    if rule is None or (variable.number != 0 and site.module is None):
        return None
    if variable.number == 0:
        return _through_norm(site, variable)
    (channel,) = variable.index
    x = wide(site.x)[:, channel]
    start = (0, channel, *(0,) * (site.x.ndim - 2))
    detail = rule.explain(at(site, start))
    if not isinstance(detail, Normalized):
        return None
    outputs = _of_channel(site, channel)
    if variable.name == "bias":
        return Slopes("1: it is added to each", outputs, np.ones(len(outputs)))
    deviation = math.sqrt(detail.variance + detail.eps)
    values = ((x - detail.mean) / deviation).ravel()
    return Slopes("what it scales: (x - mean) / deviation", outputs, values)


def _of_channel(site: Site, channel: int) -> Places:
    """Indices of all elements of a map in all images."""
    every = [range(size) for size in site.output.shape]
    return _grid([every[0], [channel], *every[2:]])


def _grid(axes: Sequence[Sequence[int]]) -> Places:
    """Every combination of indices, (places, axes)."""
    grid = np.meshgrid(
        *(np.array(axis, dtype=np.int64) for axis in axes), indexing="ij"
    )
    return np.stack(grid, -1).reshape(-1, len(axes))


def norm(site: Site, variable: Variable) -> Slopes | None:
    """Through a group, instance or layer norm to its input."""
    return _through_norm(site, variable) if variable.number == 0 else None


def _through_norm(site: Site, variable: Variable) -> Slopes | None:
    rule = rule_of(site.call)
    detail = None if rule is None else rule.explain(at(site, variable.index))
    if rule is None or not isinstance(detail, Normalized):
        return None
    if not detail.values:
        return listed(
            "weight / deviation", [variable.index], [detail.scale], site.output.ndim
        )
    found = _together(site, rule.name, variable.index)
    if found is None or len(found[0]) != detail.values:
        return None
    # y_i = w_i (x_i - mean) / s: x_j is in the numerator, in the mean and in s.
    outputs, weights = found
    n = detail.values
    deviation = math.sqrt(detail.variance + detail.eps)
    centered = (wide(site.x)[tuple(outputs.T)] - detail.mean) / deviation
    own = (outputs == np.array(variable.index)).all(1)
    scale = weights / deviation
    parts = {
        "directly": scale * own,
        "through the mean": -scale / n,
        "through the variance": -scale * centered * centered[own][0] / n,
    }
    total: Array = np.add.reduce(list(parts.values()))
    what = f"{rule.name}, which also moves mean and variance"
    return Slopes(what, outputs, total, parts)


def _together(site: Site, name: str, index: Index) -> tuple[Places, Array] | None:
    """What shares its mean with an element, and the weight of each."""
    every: list[Sequence[int]] = [range(size) for size in site.output.shape]
    weight = site.setting(3 if name in ("batch norm", "instance norm") else 2, "weight")
    image, channel = [index[0]], [index[1]]
    axis: Any = 1
    if name == "batch norm":
        members = [every[0], channel, *every[2:]]
    elif name == "instance norm" and site.x.ndim > 2:
        members = [image, channel, *every[2:]]
    elif name == "group norm":
        each = site.x.shape[1] // site.setting(1, "num_groups")
        first = index[1] // each * each
        members = [image, range(first, first + each), *every[2:]]
    elif name == "layer norm":
        axes = len(site.setting(1, "normalized_shape"))
        axis = slice(site.x.ndim - axes, None)
        members = [*([i] for i in index[: site.x.ndim - axes]), *every[-axes:]]
    else:
        return None
    outputs = _grid(members)
    if weight is None:
        return outputs, np.ones(len(outputs))
    places = outputs[:, axis]
    key = tuple(places.T) if places.ndim > 1 else places
    return outputs, wide(weight)[key]
