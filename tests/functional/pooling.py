"""Pooling by plain loops, for tests."""

import itertools
import math

import torch

from convscope.arithmetic import output_shape, resolve_paddings


def per_axis(value, axes):
    return value if isinstance(value, tuple) else (value,) * axes


def plain_windows(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Per output: its place, and the places of its taps that lie in the input."""
    sizes, axes = tuple(x.shape[2:]), x.ndim - 2
    kernel, gap = per_axis(kernel_size, axes), per_axis(dilation, axes)
    step = per_axis(kernel_size if stride is None else stride, axes)
    settings = {"stride": step, "dilation": gap}
    pads = resolve_paddings(padding, sizes, kernel, **settings)
    outputs = output_shape(sizes, kernel, padding=pads, ceil_mode=ceil_mode, **settings)
    for image, channel in itertools.product(*map(range, x.shape[:2])):
        for output in itertools.product(*map(range, outputs)):
            places = [
                tuple(
                    output[a] * step[a] - pads[a][0] + gap[a] * tap[a]
                    for a in range(axes)
                )
                for tap in itertools.product(*map(range, kernel))
            ]
            inside = [
                place
                for place in places
                if all(0 <= i < n for i, n in zip(place, sizes, strict=True))
            ]
            yield (image, channel, *output), inside


def plain_max(x, *arguments, **settings):
    """Values and winners of max pooling: the first of equals, the last NaN."""
    found = {}
    for output, places in plain_windows(x, *arguments, **settings):
        plane, best = x[output[:2]], None
        for place in places:
            value = float(plane[place])
            if best is None or value > best or math.isnan(value):
                if best is not None and math.isnan(best) and not math.isnan(value):
                    continue
                best, winner = value, place
        found[output] = best, winner
    shape = [1 + max(output[axis] for output in found) for axis in range(x.ndim)]
    values, index = torch.full(shape, math.nan), torch.full(shape, -1)
    for output, (value, winner) in found.items():
        values[output] = value
        flat = 0
        for size, place in zip(x.shape[2:], winner, strict=True):
            flat = flat * size + place
        index[output] = flat
    return values.to(x.dtype), index


def plain_reduce(x, reduce, *arguments, **settings):
    """One number per window, from the list of its elements."""
    found = {
        output: reduce([float(x[output[:2]][place]) for place in places])
        for output, places in plain_windows(x, *arguments, **settings)
    }
    shape = [1 + max(output[axis] for output in found) for axis in range(x.ndim)]
    values = torch.full(shape, math.nan, dtype=torch.float64)
    for output, value in found.items():
        values[output] = value
    return values
