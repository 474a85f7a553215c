"""What speaks for what is said of many pictures, as one page and a file for each."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from convscope.analysis import Attribution, Trust
from convscope.analysis.attribution.record import GRADES, in_words, ranking
from convscope.errors import ArgumentError
from convscope.train.judging.attribution import PictureAttributions
from convscope.viz.attribution import attribution
from convscope.viz.palette import ThemeName
from convscope.viz.picture import write
from convscope.viz.report.markup import chapter, document, table, text
from convscope.viz.report.thumbnails import Thumbnails

ROOM = 12_000_000  # bytes of all pictures of one page
SIDE = 160  # pixels of each
PAGE = "index.html"
_WHERE = "save_attributions"
_NAMES = {
    "supported": "better than random orders by three times their spread, and gone when "
    "the weights are shuffled",
    "weak": "better than random orders, by less than that",
    "empty": "no better than a random order",
    "refuted": "much the same when all weights are shuffled: it shows the picture, not "
    "the network",
}


def save_attributions(
    records: Iterable[PictureAttributions],
    place: str | Path,
    *,
    classes: Sequence[str] | None = None,
    theme: ThemeName = "light",
) -> Path:
    """Writes a page of all pictures, and beside it a drawing of each.

    Pictures are taken one by one and not kept, so that there may be any number.

    Args:
        records: From `attribute_files`.
        place: A folder, which is made; or a file that ends in ``.html`` for the page
            alone.
        classes: Names of the classes, if they have any.
        theme: Of the drawings; the page follows its reader's.

    Returns:
        The page.

    Raises:
        ArgumentError: There are no records, or a file cannot be written.
    """
    place = Path(place)
    alone = place.suffix.lower() in (".html", ".htm")
    page = place if alone else place / PAGE
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(
            f"{_WHERE}: place={str(place)!r} cannot be made a folder: "
            f"{error.strerror or error}. Choose another place."
        ) from error
    room, figures = Thumbnails(ROOM, SIDE), []
    trust: dict[str, list[Trust]] = {}
    first: PictureAttributions | None = None
    for number, each in enumerate(records, start=1):
        first = first or each
        link = ""
        if not alone:
            link = f"{number:04d}-{_plain(each.path)}.png"
            drawn = attribution(
                each.found, each.pixels[None].numpy(), classes=classes, theme=theme
            )
            write(page.parent / link, drawn.png(), _WHERE)
        figures.append(_figure(each, link, classes, room))
        for record in each.found:
            trust.setdefault(record.title, []).extend(record.trust)
    if first is None:
        raise ArgumentError(f"{_WHERE}: there are no records. Give at least one.")
    content = _page(first.found, figures, trust)
    return write(page, content.encode("utf-8", "replace"), _WHERE)


def _page(
    methods: Sequence[Attribution], figures: list[str], trust: dict[str, list[Trust]]
) -> str:
    count = f"{len(figures):,} picture" + "s" * (len(figures) != 1)
    minus = methods[0].minus
    body = (
        f'<header><p class="what">convscope: why</p><h1>What speaks for '
        f"{text(in_words((), minus, methods[0].loss))}: {count}</h1>"
        f"<p>{text(', '.join(each.title for each in methods))}</p></header>"
    )
    chapters = [("trust", "How far to trust it", _trust(trust))]
    notes = dict.fromkeys(note for each in methods for note in each.notes)
    told = "".join(f'<p class="note">{text(note)}</p>' for note in notes)
    if any(each.signed for each in methods):
        told += '<p class="note">Blue speaks for it, brown against.</p>'
    pictures = f'<div class="why">{"".join(figures)}</div>'
    chapters.append(("pictures", "Pictures", told + pictures))
    body += "".join(chapter(*each) for each in chapters)
    return document(
        "why - convscope", [(key, name) for key, name, inner in chapters if inner], body
    )


def _trust(trust: dict[str, list[Trust]]) -> str:
    judged = [(method, found) for method, found in trust.items() if found]
    if not judged:
        return ""
    rows = [
        (one.method, f"{one.gain:+.3f}", *map(str, one.grades))
        for one in ranking(judged)
    ]
    meanings = "".join(f"<li><b>{k}</b>: {v}</li>" for k, v in _NAMES.items())
    return (
        table(("method", "gain", *GRADES), rows)
        + '<p class="note">Gain: insertion less deletion (RISE), beyond what random '
        f'orders give.</p><ul class="note">{meanings}</ul>'
    )


def _figure(
    each: PictureAttributions,
    link: str,
    classes: Sequence[str] | None,
    room: Thumbnails,
) -> str:
    cells = [_cell(room.of(each.pixels), "the picture", "")]
    several = len(each.found) > 1
    for record in each.found:
        told = text(record.title) if several else ""
        if record.trust:
            told = f"<b>{told}</b>: " * several + text(record.trust[0].verdict)
        source = room.overlaid(each.pixels, record.maps[0])
        cells.append(_cell(source, record.title, told))
    name = text(Path(each.path).name)
    if link:
        name = f'<a href="{text(link)}">{name}</a>'
    return (
        f"<figure><figcaption><b>{name}</b><br>"
        f"{text(each.found[0].named(classes))}</figcaption>"
        f'<div class="row">{"".join(cells)}</div></figure>'
    )


def _cell(source: str, said: str, told: str) -> str:
    image = '<span class="none"></span>'
    if source:
        image = f'<img src="{source}" alt="{text(said)}">'
    return f"<div>{image}<small>{told}</small></div>"


def _plain(path: str) -> str:
    """The name of a file without what another system could stumble over."""
    return re.sub(r"[^\w.-]+", "_", Path(path).stem)[:60] or "picture"
