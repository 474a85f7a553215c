"""Small pieces of HTML; every text from outside passes through ``text``."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from convscope.terminal import printable
from convscope.train.reporting.record import RunRecord
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


LONGEST = 48  # letters of a name, beyond which its end is left to the tooltip


def name(value: object) -> "Markup":
    """A class's or a run's name as markup: set apart, and cut where it is very long.

    >>> name("cat"), name("x" * 60)[-16:]
    ('<bdi>cat</bdi>', 'xxxxxxxxx…</bdi>')
    """
    whole = str(value)
    if len(whole) <= LONGEST:
        return Markup(f"<bdi>{text(whole)}</bdi>")
    cut = text(whole[: LONGEST - 1])
    return Markup(f'<bdi title="{text(whole)}">{cut}…</bdi>')


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


def picture(source: str, file: str, title: str, note: str, beside: str = "") -> str:
    """A picture with its name; with another beside it, if there is one.

    Args:
        source: Its address; empty where there was no room for it.
        file: Its name.
        title: What it is, as markup.
        note: What is said of it, as markup.
        beside: The address of the other.
    """
    image = f'<img src="{source}" alt="">' if source else '<span class="none"></span>'
    if beside:
        image = f'<div class="two">{image}<img src="{beside}" alt=""></div>'
    return (
        f'<figure title="{text(file)}">{image}<figcaption><b>{title}</b><br>'
        f"{note}<br><small>{text(Path(file).name)}</small></figcaption></figure>"
    )


def sentences(said: Sequence[str]) -> str:
    """Sentences under each other; empty if there are none.

    A mark behind each quote keeps names that are written from right to left from
    taking what follows with them.
    """
    if not said:
        return ""
    return f"<ul>{''.join(f'<li>{_marked(each)}</li>' for each in said)}</ul>"


def _marked(sentence: str) -> str:
    return text(sentence).replace("&#x27;", "&#x27;&lrm;")


def why_missing(record: RunRecord, *names: str) -> str:
    """In place of what could not be found out: why not."""
    said = (record.missing[name] for name in names if name in record.missing)
    return "".join(f'<p class="note">Not here: {text(each)}</p>' for each in said)


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
