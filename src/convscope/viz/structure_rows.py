"""Rows one below another, and the rails beside them that carry what skips rows.

What goes from a row to the next is an arrow between the two. What goes further leaves
its row to the side, runs down a rail and comes back: residual connections, the bridges
of a U-Net. All that leaves one row shares its rail.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from convscope.analysis.structure import Block, GraphNode, Part, nodes_of
from convscope.viz.palette import SERIES

COLORS = {
    "convolution": SERIES[0], "linear": SERIES[1], "pooling": SERIES[3],
    "upsampling": SERIES[3], "normalization": SERIES[6], "activation": SERIES[4],
    "softmax": SERIES[4], "add": SERIES[2], "concatenate": SERIES[2],
    "multiply": SERIES[2],
}  # fmt: skip


@dataclass(frozen=True)
class Rail:
    """What leaves a row to the side.

    Attributes:
        start: The row that it comes from.
        stops: Rows that it comes to, in order; all below the next one.
        lane: How far from the rows; 0 is nearest.
    """

    start: int
    stops: tuple[int, ...]
    lane: int

    @property
    def end(self) -> int:
        """The last row that it comes to."""
        return self.stops[-1]


@dataclass(frozen=True)
class Rails:
    """How rows are connected.

    Attributes:
        flows: For each row whether its own values go to the next.
        rails: Those beside the rows.
    """

    flows: tuple[bool, ...]
    rails: tuple[Rail, ...]

    @property
    def lanes(self) -> int:
        """How many lanes there are."""
        return max((rail.lane + 1 for rail in self.rails), default=0)


def rails_of(count: int, edges: Iterable[tuple[int, int]]) -> Rails:
    """Rails for edges between rows, each from a row to one below.

    Short ones lie nearest, and none lies over another in the same lane.

    >>> found = rails_of(4, [(0, 1), (1, 2), (2, 3), (0, 3)])
    >>> found.flows, found.rails
    ((True, True, True, False), (Rail(start=0, stops=(3,), lane=0),))
    """
    pairs = set(edges)
    flows = tuple((row, row + 1) in pairs for row in range(count))
    stops: dict[int, list[int]] = {}
    for start, stop in sorted(pairs):
        if stop > start + 1:
            stops.setdefault(start, []).append(stop)
    taken: list[list[tuple[int, int]]] = []
    rails = []
    for start in sorted(stops, key=lambda row: (stops[row][-1] - row, row)):
        end = stops[start][-1]
        lane = 0
        while lane < len(taken) and any(
            start <= last and first <= end for first, last in taken[lane]
        ):
            lane += 1
        if lane == len(taken):
            taken.append([])
        taken[lane].append((start, end))
        rails.append(Rail(start, tuple(stops[start]), lane))
    return Rails(flows, tuple(sorted(rails, key=lambda rail: rail.start)))


@dataclass(frozen=True)
class Level:
    """The parts of a block as rows, with what comes from outside and goes there.

    Attributes:
        sources: Labels of nodes outside whose values come in; a row each, on top.
        parts: A row each.
        leaves: Whether the last row stands for what takes values out of the middle.
        rails: Between all these rows.
    """

    sources: tuple[str, ...]
    parts: tuple[Part, ...]
    leaves: bool
    rails: Rails


def level_of(block: Block, taken: dict[str, set[str]]) -> Level:
    """The rows of a block and the rails between them.

    Args:
        block: Its parts become rows.
        taken: For each label of the network the labels of what takes its values.
    """
    place = {
        node.label: row
        for row, part in enumerate(block.parts)
        for node in nodes_of(part)
    }
    outside = list(
        dict.fromkeys(
            source
            for node in block.nodes
            for source in node.sources
            if source not in place
        )
    )
    above, count = len(outside), len(block.parts)
    edges = set()
    leaves = False
    for node in block.nodes:
        own = place[node.label] + above
        for source in node.sources:
            start = place[source] + above if source in place else outside.index(source)
            if start != own:
                edges.add((start, own))
        goes = taken.get(node.label, set()) - set(place)
        if goes and place[node.label] != count - 1:
            edges.add((own, above + count))
            leaves = True
    if leaves:
        edges.add((above + count - 1, above + count))
    return Level(
        tuple(outside), block.parts, leaves, rails_of(above + count + leaves, edges)
    )


def takers(nodes: Sequence[GraphNode]) -> dict[str, set[str]]:
    """For each label the labels of the nodes that take its values."""
    found: dict[str, set[str]] = {}
    for node in nodes:
        for source in node.sources:
            found.setdefault(source, set()).add(node.label)
    return found


def by(sizes: tuple[int, ...]) -> str:
    """Sizes as one writes them.

    >>> by((3, 32, 32))
    '3 x 32 x 32'
    """
    return " x ".join(map(str, sizes))


def percent(share: float) -> str:
    """A share of all; less than a tenth of a percent is said as that.

    >>> percent(0.25), percent(0.0), percent(1e-5)
    ('25.0%', '0', '<0.1%')
    """
    if not share:
        return "0"
    return "<0.1%" if share < 0.001 else f"{share:.1%}"


def label_of(part: Part) -> str:
    """What a row is called."""
    return part.label if isinstance(part, GraphNode) else part.path
