"""A picture of a measured receptive field beside the one that arithmetic allows."""

from typing import TYPE_CHECKING, Any

import numpy as np

from convscope.analysis import EffectiveField
from convscope.errors import ArgumentError
from convscope.viz.palette import Theme, ThemeName
from convscope.viz.picture import Picture, require_matplotlib, require_record
from convscope.viz.tiles import positive_colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLOOR = 1e-4  # of the largest energy; below it the scale ends


def receptive_field(
    field: EffectiveField, *, theme: ThemeName = "light"
) -> Picture[EffectiveField]:
    """Draw where one output looks: measured energy, and the bounds of arithmetic.

    Images are drawn as a map, signals as a curve, volumes as their middle slices along
    each axis. The scale is logarithmic, from the largest energy down to 1/10,000.

    Args:
        field: From `convscope.analysis.effective_receptive_field`.
        theme: ``light`` or ``dark``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: The input has more than three spatial axes.
        UnknownNameError: There is no such theme.

    >>> from torch import nn
    >>> from convscope.analysis import effective_receptive_field
    >>> field = effective_receptive_field(nn.Conv2d(1, 2, 3), (1, 9, 9), samples=1)
    >>> receptive_field(field).get_suptitle().splitlines()[0]
    "the network's output (3, 3): may see 3 x 3 (frame);"
    """
    require_record(
        field,
        EffectiveField,
        "receptive_field",
        "cs.analysis.effective_receptive_field",
    )
    require_matplotlib()
    axes = field.energy.ndim
    if axes > 3:
        raise ArgumentError(
            f"receptive_field: an input with {axes} spatial axes has no picture. Use "
            "field.energy."
        )
    return Picture(field, lambda theme: _drawn(field, theme), theme)


def _drawn(field: EffectiveField, theme: Theme) -> "Figure":
    from matplotlib.figure import Figure

    axes = field.energy.ndim
    panels = 3 if axes == 3 else 1
    figure = Figure(figsize=(4.6 * panels + 0.6, 4.4), layout="constrained")
    figure.suptitle(_title(field), fontsize=10)
    plots = figure.subplots(1, panels, squeeze=False)[0]
    scaled = np.maximum(field.energy / field.energy.max(), FLOOR)
    if axes == 1:
        _curve(plots[0], field, scaled, theme)
        return figure
    for plot, (cut, names, bounds) in zip(plots, _cuts(field, scaled), strict=True):
        image = _map(plot, cut, names, bounds, theme)
    figure.colorbar(image, ax=list(plots), label="energy / largest energy")
    return figure


def _cuts(field: EffectiveField, scaled: Any) -> list[Any]:
    """For each panel the values, the names of its axes, and the bounds along them."""
    bounds = field.theory or field.support
    if scaled.ndim == 2:
        return [(scaled, ("row", "column"), bounds)]
    names = ("slice", "row", "column")
    panels = []
    for axis in range(3):
        middle = sum(bounds[axis]) // 2
        rest = [a for a in range(3) if a != axis]
        panels.append(
            (
                scaled.take(middle, axis=axis),
                (names[rest[0]], f"{names[rest[1]]}; {names[axis]} {middle}"),
                (bounds[rest[0]], bounds[rest[1]]),
            )
        )
    return panels


def _map(
    plot: "Axes", values: Any, names: tuple[str, str], bounds: Any, theme: Theme
) -> Any:
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import MaxNLocator

    norm = LogNorm(FLOOR, 1.0)
    colors = positive_colors(theme)
    image = plot.imshow(values, norm=norm, cmap=colors, interpolation="nearest")
    (top, bottom), (left, right) = bounds
    corner = (left - 0.5, top - 0.5)
    frame = Rectangle(corner, right - left + 1, bottom - top + 1, fill=False)
    frame.set(edgecolor=theme.mark, linewidth=1.6, clip_on=False)
    plot.add_patch(frame)
    plot.xaxis.set_major_locator(MaxNLocator(integer=True))
    plot.yaxis.set_major_locator(MaxNLocator(integer=True))
    plot.set_ylabel(names[0])
    plot.set_xlabel(names[1])
    return image


def _curve(plot: "Axes", field: EffectiveField, scaled: Any, theme: Theme) -> None:
    plot.plot(scaled, drawstyle="steps-mid", color=theme.accent)
    first, last = (field.theory or field.support)[0]
    plot.axvspan(first - 0.5, last + 0.5, color=theme.mark, alpha=0.2)
    plot.set_yscale("log")
    plot.set_ylim(FLOOR, 1.5)
    plot.set_xlim(-0.5, len(scaled) - 0.5)
    plot.set_xlabel("element")
    plot.set_ylabel("energy / largest energy")


def _title(field: EffectiveField) -> str:
    where = field.path or "the network's output"
    index = f" {field.output_index}" if field.output_index else ""
    allowed = field.theory or field.support
    frame = "may see" if field.theory else "has a gradient in"
    sizes = " x ".join(str(last - first + 1) for first, last in allowed)
    widths = " x ".join(str(width) for width in field.width())
    return (
        f"{where}{index}: {frame} {sizes} (frame);\n95 % of the energy lies in {widths}"
    )
