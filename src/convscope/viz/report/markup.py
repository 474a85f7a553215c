"""Small pieces of HTML; every text from outside passes through ``text``."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from convscope.terminal import printable
from convscope.viz.tokens import stylesheet


def text(value: object) -> str:
    r"""A value as text that is no markup and moves nothing.

    >>> text('<b>\u202e"')
    '&lt;b&gt;�&quot;'
    """
    return escape(printable(str(value)))


def table(
    heads: Sequence[str], rows: Iterable[Sequence[object]], *, names: int = 1
) -> str:
    """A table whose first ``names`` columns are words and the others numbers.

    Cells that are ``Markup`` go in as they are.
    """

    def line(tag: str, cells: Sequence[object]) -> str:
        inner = "".join(
            f"<{tag}{' class=n' if place >= names else ''}>{_cell(cell)}</{tag}>"
            for place, cell in enumerate(cells)
        )
        return f"<tr>{inner}</tr>"

    body = "".join(line("td", row) for row in rows)
    return (
        f'<div class="scroll" tabindex="0"><table><thead>{line("th", heads)}</thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


class Markup(str):
    """HTML that was made here."""

    __slots__ = ()


def _cell(value: object) -> str:
    return value if isinstance(value, Markup) else text(value)


def chapter(identity: str, title: str, *pieces: str) -> str:
    """A section with a heading that the navigation leads to; empty if nothing is in it.

    >>> chapter("data", "Data")
    ''
    """
    body = "".join(piece for piece in pieces if piece)
    if not body:
        return ""
    return f'<section id="{identity}"><h2>{text(title)}</h2>{body}</section>'


def document(title: str, chapters: Sequence[tuple[str, str]], body: str) -> str:
    """The whole file.

    Args:
        title: Of the window.
        chapters: Identity and name of each, for the navigation.
        body: What is in it.
    """
    style, script = stylesheet() + _asset("report.css"), _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    links = "".join(f'<a href="#{key}">{text(name)}</a>' for key, name in chapters)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{text(title)}</title>'
        f"<style>{style}</style></head><body>"
        f'<nav aria-label="Chapters">{links}</nav>'
        f"<main>{body}</main><script>{script}</script></body></html>\n"
    )


def _asset(name: str) -> str:
    return files("convscope.viz.report").joinpath(name).read_text("utf-8")
