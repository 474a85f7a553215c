"""Pictures of filters: colors, grids by input channel, slices, curves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from convscope.analysis import Filters
from convscope.errors import ArgumentError, UnknownNameError
from convscope.viz.palette import COUNT, Theme, ThemeName, diverging
from convscope.viz.picture import Picture, require_matplotlib, require_records
from convscope.viz.tiles import (
    INCH,
    Array,
    Grid,
    captions,
    curves,
    gray_colors,
    grid,
    show_tiles,
    signed_colors,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Scale = Literal["shared", "own"]
_COLUMNS = 8  # of filters that are one tile each
_MARGIN = 46  # left of a matrix, for the names of its rows; hundredths of an inch


def filters(
    found: Filters | Sequence[Filters],
    *,
    scale: Scale = "shared",
    limit: float | None = None,
    theme: ThemeName = "light",
) -> Picture[tuple[Filters, ...]]:
    """Draw filters as they are applied, with their scale.

    Filters of one input channel are a grid of tiles, of three a grid of colors; with
    more there is a row for each filter and a column for each input channel. Volumes
    are cut into slices, signals drawn as curves. Every scale is symmetric about 0:
    orange is negative, blue positive; in color, 0 is middle gray.

    Args:
        found: From `convscope.analysis.filters` or `templates`; several are drawn side
            by side, such as one before and one after training.
        scale: ``shared`` by all that is drawn, or each filter its ``own``.
        limit: End of a shared scale; by default the largest value that is drawn.
        theme: ``light`` or ``dark``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: There is nothing to draw, or the records differ in the shape of
            their filters.
        UnknownNameError: There is no such scale or theme.

    >>> from torch import nn
    >>> from convscope.analysis import filters as weights
    >>> picture = filters(weights(nn.Conv2d(1, 12, 3)))
    >>> picture.get_suptitle()
    'Conv2d: 12 filters of Conv2d(1, 12, 3)'
    """
    require_matplotlib()
    records = require_records(found, Filters, "filters", "cs.analysis.filters")
    if scale not in get_args(Scale):
        raise UnknownNameError("scale", str(scale), get_args(Scale))
    if limit is not None and not limit > 0:
        raise ArgumentError(f"filters: limit={limit} is not above 0. Leave it out.")
    shapes = {each.weight.shape[1:] for each in records}
    if len(shapes) > 1:
        listed = " and ".join(str(shape) for shape in sorted(shapes))
        raise ArgumentError(
            f"filters: filters of shapes {listed} do not share a picture. Choose "
            "layers with the same kernels and input channels."
        )
    return Picture(records, lambda theme: _drawn(records, scale, limit, theme), theme)


def _drawn(
    records: tuple[Filters, ...], scale: Scale, limit: float | None, theme: Theme
) -> "Figure":
    from matplotlib.figure import Figure

    panels = [_Panel(each, scale, limit, records, theme) for each in records]
    between, below, head = 40, 62, 34 + 15 * (len(records) > 1)
    width = sum(panel.width for panel in panels) + between * (len(panels) + 1)
    width = max(width, 360)
    title = wrapped(_title(records), width)
    height = max(panel.height for panel in panels) + below + head
    height += 13 * title.count("\n")
    figure = Figure(figsize=(width / INCH, height / INCH))
    figure.suptitle(title, x=0.5, y=1 - 8 / height, va="top", fontsize=10)
    taken = sum(panel.width for panel in panels) + between * (len(panels) - 1)
    left = (width - taken) / 2
    for panel in panels:
        bottom = height - head - 13 * title.count("\n") - panel.height
        where = (
            left / width, bottom / height, panel.width / width, panel.height / height
        )  # fmt: skip
        axes = figure.add_axes(where)
        panel.draw(axes)
        if len(records) > 1:
            figure.text(
                (left + panel.width / 2) / width,
                (bottom + panel.height + 4) / height,
                _subtitle(panel.record, records),
                ha="center", va="bottom", fontsize=9,
            )  # fmt: skip
        left += panel.width + between
    _scale_bar(figure, panels[0], width, height)
    return figure


class _Panel:
    """One record: its size in hundredths of an inch, and how it is drawn."""

    def __init__(
        self,
        record: Filters,
        scale: Scale,
        limit: float | None,
        all_: Sequence[Filters],
        theme: Theme,
    ) -> None:
        self.record, self.scale, self.theme = record, scale, theme
        self.shared = limit or max(each.largest for each in all_) or 1.0
        self.is_matrix = record.in_channels > 1 and not record.is_color
        weight = record.weight
        if weight.ndim == 5:
            self.is_matrix, self.slices = True, weight.shape[2]
        else:
            self.slices = 1
        self.is_signal = weight.ndim == 3
        self.grid = self._grid(all_)
        self.left = _MARGIN if self.is_matrix else 2
        self.top = 24 if self.is_matrix else 14
        self.width = self.grid.width + self.left + 4
        self.height = self.grid.height + self.top + 4

    def _grid(self, all_: Sequence[Filters]) -> Grid:
        shown, inputs = self.record.weight.shape[:2]
        if not self.is_matrix:
            tile = self._tile(90 if self.record.is_template else 52)
            columns = min(_COLUMNS, shown)
            return grid(-(-shown // columns), columns, tile, gaps=(13, 6))
        across = inputs * self.slices
        size = 26 if across > 6 else 34
        tile = self._tile(size)
        blocks = 1 if len(all_) > 1 else max(1, min(3, shown // 8, 36 // across))
        self.blocks = blocks
        rows = -(-shown // blocks)
        is_point = max(self.record.weight.shape[2:]) == 1
        gaps = (0, 0) if is_point else (3, 3)
        if self.slices > 1:
            return grid(rows, across * blocks, tile, gaps=(5, 2), group=self.slices,
                        wide_gap=9)  # fmt: skip
        return grid(rows, across * blocks, tile, gaps=gaps, group=across,
                    wide_gap=_MARGIN)  # fmt: skip

    def _tile(self, size: float) -> tuple[float, float]:
        """Height and width of a kernel, its longer side ``size``."""
        if self.record.weight.ndim == 3:
            return size * 0.8, size * 1.2
        rows, columns = self.record.weight.shape[-2:]
        longest = max(rows, columns)
        if longest == 1:
            size = min(size, 14)
        return max(size * rows / longest, 6), max(size * columns / longest, 6)

    def limits(self) -> list[float]:
        """The end of the scale for each filter."""
        if self.scale == "shared":
            return [self.shared] * len(self.record.weight)
        return [_largest(each) for each in self.record.weight]

    def draw(self, axes: "Axes") -> None:
        if self.is_matrix:
            self._names(axes)
            order, tiles = self._matrix()
        else:
            order = list(range(len(self.record.weight)))
            tiles = list(self.record.weight)
            texts = [str(index) for index in self.record.filters]
            if self.scale == "own":
                ends = zip(texts, self.limits(), strict=True)
                texts = [f"{text}  ±{end:.2g}" for text, end in ends]
            captions(axes, self.grid, texts, self.theme)
        limits = self.limits()
        if self.is_signal:
            self._curves(axes, order, tiles, limits)
        else:
            self._images(axes, order, tiles, limits)
        axes.set_axis_off()
        axes.set_xlim(-self.left, self.width - self.left)
        axes.set_ylim(self.height - self.top, -self.top)

    def _matrix(self) -> tuple[list[int], list[Any]]:
        """Filter and tile at each place, row by row; None where there is none."""
        weight, connected = self.record.weight, self.record.connected
        shown, inputs = weight.shape[:2]
        order: list[int] = []
        tiles: list[Any] = []
        for row in range(len(self.grid.tops)):
            for block in range(self.blocks):
                number = block * len(self.grid.tops) + row
                for channel in range(inputs):
                    there = number < shown and (
                        connected is None or connected[number, channel]
                    )
                    for depth in range(self.slices):
                        order.append(min(number, shown - 1))
                        if not there:
                            tiles.append(None)
                        elif weight.ndim == 5:
                            tiles.append(weight[number, channel, depth])
                        else:
                            tiles.append(weight[number, channel])
        return order, tiles

    def _images(
        self, axes: "Axes", order: list[int], tiles: list[Any], limits: list[float]
    ) -> None:
        made: list[Any] = []
        for number, tile in zip(order, tiles, strict=True):
            if tile is None:
                made.append(None)
                continue
            if not self.record.is_color and tile.ndim == 3:
                tile = tile[0]  # of its one input channel
            made.append(colored(tile, limits[number], self.theme))
        show_tiles(axes, self.grid, made)

    def _curves(
        self, axes: "Axes", order: list[int], tiles: list[Any], limits: list[float]
    ) -> None:
        signals = [
            None if tile is None else np.atleast_2d(tile)[0] / (limits[number] or 1.0)
            for number, tile in zip(order, tiles, strict=True)
        ]
        curves(axes, self.grid, signals, self.theme, dots=True)

    def _names(self, axes: "Axes") -> None:
        """Filters left of their rows, input channels above their columns."""
        record, theme = self.record, self.theme
        inputs, rows = record.weight.shape[1], len(self.grid.tops)
        across = inputs * self.slices
        limits = self.limits()
        for number, index in enumerate(record.filters):
            block, row = divmod(number, rows)
            x = self.grid.lefts[block * across] - 4
            y = self.grid.tops[row] + self.grid.tile[0] / 2
            text = str(index)
            if self.scale == "own":
                text += f"\n±{limits[number]:.2g}"
            axes.text(x, y, text, size=6, color=theme.muted, ha="right", va="center",
                      linespacing=0.9)  # fmt: skip
        for block in range(self.blocks if len(record.filters) > rows else 1):
            for channel in range(inputs):
                first = self.grid.lefts[block * across + channel * self.slices]
                last = self.grid.lefts[block * across + (channel + 1) * self.slices - 1]
                middle = (first + last + self.grid.tile[1]) / 2
                axes.text(middle, -3, str(channel), size=6, color=theme.muted,
                          ha="center", va="bottom")  # fmt: skip
        within = " of the group" if record.groups > 1 else ""
        what = f"input channel{within}, slices along depth" if self.slices > 1 else (
            f"input channel{within}"
        )  # fmt: skip
        axes.text(0, -13, f"{what} →", size=6, color=theme.muted, va="bottom")
        axes.text(-4, -13, "filter ↓", size=6, color=theme.muted, va="bottom",
                  ha="right")  # fmt: skip


def colored(tile: Array, limit: float, theme: Theme) -> Array:
    """A kernel's colors, 0 to 1, without matplotlib; a report draws by them too.

    Args:
        tile: Weights of one input channel, or of red, green and blue.
        limit: End of the scale.
        theme: Its diverging palette is for one channel; in color, 0 is middle gray.

    Shape:
        tile:   (H, W) or (3, H, W)
        return: (H, W, 3)

    >>> from convscope.viz.palette import theme_named
    >>> colored(np.zeros((3, 1, 1)), 1.0, theme_named("light")).tolist()
    [[[0.5, 0.5, 0.5]]]
    """
    values = tile / (2 * (limit or 1.0)) + 0.5
    if tile.ndim == 3:
        mixed: Array = np.clip(np.nan_to_num(values, nan=0.5), 0, 1).transpose(1, 2, 0)
        return mixed
    known = np.isfinite(values)
    steps = np.where(known, values, 0.5) * COUNT
    colors: Array = diverging(theme.name)[np.clip(steps.astype(int), 0, COUNT - 1)]
    gray = [int(theme.empty[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return np.where(known[..., None], colors, gray)


def _largest(weight: Any) -> float:
    finite = np.abs(weight[np.isfinite(weight)])
    return float(finite.max()) if finite.size else 0.0


def _scale_bar(figure: "Figure", panel: _Panel, width: float, height: float) -> None:
    """What the colors mean, or how high the curves are."""
    theme, end = panel.theme, f"{panel.shared:.3g}"
    is_own = panel.scale == "own"
    if is_own:
        end = "own largest"
    if panel.is_signal:
        what = f"each curve from −{end} to +{end}; the line is 0"
        if is_own:
            what = "each curve from − to + its filter's largest value; the line is 0"
        figure.text(0.5, 20 / height, what, ha="center", fontsize=8, color=theme.ink)
        return
    bar = figure.add_axes((0.5 - 100 / width, 34 / height, 200 / width, 8 / height))
    colors = gray_colors(theme) if panel.record.is_color else signed_colors(theme)
    bar.imshow([np.linspace(0, 1, 256)], cmap=colors, aspect="auto")
    bar.set_yticks([])
    ends = (f"−{end}", "0", f"+{end}")
    bar.set_xticks([0, 127.5, 255], ends, fontsize=7)
    bar.tick_params(length=2)
    bar.spines[:].set_visible(False)
    what = "weight"
    if panel.record.is_color:
        what = "weight of red, of green and of blue, as that much of the color"
    if is_own:
        what += "; each filter on its own scale"
    bar.set_xlabel(what, fontsize=7, color=theme.muted)


def _title(records: tuple[Filters, ...]) -> str:
    first = records[0]
    where = f"{first.network}, {first.path}" if first.path else first.network
    noun = "templates" if first.is_template else "filters"
    if len({(each.network, each.path) for each in records}) > 1:
        title = f"{noun} of {first.kind}"
    else:
        title = f"{where}: {first.out_channels} {noun} of {first.kind}"
    if first.order == "norm":
        title += ", largest norm first"
    lines = [title]
    if first.left_out:
        lines.append(first.left_out)
    if broken := sum(each.not_finite for each in records):
        lines.append(f"{broken} weights are NaN or infinite (gray cells)")
    return "\n".join(lines)


def _subtitle(record: Filters, records: tuple[Filters, ...]) -> str:
    if len({each.path for each in records}) > 1 and record.path:
        return f"{record.network}, {record.path}"
    return record.network
