"""A picture of what one unit sees, layer by layer, and what it looks at."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from convscope.analysis import UnitField
from convscope.analysis.probes.field import FieldStep
from convscope.errors import ArgumentError
from convscope.viz.palette import Theme, ThemeName, hexadecimal, sequential
from convscope.viz.picture import Picture, require_matplotlib, require_record
from convscope.viz.receptive_field import FLOOR
from convscope.viz.tiles import INCH, positive_colors, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 12  # frames in one picture
_SIDE = 3.4  # inches of a panel


def unit_field(
    found: UnitField,
    picture: npt.ArrayLike | None = None,
    *,
    theme: ThemeName = "light",
) -> Picture[UnitField]:
    r"""Draw how the receptive field of a unit grows on the input, and what it uses.

    Images have a frame for each layer at which the field grows; signals a bar; of
    volumes rows and columns are drawn. Beside it is the measured field, on a
    logarithmic scale.

    Args:
        found: From `convscope.analysis.unit_field`.
        picture: What to draw it on, (H, W) or (H, W, C) of bytes or from 0 to 1; for
            signals (length,).
        theme: ``light`` or ``dark``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: The input has no space, or more than three axes; the picture has
            another size.
        UnknownNameError: There is no such theme.

    >>> from torch import nn
    >>> from convscope.analysis import unit_field as measure
    >>> found = measure(nn.Conv2d(1, 2, 3), (1, 9, 9), samples=0)
    >>> unit_field(found).get_suptitle()
    'Conv2d: unit (3, 3) of its output sees\n3 x 3 of 9 x 9 elements'
    """
    require_record(found, UnitField, "unit_field", "cs.analysis.unit_field")
    require_matplotlib()
    space = found.input_shape[1:]
    if not 1 <= len(space) <= 3:
        raise ArgumentError(
            f"unit_field: an input of {found.input_shape} has {len(space)} axes of "
            "space. One to three have a picture."
        )
    shown = None if picture is None else np.asarray(picture)
    if shown is not None and shown.shape[: len(space[-2:])] != space[-2:]:
        raise ArgumentError(
            f"unit_field: picture has shape {shown.shape}, the input "
            f"{found.input_shape}. Give the picture as the network sees it."
        )
    return Picture(found, lambda theme: _drawn(found, shown, theme), theme)


def _drawn(
    found: UnitField, picture: npt.NDArray[Any] | None, theme: Theme
) -> "Figure":
    from matplotlib.figure import Figure

    space, unit = found.input_shape[1:], found.unit
    steps = _some(found.steps)
    width = 9.4 if found.effective is not None else 6.0
    where = f"of {unit.path}" if unit.path else "of its output"
    index = ", ".join(map(str, unit.position))
    title = wrapped(
        f"{found.network}: unit ({index}) {where} sees {_size(unit.size)} of "
        f"{_size(space)} elements",
        width * INCH * 0.62,
    )
    tall = _SIDE * (min(space[-2] / space[-1], 1.6) if len(space) > 1 else 0.7)
    height = max(tall, 0.19 * len(steps) + 0.3) + 1.0 + 0.17 * title.count("\n")
    figure = Figure(figsize=(width, height))
    figure.suptitle(title, y=1 - 0.1 / height, va="top", fontsize=10)
    bottom = 0.58 / height
    first = figure.add_axes((0.5 / width, bottom, _SIDE / width, tall / height))
    is_dark = theme.name == "dark" or (picture is not None and len(space) > 1)
    colors = _colors(len(steps), is_dark, theme)
    if len(space) == 1:
        _bars(first, steps, space[0], picture, colors, theme)
    else:
        _frames(first, steps, space[-2:], picture, colors, theme)
    _legend(figure, steps, colors, (0.5 + _SIDE + 0.12) / width, theme)
    if found.notes:
        figure.text(0.5 / width, 0.08 / height, "; ".join(found.notes), fontsize=7,
                    color=theme.muted)  # fmt: skip
    if found.effective is not None:
        place = (1 - 2.95 / width, bottom, 2.1 / width, tall * 2.1 / _SIDE / height)
        _effective(figure, found, place, theme)
    return figure


def _some(steps: tuple[FieldStep, ...]) -> list[FieldStep]:
    """At most as many as can be told apart, the last among them."""
    if len(steps) <= MOST:
        return list(steps)
    places = np.linspace(0, len(steps) - 1, MOST).round().astype(int)
    return [steps[place] for place in places]


def _colors(count: int, is_dark: bool, theme: Theme) -> list[str]:
    """From the first layer to the unit; the unit's own is the theme's mark."""
    ends = (115, 235) if is_dark else (40, 150)
    places = np.linspace(*ends, max(count - 1, 1)).round().astype(int)
    return [*hexadecimal(sequential()[places])[: count - 1], theme.mark]


def _frames(
    plot: "Axes",
    steps: list[FieldStep],
    space: tuple[int, ...],
    picture: npt.NDArray[Any] | None,
    colors: list[str],
    theme: Theme,
) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import MaxNLocator

    height, width = space
    if picture is None:
        plot.set_xlim(-0.5, width - 0.5)
        plot.set_ylim(height - 0.5, -0.5)
        plot.set_aspect("equal")
        plot.set_facecolor(theme.empty)
    else:
        seen = (
            picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture
        )
        top = 255 if seen.dtype == np.uint8 else 65535 if seen.dtype == np.uint16 else 1
        plot.imshow(seen / top, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    for step, color in zip(steps, colors, strict=True):
        (top_, bottom), (left, right) = step.box[-2:]
        frame = Rectangle((left - 0.5, top_ - 0.5), right - left + 1, bottom - top_ + 1)
        wide = 2.2 if step is steps[-1] else 1.3
        frame.set(fill=False, edgecolor=color, linewidth=wide, clip_on=False)
        plot.add_patch(frame)
    for axis in (plot.xaxis, plot.yaxis):
        axis.set_major_locator(MaxNLocator(5, integer=True))
    plot.tick_params(labelsize=7)
    plot.set_xlabel("what it may see of the input, by arithmetic", fontsize=7)


def _bars(
    plot: "Axes",
    steps: list[FieldStep],
    length: int,
    picture: npt.NDArray[Any] | None,
    colors: list[str],
    theme: Theme,
) -> None:
    for row, (step, color) in enumerate(zip(steps, colors, strict=True)):
        first, last = step.box[0]
        plot.barh(row, last - first + 1, left=first - 0.5, height=0.6, color=color)
    if picture is not None:
        values = picture.reshape(length, -1)[:, 0].astype(float)
        spread = float(np.ptp(values)) or 1.0
        plot.plot(-1 - 2 * (values - values.min()) / spread, color=theme.ink, lw=0.8)
    plot.set_xlim(-0.5, length - 0.5)
    plot.invert_yaxis()
    plot.set_yticks([])
    plot.tick_params(labelsize=7)
    plot.set_xlabel("what it may see of the input, by arithmetic", fontsize=7)


def _legend(
    figure: "Figure",
    steps: list[FieldStep],
    colors: list[str],
    left: float,
    theme: Theme,
) -> None:
    """A line for each frame, as far down as there are frames."""
    height = figure.get_figheight()
    top = height - 0.62
    for row, (step, color) in enumerate(zip(steps, colors, strict=True)):
        y = (top - 0.19 * row) / height
        name = step.path or "output"
        name = name if len(name) <= 16 else f"…{name[-15:]}"
        figure.text(left, y, "■", color=color, fontsize=8, va="center")
        text = f"{name}  {step.kind.partition('(')[0][:14]}  {_size(step.size)}"
        figure.text(left + 0.14 / figure.get_figwidth(), y, text, fontsize=7,
                    color=theme.ink, va="center")  # fmt: skip


def _effective(figure: "Figure", found: UnitField, place: Any, theme: Theme) -> None:
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    field = found.effective
    if field is None:
        return
    plot = figure.add_axes(place)
    scaled = np.maximum(field.energy / field.energy.max(), FLOOR)
    width = _size(field.width())
    label = f"what it uses: 95 % of the energy\nin {width}, measured"
    plot.tick_params(labelsize=6)
    plot.set_xlabel(label, fontsize=7)
    box = found.unit.box
    if scaled.ndim == 1:
        plot.plot(scaled, drawstyle="steps-mid", color=theme.accent, lw=0.9)
        plot.axvspan(box[0][0] - 0.5, box[0][1] + 0.5, color=theme.mark, alpha=0.2)
        plot.set_yscale("log")
        plot.set_ylim(FLOOR, 1.5)
        return
    if scaled.ndim == 3:
        scaled = scaled[sum(box[0]) // 2]
    image = plot.imshow(scaled, norm=LogNorm(FLOOR, 1.0), cmap=positive_colors(theme),
                        interpolation="nearest")  # fmt: skip
    (top, bottom), (left, right) = box[-2:]
    frame = Rectangle((left - 0.5, top - 0.5), right - left + 1, bottom - top + 1)
    frame.set(fill=False, edgecolor=theme.mark, linewidth=1.6, clip_on=False)
    plot.add_patch(frame)
    bar = figure.add_axes((place[0] + place[2] + 0.01, place[1], 0.012, place[3]))
    scale = figure.colorbar(image, cax=bar)
    scale.ax.tick_params(labelsize=6)
    scale.set_label("energy / largest", fontsize=6)
    scale.outline.set_visible(False)


def _size(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))
