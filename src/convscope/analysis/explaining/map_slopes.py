"""Slopes of pooling and batch norm: winners, shares, and what the batch passes on."""

import math
from itertools import product

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
    shape = site.output.shape
    found = np.array(list(np.ndindex(shape[0], *shape[2:])), dtype=np.int64)
    return np.insert(found.reshape(-1, len(shape) - 1), 1, channel, axis=1)


def _through_norm(site: Site, variable: Variable) -> Slopes | None:
    rule = rule_of(site.call)
    detail = None if rule is None else rule.explain(at(site, variable.index))
    if not isinstance(detail, Normalized):
        return None
    if not detail.values:
        return listed(
            "weight / deviation", [variable.index], [detail.scale], site.output.ndim
        )
    # y_i = w (x_i - mean) / s: x_j is in the numerator, in the mean and in s.
    channel, n = variable.index[1], detail.values
    outputs = _of_channel(site, channel)
    deviation = math.sqrt(detail.variance + detail.eps)
    centered = ((wide(site.x)[:, channel] - detail.mean) / deviation).ravel()
    own = (outputs == np.array(variable.index)).all(1)
    parts = {
        "directly": detail.scale * own,
        "through the mean": np.full(len(outputs), -detail.scale / n),
        "through the variance": -detail.scale * centered * centered[own][0] / n,
    }
    total: Array = np.add.reduce(list(parts.values()))
    return Slopes(
        "batch norm, which also moves mean and variance", outputs, total, parts
    )
