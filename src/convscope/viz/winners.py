"""A picture of max pooling: who wins, and where the gradient goes."""

from typing import TYPE_CHECKING, Any

import numpy as np

from convscope.analysis import PoolingWinners
from convscope.errors import ArgumentError
from convscope.viz.palette import Theme, ThemeName
from convscope.viz.picture import Picture, require_matplotlib, require_record
from convscope.viz.tiles import INCH, positive_colors, signed_colors, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SLICES = 8  # of a volume
_WRITTEN = 12  # elements along an axis up to which numbers stand in the cells


def pooling_winners(
    found: PoolingWinners, *, theme: ThemeName = "light"
) -> Picture[PoolingWinners]:
    """Draw a map before and after max pooling, winners marked, and the gradient.

    Winners of images are framed; signals are curves with a dot at each, of volumes
    at most 8 slices stand beside each other.

    Args:
        found: From `convscope.analysis.pooling_winners`; of one to three axes.
        theme: ``light`` or ``dark``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: ``found`` is no such record, or its map has more axes.
        UnknownNameError: There is no such theme.

    >>> import torch
    >>> from torch import nn
    >>> from convscope.analysis import pooling_winners as measure
    >>> picture = pooling_winners(measure(nn.MaxPool2d(2), torch.rand(1, 1, 4, 4)))
    >>> [axes.get_title() for axes in picture.axes[::2]]
    ['before: 4 of 16 elements win', 'after']
    """
    require_record(
        found, PoolingWinners, "pooling_winners", "cs.analysis.pooling_winners"
    )
    require_matplotlib()
    if found.before.ndim > 3:
        raise ArgumentError(
            f"pooling_winners: a map of {found.before.ndim} axes has no picture. Use "
            "found.wins."
        )
    return Picture(found, lambda theme: _drawn(found, theme), theme)


def _drawn(found: PoolingWinners, theme: Theme) -> "Figure":
    from matplotlib.figure import Figure

    won = int((found.wins > 0).sum())
    panels: list[tuple[str, Any, bool]] = [
        (f"before: {won} of {found.wins.size} elements win", found.before, True),
        ("after", found.after, False),
    ]
    if found.gradient_after is not None and found.gradient_before is not None:
        panels += [
            (f"gradient of {found.target}", found.gradient_after, False),
            ("goes to the winners", found.gradient_before, True),
        ]
    where = ", ".join(filter(None, (found.network, found.layer)))
    title = f"{where}: channel {found.channel} of {found.kind}"
    axes = found.before.ndim
    columns = 2 if axes == 2 else 1  # signals and volumes lie below each other
    rows = len(panels) // columns
    wide = 2.95 if columns == 2 else 6.6
    shape = found.before.shape
    tall = 1.1 if axes == 1 else wide * min(shape[-2] / shape[-1], 1.5)
    if axes == 3:
        tall = max(tall / (1.1 * min(shape[0], _SLICES)), 0.5)
    tall = max(tall, 0.5)
    width, height = 7.6, rows * (tall + 0.75) + 0.55
    figure = Figure(figsize=(width, height))
    figure.suptitle(wrapped(title, width * INCH), y=1 - 0.08 / height, va="top",
                    fontsize=10)  # fmt: skip
    for number, (name, values, marked) in enumerate(panels):
        row, column = divmod(number, columns)
        bottom = height - 0.72 - (row + 1) * tall - row * 0.75
        left = 0.2 if axes > 1 else 0.6
        place = (
            (left + column * 3.75) / width, bottom / height, wide / width,
            tall / height,
        )  # fmt: skip
        plot = figure.add_axes(place)
        plot.set_title(name, fontsize=8)
        wins = found.wins if marked else None
        if axes == 1:
            _curve(plot, values, wins, theme)
        elif axes == 2:
            _map(figure, plot, values, place, theme)
            _frames(plot, wins, theme)
        else:
            _volume(figure, plot, values, wins, theme)
    return figure


def _curve(plot: "Axes", values: Any, wins: Any, theme: Theme) -> None:
    """A signal, a dot at each element that won a window."""
    places = np.arange(len(values))
    plot.axhline(0, color=theme.line, linewidth=0.8, zorder=0)
    plot.plot(places, values, color=theme.accent, linewidth=1.2, marker=".",
              markersize=3)  # fmt: skip
    if wins is not None:
        won = np.flatnonzero(wins)
        plot.plot(won, values[won], "o", color=theme.mark, markersize=4.5)
    plot.set_xlim(-0.5, len(values) - 0.5)
    plot.tick_params(labelsize=6)
    plot.spines[["top", "right"]].set_visible(False)


def _volume(
    figure: "Figure", plot: "Axes", values: Any, wins: Any, theme: Theme
) -> None:
    """Slices beside each other, each with its number below."""
    depth, _, across = values.shape
    shown = np.unique(
        np.linspace(0, depth - 1, min(depth, _SLICES)).round().astype(int)
    )
    gap = max(1, across // 8)
    room = plot.get_position()
    flat = _beside(values[shown].astype(float), gap, np.nan)
    # As wide as its cells are high, from the left.
    ratio = flat.shape[1] / flat.shape[0]
    across_room = room.height * figure.get_figheight() * ratio / figure.get_figwidth()
    place = (room.x0, room.y0, min(across_room, room.width), room.height)
    plot.set_position(place)
    _map(figure, plot, flat, place, theme)
    _frames(plot, None if wins is None else _beside(wins[shown], gap, 0), theme)
    for number in range(1, len(shown)):
        end = number * (across + gap) - 0.5
        plot.axvspan(end - gap, end, color=theme.paper)  # no elements
    centers = [i * (across + gap) + (across - 1) / 2 for i in range(len(shown))]
    plot.set_xticks(centers, [f"slice {i}" for i in shown], fontsize=6)
    plot.tick_params(length=0, pad=2)


def _beside(slices: Any, gap: int, filling: float) -> Any:
    """(n, H, W) as one (H, n W and gaps)."""
    parts = [np.pad(each, ((0, 0), (0, gap)), constant_values=filling)
             for each in slices]  # fmt: skip
    return np.concatenate(parts, 1)[:, :-gap]


def _map(figure: "Figure", plot: "Axes", values: Any, place: Any, theme: Theme) -> None:
    finite = values[np.isfinite(values)]
    end = float(np.abs(finite).max()) if finite.size else 0.0
    end = end or 1.0
    is_signed = bool((finite < 0).any())
    colors = signed_colors(theme) if is_signed else positive_colors(theme)
    image = plot.imshow(values, cmap=colors, vmin=-end if is_signed else 0, vmax=end,
                        interpolation="nearest")  # fmt: skip
    plot.set_xticks([])
    plot.set_yticks([])
    plot.spines[:].set_visible(False)
    bar = figure.add_axes((place[0] + place[2] + 0.008, place[1], 0.012, place[3]))
    scale = figure.colorbar(image, cax=bar)
    scale.set_ticks([-end, 0, end] if is_signed else [0, end])
    scale.ax.set_yticklabels(
        [f"{v:.3g}".replace("-", "−") for v in scale.get_ticks()], fontsize=6
    )
    if max(values.shape) > _WRITTEN:
        return
    for (row, column), value in np.ndenumerate(values):
        if not np.isfinite(value):
            continue
        light = image.cmap(image.norm(value))[:3] @ np.array([0.21, 0.72, 0.07])
        plot.text(column, row, f"{value:.2g}".replace("-", "−"), fontsize=6,
                  ha="center", va="center",
                  color="#000000" if light > 0.4 else "#ffffff")  # fmt: skip


def _frames(plot: "Axes", wins: Any, theme: Theme) -> None:
    """A frame around each element that won a window."""
    if wins is None:
        return
    from matplotlib.collections import LineCollection

    squares = [
        [(x - 0.5, y - 0.5), (x + 0.5, y - 0.5), (x + 0.5, y + 0.5), (x - 0.5, y + 0.5),
         (x - 0.5, y - 0.5)]
        for y, x in zip(*np.nonzero(wins), strict=True)
    ]  # fmt: skip
    wide = 1.4 if max(wins.shape) <= 2 * _WRITTEN else 0.7
    plot.add_collection(
        LineCollection(squares, colors=theme.mark, linewidths=wide, clip_on=False)
    )
