"""A picture of whether layers work."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from convscope.analysis import Health, LayerHealth
from convscope.viz.palette import Theme, ThemeName
from convscope.viz.picture import Picture, require_matplotlib, require_record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 0.17  # inches
_MOST = 60  # layers in one picture
_NORMS = 12  # batch norms in one picture
_ACROSS = 6
_SILENT = ("Flatten", "Dropout", "Identity", "flatten", "view", "reshape")


def health(found: Health, *, theme: ThemeName = "light") -> Picture[Health]:
    """Draw dead and saturated units, spreads and gradients, layer below layer.

    Below, how values were distributed before and after each batch norm.

    Args:
        found: From `convscope.analysis.health`.
        theme: ``light`` or ``dark``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        UnknownNameError: There is no such theme.

    >>> import torch
    >>> from torch import nn
    >>> from convscope.analysis import health as measure
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    >>> images = [(torch.rand(4, 1, 8, 8), torch.full((4,), -1))]
    >>> health(measure(net, images)).get_suptitle()
    'Sequential over 4 images'
    """
    require_record(found, Health, "health", "cs.analysis.health")
    require_matplotlib()
    return Picture(found, lambda theme: _drawn(found, theme), theme)


def _drawn(found: Health, theme: Theme) -> "Figure":
    from matplotlib.figure import Figure

    layers = [e for e in found.layers if not e.kind.startswith(_SILENT)]
    left_out = ""
    if len(layers) > _MOST:
        telling = [e for e in layers if e.saturated is not None or _weighs(found, e)]
        left_out = f"; {min(len(telling), _MOST)} of {len(layers)} layers shown"
        layers = telling[:_MOST]
    norms = found.norms[:_NORMS]
    lines = -(-len(norms) // _ACROSS)
    table, below = len(layers) * _ROW + 0.75, lines * 1.25
    notes = " ".join(f"{note[:1].upper()}{note[1:]}." for note in found.notes)
    height = table + below + 0.85
    figure = Figure(figsize=(9.6, height))
    loss = "" if found.loss is None else f", mean cross-entropy {found.loss:.3g}"
    title = f"{found.network} over {found.images:,} images{loss}{left_out}"
    figure.suptitle(title, y=1 - 0.1 / height, va="top", fontsize=10)
    figure.text(0.5, 0.08 / height, notes, ha="center", fontsize=7, color=theme.muted)
    grid = figure.add_gridspec(
        1, 5, left=0.2, right=0.98, top=1 - 0.62 / height,
        bottom=1 - (table + 0.1) / height, wspace=0.16,
    )  # fmt: skip
    columns = [figure.add_subplot(grid[0, place]) for place in range(5)]
    _columns(columns, layers, found, theme)
    if norms:
        _norms(figure, found, lines, height, theme)
    return figure


def _columns(
    plots: list["Axes"], layers: list[LayerHealth], found: Health, theme: Theme
) -> None:
    y = list(range(len(layers)))
    dead = [100 * len(e.dead) / max(e.channels, 1) for e in layers]
    flat = [math.nan if e.saturated is None else 100 * e.saturated for e in layers]
    _bars(plots[0], y, dead, theme.mark)
    for place, each in zip(y, layers, strict=True):
        if each.dead:
            text = f"{len(each.dead)} of {each.channels}"
            plots[0].text(99, place, text, fontsize=6, va="center", ha="right",
                          color=theme.ink)  # fmt: skip
    plots[0].set_title("channels that never\nchange (dead), in %", fontsize=7)
    _bars(plots[1], y, flat, theme.accent)
    plots[1].set_title(
        "values where an activation\nis flat (saturated), in %", fontsize=7
    )
    _dots(plots[2], y, [e.std for e in layers], theme)
    plots[2].set_title("standard deviation\nof the values", fontsize=7)
    _dots(plots[3], y, [e.gradient for e in layers], theme)
    plots[3].set_title("gradient at one value,\nroot mean square", fontsize=7)
    _dots(plots[4], y, [_weighs(found, e) for e in layers], theme)
    plots[4].set_title("gradient of the weights\nover their norm", fontsize=7)
    for plot in plots:
        plot.set_ylim(len(layers) - 0.4, -0.6)
        plot.tick_params(labelsize=6, length=2)
        plot.spines[["top", "right", "left"]].set_visible(False)
        plot.set_yticks(y, [""] * len(y))
        plot.tick_params(axis="y", length=0)
        for place in y[1::2]:
            plot.axhspan(
                place - 0.5, place + 0.5, color=theme.empty, alpha=0.5, lw=0, zorder=0
            )
    names = [_name(each) for each in layers]
    plots[0].set_yticks(y, names, fontsize=6, color=theme.ink)


def _name(each: LayerHealth) -> str:
    kind = each.kind.partition("(")[0]
    label = each.label or "output"
    label = label if len(label) <= 30 else f"…{label[-29:]}"
    return label if kind.lower() in label.lower() else f"{label}  {kind}"


def _weighs(found: Health, each: LayerHealth) -> float | None:
    """Of the layer's weight, gradient over norm."""
    for weight in found.weights:
        if weight.path == f"{each.label}.weight" and weight.norm:
            return weight.ratio
    return None


def _bars(plot: "Axes", y: Any, values: list[float], color: str) -> None:
    plot.barh(y, np.nan_to_num(values), height=0.62, color=color, zorder=2)
    plot.set_xlim(0, 100)
    plot.set_xticks([0, 50, 100])


def _dots(plot: "Axes", y: Any, values: list[float | None], theme: Theme) -> None:
    """Positive numbers on a logarithmic scale; what is exactly 0 at its left end."""
    there = [(p, v) for p, v in zip(y, values, strict=True) if v is not None]
    positive = [v for _, v in there if 0 < v < math.inf]
    if not positive:
        plot.text(0.5, 0.5, "not known" if not there else "all are 0", fontsize=7,
                  color=theme.muted, ha="center", transform=plot.transAxes)  # fmt: skip
        plot.set_xticks([])
        return
    low, high = min(positive) / 2, max(positive) * 2
    plot.set_xscale("log")
    if high / low < 100:
        middle = math.sqrt(low * high)
        low, high = middle / 10, middle * 10
    plot.set_xlim(low, high)
    plot.xaxis.set_minor_formatter("")
    plot.grid(visible=True, axis="x", lw=0.3)
    dots = [(p, v) for p, v in there if 0 < v < math.inf]
    plot.plot([v for _, v in dots], [p for p, _ in dots], "o", ms=3.5,
              color=theme.accent)  # fmt: skip
    for place, value in there:
        if not 0 < value < math.inf:
            where = low * 1.02 if value == 0 else high / 1.02
            plot.plot([where], [place], "x", ms=4, color=theme.mark, clip_on=False)


def _norms(
    figure: "Figure", found: Health, lines: int, height: float, theme: Theme
) -> None:
    shown = found.norms[:_NORMS]
    more = len(found.norms) - len(shown)
    top = lines * 1.25 + 0.42
    grid = figure.add_gridspec(
        lines, _ACROSS, left=0.04, right=0.98, top=(top - 0.3) / height,
        bottom=0.42 / height, hspace=0.75, wspace=0.25,
    )  # fmt: skip
    said = "batch norms: values before (gray) and after (filled), share in each bin"
    if more > 0:
        said += f"; {len(shown)} of {len(found.norms)} shown"
    figure.text(0.04, (top + 0.02) / height, said, fontsize=8, va="bottom")
    for place, each in enumerate(shown):
        plot = figure.add_subplot(grid[place // _ACROSS, place % _ACROSS])
        plot.stairs(each.after, each.after_edges, fill=True, color=theme.accent,
                    alpha=0.55)  # fmt: skip
        plot.stairs(each.before, each.before_edges, color=theme.other, lw=1)
        plot.set_title(each.path if len(each.path) < 24 else f"…{each.path[-22:]}",
                       fontsize=7)  # fmt: skip
        plot.set_yticks([])
        plot.tick_params(labelsize=6, length=2)
        plot.spines[["top", "right", "left"]].set_visible(False)
