"""A picture of what filters look for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convscope.analysis import Maximized, Patches
from convscope.errors import ArgumentError
from convscope.viz.palette import Theme, ThemeName
from convscope.viz.picture import Picture, require_matplotlib, require_record
from convscope.viz.tiles import INCH, captions, curves, grid, show_tiles, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TILE = 58.0
_LEFT = 76.0


def top_patches(
    found: Patches,
    maximized: Sequence[Maximized] = (),
    *,
    theme: ThemeName = "light",
) -> Picture[Patches]:
    """Draw for each channel the patches that excite it most, the strongest first.

    Above each stands what the unit gave. Cells outside of the image are gray.

    Args:
        found: From `convscope.analysis.top_patches`.
        maximized: From `convscope.analysis.maximize`, one for each channel; drawn
            first, on scales of their own.
        theme: ``light`` or ``dark``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: ``maximized`` is for other channels.
        UnknownNameError: There is no such theme.

    >>> import torch
    >>> from torch import nn
    >>> from convscope.analysis import top_patches as measure
    >>> found = measure(nn.Conv2d(1, 2, 3), torch.rand(5, 1, 8, 8), "", top=2)
    >>> top_patches(found).get_suptitle().splitlines()[0]
    'Conv2d: what excites its channels most,'
    """
    require_record(found, Patches, "top_patches", "cs.analysis.top_patches")
    require_matplotlib()
    if maximized and tuple(each.channel for each in maximized) != found.channels:
        raise ArgumentError(
            f"top_patches: maximized is for channels "
            f"{[each.channel for each in maximized]}, the patches are for "
            f"{list(found.channels)}. Give one for each."
        )
    return Picture(found, lambda theme: _drawn(found, tuple(maximized), theme), theme)


def _drawn(found: Patches, maximized: tuple[Maximized, ...], theme: Theme) -> "Figure":
    from matplotlib.figure import Figure

    first = found.top[0][0].pixels
    axes = first.ndim - 1
    is_signal = axes == 1
    rows, columns = (0.7, 1.4) if is_signal else first.shape[-2:]
    longest = max(rows, columns)
    tile = (max(_TILE * rows / longest, 12), max(_TILE * columns / longest, 12))
    extra = 1 if maximized else 0
    across = max(len(row) for row in found.top) + extra
    places = grid(len(found.top), across, tile, gaps=(14, 6))
    width = max(places.width + _LEFT + 12, 380)
    where = f"{found.network}, {found.layer}" if found.layer else found.network
    title = wrapped(
        f"{where}: what excites its channels most, of {found.images:,} images", width
    )
    foot = list(found.notes)
    if found.field is not None:
        size = " x ".join(map(str, found.field))
        foot.insert(0, f"each patch is what the unit sees, {size} elements; gray is "
                       "outside of the image")  # fmt: skip
    if maximized:
        foot.append(f"first: made by {maximized[0].how}")
    text = wrapped("; ".join(foot), width, 7)
    head, below = 40 + 15 * title.count("\n"), 16 + 11 * text.count("\n")
    height = head + places.height + below + 10
    figure = Figure(figsize=(width / INCH, height / INCH))
    figure.suptitle(title, y=1 - 8 / height, va="top", fontsize=10)
    figure.text(
        12 / width, 6 / height, text, fontsize=7, color=theme.muted, va="bottom"
    )
    plot = figure.add_axes(
        (_LEFT / width, (below + 10) / height, places.width / width,
         places.height / height)
    )  # fmt: skip
    tiles: list[Any] = []
    texts: list[str] = []
    for number, row in enumerate(found.top):
        if maximized:
            tiles.append(_own_scale(maximized[number].input))
            texts.append(f"made: {maximized[number].after:.3g}")
        tiles += [patch.pixels for patch in row]
        texts += [f"{patch.value:.3g}" for patch in row]
        missing = across - extra - len(row)
        tiles += [None] * missing
        texts += [""] * missing
        top, _ = places.place(number * across)
        name = f"channel {found.channels[number]}"
        plot.text(-6, top + tile[0] / 2, name, size=7, ha="right", va="center")
    if is_signal:
        curves(plot, places, [_signal(each) for each in tiles], theme, signed=True)
    else:
        show_tiles(plot, places, [_colored(each, theme) for each in tiles])
    captions(plot, places, texts, theme)
    plot.set_axis_off()
    plot.set_xlim(0, places.width)
    plot.set_ylim(places.height, 0)
    return figure


def _own_scale(values: Any) -> Any:
    low, high = float(values.min()), float(values.max())
    return (values - low) / ((high - low) or 1.0)


def _signal(pixels: Any) -> Any:
    """The first channel, the largest value being 1."""
    if pixels is None:
        return None
    largest = np.nanmax(np.abs(pixels[0])) or 1.0
    return pixels[0] / largest


def _colored(pixels: Any, theme: Theme) -> Any:
    """(H, W, 3) of (C, H, W) or of the middle slice of (C, D, H, W)."""
    if pixels is None:
        return None
    plane = pixels[:, pixels.shape[1] // 2] if pixels.ndim == 4 else pixels
    if len(plane) not in (1, 3):
        plane = plane.mean(axis=0, keepdims=True)
    finite = plane[np.isfinite(plane)]
    if finite.size and (finite.min() < 0 or finite.max() > 1):
        plane = (plane - finite.min()) / ((finite.max() - finite.min()) or 1.0)
    color = np.broadcast_to(plane, (3, *plane.shape[1:])).transpose(1, 2, 0)
    empty = np.array([int(theme.empty[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(np.isfinite(color), color, empty)
