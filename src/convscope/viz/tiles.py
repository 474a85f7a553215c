"""Many small images in one: where each tile goes, and how they are drawn.

One array and one axes, however many tiles: a thousand axes of matplotlib take half a
minute.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from convscope.viz.palette import Theme, diverging, sequential

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

Array = npt.NDArray[Any]
INCH = 100  # units of a layout in one inch of the picture
DOTS = 2  # of a tile in a unit


@dataclass(frozen=True)
class Grid:
    """Places of equal tiles on a plane, in hundredths of an inch.

    Attributes:
        tile: Height and width of a tile.
        tops: Upper end of each row.
        lefts: Left end of each column.
    """

    tile: tuple[float, float]
    tops: tuple[float, ...]
    lefts: tuple[float, ...]

    @property
    def height(self) -> float:
        """Of all rows."""
        return self.tops[-1] + self.tile[0]

    @property
    def width(self) -> float:
        """Of all columns."""
        return self.lefts[-1] + self.tile[1]

    def place(self, number: int) -> tuple[float, float]:
        """Top and left of a tile, counted row by row."""
        row, column = divmod(number, len(self.lefts))
        return self.tops[row], self.lefts[column]


def grid(
    rows: int,
    columns: int,
    tile: tuple[float, float],
    *,
    gaps: tuple[float, float] = (4, 4),
    group: int = 0,
    wide_gap: float = 0,
) -> Grid:
    """A grid with gaps; after every ``group`` columns the gap is ``wide_gap`` more.

    >>> grid(1, 3, (10, 10), gaps=(0, 2), group=2, wide_gap=5).lefts
    (0, 12, 29)
    """
    height, width = tile
    return Grid(
        tile,
        tuple(row * (height + gaps[0]) for row in range(rows)),
        tuple(
            column * (width + gaps[1]) + (column // group * wide_gap if group else 0)
            for column in range(columns)
        ),
    )


def signed_colors(theme: Theme) -> "Colormap":
    """Orange, neutral, blue; cells without a number in their own gray."""
    return _colormap("signed", diverging(theme.name), theme)


def positive_colors(theme: Theme) -> "Colormap":
    """Dark to bright; cells without a number in their own gray."""
    return _colormap("positive", sequential(), theme)


def gray_colors(theme: Theme) -> "Colormap":
    """Black to white, for pictures."""
    return _colormap("gray", np.repeat(np.linspace(0, 1, 256)[:, None], 3, 1), theme)


def _colormap(name: str, colors: Array, theme: Theme) -> "Colormap":
    from matplotlib.colors import ListedColormap

    return ListedColormap(colors, name, bad=theme.empty)


def show_tiles(
    axes: "Axes",
    places: Grid,
    tiles: Sequence[Array | None],
) -> None:
    """Draws colored tiles (H, W, 3) or (H, W, 4) at their places, row by row.

    Args:
        axes: Its data units become the layout's.
        places: As many as there are tiles, or more.
        tiles: All of one shape, see `shrunk`; None leaves a place empty.
    """
    scale = DOTS
    canvas = np.zeros(
        (round(places.height * scale), round(places.width * scale), 4), np.uint8
    )
    for number, tile in enumerate(tiles):
        if tile is None:
            continue
        top, left = (round(each * scale) for each in places.place(number))
        height, width = (round(each * scale) for each in places.tile)
        colors = np.round(tile[..., :3] * 255).astype(np.uint8)
        canvas[top : top + height, left : left + width, :3] = _fitted(
            colors, height, width
        )
        canvas[top : top + height, left : left + width, 3] = 255
    axes.imshow(
        canvas,
        extent=(0, places.width, places.height, 0),
        interpolation="nearest",
        aspect="equal",
    )
    axes.set_axis_off()


def _fitted(tile: Array, height: int, width: int) -> Array:
    """Cells repeated to a number of dots."""
    rows, columns = tile.shape[:2]
    down = np.arange(height) * rows // height
    across = np.arange(width) * columns // width
    found: Array = tile[down][:, across]
    return found


def shrunk(values: Array, tile: tuple[float, float]) -> Array:
    """A map (H, W) averaged down to the dots that a tile has; a smaller one as it is.

    >>> shrunk(np.eye(4), (1, 1)).tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    from PIL import Image

    size = tuple(
        min(cells, max(1, round(units * DOTS)))
        for cells, units in zip(values.shape, tile, strict=True)
    )
    if size == values.shape:
        return values
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize(size[::-1], Image.Resampling.BOX))


def curves(
    axes: "Axes",
    places: Grid,
    values: Sequence[Array | None],
    theme: Theme,
    *,
    signed: bool = True,
    dots: bool = False,
) -> None:
    """Signals in frames at their places, row by row.

    Args:
        axes: Its data units are the layout's.
        places: As many as there are signals, or more.
        values: (length,) each, the largest that a frame holds being 1; None leaves a
            place empty.
        theme: Of the lines.
        signed: Whether frames reach from -1 to 1, with a line at 0, or from 0 to 1.
        dots: Whether elements are marked.
    """
    from matplotlib.collections import LineCollection

    height, width = places.tile
    zeros, frames, lines = [], [], []
    for place, signal in enumerate(values):
        if signal is None:
            continue
        top, left = places.place(place)
        right, bottom = left + width, top + height
        zero = top + height / 2 if signed else bottom
        x = left + (np.arange(len(signal)) + 0.5) * width / len(signal)
        lines.append(np.column_stack([x, zero - (zero - top) * signal]))
        zeros.append([(left, zero), (right, zero)])
        frames.append(
            [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        )
    axes.add_collection(LineCollection(frames, colors=theme.line, linewidths=0.4))
    axes.add_collection(LineCollection(zeros, colors=theme.line, linewidths=0.6))
    wide = 1.1 if dots else 0.8
    axes.add_collection(LineCollection(lines, colors=theme.accent, linewidths=wide))
    for points in lines if dots else ():
        axes.plot(points[:, 0], points[:, 1], ".", ms=2.2, color=theme.accent)


def wrapped(title: str, width: float, size: float = 10) -> str:
    r"""A title in lines that are not longer than ``width``.

    Args:
        title: One or more lines.
        width: Of the picture, in hundredths of an inch.
        size: Of the letters, in points.

    >>> wrapped("some words that are too long", 120)
    'some words\nthat are\ntoo long'
    """
    letters = max(8, int((width - 16) / (0.66 * size * INCH / 72)))
    lines = (textwrap.wrap(line, letters) for line in title.splitlines())
    return "\n".join("\n".join(line) for line in lines)


def captions(
    axes: "Axes",
    places: Grid,
    texts: Sequence[str],
    theme: Theme,
    *,
    size: float = 6,
) -> None:
    """Small texts above the tiles."""
    for number, text in enumerate(texts):
        top, left = places.place(number)
        axes.text(left, top - 1.5, text, size=size, color=theme.muted, va="bottom")
