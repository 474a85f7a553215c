"""Slopes of convolution, transposed convolution and linear layers, by their windows."""

import math
from itertools import product

import numpy as np

from convscope.analysis.explaining.convolution import (
    Kernel,
    mask_of,
    read_convolution,
    read_transposed,
)
from convscope.analysis.explaining.site import Index, Site, wide
from convscope.analysis.explaining.slope import Slopes, Variable, listed


def convolution(site: Site, variable: Variable) -> Slopes | None:
    """Through a convolution: to its input, its weight or its bias."""
    if mask_of(site, "partial") is not None:
        return None
    read = read_convolution(site)
    if variable.number == 0:
        return _through_kernel(site, read, variable, transposed=False)
    if variable.name == "bias":
        return _of_bias(site, read, variable)
    if variable.name == "weight" and read.is_dense:
        return _of_weight(site, read, variable, transposed=False)
    return None


def transposed(site: Site, variable: Variable) -> Slopes | None:
    """The same through a transposed convolution."""
    read = read_transposed(site)
    if variable.number == 0:
        return _through_kernel(site, read, variable, transposed=True)
    if variable.name == "bias":
        return _of_bias(site, read, variable)
    if variable.name == "weight":
        return _of_weight(site, read, variable, transposed=True)
    return None


def _through_kernel(
    site: Site, read: Kernel, variable: Variable, transposed: bool
) -> Slopes:
    """An input element: each output whose window it lies under, through which tap."""
    axes, weight = read.axes, wide(read.weight)
    *image, channel = variable.index[:-axes]
    place, sizes = variable.index[-axes:], site.output.shape[-axes:]
    each = weight.shape[0 if transposed else 1]
    each = each // read.groups if transposed else each
    group, within = divmod(channel, each)
    count = weight.shape[1] if transposed else weight.shape[0] // read.groups
    hits = [
        [(o, t) for o in range(size) for t, e in enumerate(read.row(a, o)) if e == spot]
        for a, (size, spot) in enumerate(zip(sizes, place, strict=True))
    ]
    outputs: list[Index] = []
    values: list[float] = []
    for number in range(count):
        out = group * count + number
        pair = (channel, number) if transposed else (out, within)
        for combination in product(*hits):
            spot = tuple(o for o, _ in combination)
            tap = tuple(t for _, t in combination)
            outputs.append((*image, out, *spot))
            values.append(float(weight[(*pair, *tap)]) * _scale(site, read, spot))
    return listed("kernel at the tap it lies under", outputs, values, site.output.ndim)


def _scale(site: Site, read: Kernel, place: Index) -> float:
    """What partial convolution multiplies one output by."""
    if read.mode != "partial":
        return 1.0
    rows = [read.row(axis, one_of) for axis, one_of in enumerate(place)]
    hit = math.prod(sum(e is not None for e in row) for row in rows)
    return math.prod(map(len, rows)) / hit if hit else 0.0


def _of_weight(
    site: Site, read: Kernel, variable: Variable, transposed: bool
) -> Slopes:
    """A weight: each output of its channel, times what lies under its tap."""
    axes = read.axes
    first, second, *stored = variable.index
    taps = [
        size - 1 - tap if read.flipped else tap
        for size, tap in zip(read.weight.shape[2:], stored, strict=True)
    ]
    weight = read.weight
    if transposed:
        group = first // (weight.shape[0] // read.groups)
        channel, out = first, group * weight.shape[1] + second
    else:
        group = first // (weight.shape[0] // read.groups)
        channel, out = group * weight.shape[1] + second, first
    sizes = tuple(site.output.shape[-axes:])
    seen = [
        [read.row(axis, o)[tap] for o in range(size)]
        for axis, (size, tap) in enumerate(zip(sizes, taps, strict=True))
    ]
    places = [np.array([-1 if e is None else e for e in row]) for row in seen]
    inside = np.ones(sizes, dtype=bool)
    for axis, row in enumerate(places):
        shape = [1] * axes
        shape[axis] = -1
        inside = inside & (row >= 0).reshape(shape)
    x = wide(site.x)
    maps = x if site.x.ndim == axes + 2 else x[None]
    values = maps[:, channel][np.ix_(np.arange(len(maps)), *places)]
    values = np.where(inside, values, read.fill)
    if read.mode == "partial":
        scale = [_scale(site, read, place) for place in np.ndindex(*sizes)]
        values = values * np.array(scale).reshape(sizes)
    chosen = np.broadcast_to(inside if transposed else np.True_, values.shape)
    found = np.argwhere(chosen)
    lead = [found[:, :1]] if site.x.ndim == axes + 2 else []
    channels = np.full((len(found), 1), out)
    outputs = np.concatenate([*lead, channels, found[:, 1:]], axis=1)
    return Slopes("what lies under its tap", outputs, values[chosen])


def _of_bias(site: Site, read: Kernel, variable: Variable) -> Slopes:
    axes, (channel,) = read.axes, variable.index
    shape = site.output.shape
    lead = shape[: -axes - 1]
    found = np.array(list(np.ndindex(*lead, *shape[-axes:])), dtype=np.int64)
    found = found.reshape(-1, len(lead) + axes)
    outputs = np.insert(found, len(lead), channel, axis=1)
    values = np.ones(len(found))
    if read.mode == "partial":
        places = [tuple(map(int, place)) for place in found[:, len(lead) :]]
        values = np.array([float(_scale(site, read, p) > 0) for p in places])
    return Slopes("1: it is added to each", outputs, values)


def linear(site: Site, variable: Variable) -> Slopes | None:
    """The same through a linear layer."""
    module = site.module
    weight = site.argument(1, "weight") if module is None else module.weight
    if variable.number == 0:
        *lead, feature = variable.index
        count = weight.shape[0]
        outputs = [(*lead, row) for row in range(count)]
        values = wide(weight)[:, feature].tolist()
        return listed("its weight in each row", outputs, values, site.output.ndim)
    if variable.name not in ("weight", "bias"):
        return None
    row = variable.index[0]
    leads = list(np.ndindex(*site.output.shape[:-1]))
    outputs = [(*lead, row) for lead in leads]
    if variable.name == "bias":
        what, values = "1: it is added to each", [1.0] * len(leads)
    else:
        what = "the feature it is multiplied by"
        values = wide(site.x)[..., variable.index[1]].ravel().tolist()
    return listed(what, outputs, values, site.output.ndim)
