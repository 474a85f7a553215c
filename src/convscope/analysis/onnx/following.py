"""Follows the nodes of a graph: what each makes, costs and holds, as rows.

Every value is a `GraphTensor`: its shape, what it sees, its numbers where they are few,
and the stored tensors that a constant is made from. A branch whose condition is known
is followed as if it stood there; loops, and branches that depend on the input, are
looked through for their parameters and are otherwise unknown.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from convscope.analysis.inputs import Shape
from convscope.analysis.onnx.costs import Cost, is_known, products
from convscope.analysis.onnx.folding import MOST_NUMBERS, Folding
from convscope.analysis.onnx.nodes import node_text
from convscope.analysis.onnx.parameters import Tally, is_neutral, passed_on
from convscope.analysis.onnx.plain import Plain, plain
from convscope.analysis.onnx.reading import Graph, Step
from convscope.analysis.onnx.stored import Stored, bits_of
from convscope.analysis.onnx.tensor import GraphTensor, shape_of
from convscope.analysis.operations.operation import Arguments, Node
from convscope.analysis.operations.provenance import (
    Provenance,
    constant,
    input_provenance,
    unknown,
)
from convscope.analysis.operations.registry import by_onnx
from convscope.analysis.records import AxisField, Row
from convscope.errors import ShapeError

# Elements that all windows together may read where what they see is followed, and 40
# for each position, which takes about as long: 15 seconds in all. A long signal through
# very many layers has more.
MOST_READS = 80_000_000

Scope = dict[str, GraphTensor]


class Follower:
    """Follows a network and gathers its rows."""

    def __init__(self, onnx: Any, folding: Folding, declared: bool) -> None:
        self.onnx, self.folding, self.declared = onnx, folding, declared
        self.stored: dict[str, Stored] = {}
        self.tally = Tally()
        self.symbols: Mapping[str, int] = {}
        self.rows: list[Row] = []
        self.bytes: list[int] = []
        self.sources: list[list[int]] = []
        self.inputs = 0
        self.reads = 0
        self.hidden = 0  # bodies of loops that we are inside of
        self.over_space = False
        self.lost: list[str] = []
        self.strange: Counter[str] = Counter()  # operators that we do not know
        self.unsized: Counter[str] = Counter()  # and those of an unknown size
        self.too_long = ""

    def start(self, type_: Any, value: Any) -> GraphTensor:
        """An input of the network."""
        if value is not None:
            return GraphTensor(type_, constant(()), value)
        number, shape = self.inputs, shape_of(type_)
        self.inputs += 1
        self.bytes.append(self._size_bytes(type_))
        self.sources.append([])
        if shape is None:
            sees = Provenance((), {}, from_input=True)
        elif self._fits(40 * sum(shape[2:])):
            sees = input_provenance(number, shape)
        else:
            axes = frozenset((number, axis) for axis in range(len(shape) - 2))
            sees = Provenance(constant(shape).dims, {}, axes, from_input=True)
        return GraphTensor(type_, sees, made_by=len(self.bytes) - 1)

    def run(self, graph: Graph, scope: Scope) -> list[GraphTensor]:
        """Follows all nodes of a graph; gives its outputs."""
        for name, one in graph.stored.items():
            scope[name] = self._held(name, one)
        last = {name: place for place, step in enumerate(graph.steps)
                for name in (*step.outputs, *step.reads)}  # fmt: skip
        gone: dict[int, list[str]] = {}
        for name, place in last.items():
            if name and name not in graph.outputs:
                gone.setdefault(place, []).append(name)
        own = set(graph.stored) | {n for s in graph.steps for n in s.outputs}
        for place, step in enumerate(graph.steps):
            self._follow(step, scope, graph.declared)
            for name in gone.get(place, ()):
                if name in own:  # long ranges are let go
                    scope.pop(name, None)
        return [scope[name] for name in graph.outputs]

    def _held(self, name: str, one: Stored) -> GraphTensor:
        """A weight or a constant of the file."""
        key = name if name not in self.stored else f"{name} ({len(self.stored)})"
        self.stored[key] = one
        type_ = self.folding.tensor_type(one.code, one.shape)
        value = None
        if one.tensor is not None and prod(one.shape) <= MOST_NUMBERS:
            value = self.onnx.numpy_helper.to_array(one.tensor)
        shape = shape_of(type_)
        return GraphTensor(type_, constant(shape or ()), value, {key: "plain"})

    def _follow(self, step: Step, scope: Scope, declared: Mapping[str, Any]) -> None:
        inputs = [scope[name] if name else None for name in step.inputs]
        if step.kind == "If" and (taken := _taken(step, inputs)) is not None:
            found = self.run(taken, dict(scope))
            scope.update((n, t) for n, t in zip(step.outputs, found, strict=True) if n)
            return
        types = self._types(step, inputs, declared)
        around = [scope[name] for name in step.reads - set(step.inputs)]
        if any(t.live for t in (*filter(None, inputs), *around)):
            made = self._live(step, scope, inputs, types, around)
        else:
            made = self._constant(step, inputs, types)
        scope.update((n, t) for n, t in zip(step.outputs, made, strict=True) if n)

    def _types(
        self,
        step: Step,
        inputs: Sequence[GraphTensor | None],
        declared: Mapping[str, Any],
    ) -> list[Any]:
        """Inferred; for operators that nobody knows what the file says of them."""
        try:
            types = self.folding.types(step, inputs)
        except ShapeError:
            if not self.hidden:
                raise
            types = [None] * len(step.outputs)
        for place, name in enumerate(step.outputs):
            if types[place] is None or not types[place].HasField("tensor_type"):
                types[place] = self._declared(declared.get(name), inputs)
        return types

    def _declared(self, type_: Any, inputs: Sequence[GraphTensor | None]) -> Any:
        """What the file says, with its symbols replaced, if the inputs are its own."""
        if type_ is None or not type_.HasField("tensor_type"):
            return None
        dims = type_.tensor_type.shape.dim
        found = [self.symbols.get(d.dim_param) or d.dim_value or None for d in dims]
        code = type_.tensor_type.elem_type
        if not self.declared or self.hidden or not type_.tensor_type.HasField("shape"):
            return self.folding.tensor_type(code, None)
        return self.folding.tensor_type(code, found)

    def _constant(
        self, step: Step, inputs: Sequence[GraphTensor | None], types: Sequence[Any]
    ) -> list[GraphTensor]:
        """A node that no input of the network reaches."""
        numbers = self.folding.numbers(step, inputs, types)
        origins: dict[str, Any] = {}
        for place, one in enumerate(inputs):
            if one is not None:
                origins.update(passed_on(step, place, one.origins, self.stored))
        given = plain(step)
        found = by_onnx(given.kind)
        if found is not None and found.costs is not None and origins:
            self._constant_row(step, given, inputs, types)
        return [
            GraphTensor(type_, constant(shape_of(type_) or ()), number, dict(origins))
            for type_, number in zip(types, numbers, strict=True)
        ]

    def _constant_row(
        self,
        step: Step,
        given: Plain,
        inputs: Sequence[GraphTensor | None],
        types: Sequence[Any],
    ) -> None:
        """Products that no input takes part in, such as on learned queries."""
        shape = shape_of(types[0])
        cost = products(given.kind, self._read(given, inputs, types), shape)
        before = self._counted()
        self._count(step, inputs)
        if not self.hidden:
            nothing: tuple[tuple[AxisField, ...], ...] = ((),) * self.inputs
            self._row(step, types[:1], cost, before, nothing, constants=True)

    def _live(
        self,
        step: Step,
        scope: Scope,
        inputs: Sequence[GraphTensor | None],
        types: list[Any],
        around: Sequence[GraphTensor],
    ) -> list[GraphTensor]:
        """A node that computes with what the network gets."""
        if step.kind in ("Shape", "Size"):
            numbers = self.folding.numbers(step, inputs, types)
            if numbers[0] is not None:
                return [GraphTensor(types[0], constant(np.shape(numbers[0])), *numbers)]
        before = self._counted()
        given = plain(step)
        for graph in step.graphs:
            self._look_through(graph, scope)
        self._count(step, inputs)
        read = self._read(given, inputs, types)
        sees = self._sees(step, given, read, inputs, types, around)
        if self.hidden:
            return [GraphTensor(t, s) for t, s in zip(types, sees, strict=True)]
        cost = products(given.kind, read, shape_of(types[0]) if types else None)
        if not cost.known:
            (self.unsized if is_known(given.kind) else self.strange)[step.kind] += 1
        shown = [t for t, n in zip(types, step.outputs, strict=True) if n]
        if given.kind in ("Dropout", "BatchNormalization", "LayerNormalization"):
            shown = shown[:1]  # a mask, or statistics
        self.bytes.append(sum(map(self._size_bytes, shown)))
        sources = [t.made_by for t in (*inputs, *around) if t is not None]
        self.sources.append([place for place in sources if place is not None])
        fields = self._fields(sees[0]) if sees else ((),) * self.inputs
        self._row(step, shown, cost, before, fields)
        made = [
            GraphTensor(t, s, made_by=len(self.bytes) - 1, kind=step.kind)
            for t, s in zip(types, sees, strict=True)
        ]
        scales = [t.is_scale for t in inputs if t is not None]
        if step.kind == "DynamicQuantizeLinear":
            made[1].is_scale = True
        elif step.kind == "Mul":
            made[0].is_scale = any(scales)
        return made

    def _look_through(self, graph: Graph, scope: Scope) -> None:
        """Counts what a loop, or a branch that depends on the input, holds."""
        inner = dict(scope)
        for one in graph.inputs:
            code = one.type.tensor_type.elem_type
            type_ = self.folding.tensor_type(code, None) if code else None
            inner[one.name] = GraphTensor(type_, Provenance((), {}, from_input=True))
        self.hidden += 1
        self.run(graph, inner)
        self.hidden -= 1

    def _count(self, step: Step, inputs: Sequence[GraphTensor | None]) -> None:
        """The stored tensors that reach a node."""
        scales = step.kind == "Mul" and any(
            one is not None and one.is_scale for one in inputs
        )
        if is_neutral(step, inputs, self.stored):
            return
        known = is_known(plain(step).kind)
        for place, one in enumerate(inputs):
            if one is not None and one.origins:
                self.tally.found(
                    step, place, one.origins, self.stored, known=known, scales=scales
                )

    def _counted(self) -> tuple[int, int]:
        return (
            sum(self.tally.parameters.values()),
            sum(self.tally.buffers.values()),
        )

    def _read(
        self, given: Plain, inputs: Sequence[GraphTensor | None], types: Sequence[Any]
    ) -> Arguments | None:
        """The node's arguments as torch would have them."""
        found = by_onnx(given.kind)
        used = [inputs[place] for place in given.places]
        shapes = [shape_of(type_) for type_ in types]
        if found is None or not shapes or shapes[0] is None:
            return None
        if any(one is not None and one.shape is None for one in used):
            return None
        node = Node(
            given.kind,
            given.attributes,
            [None if one is None else one.sees for one in used],
            [_few_numbers(one) for one in used],
            [shapes[0] if one is None else one for one in shapes],
        )
        return found.onnx[given.kind](node)

    def _sees(
        self,
        step: Step,
        given: Plain,
        read: Arguments | None,
        inputs: Sequence[GraphTensor | None],
        types: Sequence[Any],
        around: Sequence[GraphTensor],
    ) -> list[Provenance]:
        """What each output sees."""
        shapes = [shape_of(type_) for type_ in types]
        sources = [one.sees for one in (*inputs, *around) if one is not None]
        found = by_onnx(given.kind)
        short = found is not None and read is not None and self._fits_in(step, shapes)
        if found is not None and read is not None and found.sees is not None and short:
            if found.over_space is not None and found.over_space(read):
                self.over_space = True
            made = found.sees(read, shapes[0] or ())
            every = made if isinstance(made, list) else [made] * len(shapes)
            if every[0] is not None and every[0].shape == shapes[0]:
                return [
                    one
                    if one is not None and one.shape == shape
                    else unknown(sources, shape or ())
                    for one, shape in zip(every, shapes, strict=True)
                ]
        if any(one.seen for one in sources) and not self.hidden:
            self.lost.append(step.kind)
        return [unknown(sources, shape or ()) for shape in shapes]

    def _fits_in(self, step: Step, shapes: Sequence[Shape | None]) -> bool:
        """Whether what its outputs see can be worked out, position by position."""
        taps = step.attributes.get("kernel_shape") or [1]
        reads = 0
        for shape in filter(None, shapes):
            along = zip(reversed(shape), reversed(taps), strict=False)
            reads += sum(length * tap for length, tap in along) + 40 * max(shape)
        if self._fits(reads):
            return True
        self.too_long = self.too_long or step.name
        return False

    def _fits(self, reads: int) -> bool:
        if self.reads + reads > MOST_READS:
            return False
        self.reads += reads
        return True

    def _row(
        self,
        step: Step,
        types: Sequence[Any],
        cost: Cost,
        before: tuple[int, int],
        fields: tuple[tuple[AxisField, ...] | None, ...],
        *,
        constants: bool = False,
    ) -> None:
        parameters, buffers = self._counted()
        shapes = [shape_of(type_) for type_ in types]
        two = cost.two and not constants
        self.rows.append(
            Row(
                path=step.name,
                name=step.name,
                kind=node_text(step.kind, dict(step.attributes)),
                depth=1,
                is_layer=True,
                output_shapes=tuple(_of_one(s) for s in shapes if s is not None),
                parameters=parameters - before[0],
                buffers=buffers - before[1],
                multiply_adds=0 if two else cost.count,
                activation_products=cost.count if two else 0,
                activation_bytes=sum(map(self._size_bytes, types)),
                receptive_fields=fields,
                constant_products=cost.count if constants else 0,
                counted=cost.known,
                label=step.name,
            )
        )

    def _size_bytes(self, type_: Any) -> int:
        shape = shape_of(type_)
        if shape is None:
            return 0
        return -(-prod(shape) * bits_of(self.onnx, type_.tensor_type.elem_type) // 8)

    def _fields(self, value: Provenance) -> tuple[tuple[AxisField, ...] | None, ...]:
        return tuple(_fields(value, number) for number in range(self.inputs))


def _taken(step: Step, inputs: Sequence[GraphTensor | None]) -> Graph | None:
    """The branch that is taken, where the condition is known."""
    condition = inputs[0] if inputs else None
    if condition is None or condition.value is None or np.size(condition.value) != 1:
        return None
    name = "then_branch" if bool(np.reshape(condition.value, ())) else "else_branch"
    branch: Graph = step.attributes[name]
    return branch


def _few_numbers(tensor: GraphTensor | None) -> list[Any] | None:
    if tensor is None or tensor.value is None or np.ndim(tensor.value) > 1:
        return None
    found: list[Any] = np.reshape(tensor.value, -1).tolist()
    return found


def _of_one(shape: Shape) -> Shape:
    """Without the batch axis."""
    return shape[1:] if shape[:1] == (1,) else shape


def _fields(value: Provenance, number: int) -> tuple[AxisField, ...] | None:
    """What is seen of one input; None where that is not known."""
    if any(axis[0] == number for axis in value.unknown):
        return None
    fields = []
    for key in sorted(axis for axis in value.seen if axis[0] == number):
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
    return tuple(fields)


def names_of(kinds: Iterable[str]) -> str:
    """Kinds of operators, each once, as a list in a sentence."""
    return ", ".join(dict.fromkeys(kinds))
