"""Pictures of attributions: the input, the map over it, and how far to trust it."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from convscope.analysis import Attribution
from convscope.errors import ArgumentError
from convscope.viz.palette import Theme, ThemeName
from convscope.viz.picture import Picture, require_matplotlib, require_records
from convscope.viz.tiles import positive_colors, signed_colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float32]
SIDE = 2.3  # inches of a panel
OPACITY = 0.55  # of a map over a picture


def attribution(
    found: Attribution | Sequence[Attribution],
    inputs: npt.ArrayLike,
    *,
    classes: Sequence[str] | None = None,
    theme: ThemeName = "light",
) -> Picture[tuple[Attribution, ...]]:
    """Draw each input, and beside it what speaks for the target, with its verdict.

    Maps of volumes are drawn at the slice of their largest sum; those of signals as
    bars under the curve.

    Args:
        found: From ``cs.attribute``; several methods of the same inputs are drawn side
            by side.
        inputs: What to draw under the maps: pixels from 0 to 1 or 0 to 255, or any
            numbers, which are scaled.
        classes: Names of the classes, if they have any.
        theme: ``light`` or ``dark``.

    Shape:
        inputs: (N, C, *space), the space of the maps

    Raises:
        ArgumentError: There is nothing to draw, or maps and inputs do not fit.
        MissingExtraError: matplotlib is not installed.

    >>> import torch
    >>> from torch import nn
    >>> from convscope.analysis import attribute
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d(1),
    ...                     nn.Flatten())
    >>> x = torch.rand(1, 1, 8, 8)
    >>> attribution(attribute(net, x, 1), x).get_suptitle()
    'What speaks for class 1'
    """
    require_matplotlib()
    records = require_records(found, Attribution, "attribution", "cs.attribute")
    shown = np.asarray(inputs, dtype=np.float32)
    for each in records:
        if each.maps.shape != (len(shown), *shown.shape[2:]):
            raise ArgumentError(
                f"attribution: inputs have shape {shown.shape}, the maps "
                f"{each.maps.shape}. Give the inputs that were explained."
            )
    return Picture(records, lambda theme: _drawn(records, shown, classes, theme), theme)


def _drawn(
    records: tuple[Attribution, ...],
    inputs: Array,
    classes: Sequence[str] | None,
    theme: Theme,
) -> "Figure":
    from matplotlib.figure import Figure

    rows, columns = len(inputs), len(records) + 1
    trusted = any(each.trust for each in records)
    same = len(set(records[0].classes)) < 2
    names = ["" if same else each.named(classes) for each in records[0].each()]
    height, width = (inputs.shape[-2], inputs.shape[-1]) if inputs.ndim > 3 else (1, 2)
    tall = min(max(SIDE * height / width, 0.5 * SIDE), 2 * SIDE)
    under = 1.15 if trusted else 0.45
    size = (SIDE * columns + 0.4, rows * (tall + under) + 0.65)
    figure = Figure(figsize=size)
    figure.suptitle(f"What speaks for {records[0].named(classes)}", fontsize=10,
                    y=1 - 0.12 / size[1], va="top")  # fmt: skip
    for row in range(rows):
        bottom = size[1] - 0.62 - (row + 1) * tall - row * under
        for column in range(columns):
            place = (
                (0.2 + column * SIDE + 0.08) / size[0], bottom / size[1],
                (SIDE - 0.16) / size[0], tall / size[1],
            )  # fmt: skip
            axes = figure.add_axes(place)
            if row == 0:
                title = "input" if not column else records[column - 1].title
                axes.set_title(title, fontsize=9, color=theme.ink)
            if not column:
                _show_input(axes, inputs[row], theme)
                _say(axes, [names[row]], theme)
                continue
            record = records[column - 1]
            _show_map(axes, inputs[row], record.maps[row], theme)
            words = _range(record.maps[row])
            if record.trust:
                words += textwrap.wrap(record.trust[row].verdict, 38)[:3]
                words += textwrap.wrap(record.trust[row].figures, 38)[:4]
            _say(axes, words, theme)
    return figure


def _say(axes: "Axes", lines: list[str], theme: Theme) -> None:
    axes.text(0, -0.03, "\n".join(lines), transform=axes.transAxes, va="top",
              fontsize=7, color=theme.muted)  # fmt: skip


def end_of_scale(values: Array) -> float:
    """The value that has the last color, as has minus it where signs differ.

    The largest; or that of one element in a hundred where a few would leave the others
    without color.

    >>> end_of_scale(np.float32([0, 1, 2]))
    2.0
    >>> end_of_scale(np.float32([1] * 999 + [50]))
    1.0
    """
    sizes = np.abs(values)
    largest, usual = float(sizes.max()), float(np.quantile(sizes, 0.99))
    return (usual if 0 < 2 * usual < largest else largest) or 1.0


def _range(values: Array) -> list[str]:
    low, high, end = float(values.min()), float(values.max()), end_of_scale(values)
    told = f"{low:.3g} to {high:.3g}"
    if end < max(high, -low):
        told += f", colors to {end:.3g}"
    return [told, "blue speaks for it, brown against"] if low < 0 else [told]


def _show_input(axes: "Axes", image: Array, theme: Theme) -> None:
    if image.ndim == 2:
        _curve(axes, image, theme)
    else:
        axes.imshow(_picture(_flat(image)), cmap="gray", vmin=0, vmax=1)
    _bare(axes)


def _show_map(axes: "Axes", image: Array, values: Array, theme: Theme) -> None:
    largest = end_of_scale(values)
    signed = bool((values < 0).any())
    colors = signed_colors(theme) if signed else positive_colors(theme)
    low = -largest if signed else 0.0
    if values.ndim == 1:
        _curve(axes, image, theme)
        down, up = axes.get_ylim()
        axes.imshow(
            values[None], aspect="auto", cmap=colors, vmin=low, vmax=largest,
            extent=(-0.5, len(values) - 0.5, down, up), alpha=OPACITY, zorder=0,
        )  # fmt: skip
        axes.set_ylim(down, up)
        _bare(axes)
        return
    if values.ndim == 3:
        at = int(np.abs(values).sum((1, 2)).argmax())
        image, values = image[:, at], values[at]
        axes.text(0.03, 0.97, f"slice {at}", transform=axes.transAxes, va="top",
                  fontsize=7, color="white",
                  bbox={"facecolor": "black", "alpha": 0.5, "lw": 0})  # fmt: skip
    gray: npt.NDArray[Any] = _picture(image)
    if gray.ndim == 3:
        gray = gray @ np.array([0.299, 0.587, 0.114], np.float32)
    axes.imshow(gray, cmap="gray", vmin=0, vmax=1)
    axes.imshow(values, cmap=colors, vmin=low, vmax=largest, alpha=OPACITY)
    _bare(axes)


def _flat(image: Array) -> Array:
    """A picture itself, of a volume its middle slice."""
    return image[:, image.shape[1] // 2] if image.ndim == 4 else image


def _picture(image: Array) -> npt.NDArray[Any]:
    """(H, W) or (H, W, 3) from 0 to 1, of any channels and numbers."""
    finite = image[np.isfinite(image)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0, 0)
    shown: npt.NDArray[Any] = np.nan_to_num(image, nan=low, posinf=high, neginf=low)
    if low < 0 or high > 255:
        shown = (shown - low) / ((high - low) or 1.0)
    elif high > 1:
        shown = shown / 255
    if len(shown) == 3:
        return np.ascontiguousarray(shown.transpose(1, 2, 0))
    return np.asarray(shown.mean(0))


def _curve(axes: "Axes", signal: Array, theme: Theme) -> None:
    for channel in signal[:6]:
        axes.plot(channel, lw=0.9, color=theme.ink)
    axes.margins(x=0)


def _bare(axes: "Axes") -> None:
    axes.set_xticks([])
    axes.set_yticks([])
