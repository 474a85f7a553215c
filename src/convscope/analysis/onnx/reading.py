"""An ONNX file as data: read, limited, checked, in an order that can be followed.

``read(path)``  a `NetworkFile`, or an ArgumentError that says what is wrong with it

A file from a stranger is data: its size and the number of its nodes are limited, what
it says of its weights is compared with the bytes that are there, and weights that lie
in other files are not opened.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from convscope.analysis.inputs import Shape
from convscope.analysis.onnx.stored import Stored, stored, stored_sparse
from convscope.errors import ArgumentError
from convscope.terminal import printable

LARGEST_BYTES = 2**31  # protobuf's own limit
MOST_NODES = 20_000  # in all graphs together, functions written out
ADVICE = "Give a file that torch.onnx or convscope export wrote"
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
    model = _loaded(onnx, path)
    if model.functions:
        model = _written_out(onnx, model, path.name)
    nodes = sum(len(graph.node) for graph in _all_graphs(model.graph))
    if nodes > MOST_NODES:
        raise ArgumentError(
            f"summary: {path.name} has {nodes:,} nodes, more than {MOST_NODES:,}. Give "
            "a smaller network."
        )
    missing: dict[str, None] = {}
    graph = _Reading(onnx, path, missing).graph(model.graph, frozenset())
    opsets = {"" if o.domain == "ai.onnx" else o.domain: o.version
              for o in model.opset_import}  # fmt: skip
    return NetworkFile(path.name, graph, opsets, tuple(missing))


def _loaded(onnx: Any, path: Path) -> Any:
    if not path.is_file():
        raise ArgumentError(f"summary: {path} is not there. Give the path of a file.")
    if path.stat().st_size > LARGEST_BYTES:
        raise ArgumentError(
            f"summary: {path.name} has {path.stat().st_size:,} bytes, more than an "
            f"ONNX file can have ({LARGEST_BYTES:,}). Give another file."
        )
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's kinds depend on its version
        raise ArgumentError(
            f"summary: {path.name} cannot be read as ONNX. {ADVICE}, or get it again: "
            "it may have been cut off."
        ) from error
    if not model.graph.node:
        raise ArgumentError(f"summary: {path.name} is no ONNX network. {ADVICE}.")
    return model


def _all_graphs(graph: Any) -> Iterable[Any]:
    """A graph and all graphs inside it."""
    waiting = [graph]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += _inner(one.node)


def _inner(nodes: Iterable[Any]) -> Iterable[Any]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g
            yield from attribute.graphs


def _written_out(onnx: Any, model: Any, where: str) -> Any:
    """The network with the file's own functions in the places of their calls.

    Functions that call functions can come to more nodes than any memory holds, so
    they are counted first.
    """
    from onnx import inliner

    functions = {(f.domain, f.name): f for f in model.functions}
    calls: dict[Any, list[Any]] = {
        key: [(n.domain, n.op_type) for n in _nodes(function.node)]
        for key, function in functions.items()
    }
    sizes: dict[Any, int] = {}
    order = TopologicalSorter(
        {key: [c for c in called if c in functions] for key, called in calls.items()}
    )
    try:
        for key in order.static_order():
            sizes[key] = sum(sizes.get(called, 1) for called in calls[key])
    except CycleError as error:
        name = error.args[1][0][1]
        raise ArgumentError(
            f"summary: {where}: the function {name!r} calls itself. The file is "
            "damaged; get it again."
        ) from error
    total = sum(sizes.get((n.domain, n.op_type), 1) for n in _nodes(model.graph.node))
    if total > MOST_NODES:
        raise ArgumentError(
            f"summary: {where} has {total:,} nodes with its functions written out, "
            f"more than {MOST_NODES:,}. Give a smaller network."
        )
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:
        raise ArgumentError(
            f"summary: {where}: its functions cannot be written out: "
            f"{_first_line(error)}. Get the file again."
        ) from error


def _nodes(nodes: Sequence[Any]) -> Iterable[Any]:
    """The nodes and those of all graphs inside them."""
    yield from nodes
    for graph in _inner(nodes):
        yield from _nodes(graph.node)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


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
    for graph in _inner([node]):
        own = {i.name for i in (*graph.initializer, *graph.input)}
        own |= {s.values.name for s in graph.sparse_initializer}
        own |= {name for inner in graph.node for name in inner.output}
        for inner in graph.node:
            names |= _read_by(inner) - own
        names |= {o.name for o in graph.output} - own
    return names
