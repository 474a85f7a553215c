"""A picture of a network as a graph: rows of layers, rails for what skips rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convscope.analysis.structure import Block, NetworkGraph, Part, nodes_of
from convscope.errors import ArgumentError
from convscope.viz.palette import ThemeName, theme_named
from convscope.viz.picture import require_record, suffix_of, write
from convscope.viz.scene import Box, Scene, Words, fitted
from convscope.viz.scene import Path as Line
from convscope.viz.structure_page import structure_page
from convscope.viz.structure_rows import (
    COLORS,
    Rails,
    by,
    label_of,
    percent,
    rails_of,
)

SUFFIXES = (".html", ".svg", ".png", ".pdf")
ROWS = 40  # rows up to which a picture opens blocks by itself
_ROW, _GAP, _LANE, _WIDE, _BAR = 34, 14, 14, 620, 72


class Diagram:
    """A network as a graph; a notebook shows it, its blocks opened by a click.

    Args:
        data: The graph.
        theme: ``light`` or ``dark``, of files that are not HTML.
        depth: Blocks within blocks that files other than HTML open; by default as
            many as fit in ``ROWS`` rows.

    Attributes:
        data: The graph.
        theme: The theme's name.
        depth: Blocks within blocks that are open.

    >>> from torch import nn
    >>> from convscope.analysis import network_graph
    >>> diagram = Diagram(network_graph(nn.Sequential(nn.Conv2d(1, 2, 3)), (1, 8, 8)))
    >>> diagram.svg()[:4], diagram.png()[1:4]
    ('<svg', b'PNG')
    """

    def __init__(
        self, data: NetworkGraph, theme: ThemeName = "light", depth: int | None = None
    ) -> None:
        theme_named(theme)
        if depth is not None and depth < 0:
            raise ArgumentError(
                f"structure: depth={depth} is below 0. Use 0 for the outermost blocks."
            )
        self.data, self.theme = data, theme
        self._block = data.blocks()
        self.depth = _depth(self._block) if depth is None else depth

    def themed(self, theme: ThemeName) -> "Diagram":
        """The same in a theme."""
        return Diagram(self.data, theme, self.depth)

    def save(self, path: str | Path) -> Path:
        """Writes a file, in place of one that is there, and returns its path.

        Args:
            path: Ends in ``.html``, in which blocks open and close; ``.svg``, ``.png``
                or ``.pdf``.

        Raises:
            ArgumentError: Another ending, or the file cannot be written.
        """
        place = Path(path)
        kind = suffix_of(place, SUFFIXES, "Diagram.save")
        made: dict[str, Any] = {
            "html": self.html, "svg": self.svg, "png": self.png, "pdf": self.pdf,
        }  # fmt: skip
        content = made[kind]()
        if isinstance(content, str):
            content = content.encode()
        return write(place, content, "Diagram.save")

    def html(self) -> str:
        """A page of its own."""
        return structure_page(self.data, self._block)

    def svg(self) -> str:
        """The rows as SVG."""
        return self.scene().svg(fixed=True)

    def png(self) -> bytes:
        """The rows as PNG."""
        return self.scene().png()

    def pdf(self) -> bytes:
        """The rows as PDF."""
        return self.scene().pdf()

    def _repr_html_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        return f"Diagram({self.data.name}, {len(self.data.nodes)} nodes)"

    def scene(self) -> Scene:
        """The rows, drawn."""
        return _scene(self.data, tuple(_rows(self._block, self.depth)), self.theme)


def structure(
    found: NetworkGraph, *, theme: ThemeName = "light", depth: int | None = None
) -> Diagram:
    """Draw a network as a graph: layers, shapes, receptive fields, shares of the costs.

    Args:
        found: From `convscope.analysis.network_graph`.
        theme: ``light`` or ``dark``.
        depth: Blocks within blocks that are open, in files other than HTML.

    Raises:
        ArgumentError: ``depth`` is below 0.
        UnknownNameError: There is no such theme.

    >>> import convscope as cs
    >>> net = cs.models.build("resnet20")
    >>> structure(cs.analysis.network_graph(net, (3, 32, 32)))
    Diagram(Sequential, 72 nodes)
    """
    require_record(found, NetworkGraph, "structure", "cs.analysis.network_graph")
    return Diagram(found, theme, depth)


@dataclass(frozen=True)
class _Row:
    """One row: a part, or the name of an opened block above its parts."""

    part: Part
    level: int
    is_head: bool = False


def _rows(block: Block, depth: int, level: int = 0) -> Iterator[_Row]:
    for part in block.parts:
        if isinstance(part, Block) and depth > 0:
            yield _Row(part, level, is_head=True)
            yield from _rows(part, depth - 1, level + 1)
        else:
            yield _Row(part, level)


def _depth(block: Block) -> int:
    """The most blocks within blocks that can be opened within ``ROWS`` rows."""
    depth = 0
    while depth < 8 and len(tuple(_rows(block, depth + 1))) <= ROWS:
        depth += 1
    return depth


def _connected(rows: tuple[_Row, ...]) -> Rails:
    """Rails between rows; a head has no values of its own."""
    place = {
        node.label: number
        for number, row in enumerate(rows)
        if not row.is_head
        for node in nodes_of(row.part)
    }
    shown = [number for number, row in enumerate(rows) if not row.is_head]
    order = {number: at for at, number in enumerate(shown)}
    edges = set()
    for row in rows:
        if row.is_head:
            continue
        for node in nodes_of(row.part):
            for source in node.sources:
                pair = order[place[source]], order[place[node.label]]
                if pair[0] != pair[1]:
                    edges.add(pair)
    return rails_of(len(shown), edges)


def _scene(graph: NetworkGraph, rows: tuple[_Row, ...], theme: ThemeName) -> Scene:
    rails = _connected(rows)
    left = 16 + rails.lanes * _LANE
    width = left + _WIDE + 16
    items: list[Box | Words | Line] = [
        Words(16, 22, graph.name, 16, anchor="start", bold=True),
        Words(16, 44, _totals(graph), 12, "muted", "start"),
    ]
    right = left + _WIDE - 16
    items += [
        Words(right, 66, "parameters", 11, "muted", "end"),
        Words(right - _BAR - 12, 66, "multiply-adds", 11, "muted", "end"),
        Words(right - 2 * _BAR - 24, 66, "shape, field", 11, "muted", "end"),
    ]
    tops: list[float] = []
    y = 84.0
    for row in rows:
        if row.is_head:
            text = f"{row.part.path}: {row.part.kind}"
            items.append(
                Words(
                    left + 12 * row.level, y + 8, text, 12, "muted", "start", bold=True
                )
            )
            y += 22
            continue
        tops.append(y)
        items += _drawn(row, graph, left + 12 * row.level, y, left + _WIDE)
        y += _ROW + _GAP
    items += _wires(rails, tops, left, [r.level for r in rows if not r.is_head])
    said = f"{graph.name}: {len(graph.nodes)} layers and functions in {len(tops)} rows"
    return Scene(width, y + 4, tuple(items), theme, said)


def _totals(graph: NetworkGraph) -> str:
    return (
        f"{graph.parameters:,} parameters, {graph.multiply_adds:,} multiply-adds for "
        "one input; what skips rows runs at the left"
    )


def _drawn(
    row: _Row, graph: NetworkGraph, x: float, y: float, end: float
) -> Iterator[Box | Words | Line]:
    part = row.part
    nodes = nodes_of(part)
    last = nodes[-1]
    yield Box(x, y, end - x, _ROW, fill="paper", line="line", round=4)
    color = COLORS.get(last.family, "other") if part is last else "other"
    yield Box(x, y, 5, _ROW, fill=color, round=2)
    name = label_of(part)
    right = end - 16
    room = right - 2 * _BAR - 12 - 168 - x - 14
    yield Words(x + 14, y + 11, fitted(name or "network", room, 12), 12,
                anchor="start", bold=True)  # fmt: skip
    kind = f"{part.kind}, {len(nodes)} inside" if isinstance(part, Block) else part.kind
    yield Words(x + 14, y + 25, fitted(kind, room, 10.5), 10.5, "muted", "start")
    shapes = right - 2 * _BAR - 12 - 12
    yield Words(shapes, y + 11, by(last.shape), 12, anchor="end")
    if last.receptive_field:
        yield Words(
            shapes, y + 25, f"field {by(last.receptive_field)}", 10.5, "muted", "end"
        )
    for at, own, whole in (
        (right - 2 * _BAR - 12, part.multiply_adds, graph.multiply_adds),
        (right - _BAR, part.parameters, graph.parameters),
    ):
        share = own / whole if whole else 0.0
        yield Box(at, y + 22, _BAR, 4, fill="empty", round=2)
        if share:
            yield Box(at, y + 22, max(_BAR * share, 1.5), 4, fill="accent", round=2)
        yield Words(at + _BAR, y + 11, percent(share), 11, "ink" if own else "muted",
                    "end")  # fmt: skip


def _wires(
    rails: Rails, tops: list[float], left: float, levels: list[int]
) -> Iterator[Box | Words | Line]:
    for row, flows in enumerate(rails.flows):
        if flows:
            x = left + 12 * max(levels[row], levels[row + 1]) + 30
            start, end = tops[row] + _ROW, tops[row + 1]
            yield Line(((x, start), (x, end)), "muted", 1.2, arrow=True)
    for rail in rails.rails:
        x = left - 10 - rail.lane * _LANE
        begin = tops[rail.start] + _ROW - 8
        edge = left + 12 * levels[rail.start]
        yield Line(((edge, begin), (x, begin), (x, tops[rail.end] + 10)), "accent", 1.4)
        for stop in rail.stops:
            edge = left + 12 * levels[stop]
            y = tops[stop] + 10
            yield Line(((x, y), (edge, y)), "accent", 1.4, arrow=True)
