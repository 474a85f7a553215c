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

_WRITTEN = 12  # elements along an axis up to which numbers stand in the cells


def pooling_winners(
    found: PoolingWinners, *, theme: ThemeName = "light"
) -> Picture[PoolingWinners]:
    """Draw a map before and after max pooling, winners framed, and the gradient.

    Args:
        found: From `convscope.analysis.pooling_winners`; of a signal or an image.
        theme: ``light`` or ``dark``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: The map has three axes.
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
    if found.before.ndim > 2:
        raise ArgumentError(
            f"pooling_winners: a map of {found.before.ndim} axes has no picture. Use "
            "found.wins."
        )
    return Picture(found, lambda theme: _drawn(found, theme), theme)


def _drawn(found: PoolingWinners, theme: Theme) -> "Figure":
    from matplotlib.figure import Figure

    before, after = np.atleast_2d(found.before), np.atleast_2d(found.after)
    won = int((found.wins > 0).sum())
    panels: list[tuple[str, Any, bool]] = [
        (f"before: {won} of {found.wins.size} elements win", before, True),
        ("after", after, False),
    ]
    if found.gradient_after is not None and found.gradient_before is not None:
        panels += [
            (f"gradient of {found.target}", np.atleast_2d(found.gradient_after), False),
            ("goes to the winners", np.atleast_2d(found.gradient_before), True),
        ]
    rows = len(panels) // 2
    tall = max(2.95 * min(before.shape[0] / before.shape[1], 1.5), 0.5)
    width, height = 7.6, rows * (tall + 0.75) + 0.55
    where = ", ".join(filter(None, (found.network, found.layer)))
    title = f"{where}: channel {found.channel} of {found.kind}"
    figure = Figure(figsize=(width, height))
    figure.suptitle(wrapped(title, width * INCH), y=1 - 0.08 / height, va="top",
                    fontsize=10)  # fmt: skip
    for number, (name, values, marked) in enumerate(panels):
        row, column = divmod(number, 2)
        bottom = height - 0.72 - (row + 1) * tall - row * 0.75
        place = (
            (0.2 + column * 3.75) / width, bottom / height, 2.95 / width, tall / height
        )  # fmt: skip
        plot = figure.add_axes(place)
        _map(figure, plot, values, place, theme)
        plot.set_title(name, fontsize=8)
        if marked:
            _frames(plot, np.atleast_2d(found.wins), theme)
    return figure


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
        light = image.cmap(image.norm(value))[:3] @ np.array([0.21, 0.72, 0.07])
        plot.text(column, row, f"{value:.2g}".replace("-", "−"), fontsize=6,
                  ha="center", va="center",
                  color="#000000" if light > 0.4 else "#ffffff")  # fmt: skip


def _frames(plot: "Axes", wins: Any, theme: Theme) -> None:
    """A frame around each element that won a window."""
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
