"""The network as the page shows it: a card for every layer, from left to right."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from convscope.analysis.probes.cones import UnitCones, unit_cones
from convscope.analysis.structure import GraphNode, NetworkGraph, graph_of
from convscope.analysis.summary import summary
from convscope.private_torch import AnyConv
from convscope.serve.subject import Subject

Palette = Literal["sequential", "diverging", "picture"]
_POSITIVE = ("relu", "relu6", "sigmoid", "hardsigmoid", "softmax", "softplus")
_KEEPS_SIGN = ("pooling", "flatten", "dropout", "add", "concatenate", "padding")


@dataclass(frozen=True)
class Card:
    """One layer.

    Attributes:
        id: Its number, from left to right; 0 is the input.
        label: As `capture` names it; of the last card, probabilities, it is empty.
        kind: Family, as `GraphNode.family` has it.
        text: As one would write it.
        shape: Of what it gives for one input, without the batch axis.
        inputs: Cards whose values it takes.
        column: How many cards lie before it, at most.
        lane: Which of the branches side by side; 0 is the longest.
        palette: How its values are colored.
        parameters: Numbers that it learned.
        multiply_adds: For one input.
        receptive_field: Elements of the input that a unit sees, per axis.
        has_filters: Whether its kernels can be shown and changed.
    """

    id: int
    label: str
    kind: str
    text: str
    shape: tuple[int, ...]
    inputs: tuple[int, ...]
    column: int
    lane: int
    palette: Palette
    parameters: int = 0
    multiply_adds: int = 0
    receptive_field: tuple[int, ...] | None = None
    has_filters: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As the page reads it."""
        field = self.receptive_field
        return {
            "id": self.id,
            "label": self.label,
            "kind": self.kind,
            "text": self.text,
            "shape": list(self.shape),
            "inputs": list(self.inputs),
            "column": self.column,
            "lane": self.lane,
            "palette": self.palette,
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "receptive_field": None if field is None else list(field),
            "has_filters": self.has_filters,
        }


@dataclass(frozen=True, eq=False)
class Cards:
    """All cards of a network, and what they are made from.

    Attributes:
        cards: From left to right; the input first, the probabilities last.
        graph: The network.
        cones: Which of its units are connected.
    """

    cards: tuple[Card, ...]
    graph: NetworkGraph
    cones: UnitCones

    def __getitem__(self, number: int) -> Card:
        return self.cards[number]

    def __len__(self) -> int:
        return len(self.cards)


def cards_of(subject: Subject) -> Cards:
    """The cards of a subject's network."""
    record = summary(subject.net, subject.input_shape)
    cones = unit_cones(subject.net, subject.input_shape)
    graph = graph_of(record, cones)
    nodes = graph.nodes
    number = {node.label: place for place, node in enumerate(nodes)}
    inputs = [tuple(number[source] for source in node.sources) for node in nodes]
    if nodes[-1].family != "softmax":
        inputs.append((len(nodes) - 1,))
    columns = _columns(inputs)
    lanes = _lanes(inputs, columns)
    modules = dict(subject.net.named_modules())
    palettes: list[Palette] = []
    made = []
    for place, node in enumerate(nodes):
        palettes.append(_palette(node, [palettes[p] for p in inputs[place]]))
        module = modules.get(node.path) if node.label.startswith(node.path) else None
        made.append(
            Card(
                place, node.label, node.family, node.kind, node.shape, inputs[place],
                columns[place], lanes[place], palettes[place], node.parameters,
                node.multiply_adds, node.receptive_field, _has_filters(node, module),
            )
        )  # fmt: skip
    if len(inputs) > len(nodes):
        made.append(
            Card(
                len(nodes), "", "softmax", "softmax: probabilities",
                (len(subject.classes),), inputs[-1], columns[-1], lanes[-1],
                "sequential",
            )
        )  # fmt: skip
    return Cards(tuple(made), graph, cones)


def _has_filters(node: GraphNode, module: nn.Module | None) -> bool:
    return node.family == "convolution" and isinstance(module, AnyConv)


def _palette(node: GraphNode, before: Sequence[Palette]) -> Palette:
    if node.family == "input":
        return "picture" if node.shape[0] in (1, 3) else "diverging"
    if node.kind.partition("(")[0].lower() in _POSITIVE:
        return "sequential"
    if node.family in _KEEPS_SIGN and before and set(before) == {"sequential"}:
        return "sequential"
    return "diverging"


def _columns(inputs: Sequence[tuple[int, ...]]) -> list[int]:
    """How many cards lie before each, on the longest way.

    >>> _columns([(), (0,), (1,), (0, 2)])
    [0, 1, 2, 3]
    """
    found: list[int] = []
    for own in inputs:
        found.append(max((found[place] + 1 for place in own), default=0))
    return found


def _lanes(inputs: Sequence[tuple[int, ...]], columns: Sequence[int]) -> list[int]:
    """Branches side by side, the longest first; a lane holds one card of a column.

    >>> _lanes([(), (0,), (0,), (2,), (1, 3)], [0, 1, 1, 2, 3])
    [0, 1, 0, 0, 0]
    """
    left = [0] * len(inputs)  # cards behind each, on the longest way
    for place in range(len(inputs) - 1, -1, -1):
        for source in inputs[place]:
            left[source] = max(left[source], left[place] + 1)
    lanes = [0] * len(inputs)
    taken: set[tuple[int, int]] = set()
    for place in sorted(range(len(inputs)), key=lambda p: (columns[p], -left[p], p)):
        wanted = min((lanes[source] for source in inputs[place]), default=0)
        while (columns[place], wanted) in taken:
            wanted += 1
        lanes[place] = wanted
        taken.add((columns[place], wanted))
    return lanes
