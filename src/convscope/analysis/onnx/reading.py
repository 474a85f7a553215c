"""An ONNX file as data: read, limited, checked, in an order that can be followed.

``read(path)``  a `NetworkFile`, or an ArgumentError that says what is wrong with it

A file from a stranger is data: its size and the number of its nodes are limited, what
it says of its weights is compared with the bytes that are there, and weights that lie
in other files are not opened.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from convscope.analysis.inputs import Shape
from convscope.analysis.onnx.loading import inner_graphs, loaded
from convscope.analysis.onnx.stored import Stored, stored, stored_sparse
from convscope.errors import ArgumentError
from convscope.terminal import printable

# Operators of other domains that have the name of an operator of ONNX, and do another
# thing. Apart from these, what ONNX Runtime adds goes by its name alone.
OTHERS = {"Attention", "RotaryEmbedding"}
OURS = ("", "ai.onnx", "com.microsoft")


@dataclass(frozen=True)
class Step:
    """A node.

    Attributes:
        kind: Its operator; with the domain in front where that is not ONNX's.
        name: As the file has it, or made from its kind and its place.
        inputs: Names; empty where one is left out.
        outputs: Names; empty where one is left out.
        attributes: Text is decoded; a graph is a `Graph`.
        node: What onnx read.
        reads: Names that it reads, or a graph inside it.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    node: Any
    reads: frozenset[str] = frozenset()

    @property
    def graphs(self) -> list["Graph"]:
        """The graphs inside it: branches, or the body of a loop."""
        return [one for one in self.attributes.values() if isinstance(one, Graph)]


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which each follows those that it reads.

    Attributes:
        steps: Without those that only hold a constant.
        stored: Weights and constants, by name.
        inputs: As onnx read them, without those that are stored.
        outputs: Names.
        declared: Types that the file declares, by name.
    """

    steps: tuple[Step, ...]
    stored: Mapping[str, Stored]
    inputs: tuple[Any, ...]
    outputs: tuple[str, ...]
    declared: Mapping[str, Any]


@dataclass(frozen=True)
class NetworkFile:
    """What a file holds.

    Attributes:
        name: Of the file.
        graph: The network.
        opsets: The version of each domain's operators.
        missing: Other files that hold weights, and are not there.
    """

    name: str
    graph: Graph
    opsets: Mapping[str, int]
    missing: tuple[str, ...] = ()


def read(onnx: Any, path: Path) -> NetworkFile:
    """The file, if it is of a sane size and kind.

    Raises:
        ArgumentError: It is not there, is no ONNX network, is damaged or too large.
    """
    model = loaded(onnx, path)
    missing: dict[str, None] = {}
    graph = _Reading(onnx, path, missing).graph(model.graph, frozenset())
    opsets = {"" if o.domain == "ai.onnx" else o.domain: o.version
              for o in model.opset_import}  # fmt: skip
    return NetworkFile(path.name, graph, opsets, tuple(missing))


class _Reading:
    """Turns what onnx read into graphs that have been checked."""

    def __init__(self, onnx: Any, path: Path, missing: dict[str, None]) -> None:
        self.onnx, self.path, self.missing = onnx, path, missing

    def graph(self, graph: Any, outer: frozenset[str]) -> Graph:
        """One graph; ``outer`` are the names that it may read from around it."""
        held: dict[str, Stored] = {}
        for tensor in graph.initializer:
            held[tensor.name] = self._stored(tensor)
        for sparse in graph.sparse_initializer:
            held[sparse.values.name] = self._sparse(sparse)
        inputs = tuple(i for i in graph.input if i.name not in held)
        nodes = []
        for place, node in enumerate(graph.node):
            if node.op_type == "Constant" and node.domain in OURS:
                if len(node.output) == 1:
                    held[node.output[0]] = replace(self._constant(node), in_node=True)
            else:
                nodes.append((place, node))
        own = set(held) | {i.name for i in inputs}
        known = outer | own
        ordered = self._ordered(nodes, own, outer)
        made = {name for _, node in ordered for name in node.output if name}
        outputs = tuple(output.name for output in graph.output)
        self._require(outputs, known | made, "the end of the network")
        inside = frozenset(known | made)
        return Graph(
            tuple(self._step(place, node, inside) for place, node in ordered),
            held,
            inputs,
            outputs,
            {v.name: v.type for v in (*graph.value_info, *graph.output)},
        )

    def _step(self, place: int, node: Any, known: frozenset[str]) -> Step:
        kind = node.op_type
        if node.domain not in OURS or (node.domain and kind in OTHERS):
            kind = f"{node.domain}.{kind}"
        attributes = {}
        for one in node.attribute:
            try:
                value = self.onnx.helper.get_attribute_value(one)
            except ValueError as error:
                raise ArgumentError(
                    f"summary: {self.path.name}: attribute {one.name!r} of {kind} "
                    "holds nothing that ONNX knows. The file is damaged; get it again."
                ) from error
            if isinstance(value, bytes):
                value = value.decode(errors="replace")
            elif isinstance(value, self.onnx.GraphProto):
                value = self.graph(value, known)
            attributes[one.name] = value
        return Step(
            printable(kind),
            printable(node.name or f"{node.op_type}_{place}"),
            tuple(node.input),
            tuple(node.output),
            attributes,
            node,
            frozenset(_read_by(node)),
        )

    def _ordered(
        self, nodes: list[tuple[int, Any]], own: set[str], outer: frozenset[str]
    ) -> list[tuple[int, Any]]:
        """The nodes, each after those that it reads."""
        made_by: dict[str, int] = {}
        for number, (_, node) in enumerate(nodes):
            for name in filter(None, node.output):
                if name in made_by or name in own:
                    raise ArgumentError(
                        f"summary: {self.path.name}: {name!r} is made twice, by "
                        f"{node.op_type} too. The file is damaged; get it again."
                    )
                made_by[name] = number
        everything = own | outer | made_by.keys()
        before: dict[int, set[int]] = {}
        for number, (_, node) in enumerate(nodes):
            needs = _read_by(node)
            self._require(needs, everything, node.op_type)
            before[number] = {made_by[name] for name in needs if name in made_by}
        if all(max(needs, default=-1) < number for number, needs in before.items()):
            return nodes
        try:
            return [nodes[n] for n in TopologicalSorter(before).static_order()]
        except CycleError as error:
            circle = " -> ".join(nodes[n][1].op_type for n in error.args[1][:4])
            raise ArgumentError(
                f"summary: {self.path.name}: nodes wait for each other in a circle "
                f"({circle}). The file is damaged; get it again."
            ) from error

    def _require(self, names: Iterable[str], known: Any, who: str) -> None:
        for name in names:
            if name not in known:
                raise ArgumentError(
                    f"summary: {self.path.name}: {who} reads {name!r}, which nothing "
                    "in the file makes or holds. The file is damaged; get it again."
                )

    def _constant(self, node: Any) -> Stored:
        """What a node holds that computes nothing."""
        try:
            found = self._held_by(node)
        except ArgumentError:
            raise
        except (AttributeError, TypeError, ValueError):  # of another type
            found = None
        if found is None:
            raise ArgumentError(
                f"summary: {self.path.name}: the constant {node.output[0]!r} is empty. "
                "The file is damaged; get it again."
            )
        return found

    def _held_by(self, node: Any) -> Stored | None:
        helper, types = self.onnx.helper, self.onnx.TensorProto
        for attribute in node.attribute:
            value = helper.get_attribute_value(attribute)
            if attribute.name == "value":
                return self._stored(value)
            if attribute.name == "sparse_value":
                return self._sparse(value)
            kind = {"float": types.FLOAT, "int": types.INT64}.get(
                attribute.name.removeprefix("value_").removesuffix("s"), types.STRING
            )
            many = isinstance(value, list)
            dims: Shape = (len(value),) if many else ()
            made = helper.make_tensor("", kind, dims, value if many else [value])
            return self._stored(made)
        return None

    def _stored(self, tensor: Any) -> Stored:
        found: Stored = self._checked(stored, tensor)
        if found.file and found.file not in self.missing:
            self._look_beside(found)
        return found

    def _sparse(self, sparse: Any) -> Stored:
        found: Stored = self._checked(stored_sparse, sparse)
        return found

    def _checked(self, make: Any, tensor: Any) -> Any:
        try:
            return make(self.onnx, tensor)
        except ValueError as error:
            raise ArgumentError(
                f"summary: {self.path.name}: {error}. The file is damaged; get it "
                "again."
            ) from error

    def _look_beside(self, one: Stored) -> None:
        """Whether the other file that holds a weight is there, and long enough."""
        folder = self.path.parent.resolve()
        try:
            other = (folder / one.file).resolve()
            inside = other.is_relative_to(folder) and other.is_file()
        except (OSError, ValueError):  # a name that no file can have
            inside = False
        if not inside:
            self.missing[one.file] = None
        elif one.ends_at > other.stat().st_size:
            raise ArgumentError(
                f"summary: {self.path.name}: {one.file} has "
                f"{other.stat().st_size:,} bytes, and a weight ends at byte "
                f"{one.ends_at:,} of it. It was cut off; get it again."
            )


def _read_by(node: Any) -> set[str]:
    """The names that a node, or a graph inside it, reads from around it."""
    names = set(filter(None, node.input))
    for graph in inner_graphs([node]):
        own = {i.name for i in (*graph.initializer, *graph.input)}
        own |= {s.values.name for s in graph.sparse_initializer}
        own |= {name for inner in graph.node for name in inner.output}
        for inner in graph.node:
            names |= _read_by(inner) - own
        names |= {o.name for o in graph.output} - own
    return names
