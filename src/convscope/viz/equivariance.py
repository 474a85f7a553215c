"""Pictures of what moving the image does to networks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from convscope.analysis import Equivariance
from convscope.errors import ArgumentError
from convscope.viz.palette import Theme, ThemeName
from convscope.viz.picture import Picture, require_matplotlib, require_records
from convscope.viz.tiles import positive_colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage


def equivariance(
    found: Sequence[Equivariance], *, theme: ThemeName = "light"
) -> Picture[Sequence[Equivariance]]:
    """Draw one map of differences for each network, and how their outputs change.

    In a map each row is a layer, each column a shift; dark is equivariant, bright is
    not, gray is a shift between the layer's steps. Below, the outputs of all networks
    in one plot.

    Args:
        found: From `convscope.analysis.equivariance`, one for each network.
        theme: ``light`` or ``dark``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: There is nothing to draw, or the shifts are not the same.
        UnknownNameError: There is no such theme.

    >>> import torch
    >>> from torch import nn
    >>> from convscope.analysis import equivariance as measure
    >>> found = measure(nn.Conv2d(1, 2, 3), torch.rand(2, 1, 8, 8), shifts=(1, 2))
    >>> equivariance([found]).axes[-1].get_title()
    'images that keep their class'
    """
    require_matplotlib()
    records = require_records(
        found, Equivariance, "equivariance", "cs.analysis.equivariance"
    )
    if len({each.shifts for each in records}) != 1:
        raise ArgumentError(
            "equivariance: found must hold measurements with the same shifts, at least "
            "one. Measure all networks with the same shifts."
        )
    return Picture(records, lambda theme: _drawn(records, theme), theme)


def _drawn(found: Sequence[Equivariance], theme: Theme) -> "Figure":
    from matplotlib.figure import Figure

    drawn = [each for each in found if each.layers]
    rows = max([len(each.layers) for each in drawn], default=0)
    height = 0.25 * rows + 1.0 if drawn else 0.0
    figure = Figure(figsize=(4.4 * max(len(drawn), 2), height + 3.2))
    figure.set_layout_engine("constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=[max(height, 0.01), 3.2])
    above, below = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    if drawn:
        plots = above.subplots(1, len(drawn), squeeze=False)[0]
        for plot, each in zip(plots, drawn, strict=True):
            image = _layers(plot, each, theme)
        above.colorbar(image, ax=list(plots), label="difference / length of maps")
    changes, classes = below.subplots(1, 2)
    for each in found:
        changes.plot(each.shifts, each.output_changes, "o-", ms=4, label=each.name)
        if each.same_class is not None:
            classes.plot(each.shifts, each.same_class, "o-", ms=4, label=each.name)
    changes.set_title("change of the outputs (0: invariant)", fontsize=9)
    classes.set_title("images that keep their class", fontsize=9)
    classes.set_ylim(0, 1.05)
    changes.set_ylim(bottom=0)
    for plot in (changes, classes):
        plot.set_xlabel(f"shift along {found[0].axis}, in pixels", fontsize=8)
        plot.tick_params(labelsize=8)
        if plot.lines:  # networks that give no classes have no line there
            plot.legend(fontsize=7, frameon=False)
    return figure


def _layers(plot: "Axes", each: Equivariance, theme: Theme) -> "AxesImage":
    table = np.array(
        [[np.nan if d is None else d for d in row.differences] for row in each.layers]
    )
    colors = positive_colors(theme)
    image = plot.imshow(table, cmap=colors, vmin=0, vmax=1, aspect="auto")
    plot.set_xticks(range(len(each.shifts)), [str(s) for s in each.shifts], fontsize=8)
    names = [f"{row.path}  {row.kind.split('(')[0]}" for row in each.layers]
    plot.set_yticks(range(len(names)), names, fontsize=7)
    plot.set_xlabel("shift", fontsize=8)
    plot.set_title(each.name, fontsize=9)
    return image
