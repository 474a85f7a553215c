"""Pooling: the winner of a window with its place, or a mean, a sum, a norm of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope.analysis.explaining.convolution import Window, under
from convscope.analysis.explaining.site import (
    Array,
    Detail,
    Index,
    Rule,
    Site,
    Source,
    added,
    one,
    place_text,
    shown,
)
from convscope.analysis.explaining.window_sum import WindowSum
from convscope.arithmetic import adaptive_windows, per_axis, resolve_paddings


@dataclass(frozen=True, eq=False)
class Winner:
    """The largest element of a window.

    Attributes:
        patch: What lies under the window; minus infinity on padding.
        window: For each axis of space, the element under each tap; None on padding.
        winner: Index of the largest, the channel first, in one image of the layer's
            input.
        ties: How many elements are as large; the first of them is the winner.
        source: The winner, with the image.
        how: ``largest``; or ``drawn``, where the network draws it and we only find it.
    """

    patch: Array
    window: Window
    winner: Index
    ties: int
    source: Index
    how: str = "largest"

    @property
    def value(self) -> float:
        """The number: copied."""
        return float(self.patch.max())

    @property
    def tolerance(self) -> float:
        """0: it is a copy."""
        return 0.0

    @property
    def follows(self) -> Source | None:
        """The winner."""
        return 0, self.source

    @property
    def lines(self) -> tuple[str, ...]:
        """The window, and its winner with its place."""
        numbers = [shown(v) if np.isfinite(v) else "[ ]" for v in self.patch.flat]
        few = numbers if len(numbers) <= 25 else [*numbers[:24], "..."]
        equal = f", first of {self.ties} that are equal" if self.ties > 1 else ""
        place = place_text(self.winner[1:])
        if self.how == "drawn":
            return (f"pooling that draws: {place} was drawn: {shown(self.value)}",)
        lines = [f"max pooling: largest of {', '.join(few)}"]
        lines.append(f"winner at {place}{equal}: {shown(self.value)}")
        return tuple(lines)

    def to_dict(self) -> dict[str, Any]:
        """Arrays as nested lists; padding as None."""
        finite = np.isfinite(self.patch)
        return {
            "operation": "max pooling",
            "window": [list(axis) for axis in self.window],
            "patch": [
                v if ok else None
                for v, ok in zip(self.patch.flat, finite.flat, strict=True)
            ],
            "winner": list(self.winner),
            "how": self.how,
            "ties": self.ties,
        }


@dataclass(frozen=True, eq=False)
class PowerMean:
    """A number made from the elements of a window by a formula of its own.

    Attributes:
        what: The operation in words.
        patch: The elements of the window that count.
        text: How they are put together, in numbers.
        value: The number.
        tolerance: What the network's own may differ by.
    """

    what: str
    patch: Array
    text: str
    value: float
    tolerance: float

    @property
    def follows(self) -> Source | None:
        """None: it was made from many."""
        return None

    @property
    def lines(self) -> tuple[str, ...]:
        """The formula with its numbers."""
        return (f"{self.what}: {self.text} = {shown(self.value)}",)

    def to_dict(self) -> dict[str, Any]:
        """The patch as a list."""
        return {"operation": self.what, "patch": self.patch.tolist(), "text": self.text}


@dataclass(frozen=True)
class _Sliding:
    """The window of one output of a pooling, and where it ends if it is cut off."""

    window: Window
    counted: int  # positions that lie on the input or on its padding


def _sliding(site: Site, start: int = 1, with_dilation: bool = False) -> _Sliding:
    """Kernel, stride, padding as a layer holds them, or from place ``start`` on."""
    axes = _axes(site)
    sizes = tuple(site.x.shape[-axes:])
    kernel = per_axis(
        _plain(site.setting(start, "kernel_size")), axes, name="kernel_size"
    )
    stride = site.setting(start + 1, "stride")
    steps = per_axis(_plain(stride) if stride else kernel, axes, name="stride")
    after = 2 if site.call.name.startswith("lp_pool") else 3
    padding = 0 if after == 2 else site.setting(start + 2, "padding", 0)
    dilation = site.setting(start + 3, "dilation", 1) if with_dilation else 1
    spread = per_axis(_plain(dilation), axes, name="dilation")
    pairs = resolve_paddings(
        _plain(padding), sizes, kernel, stride=steps, dilation=spread
    )
    window, counted = [], 1
    for axis, place in enumerate(site.index[-axes:]):
        first = place * steps[axis] - pairs[axis][0]
        spots = range(first, first + kernel[axis] * spread[axis], spread[axis])
        window.append(tuple(s if 0 <= s < sizes[axis] else None for s in spots))
        counted *= sum(s < sizes[axis] + pairs[axis][1] for s in spots)
    return _Sliding(tuple(window), counted)


def _axes(site: Site) -> int:
    if site.module is not None:
        name = type(site.module).__name__
        axes: int = getattr(site.module, "axes", 0) or int(name[-2])
        return axes
    return next(int(c) for c in site.call.name if c.isdigit())


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _taken(site: Site, window: Window, fill: float) -> tuple[Array, Any, Index]:
    """What lies under a window of the element's own channel."""
    axes = len(window)
    image = site.index[: -axes - 1]
    channel = site.index[-axes - 1]
    patch, inside = under(site.x, image, [channel], window, fill)
    return patch[0], inside[0], (*image, channel)


def _max(site: Site) -> Detail | None:
    return _winner(site, _sliding(site, with_dilation=True).window)


def _winner(site: Site, window: Window) -> Winner:
    patch, inside, lead = _taken(site, window, -math.inf)
    best = patch.max()
    if math.isnan(best):
        best = math.nan
        at = int(np.flatnonzero(np.isnan(patch))[0])
    else:
        at = int(np.flatnonzero((patch == best) & inside)[0])
    taps = np.unravel_index(at, patch.shape)
    place = tuple(int(a[t] or 0) for a, t in zip(window, taps, strict=True))
    ties = int(((patch == best) & inside).sum())
    return Winner(patch, window, (lead[-1], *place), ties, (*lead, *place))


def _average(site: Site) -> Detail | None:
    found = _sliding(site)
    include = site.setting(5, "count_include_pad", True)
    override = site.setting(6, "divisor_override")
    _, inside, _ = _taken(site, found.window, 0.0)
    count = found.counted if include else int(inside.sum())
    return _mean(site, found.window, override or count)


def _mean(site: Site, window: Window, divisor: int, what: str = "") -> WindowSum:
    patch, inside, lead = _taken(site, window, 0.0)
    kernel = np.full(patch.shape, 1 / divisor)
    name = what or f"average pooling, each 1/{divisor}"
    return WindowSum(
        name, patch[None], kernel[None], inside[None], window, (lead[-1],), None,
        site.unit,
    )  # fmt: skip


def _subsampling(site: Site) -> Detail | None:
    window = _sliding(site).window
    patch, inside, lead = _taken(site, window, 0.0)
    channel = lead[-1]
    return WindowSum(
        "trained subsampling: sum of the window", patch[None],
        np.ones_like(patch)[None], inside[None], window, (channel,),
        float(site.module.bias[channel].item()), site.unit,
        float(site.module.weight[channel].item()), "coefficient of the map",
    )  # fmt: skip


def _adaptive_window(site: Site) -> Window:
    axes = _axes(site)
    sizes, outputs = site.x.shape[-axes:], site.output.shape[-axes:]
    place = site.index[-axes:]
    return tuple(
        tuple(adaptive_windows(size, count)[at])
        for size, count, at in zip(sizes, outputs, place, strict=True)
    )


def _whole(site: Site) -> Window:
    axes = _axes(site)
    return tuple(tuple(range(size)) for size in site.x.shape[-axes:])


def _adaptive_average(site: Site) -> Detail | None:
    window = _adaptive_window(site)
    return _mean(site, window, math.prod(map(len, window)))


def _global_average(site: Site) -> Detail | None:
    window = _whole(site)
    padded = _padded(site, len(window))
    return _mean(padded, window, math.prod(map(len, window)))


def _global_max(site: Site) -> Detail | None:
    window = _whole(site)
    return _winner(_padded(site, len(window)), window)


def _padded(site: Site, axes: int) -> Site:
    """With the axes of space that a flattened global pooling leaves out."""
    if site.output.ndim == site.x.ndim:
        return site
    index = (*site.index, *(0,) * axes)
    return Site(
        site.call, site.args, site.kwargs, site.output, index, site.training, site.unit
    )


def _power(site: Site) -> Detail | None:
    p = float(site.setting(1, "norm_type"))
    window = (
        _sliding(site, start=2).window if site.module is None else _sliding(site).window
    )
    patch, inside, _ = _taken(site, window, 0.0)
    values = patch[inside]
    ours = getattr(site.module, "signed", None)
    keeps_sign = p % 2 == 1 and ours is not False
    terms = values**p if keeps_sign or p % 2 == 0 else np.abs(values) ** p
    total = math.fsum(terms)
    root = math.copysign(abs(total) ** (1 / p), total)
    size = float(np.abs(terms).sum())
    slack = abs(root) / p * (size / abs(total) if total else 1.0)
    tolerance = (len(values) + 8 * max(p, 1) + 8) * site.unit * max(slack, abs(root))
    text = f"({' + '.join(f'{shown(v)}^{p:g}' for v in values[:12])}"
    text += f"{' + ...' if len(values) > 12 else ''})^(1/{p:g})"
    return PowerMean(f"{p:g}-norm of the window", values, text, root, tolerance)


def _drawn(site: Site, window: Window) -> Detail | None:
    """Of a pooling that draws: the one element that has the number, if it is one."""
    patch, inside, lead = _taken(site, window, math.nan)
    there = (patch == one(site.output, site.index)) & inside
    if there.sum() != 1:
        return None
    taps = np.unravel_index(int(np.flatnonzero(there)[0]), patch.shape)
    place = tuple(int(a[t] or 0) for a, t in zip(window, taps, strict=True))
    return Winner(patch[there], window, (lead[-1], *place), 1, (*lead, *place), "drawn")


def _fractional(site: Site) -> Detail | None:
    return _drawn(site, _whole(site))


def _stochastic(site: Site) -> Detail | None:
    window = _sliding(site).window
    patch, inside, _ = _taken(site, window, 0.0)
    values = np.maximum(patch[inside], 0.0)
    total = math.fsum(values)
    if not total:
        text = "no element of the window is above 0"
        return PowerMean("pooling that draws", values, text, 0.0, 0.0)
    if site.training:
        return _drawn(site, window)
    mean = math.fsum(values**2) / total if total else 0.0
    tolerance = (2 * len(values) + 8) * site.unit * abs(mean)
    text = f"sum of squares over sum of {added(values.tolist())}"
    return PowerMean("mean weighted by activation", values, text, mean, tolerance)


def _each(name: str) -> list[str]:
    return [f"{name}{axes}d" for axes in (1, 2, 3)]


_GLOBAL: dict[str, Callable[[Site], Detail | None]] = {
    "GlobalAvgPool": _global_average,
    "GlobalMaxPool": _global_max,
}
RULES = (
    Rule(
        "max pooling", _max, _each("MaxPool"),
        [*_each("max_pool"), *(f"{n}_with_indices" for n in _each("max_pool"))],
    ),
    Rule("average pooling", _average, _each("AvgPool"), _each("avg_pool")),
    Rule(
        "adaptive average pooling", _adaptive_average, _each("AdaptiveAvgPool"),
        _each("adaptive_avg_pool"),
    ),
    Rule(
        "adaptive max pooling",
        lambda site: _winner(site, _adaptive_window(site)),
        _each("AdaptiveMaxPool"),
        [
            *_each("adaptive_max_pool"),
            *(f"{n}_with_indices" for n in _each("adaptive_max_pool")),
        ],
    ),
    *(Rule("global pooling", how, _each(name)) for name, how in _GLOBAL.items()),
    Rule("power pooling", _power, _each("LPPool"), _each("lp_pool")),
    Rule("stochastic pooling", _stochastic, _each("StochasticPool")),
    Rule(
        "fractional max pooling", _fractional, _each("FractionalMaxPool"),
        _each("fractional_max_pool"),
    ),
    Rule("trained subsampling", _subsampling, _each("Subsampling")),
)  # fmt: skip
