"""The network as a graph: which layer takes what from which, and what it costs.

``network_graph(net, (3, 224, 224))``  every call, in order, with its sources
``.blocks()``                          the same as blocks within blocks
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeAlias

from torch import nn

from convscope.analysis.inputs import InputSize, Shape
from convscope.analysis.probes.cones import UnitCones, unit_cones
from convscope.analysis.records import NetworkRecord, Row
from convscope.analysis.summary import summary

_FAMILIES = {
    "convolution": ("conv",),
    "pooling": ("pool", "subsampl"),
    "normalization": ("norm", "contrast"),
    "linear": ("linear", "bilinear", "rbf", "matmul"),
    "softmax": ("softmax",),
    "activation": (
        "relu", "elu", "gelu", "silu", "mish", "sigmoid", "tanh", "hardswish",
        "softplus", "softsign", "threshold", "glu", "shrink", "swish",
    ),
    "flatten": ("flatten", "view", "reshape", "unflatten"),
    "dropout": ("dropout", "droppath", "identity"),
    "upsampling": ("upsampl", "interpolate", "shuffle"),
    "add": ("add", "iadd"),
    "concatenate": ("cat", "concat"),
    "multiply": ("mul", "scale"),
    "padding": ("pad",),
}  # fmt: skip


@dataclass(frozen=True)
class GraphNode:
    """One call of a layer or of a function; or an input of the network.

    Attributes:
        label: Its name among all, as `capture` has it; of an input ``input``.
        path: The module that is called, or in which the function is called.
        kind: As one would write it: ``Conv2d(3, 64, 7, stride=2)``.
        family: ``convolution``, ``pooling``, ``normalization``, ``linear``,
            ``activation``, ``softmax``, ``flatten``, ``dropout``, ``upsampling``,
            ``add``, ``concatenate``, ``multiply``, ``padding``, ``input``, ``other``.
        shape: Of what it gives for one input, (C, *space).
        sources: Labels of what it takes, in the order in which they were made.
        parameters: That it learned; 0 where an earlier node has them.
        multiply_adds: For one input.
        receptive_field: Elements of the first input that a unit sees, per axis; None
            where that is not known, or on no axis.
    """

    label: str
    path: str
    kind: str
    family: str
    shape: Shape
    sources: tuple[str, ...] = ()
    parameters: int = 0
    multiply_adds: int = 0
    receptive_field: Shape | None = None

    def to_dict(self) -> dict[str, Any]:
        """The node as JSON."""
        return {
            "label": self.label,
            "path": self.path,
            "kind": self.kind,
            "family": self.family,
            "shape": list(self.shape),
            "sources": list(self.sources),
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "receptive_field": self.receptive_field and list(self.receptive_field),
        }


@dataclass(frozen=True)
class Block:
    """Nodes that belong together: those of one module, or equal blocks in a row.

    Attributes:
        path: Of the module; of several ``layer1.1 - layer1.5``.
        kind: Its class; of several ``5 x BasicBlock``.
        parts: Nodes and blocks, in the order of the calls.
    """

    path: str
    kind: str
    parts: tuple["Part", ...]

    @property
    def nodes(self) -> tuple[GraphNode, ...]:
        """All that are in it, at any depth."""
        return tuple(node for part in self.parts for node in nodes_of(part))

    @property
    def parameters(self) -> int:
        """Of all of them."""
        return sum(node.parameters for node in self.nodes)

    @property
    def multiply_adds(self) -> int:
        """Of all of them."""
        return sum(node.multiply_adds for node in self.nodes)


Part: TypeAlias = "GraphNode | Block"


@dataclass(frozen=True)
class NetworkGraph:
    """A network as a graph.

    Attributes:
        name: What the network is called.
        nodes: Inputs first, then calls in their order: sources stand before what takes
            them.
        outputs: Labels of nodes whose values nothing takes.
        kinds: Class of each module with layers inside, by its path.
        parameters: Of the network, shared ones once.
        multiply_adds: For one input.
        notes: What is left out, or not known.
    """

    name: str
    nodes: tuple[GraphNode, ...]
    outputs: tuple[str, ...]
    kinds: dict[str, str]
    parameters: int
    multiply_adds: int
    notes: tuple[str, ...] = ()

    def __getitem__(self, label: str) -> GraphNode:
        """The node of that label.

        Raises:
            KeyError: There is none.
        """
        for node in self.nodes:
            if node.label == label:
                return node
        raise KeyError(label)

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """From which node to which, by their labels."""
        return tuple((s, node.label) for node in self.nodes for s in node.sources)

    def blocks(self) -> Block:
        """The nodes as blocks within blocks, by the modules that they lie in.

        A module with one thing in it is that thing; three or more equal blocks in a
        row are one.
        """
        inputs = [node for node in self.nodes if node.family == "input"]
        calls = [node for node in self.nodes if node.family != "input"]
        return Block("", self.name, (*inputs, *_parts(calls, "", self.kinds)))

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON."""
        return {
            "name": self.name,
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "nodes": [node.to_dict() for node in self.nodes],
            "outputs": list(self.outputs),
            "kinds": dict(self.kinds),
            "notes": list(self.notes),
        }


def network_graph(
    net: nn.Module,
    input_size: InputSize | None = None,
    *,
    example_inputs: Any = None,
    name: str = "",
) -> NetworkGraph:
    """Which layer takes what from which, found by one forward pass without values.

    Args:
        net: Any torch.nn.Module.
        input_size: As in `summary`.
        example_inputs: As in `summary`.
        name: What to call the network; its class if not given.

    Raises:
        ShapeError: The network does not work on this input; see `check`.

    >>> net = nn.Sequential(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.Flatten())
    >>> graph = network_graph(net, (1, 32, 32))
    >>> [(node.family, node.sources) for node in graph.nodes[1:]]
    [('convolution', ('input',)), ('activation', ('0',)), ('flatten', ('1',))]
    """
    record = summary(net, input_size, example_inputs=example_inputs, name=name)
    cones = unit_cones(net, input_size, example_inputs=example_inputs)
    return graph_of(record, cones)


def graph_of(record: NetworkRecord, cones: UnitCones) -> NetworkGraph:
    """The graph of a network that has been counted and traced already.

    Args:
        record: Its `summary`.
        cones: Its `unit_cones`, for the same inputs.
    """
    numbers, shapes = cones.numbers, cones.shapes
    last: dict[int, str] = {}  # the node that gave each map, or changed nothing of it
    nodes = []
    for label in cones.inputs:
        last[numbers[label]] = label
        nodes.append(GraphNode(label, "", "input", "input", shapes[label]))
    for row in record.rows:
        if not row.is_layer or row.label not in numbers:
            continue
        own = [numbers[row.label]]
        while f"{row.label}[{len(own)}]" in numbers:
            own.append(numbers[f"{row.label}[{len(own)}]"])
        sources = dict.fromkeys(s for n in own for s in _sources(n, last, cones))
        nodes.append(_node(row, tuple(sources)))
        last |= dict.fromkeys(own, row.label)
    taken = {source for node in nodes for source in node.sources}
    outputs = tuple(node.label for node in nodes if node.label not in taken)
    kinds = {row.path: row.kind for row in record.rows if not row.is_layer and row.path}
    return NetworkGraph(
        record.name, tuple(nodes), outputs, kinds, record.parameters,
        record.multiply_adds, cones.notes,
    )  # fmt: skip


def _sources(number: int, last: dict[int, str], cones: UnitCones) -> Iterator[str]:
    """The nodes that a map comes from: its maker, or those of what it is made of."""
    if number in last:
        yield last[number]
        return
    for source in cones.made_from(number):
        yield from _sources(source, last, cones)


def _node(row: Row, sources: tuple[str, ...]) -> GraphNode:
    fields = row.receptive_field
    return GraphNode(
        label=row.label,
        path=row.path,
        kind=row.kind,
        family=family_of(row.kind),
        shape=row.output_shape,
        sources=sources,
        parameters=row.parameters,
        multiply_adds=row.multiply_adds,
        receptive_field=tuple(axis.size for axis in fields) if fields else None,
    )


def family_of(kind: str) -> str:
    """What sort of layer or function it is, by its name.

    >>> family_of("MaxPool2d(2)"), family_of("add(...)"), family_of("LSTM(3, 4)")
    ('pooling', 'add', 'other')
    """
    name = kind.partition("(")[0].lower().strip("_")
    for family, words in _FAMILIES.items():
        exact = family in ("add", "concatenate", "multiply")
        if any(name == word if exact else word in name for word in words):
            return family
    return "other"


def nodes_of(part: Part) -> tuple[GraphNode, ...]:
    """The nodes of a part: of a node itself."""
    return (part,) if isinstance(part, GraphNode) else part.nodes


def _parts(
    nodes: Sequence[GraphNode], path: str, kinds: dict[str, str]
) -> tuple[Part, ...]:
    """Nodes within the module at ``path``, gathered by the modules in it."""
    made: list[Part] = []
    for child, run in groupby(nodes, lambda node: _child(node, path, kinds)):
        own = tuple(run)
        if child is None:
            made.extend(own)
            continue
        parts = _parts(own, child, kinds)
        if len(parts) == 1:
            made.extend(parts)
        else:
            made.append(Block(child, kinds[child].partition("(")[0], parts))
    return tuple(_gathered(made))


def _child(node: GraphNode, path: str, kinds: dict[str, str]) -> str | None:
    """The module in the one at ``path`` that a node lies in; None: directly in it."""
    parts = node.path.split(".") if node.path else []
    depth = len(path.split(".")) if path else 0
    for length in range(depth + 1, len(parts) + 1):
        child = ".".join(parts[:length])
        if child in kinds:
            return child
    return None


def _gathered(parts: Sequence[Part]) -> Iterator[Part]:
    """Three or more equal blocks in a row become one."""
    for _, run in groupby(parts, _likeness):
        own = tuple(run)
        blocks = [part for part in own if isinstance(part, Block)]
        if len(blocks) < 3:
            yield from own
            continue
        path = f"{blocks[0].path} - {blocks[-1].path}"
        yield Block(path, f"{len(blocks)} x {blocks[0].kind}", own)


def _likeness(part: Part) -> Any:
    """What two blocks have in common if one can stand for the other."""
    if isinstance(part, GraphNode):
        return id(part)
    inner = tuple(
        replace(node, label="", path="", sources=(), receptive_field=None)
        for node in part.nodes
    )
    return part.kind, inner
