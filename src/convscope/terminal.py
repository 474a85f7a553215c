"""What reaches a terminal: the one way for every string that came from outside.

A class or a file may be named by anybody. Its name must not move the cursor, change
colors, ring, or turn the direction of reading, and it need not be Unicode.
"""

import json
import math
import re
import shutil
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

WIDTH = 80  # columns, where the output is no terminal
# Persian words and joined emoji need these two, and they move nothing.
_JOINERS = "\u200c\u200d"
_SUSPECT = re.compile(r"[^\x20-\x7e]")


def columns() -> int:
    """The terminal's width; fixed where the output goes into a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH


def printable(text: str) -> str:
    r"""The text as one line that moves nothing; � stands for what is left out.

    >>> printable("cat\x1b[2J\n")
    'cat�[2J�'
    """
    return _SUSPECT.sub(_shown, text)


def printable_lines(text: str) -> str:
    r"""The same for a text that may have several lines, and tabs.

    >>> printable_lines("one\ntwo\x07")
    'one\ntwo�'
    """
    return "\n".join(
        "\t".join(map(printable, line.split("\t"))) for line in text.split("\n")
    )


def json_text(value: Any, indent: int | None = None) -> str:
    """``value`` as JSON that every reader takes: numbers that are not finite are null.

    >>> json_text({"loss": float("nan"), "steps": (1, 2)})
    '{"loss": null, "steps": [1, 2]}'
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def _shown(match: re.Match[str]) -> str:
    character = match.group()
    if character.isprintable() or character in _JOINERS:
        return character
    return " " if character.isspace() and character > "\x9f" else "\ufffd"


class Screen(Console):
    r"""A console that lets nothing but printable text, and its own styles, through.

    >>> import io
    >>> screen = Screen(file=io.StringIO())
    >>> screen.print("cat\x1b[2J")
    >>> screen.file.getvalue()
    'cat�[2J\n'
    """

    def __init__(self, *, stderr: bool = False, **settings: Any) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, **settings)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Segments as of any console, with their text made printable."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable_lines(segment.text), segment.style)


def cell(text: str, style: str = "") -> Text:
    """A name from outside as one cell of a table."""
    return Text(printable(text), style=style)


def say(text: str, *, error: bool = False, end: str = "\n") -> None:
    """Print lines on standard output, or on standard error."""
    stream = sys.stderr if error else sys.stdout
    if stream is None:  # closed before we began
        return
    stream.write(printable_lines(text) + end)
    stream.flush()
