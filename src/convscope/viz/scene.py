"""Cells, words and lines, drawn as SVG with the theme's tokens and as PNG."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from typing import Literal, TypeAlias

from PIL import Image, ImageDraw, ImageFont

from convscope.viz.palette import THEMES, ThemeName
from convscope.viz.picture import require_matplotlib

Anchor = Literal["start", "middle", "end"]
SCALE = 2  # dots of a PNG for each unit
_CSS = "-" * 2  # what names of properties begin with in a stylesheet
WIDTH_OF_LETTER = 0.56  # of its size, on average


@dataclass(frozen=True)
class Box:
    """A rectangle; colors are tokens of the theme, or ``#rrggbb``."""

    x: float
    y: float
    width: float
    height: float
    fill: str = ""
    line: str = ""
    thickness: float = 1.0
    round: float = 0.0


@dataclass(frozen=True)
class Boxes:
    """Rectangles that differ in their upper left corner alone."""

    corners: tuple[tuple[float, float], ...]
    width: float
    height: float
    fill: str = ""
    line: str = ""
    thickness: float = 1.0

    def each(self) -> "Iterator[Box]":
        """The rectangles."""
        for x, y in self.corners:
            yield Box(x, y, self.width, self.height, self.fill, self.line,
                      self.thickness)  # fmt: skip


@dataclass(frozen=True)
class Words:
    """One line of text; ``y`` is its middle."""

    x: float
    y: float
    text: str
    size: float = 12.0
    color: str = "ink"
    anchor: Anchor = "middle"
    bold: bool = False


@dataclass(frozen=True)
class Path:
    """A line through points, with an arrow at its end if wanted."""

    points: tuple[tuple[float, float], ...]
    color: str = "muted"
    thickness: float = 1.0
    arrow: bool = False


Item: TypeAlias = Box | Boxes | Words | Path


@dataclass(frozen=True)
class Scene:
    """What is drawn, from back to front, on a plane of so many units.

    >>> scene = Scene(40, 20, (Box(0, 0, 40, 20, fill="accent"), Words(20, 10, "1")))
    >>> scene.svg()[:4], scene.png()[1:4]
    ('<svg', b'PNG')
    """

    width: float
    height: float
    items: Sequence[Item]
    theme: ThemeName = "light"
    said: str = field(default="", compare=False)

    def themed(self, theme: ThemeName) -> "Scene":
        """The same in a theme."""
        return Scene(self.width, self.height, self.items, theme, self.said)

    def svg(self, *, fixed: bool = False) -> str:
        """As SVG; its colors are the page's tokens, or those of the theme if fixed."""
        inner = "".join(map(self._markup, self.items))
        label = f' role="img" aria-label="{escape(self.said)}"' if self.said else ""
        tokens = ""
        if fixed:
            values = THEMES[self.theme].to_dict()
            named = ";".join(f"{_CSS}{k}:{v}" for k, v in values.items() if k != "name")
            tokens = f' style="{named};background:var({_CSS}paper)"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} '
            f'{self.height:g}" width="{self.width:g}" height="{self.height:g}" '
            f'font-family="system-ui, sans-serif"{label}{tokens}>{inner}</svg>'
        )

    def png(self) -> bytes:
        """As PNG, twice as many dots as units along each side."""
        tokens = THEMES[self.theme].to_dict()
        size = (round(self.width * SCALE), round(self.height * SCALE))
        image = Image.new("RGB", size, tokens["paper"])
        draw = ImageDraw.Draw(image)
        for item in _single(self.items):
            _paint(draw, item, tokens)
        made = io.BytesIO()
        image.save(made, "png", optimize=True)
        return made.getvalue()

    def pdf(self) -> bytes:
        """As PDF, a point for each unit."""
        require_matplotlib()
        from matplotlib.figure import Figure
        from matplotlib.patches import FancyBboxPatch, Polygon

        tokens = THEMES[self.theme].to_dict()

        def color(name: str) -> str:
            return "none" if not name else name if name[0] == "#" else tokens[name]

        figure = Figure((self.width / 72, self.height / 72), facecolor=tokens["paper"])
        plot = figure.add_axes((0, 0, 1, 1))
        plot.set(xlim=(0, self.width), ylim=(self.height, 0))
        plot.axis("off")
        for item in _single(self.items):
            if isinstance(item, Box):
                style = f"round,pad=0,rounding_size={item.round:g}"
                plot.add_patch(
                    FancyBboxPatch(
                        (item.x, item.y), item.width, item.height, boxstyle=style,
                        facecolor=color(item.fill), edgecolor=color(item.line),
                        linewidth=item.thickness,
                    )
                )  # fmt: skip
            elif isinstance(item, Words):
                plot.text(
                    item.x, item.y, item.text, color=color(item.color), va="center",
                    ha={"start": "left", "middle": "center", "end": "right"}[
                        item.anchor
                    ],
                    fontsize=item.size, weight="bold" if item.bold else "normal",
                    parse_math=False,
                )  # fmt: skip
            else:
                xs, ys = zip(*item.points, strict=True)
                plot.plot(xs, ys, color=color(item.color), linewidth=item.thickness)
                if item.arrow:
                    plot.add_patch(Polygon(_head(item.points), color=color(item.color)))
        made = io.BytesIO()
        hidden = {"CreationDate": None, "Creator": None, "Producer": None}
        figure.savefig(made, format="pdf", metadata=hidden)
        return made.getvalue()

    def _markup(self, item: Item) -> str:
        if isinstance(item, Boxes):
            side = f"h{item.width:g}v{item.height:g}h{-item.width:g}z"
            drawn = "".join(f"M{x:g} {y:g}{side}" for x, y in item.corners)
            return f'<path d="{drawn}" fill="{_token(item.fill)}"{_stroke(item)}/>'
        if isinstance(item, Box):
            rounded = f' rx="{item.round:g}"' if item.round else ""
            return (
                f'<rect x="{item.x:g}" y="{item.y:g}" width="{item.width:g}" '
                f'height="{item.height:g}" fill="{_token(item.fill)}"'
                f"{_stroke(item)}{rounded}/>"
            )
        if isinstance(item, Words):
            weight = ' font-weight="600"' if item.bold else ""
            return (
                f'<text x="{item.x:g}" y="{item.y + 0.36 * item.size:.4g}" font-size="'
                f'{item.size:g}" fill="{_token(item.color)}" text-anchor="'
                f'{item.anchor}"{weight}>{escape(item.text)}</text>'
            )
        color = _token(item.color)
        points = " ".join(f"{x:g},{y:g}" for x, y in item.points)
        made = (
            f'<polyline points="{points}" fill="none" stroke="{color}" '
            f'stroke-width="{item.thickness:g}"/>'
        )
        if item.arrow:
            head = " ".join(f"{x:.4g},{y:.4g}" for x, y in _head(item.points))
            made += f'<polygon points="{head}" fill="{color}"/>'
        return made


def fitted(text: str, width: float, size: float) -> str:
    """The text, shortened so that it is about as wide as asked for.

    >>> fitted("a long line of text", 60, 12)
    'a long …'
    """
    most = max(1, int(width / (WIDTH_OF_LETTER * size)))
    return text if len(text) <= most else text[: most - 1] + "…"


def _single(items: Sequence[Item]) -> Iterator[Box | Words | Path]:
    for item in items:
        if isinstance(item, Boxes):
            yield from item.each()
        else:
            yield item


def _stroke(item: Box | Boxes) -> str:
    if not item.line:
        return ""
    return f' stroke="{_token(item.line)}" stroke-width="{item.thickness:g}"'


def _token(name: str) -> str:
    if not name:
        return "none"
    return name if name.startswith("#") else f"var({_CSS}{name})"


def _head(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    (x0, y0), (x1, y1) = points[-2], points[-1]
    length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5 or 1.0
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    back = (x1 - 7 * ux, y1 - 7 * uy)
    return [
        (x1, y1),
        (back[0] - 3.5 * uy, back[1] + 3.5 * ux),
        (back[0] + 3.5 * uy, back[1] - 3.5 * ux),
    ]


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has the signs of arithmetic."""
    require_matplotlib()
    from matplotlib import get_data_path

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/{name}", size)


def _paint(
    draw: ImageDraw.ImageDraw, item: Box | Words | Path, tokens: dict[str, str]
) -> None:
    def color(name: str) -> str | None:
        if not name:
            return None
        return name if name.startswith("#") else tokens[name]

    if isinstance(item, Box):
        corners = [v * SCALE for v in (item.x, item.y, item.x + item.width,
                                       item.y + item.height)]  # fmt: skip
        thick = max(1, round(item.thickness * SCALE)) if item.line else 0
        draw.rounded_rectangle(
            corners, item.round * SCALE, fill=color(item.fill),
            outline=color(item.line), width=thick,
        )  # fmt: skip
    elif isinstance(item, Words):
        font = _font(round(item.size * SCALE), item.bold)
        anchor = {"start": "lm", "middle": "mm", "end": "rm"}[item.anchor]
        draw.text(
            (item.x * SCALE, item.y * SCALE), item.text, fill=color(item.color),
            font=font, anchor=anchor,
        )  # fmt: skip
    else:
        points = [(x * SCALE, y * SCALE) for x, y in item.points]
        draw.line(points, fill=color(item.color),
                  width=max(1, round(item.thickness * SCALE)))  # fmt: skip
        if item.arrow:
            head = [(x * SCALE, y * SCALE) for x, y in _head(item.points)]
            draw.polygon(head, fill=color(item.color))
