"""Pictures of how cost grows."""

from typing import TYPE_CHECKING, Any

from convscope.errors import ArgumentError
from convscope.viz.palette import Theme, ThemeName
from convscope.viz.picture import Picture, require_matplotlib, require_record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS = {
    "batch": "images in a batch",
    "channels": "channels",
    "size": "height and width, in pixels",
    "depth": "stages",
    "threads": "threads",
}


def growth(
    record: dict[str, Any], *, theme: ThemeName = "light"
) -> Picture[dict[str, Any]]:
    """Draw time per image along each axis, with the arithmetic beside it.

    The dotted line has the slope of the multiply-adds, through our middle point:
    where a curve follows it, the cost is the arithmetic's. Both scales are logarithmic.

    Args:
        record: From `convscope.bench.growth`.
        theme: ``light`` or ``dark``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: There is no curve.
        UnknownNameError: There is no such theme.

    >>> curve = {"axis": "batch", "values": [1, 16], "multiply_adds": [90, 90],
    ...          "microseconds": {"PyTorch": [50.0, 9.0], "convscope": [25.0, 3.0]}}
    >>> picture = growth({"start": {"size": 28}, "curves": [curve]})
    >>> picture.axes[0].get_xlabel()
    'images in a batch'
    """
    require_record(record, dict, "growth", "cs.bench.growth")
    require_matplotlib()
    if not record["curves"]:
        raise ArgumentError("growth: record holds no curve. Let one axis grow.")
    return Picture(record, lambda theme: _curves(record, theme), theme)


def _curves(record: dict[str, Any], theme: Theme) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    curves = record["curves"]
    figure = Figure(figsize=(2.9 * len(curves), 3.2), layout="constrained")
    plots = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for plot, curve in zip(plots, curves, strict=True):
        values = curve["values"]
        for name, times in curve["microseconds"].items():
            color = theme.accent if name == "convscope" else theme.other
            plot.plot(values, times, "o-", ms=4, color=color, label=name)
        middle = len(values) // 2
        last = list(curve["microseconds"].values())[-1][middle]
        products = curve["multiply_adds"]
        slope = [last * p / products[middle] for p in products]
        plot.plot(values, slope, ":", color=theme.ink, lw=1, label="the arithmetic")
        plot.set(xscale="log", yscale="log")
        plot.set_xticks(values, [str(v) for v in values])
        plot.xaxis.set_minor_formatter(NullFormatter())
        plot.set_xlabel(UNITS[curve["axis"]], fontsize=9)
        plot.tick_params(labelsize=8)
        plot.grid(visible=True, lw=0.3)
    plots[0].set_ylabel("microseconds per image", fontsize=9)
    plots[0].yaxis.set_major_formatter("{x:g}")
    plots[0].legend(fontsize=7, frameon=False)
    start = ", ".join(f"{name} {value}" for name, value in record["start"].items())
    figure.suptitle(f"a training step; where nothing else is said: {start}", fontsize=9)
    return figure
