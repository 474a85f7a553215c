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
    *,
    smooth: bool = False,
) -> None:
    """Draws colored tiles (H, W, 3) or (H, W, 4) at their places, row by row.

    Args:
        axes: Its data units become the layout's.
        places: As many as there are tiles, or more.
        tiles: All of one shape; None leaves a place empty.
        smooth: Whether large tiles may be averaged down to the dots of the picture.
    """
    first = next(tile for tile in tiles if tile is not None)
    dots = max(1.0, max(first.shape[:2]) / max(places.tile))  # in a unit, at least 2
    scale = max(2.0, dots) if not smooth else 2.0
    canvas = np.zeros((round(places.height * scale), round(places.width * scale), 4))
    for number, tile in enumerate(tiles):
        if tile is None:
            continue
        top, left = (round(each * scale) for each in places.place(number))
        height, width = (round(each * scale) for each in places.tile)
        part = _fitted(tile, height, width)
        canvas[top : top + height, left : left + width, :3] = part[..., :3]
        canvas[top : top + height, left : left + width, 3] = 1.0
    axes.imshow(
        canvas,
        extent=(0, places.width, places.height, 0),
        interpolation="nearest",
        aspect="equal",
    )
    axes.set_axis_off()


def _fitted(tile: Array, height: int, width: int) -> Array:
    """Cells repeated, or averaged, to a number of dots."""
    rows, columns = tile.shape[:2]
    if height >= rows and width >= columns:
        down = np.arange(height) * rows // height
        across = np.arange(width) * columns // width
        found: Array = tile[down][:, across]
        return found
    from PIL import Image

    bytes_ = np.round(np.clip(tile[..., :3], 0, 1) * 255).astype(np.uint8)
    small = Image.fromarray(bytes_).resize((width, height), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64) / 255


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
