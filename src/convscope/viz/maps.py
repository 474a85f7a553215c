"""A picture of what layers give for one input."""

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from convscope.analysis import FeatureMaps, LayerMaps
from convscope.errors import UnknownNameError
from convscope.viz.palette import Theme, ThemeName
from convscope.viz.picture import Picture, require_matplotlib, require_record
from convscope.viz.tiles import (
    INCH,
    captions,
    curves,
    grid,
    positive_colors,
    show_tiles,
    shrunk,
    signed_colors,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MapScale = Literal["layer", "channel", "all"]
_ACROSS = 16  # tiles in a row
_TILE = 52.0
_WIDTH = _ACROSS * (_TILE + 4) + 24
_HEAD = 20.0  # above the tiles of a layer


def feature_maps(
    found: FeatureMaps, *, scale: MapScale = "layer", theme: ThemeName = "light"
) -> Picture[FeatureMaps]:
    """Draw what layers give for one input, layer below layer.

    Values from 0 up are drawn dark to bright; signed ones orange to blue, symmetric
    about 0. The range stands at each layer. Signals are curves, of volumes the middle
    slice is drawn, vectors are rows of cells.

    Args:
        found: From `convscope.analysis.feature_maps`.
        scale: One for each ``layer``, for each ``channel``, or for ``all``.
        theme: ``light`` or ``dark``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        UnknownNameError: There is no such scale or theme.

    >>> import torch
    >>> from torch import nn
    >>> from convscope.analysis import feature_maps as maps
    >>> picture = feature_maps(maps(nn.Conv2d(1, 4, 3), torch.ones(1, 1, 8, 8)))
    >>> picture.get_suptitle()
    'Conv2d: what its layers give for one input'
    """
    require_record(found, FeatureMaps, "feature_maps", "cs.analysis.feature_maps")
    require_matplotlib()
    if scale not in get_args(MapScale):
        raise UnknownNameError("scale", str(scale), get_args(MapScale))
    return Picture(found, lambda theme: _drawn(found, scale, theme), theme)


def _drawn(found: FeatureMaps, scale: MapScale, theme: Theme) -> "Figure":
    from matplotlib.figure import Figure

    title = f"{found.network}: what its layers give for one input"
    if found.left_out:
        title += f"\n{found.left_out}"
    title = wrapped(title, _WIDTH)
    rows = [_Row(layer, scale, found.layers, theme) for layer in found.layers]
    top = 34 + 15 * title.count("\n")
    first = 118.0  # the input and its name
    height = top + first + sum(row.height for row in rows) + 10
    figure = Figure(figsize=(_WIDTH / INCH, height / INCH))
    figure.suptitle(title, y=1 - 8 / height, va="top", fontsize=10)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    _input(figure, axes, found, theme, top, height)
    y = top + first
    for row in rows:
        row.draw(figure, axes, y, height)
        y += row.height
    axes.set_xlim(0, _WIDTH)
    axes.set_ylim(height, 0)
    return figure


def _input(
    figure: "Figure",
    axes: "Axes",
    found: FeatureMaps,
    theme: Theme,
    top: float,
    height: float,
) -> None:
    size = "x".join(map(str, found.input.shape))
    what = f"input  {size}"
    finite = found.input[np.isfinite(found.input)]
    low, high = (finite.min(), finite.max()) if finite.size else (math.nan,) * 2
    what += f", values {_number(low)} to {_number(high)}"
    axes.text(12, top + 12, what, size=8, weight="bold", color=theme.ink)
    side = 90.0
    place = (12 / _WIDTH, 1 - (top + 18 + side) / height, 0.6, side / height)
    inner = figure.add_axes(place, anchor="W")
    inner.set_axis_off()
    values = found.input
    if values.ndim == 2:
        inner.set_position((44 / _WIDTH, 1 - (top + 96) / height, 0.6, 72 / height))
        for channel in values[:8]:
            inner.plot(channel, lw=0.8)
        inner.set_axis_on()
        inner.tick_params(labelsize=6)
        return
    seen: Any = found.picture
    if seen is None:
        plane = values[:, values.shape[1] // 2] if values.ndim == 4 else values
        seen = plane.transpose(1, 2, 0) if len(plane) == 3 else plane[0]
        seen = (seen - low) / ((high - low) or 1.0)
    inner.imshow(np.clip(seen, 0, 1), cmap="gray", vmin=0, vmax=1,
                 interpolation="antialiased")  # fmt: skip


class _Row:
    """One layer: how high it is, and how it is drawn."""

    def __init__(
        self,
        layer: LayerMaps,
        scale: MapScale,
        every: tuple[LayerMaps, ...],
        theme: Theme,
    ) -> None:
        self.layer, self.scale, self.theme = layer, scale, theme
        self.signed = layer.is_signed
        end = max(abs(layer.smallest), abs(layer.largest))
        if scale == "all":
            self.signed = any(each.is_signed for each in every)
            end = max(max(abs(e.smallest), abs(e.largest)) for e in every)
        self.end = end or 1.0
        space = layer.values.shape[1:]
        self.is_vector = not space or max(space) == 1
        self.is_signal = len(space) == 1 and not self.is_vector
        count = len(layer.values)
        if self.is_vector:
            cell = (_WIDTH - 24) / min(count, 128)
            self.tile = (14.0, max(min(cell, 40.0) - 0.6, 1.0))
            self.across, self.gaps = min(count, 128), (2.0, 0.6)
        else:
            rows, columns = (1, 1.6) if self.is_signal else space[-2:]
            longest = max(rows, columns)
            self.tile = (
                max(_TILE * rows / longest, 8),
                max(_TILE * columns / longest, 8),
            )
            self.across, self.gaps = _ACROSS, (4.0, 4.0)
            if scale == "channel":
                self.gaps = (12.0, 4.0)
        lines = -(-count // self.across)
        self.grid = grid(lines, min(self.across, count), self.tile, gaps=self.gaps)
        self.head = _HEAD + (8 if scale == "channel" and not self.is_vector else 0)
        self.height = self.head + self.grid.height + 8

    def draw(self, figure: "Figure", axes: "Axes", y: float, height: float) -> None:
        """At a distance from the top of the picture."""
        layer, theme = self.layer, self.theme
        size = "x".join(map(str, layer.shape))
        name = layer.label or "output"
        head = axes.text(12, y + 14, name, size=8, weight="bold", color=theme.ink)
        note = f"  {_short(layer.kind)}  {size}{self._which()}"
        axes.annotate(note, (1, 0), xycoords=head, size=8, color=theme.muted,
                      va="bottom")  # fmt: skip
        self._bar(figure, axes, y, height)
        place = (
            12 / _WIDTH, 1 - (y + self.head + self.grid.height) / height,
            self.grid.width / _WIDTH, self.grid.height / height,
        )  # fmt: skip
        inner = figure.add_axes(place)
        tiles = [self._plane(each) for each in layer.values]
        ends = [self.end] * len(tiles)
        if self.scale == "channel" and not self.is_vector:
            ends = [float(np.abs(np.nan_to_num(t)).max()) or 1.0 for t in tiles]
        if self.is_signal:
            curves(inner, self.grid, [t / e for t, e in zip(tiles, ends, strict=True)],
                   theme, signed=self.signed)  # fmt: skip
        else:
            colors = signed_colors(theme) if self.signed else positive_colors(theme)
            small = [shrunk(np.atleast_2d(tile), self.tile) for tile in tiles]
            values = np.stack(small) / np.array(ends)[:, None, None]
            values = values / 2 + 0.5 if self.signed else values
            show_tiles(
                inner,
                self.grid,
                list(colors(np.where(np.isfinite(values), values, np.nan))),
            )
        if self.scale == "channel" and not self.is_vector:
            shown = [f"{'±' if self.signed else '≤ '}{_number(e)}" for e in ends]
            captions(inner, self.grid, shown, theme, size=5)
        inner.set_axis_off()
        inner.set_xlim(0, self.grid.width)
        inner.set_ylim(self.grid.height, 0)

    def _plane(self, values: Any) -> Any:
        """What is drawn of one channel."""
        if self.is_vector:
            return values.reshape(1, 1)
        return values[len(values) // 2] if values.ndim == 3 else values

    def _which(self) -> str:
        layer, parts = self.layer, ""
        if len(layer.values) < layer.shape[0]:
            noun = "features" if self.is_vector else "channels"
            parts += f"; {len(layer.values)} of {layer.shape[0]} {noun} shown"
        if list(layer.channels) != sorted(layer.channels):
            parts += ", strongest first"
        if layer.values.ndim == 4 and not self.is_vector:
            parts += f"; slice {layer.shape[1] // 2} of {layer.shape[1]}"
        if layer.not_finite:
            parts += f"; {layer.not_finite} values are NaN or infinite (gray)"
        return parts

    def _bar(self, figure: "Figure", axes: "Axes", y: float, height: float) -> None:
        """The range at the right end of the head."""
        theme, right, long = self.theme, _WIDTH - 12, 70.0
        if self.scale == "channel" and not self.is_vector:
            axes.text(right, y + 14, "each channel on its own scale", size=7,
                      color=theme.muted, ha="right")  # fmt: skip
            return
        high = _number(self.end)
        low = f"−{high}" if self.signed else "0"
        if self.is_signal:
            axes.text(right, y + 14, f"curves from {low} to {high}", size=7,
                      color=theme.muted, ha="right")  # fmt: skip
            return
        axes.text(right, y + 14, high, size=7, color=theme.muted, ha="right")
        wide = 5.2 * len(high) + 4
        bar = figure.add_axes(
            (
                (right - wide - long) / _WIDTH,
                1 - (y + 14) / height,
                long / _WIDTH,
                8 / height,
            )
        )
        colors = signed_colors(theme) if self.signed else positive_colors(theme)
        bar.imshow([np.linspace(0, 1, 256)], cmap=colors, aspect="auto")
        bar.set_axis_off()
        axes.text(right - wide - long - 4, y + 14, low, size=7, color=theme.muted,
                  ha="right")  # fmt: skip


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
