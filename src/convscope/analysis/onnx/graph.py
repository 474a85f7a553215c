"""A summary of an ONNX file, from its graph; nothing in the file is executed.

A file from a stranger is data: its size, the number of its nodes and the sizes of its
tensors are limited, weights that lie in other files are not read, and a network with
loops or branches of its own is refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from convscope.analysis.inputs import Shape
from convscope.analysis.onnx.nodes import folded, node_text
from convscope.analysis.operations.operation import Arguments, Node
from convscope.analysis.operations.provenance import (
    Provenance,
    constant,
    input_provenance,
    unknown,
)
from convscope.analysis.operations.registry import by_onnx
from convscope.analysis.records import AxisField, Row
from convscope.analysis.render import Summary
from convscope.arithmetic import inference_activation_bytes, training_activation_bytes
from convscope.errors import ArgumentError, MissingExtraError, Remedy, ShapeError

LARGEST_BYTES = 2**31  # protobuf's own limit
MOST_NODES = 20_000
LARGEST_LENGTH = 2**24  # elements along one axis of an activation
MOST_AXES = 8


def onnx_summary(
    path: str | Path, input_size: Sequence[Shape] | None = None, *, name: str = ""
) -> Summary:
    """Shapes, costs and receptive fields of the network in an ONNX file.

    Args:
        path: The file.
        input_size: For each input its size without the batch axis; by default what the
            file says, which may leave lengths open.
        name: What to call it; the file's name if not given.

    Raises:
        MissingExtraError: onnx is not installed.
        ArgumentError: The file is no ONNX network, is too large, or has loops.
        ShapeError: An input has another number of axes, or its size is open.
    """
    try:
        import onnx
        from onnx import shape_inference
    except ImportError:
        raise MissingExtraError("onnx", "onnx") from None
    path = Path(path)
    graph = _graph(onnx, path)
    weights = {w.name: tuple(w.dims) for w in graph.initializer}
    inputs = [i for i in graph.input if i.name not in weights]
    shapes = _input_shapes(inputs, input_size, path.name)
    for given, shape in zip(inputs, shapes, strict=True):
        tensor = given.type.tensor_type
        tensor.ClearField("shape")
        for size in (1, *shape):
            tensor.shape.dim.add().dim_value = size
    if input_size is not None:
        del graph.value_info[:]  # they are of the size it was exported for
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    model = onnx.helper.make_model(graph, opset_imports=_graph_opsets(onnx, path))
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:  # onnx raises its own kinds, all with a text
        says = str(error).strip().partition("\n")[0]
        raise ShapeError(
            f"summary: {path.name}: shapes cannot be inferred for an input of "
            f"{', '.join(map(str, shapes))}: {says}.",
            remedies=[Remedy("give the size that it was exported for", "input_shape")],
        ) from error
    sizes = {v.name: _static(v) for v in [*inferred.value_info, *inferred.output]}
    small = _small_numbers(onnx, [(w.name, w) for w in graph.initializer])
    reader = _Reader(weights, small, sizes)
    for number, (given, shape) in enumerate(zip(inputs, shapes, strict=True)):
        reader.start(number, given.name, (1, *shape))
    for place, node in enumerate(graph.node):
        reader.follow(onnx, node, place)
    return reader.summary(name or path.name, shapes)


def _small_numbers(onnx: Any, tensors: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The lists of a few numbers, such as sizes, paddings and factors."""
    kinds = (onnx.TensorProto.INT64, onnx.TensorProto.FLOAT)
    return {
        name: onnx.numpy_helper.to_array(one).reshape(-1).tolist()
        for name, one in tensors
        if one.data_type in kinds
        and len(one.dims) < 2
        and prod(one.dims) <= 2 * MOST_AXES
        and not one.external_data
    }


def _graph(onnx: Any, path: Path) -> Any:
    """The file's graph, if it is of a sane size and kind."""
    if not path.is_file():
        raise ArgumentError(f"summary: {path} is not there. Give the path of a file.")
    if path.stat().st_size > LARGEST_BYTES:
        raise ArgumentError(
            f"summary: {path.name} has {path.stat().st_size:,} bytes, more than an "
            f"ONNX file can have ({LARGEST_BYTES:,}). Give another file."
        )
    graph = _load(onnx, path).graph
    if not graph.node:
        raise ArgumentError(
            f"summary: {path.name} is no ONNX network. Give a file that torch.onnx or "
            "convscope export wrote."
        )
    if len(graph.node) > MOST_NODES:
        raise ArgumentError(
            f"summary: {path.name} has {len(graph.node):,} nodes, more than "
            f"{MOST_NODES:,}. Give a smaller network."
        )
    for node in graph.node:
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            raise ArgumentError(
                f"summary: {path.name}: {node.op_type} has a graph of its own (a loop "
                "or a branch), which is not followed. Export the network without it."
            )
    for weight in graph.initializer:
        if any(size < 0 for size in weight.dims) or len(weight.dims) > MOST_AXES:
            raise ArgumentError(
                f"summary: {path.name}: weight {weight.name!r} has an impossible shape "
                f"{tuple(weight.dims)}. The file is damaged; export it again."
            )
    return graph


def _load(onnx: Any, path: Path) -> Any:
    try:
        return onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's kinds depend on its version
        raise ArgumentError(
            f"summary: {path.name} cannot be read as ONNX. Give a file that torch.onnx "
            "or convscope export wrote."
        ) from error


def _graph_opsets(onnx: Any, path: Path) -> Any:
    return _load(onnx, path).opset_import


def _input_shapes(
    inputs: Sequence[Any], given: Sequence[Shape] | None, where: str
) -> tuple[Shape, ...]:
    """The size of each input without the batch axis."""
    declared = [
        tuple(d.dim_value for d in i.type.tensor_type.shape.dim) for i in inputs
    ]
    if given is not None and len(given) != len(inputs):
        raise ShapeError(
            f"summary: {where} has {len(inputs)} inputs, and {len(given)} sizes are "
            "given.",
            remedies=[Remedy("give one for each", "input_shape")],
        )
    shapes = []
    for place, shape in enumerate(declared):
        size = shape[1:] if given is None else tuple(given[place])
        if len(size) != len(shape) - 1 or len(shape) > MOST_AXES:
            raise ShapeError(
                f"summary: {where}: input {inputs[place].name!r} has {len(shape)} axes "
                f"with the batch, and {size} is given. Give {len(shape) - 1} numbers."
            )
        if any(length < 1 for length in size):
            raise ShapeError(
                f"summary: {where}: input {inputs[place].name!r} leaves lengths open.",
                remedies=[Remedy("give its size, such as 3,224,224", "input_shape")],
            )
        shapes.append(size)
    return tuple(shapes)


def _static(info: Any) -> Shape | None:
    """A shape of which every length is known, and none is absurd."""
    tensor = info.type.tensor_type
    if not tensor.HasField("shape") or len(tensor.shape.dim) > MOST_AXES:
        return None
    shape = tuple(d.dim_value for d in tensor.shape.dim)
    if any(
        not d.HasField("dim_value") or not 0 <= d.dim_value <= LARGEST_LENGTH
        for d in tensor.shape.dim
    ):
        return None
    return shape


@dataclass
class GraphTensor:
    """One value of the graph, and its place among the activations."""

    shape: Shape
    value: Provenance
    made_by: int | None = None


class _Reader:
    """Follows the nodes of a graph and writes a row for each."""

    def __init__(
        self,
        weights: Mapping[str, Shape],
        numbers: dict[str, list[Any]],
        sizes: Mapping[str, Shape | None],
    ) -> None:
        self.weights = weights
        self.numbers = numbers
        self.sizes = sizes
        self.tensors: dict[str, GraphTensor] = {}
        self.counted: set[str] = set()
        self.rows: list[Row] = []
        self.bytes: list[int] = []
        self.sources: list[list[int]] = []
        self.lost: list[str] = []
        self.spatial_norms = False
        self.inputs = 0

    def start(self, number: int, name: str, shape: Shape) -> None:
        self.inputs += 1
        self.tensors[name] = GraphTensor(shape, input_provenance(number, shape), number)
        self.bytes.append(4 * prod(shape))
        self.sources.append([])

    def follow(self, onnx: Any, node: Any, place: int) -> None:
        """One node: its value, its cost, its row."""
        arguments = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if any(isinstance(v, onnx.TensorProto) for v in arguments.values()):
            if node.op_type == "Constant":
                self._constant(onnx, node.output[0], arguments["value"])
            arguments = {}
        inputs = [self._tensor(name) for name in node.input if name]
        live = [t for t in inputs if t.value.from_input]
        shapes = [self.sizes.get(name) for name in node.output if name]
        shape = shapes[0] if shapes else None
        if not live or not node.output or node.op_type == "Shape":
            for name in node.output:
                self.tensors[name] = GraphTensor(shape or (), constant(shape or ()))
            self._fold(node, arguments, inputs)
            return
        if shape is None:
            raise ShapeError(
                f"summary: the output of {node.op_type} {node.name!r} has no size that "
                "can be inferred. Export the network for one fixed input size."
            )
        known = [one for one in shapes if one is not None]
        if node.op_type != "Split" or len(known) < len(shapes):
            known = [shape] * len(shapes)  # such as a dropout's mask
        count = len(known) if node.op_type == "Split" else 1
        values, read = self._values(node, arguments, known)
        made = [
            GraphTensor(one, value, len(self.bytes))
            for one, value in zip(known, values, strict=True)
        ]
        self.bytes.append(4 * sum(map(prod, known[:count])))
        self.sources.append([t.made_by for t in live if t.made_by is not None])
        names = [name for name in node.output if name]
        self.tensors.update(zip(names, made, strict=True))
        self._row(node, arguments, read, made[:count], place)

    def _constant(self, onnx: Any, name: str, tensor: Any) -> None:
        """Keeps the few numbers that say how a node moves its elements."""
        self.numbers.update(_small_numbers(onnx, [(name, tensor)]))

    def _fold(
        self, node: Any, arguments: dict[str, Any], inputs: list[GraphTensor]
    ) -> None:
        """Sizes that the graph computes from sizes."""
        given = [self.numbers.get(name) for name in node.input]
        if node.op_type == "Shape" and not arguments:
            self.numbers[node.output[0]] = list(inputs[0].shape)
            return
        known = [one for one in given if one is not None]
        made = (
            folded(node.op_type, known) if known and len(known) == len(given) else None
        )
        if made is not None and len(made) <= 2 * MOST_AXES:
            self.numbers[node.output[0]] = made

    def _tensor(self, name: str) -> GraphTensor:
        if name not in self.tensors:
            shape = self.weights.get(name, ())
            if any(size > LARGEST_LENGTH for size in shape):
                shape = ()
            self.tensors[name] = GraphTensor(shape, constant(shape))
        return self.tensors[name]

    def _values(
        self, node: Any, arguments: dict[str, Any], shapes: list[Shape]
    ) -> tuple[list[Provenance], Arguments | None]:
        """What the outputs see, and the node's arguments as torch would have them."""
        given = [self._tensor(name).value if name else None for name in node.input]
        numbers = [self.numbers.get(name) for name in node.input]
        found = by_onnx(node.op_type)
        read = None
        if found is not None:
            attributes = {
                name: value.decode() if isinstance(value, bytes) else value
                for name, value in arguments.items()
            }
            known = Node(node.op_type, attributes, given, numbers, shapes)
            read = found.onnx[node.op_type](known)
        if found is not None and read is not None and found.sees is not None:
            if found.over_space is not None and found.over_space(read):
                self.spatial_norms = True
            made = found.sees(read, shapes[0])
            every = made if isinstance(made, list) else [made] * len(shapes)
            if [one.shape for one in every if one is not None] == shapes:
                return [one for one in every if one is not None], read
        values = [one for one in given if one is not None]
        if any(v.seen for v in values):
            self.lost.append(node.op_type)
        return [unknown(values, shape) for shape in shapes], read

    def _row(
        self,
        node: Any,
        arguments: dict[str, Any],
        read: Arguments | None,
        made: list[GraphTensor],
        place: int,
    ) -> None:
        new = [n for n in node.input if n in self.weights and n not in self.counted]
        self.counted.update(new)
        buffers = [
            n
            for n in new
            if node.op_type == "BatchNormalization" and n in list(node.input)[3:5]
        ]
        scalars = [n for n in new if n not in buffers and not self._is_size(node, n)]
        found, products, two = by_onnx(node.op_type), 0, False
        if found is not None and found.costs is not None and read is not None:
            costs = found.costs(read, made[0].shape)
            if costs is not None:
                products = costs.count
                two = all(read[name].from_input for name in costs.operands)
        self.rows.append(
            Row(
                path=node.name or f"{node.op_type}_{place}",
                name=node.name or f"{node.op_type}_{place}",
                kind=node_text(node.op_type, arguments),
                depth=1,
                is_layer=True,
                output_shapes=tuple(
                    one.shape[1:] if one.shape[:1] == (1,) else one.shape
                    for one in made
                ),
                parameters=sum(prod(self.weights[n]) for n in scalars),
                buffers=sum(prod(self.weights[n]) for n in buffers),
                multiply_adds=0 if two else products,
                activation_products=products if two else 0,
                activation_bytes=4 * sum(prod(one.shape) for one in made),
                receptive_fields=self._fields(made[0].value),
            )
        )

    def _is_size(self, node: Any, name: str) -> bool:
        """Whether a constant says how to move elements, and is no weight."""
        numbers = self.numbers.get(name)
        if numbers is None:
            return False
        moves = {"Clip", "Pad", "Resize", "Slice", "Split", "Upsample"}
        return node.op_type in moves or all(type(one) is int for one in numbers)

    def _fields(self, value: Provenance) -> tuple[tuple[AxisField, ...] | None, ...]:
        found: list[tuple[AxisField, ...] | None] = []
        for number in range(self.inputs):
            if any(axis[0] == number for axis in value.unknown):
                found.append(None)
                continue
            keys = sorted(axis for axis in value.seen if axis[0] == number)
            fields = []
            for key in keys:
                seen = value.seen[key]
                spans = [r[1] - r[0] + 1 for r in seen.ranges if r is not None]
                fields.append(
                    AxisField(
                        seen.field.size,
                        seen.field.stride,
                        seen.field.offset,
                        max(spans, default=0),
                        seen.field.misaligned,
                    )
                )
            found.append(tuple(fields))
        return tuple(found)

    def summary(self, name: str, shapes: tuple[Shape, ...]) -> Summary:
        parameters = sum(row.parameters for row in self.rows)
        buffers = sum(row.buffers for row in self.rows)
        notes = ["names and layers are those of the file; training may have had others"]
        if self.spatial_norms:
            notes.append(
                "group, instance and layer norms take statistics of the whole map; "
                "receptive fields leave these out"
            )
        if self.lost:
            nodes = ", ".join(dict.fromkeys(self.lost))
            notes.append(f"receptive fields are unknown after {nodes}")
        return Summary(
            name=name,
            input_shapes=shapes,
            rows=tuple(self.rows),
            parameters=parameters,
            trainable=parameters,
            buffers=buffers,
            multiply_adds=sum(row.multiply_adds for row in self.rows),
            activation_products=sum(row.activation_products for row in self.rows),
            weight_bytes=4 * (parameters + buffers),
            inference_bytes=inference_activation_bytes(
                self.bytes, self.sources, element_bytes=1
            ),
            training_bytes=training_activation_bytes(self.bytes, element_bytes=1),
            notes=tuple(notes),
        )
