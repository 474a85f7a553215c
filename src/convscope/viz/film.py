"""`Film`: pictures one after the other, as a GIF or as one HTML file."""

import base64
import html
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from PIL import Image

from convscope.errors import ArgumentError
from convscope.viz.film_page import PAGE
from convscope.viz.palette import THEMES, ThemeName
from convscope.viz.picture import suffix_of, write

Record = TypeVar("Record")
SUFFIXES = (".gif", ".html")
_LONGEST = 655.35  # seconds of one image, the most that a GIF can say


class Drawing(Protocol):
    """What a frame shows: a `Picture`, or anything else that can do this."""

    def themed(self, theme: ThemeName) -> Self:
        """The same in a theme."""
        ...

    def png(self) -> bytes:
        """As PNG."""
        ...

    def svg(self) -> str:
        """As SVG."""
        ...


@dataclass(frozen=True)
class Frame:
    """One picture of a film.

    Attributes:
        title: A line that says what it shows; below the picture in the HTML.
        picture: The picture; all of a film have one size.
    """

    title: str
    picture: Drawing


class Film(Generic[Record]):
    """Pictures in time, which a notebook plays.

    Args:
        frames: At least one.
        data: The record that they are drawn from.
        name: What the film shows; the title of the HTML.
        seconds: Between two frames at normal speed.
        vector: Whether the HTML holds each frame as SVG, which may use the tokens of
            the theme as ``var(--paper)``, ``var(--ink)`` and so on. Otherwise it holds
            PNGs, for light and for dark.

    Attributes:
        frames: The pictures with their titles.
        data: The record.

    Raises:
        ArgumentError: There is no frame, or ``seconds`` is not above 0 and at most
            655.35.

    >>> from matplotlib.figure import Figure
    >>> from convscope.viz.picture import Picture
    >>> blank = Picture(None, lambda theme: Figure(figsize=(1, 1)))
    >>> film = Film([Frame("before", blank), Frame("after", blank)], None, name="blank")
    >>> len(film.frames), film.gif()[:6]
    (2, b'GIF89a')
    """

    def __init__(
        self,
        frames: Sequence[Frame],
        data: Record,
        *,
        name: str = "film",
        seconds: float = 0.6,
        vector: bool = False,
    ) -> None:
        if not frames:
            raise ArgumentError("Film: frames is empty. Give at least one frame.")
        if not (math.isfinite(seconds) and 0 < seconds <= _LONGEST):
            raise ArgumentError(
                f"Film: seconds={seconds} is not above 0 and at most {_LONGEST}. "
                "Use 0.6."
            )
        self.frames, self.data, self.name = tuple(frames), data, name
        self.seconds, self.vector = seconds, vector

    def themed(self, theme: ThemeName) -> "Film[Record]":
        """The same film, whose GIF is in a theme.

        Args:
            theme: ``light`` or ``dark``.
        """
        frames = [Frame(f.title, f.picture.themed(theme)) for f in self.frames]
        return Film(
            frames, self.data, name=self.name, seconds=self.seconds, vector=self.vector
        )

    def save(self, path: str | Path, *, theme: ThemeName | None = None) -> Path:
        """Writes a file, in place of one that is there, and returns its path.

        Args:
            path: Ends in ``.gif`` or ``.html``, which says the format.
            theme: Of a GIF, by default that of the frames. The HTML is light or dark
                as its reader has chosen.

        Raises:
            ArgumentError: Another ending, or the file cannot be written.
        """
        place = Path(path)
        kind = suffix_of(place, SUFFIXES, "Film.save")
        content = self.gif(theme) if kind == "gif" else self.html().encode()
        return write(place, content, "Film.save")

    def gif(self, theme: ThemeName | None = None) -> bytes:
        """The film as GIF, which repeats; each frame has 256 colors of its own.

        Frames that look alike become one that stays as long as all of them.

        Args:
            theme: ``light`` or ``dark``; by default that of the frames.

        Raises:
            ArgumentError: The frames differ in size.
        """
        drawn = [f.picture if theme is None else f.picture.themed(theme)
                 for f in self.frames]  # fmt: skip
        pictures = [Image.open(io.BytesIO(each.png())).convert("RGB") for each in drawn]
        if len({each.size for each in pictures}) > 1:
            sizes = ", ".join(sorted({"x".join(map(str, p.size)) for p in pictures}))
            raise ArgumentError(
                f"Film.gif: frames have different sizes ({sizes} dots), and a GIF has "
                "one. Draw all in the same size, or save as .html."
            )
        first, *rest = (
            each.quantize(256, kmeans=1, dither=Image.Dither.NONE) for each in pictures
        )
        milliseconds = max(20, round(self.seconds * 1000))
        holds = [milliseconds] * len(pictures)
        holds[-1] = min(3 * milliseconds, round(_LONGEST * 1000))  # before it repeats
        made = io.BytesIO()
        first.save(
            made, "GIF", save_all=True, append_images=rest, duration=holds, loop=0,
            optimize=False,
        )  # fmt: skip
        return made.getvalue()

    def html(self) -> str:
        """The film as one page that needs nothing else.

        Space plays and pauses, the arrows go one frame back and forth, dragging on the
        picture or on the bar below it goes anywhere. Where motion is not wanted
        (``prefers-reduced-motion``) it does not begin to play by itself.
        """
        frames = "".join(map(self._frame, range(len(self.frames)), self.frames))
        told = {
            "titles": [frame.title for frame in self.frames],
            "milliseconds": max(20, round(self.seconds * 1000)),
        }
        # In a script element only "</" could end the text.
        script = json.dumps(told).replace("</", "<\\/").replace("<!--", "<\\!--")
        parts = {
            "NAME": html.escape(self.name),
            "LIGHT": _tokens("light"),
            "DARK": _tokens("dark"),
            "FRAMES": frames,
            "TOLD": script,
            "LAST": str(len(self.frames) - 1),
        }
        pieces = PAGE.split("@@")  # every second piece is the name of a part
        return "".join(
            parts[piece] if place % 2 else piece for place, piece in enumerate(pieces)
        )

    def _frame(self, number: int, frame: Frame) -> str:
        hidden = "" if number == 0 else " hidden"
        title = html.escape(frame.title, quote=True)
        if self.vector:
            content = frame.picture.svg()
            content = content[content.index("<svg") :]  # without its XML declaration
        else:
            content = "".join(
                f'<img class="{theme}" alt="{title}" draggable="false" src="'
                f'data:image/png;base64,{_base64(frame.picture.themed(theme).png())}">'
                for theme in ("light", "dark")
            )
        return f'<div class="frame"{hidden}>{content}</div>\n'

    def _repr_html_(self) -> str:
        page = html.escape(self.html(), quote=True)
        return (
            f'<iframe srcdoc="{page}" title="{html.escape(self.name, quote=True)}" '
            'style="width:100%;height:560px;border:0"></iframe>'
        )

    def __repr__(self) -> str:
        return f"Film({self.name!r}, {len(self.frames)} frames)"


def _tokens(theme: str) -> str:
    values: dict[str, Any] = THEMES[theme].to_dict()
    return "".join(
        f"--{name}:{value};" for name, value in values.items() if name != "name"
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
