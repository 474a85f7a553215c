"""Follows the nodes of a graph: what each makes, costs and holds.

Every value is a `GraphTensor`: its shape, what it sees, its numbers where they are few,
and the stored tensors that a constant is made from. A branch whose condition is known
is followed as if it stood there; loops, and branches that depend on the input, are
looked through for their parameters and are otherwise unknown.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from convscope.analysis.onnx.costs import is_known, products
from convscope.analysis.onnx.folding import MOST_NUMBERS, Folding
from convscope.analysis.onnx.parameters import Tally, is_neutral, passed_on
from convscope.analysis.onnx.plain import plain
from convscope.analysis.onnx.reading import Graph, Step
from convscope.analysis.onnx.recording import Recording
from convscope.analysis.onnx.sight import Sight, arguments_of
from convscope.analysis.onnx.stored import Stored
from convscope.analysis.onnx.tensor import GraphTensor, shape_of
from convscope.analysis.operations.provenance import Provenance, constant
from convscope.analysis.operations.registry import by_onnx
from convscope.errors import ArgumentError, ConvscopeError, ShapeError

Scope = dict[str, GraphTensor]
# What a file with attributes that make no sense can bring about in rules for sane ones.
NONSENSE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Follower:
    """Follows a network and gathers its rows.

    Args:
        onnx: The library.
        folding: Shapes and numbers of nodes.
        symbols: Lengths by the names that the file has for them; None where its inputs
            are not of the sizes that it declares.
    """

    def __init__(
        self, onnx: Any, folding: Folding, symbols: Mapping[str, int] | None
    ) -> None:
        self.onnx, self.folding, self.symbols = onnx, folding, symbols
        self.stored: dict[str, Stored] = {}
        self.tally, self.sight, self.recording = Tally(), Sight(), Recording(onnx)
        self.hidden = 0  # bodies of loops that we are inside of

    def start(self, type_: Any, value: Any) -> GraphTensor:
        """An input of the network."""
        if value is not None:
            return GraphTensor(type_, constant(()), value)
        place = self.recording.activation([type_])
        return GraphTensor(type_, self.sight.of_input(type_), made_by=place)

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
            made = self.run(taken, dict(scope))
        else:
            around = [scope[name] for name in step.reads - set(step.inputs)]
            try:
                made = self._computed(step, scope, inputs, around, declared)
            except ConvscopeError as error:
                if str(error).startswith("summary: "):
                    raise
                raise ShapeError(
                    f"summary: {self.folding.name}: {step.kind} {step.name!r}: {error}"
                ) from error
            except NONSENSE as error:
                raise ArgumentError(
                    f"summary: {self.folding.name}: {step.kind} {step.name!r} has "
                    f"arguments that make no sense ({type(error).__name__}). The file "
                    "is damaged; get it again."
                ) from error
        scope.update((n, t) for n, t in zip(step.outputs, made, strict=False) if n)

    def _computed(
        self,
        step: Step,
        scope: Scope,
        inputs: Sequence[GraphTensor | None],
        around: Sequence[GraphTensor],
        declared: Mapping[str, Any],
    ) -> list[GraphTensor]:
        """The outputs of a node; ``around`` is what graphs inside it read besides."""
        types = self._types(step, inputs, declared)
        if any(t.live for t in (*filter(None, inputs), *around)):
            return self._live(step, scope, inputs, types, around)
        return self._constant(step, inputs, types)

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
        types = [*types, *[None] * len(step.outputs)][: len(step.outputs)]
        for place, name in enumerate(step.outputs):
            if types[place] is None or not types[place].HasField("tensor_type"):
                types[place] = self._declared(declared.get(name))
        return types

    def _declared(self, type_: Any) -> Any:
        """What the file says, with its symbols replaced, if the inputs are its own."""
        if type_ is None or not type_.HasField("tensor_type"):
            return None
        tensor, symbols = type_.tensor_type, self.symbols
        if symbols is None or self.hidden or not tensor.HasField("shape"):
            return self.folding.tensor_type(tensor.elem_type, None)
        dims = tensor.shape.dim
        found = [symbols.get(d.dim_param) or d.dim_value or None for d in dims]
        return self.folding.tensor_type(tensor.elem_type, found)

    def _constant(
        self, step: Step, inputs: Sequence[GraphTensor | None], types: Sequence[Any]
    ) -> list[GraphTensor]:
        """A node that no input of the network reaches."""
        numbers = self.folding.numbers(step, inputs, types)
        origins: dict[str, Any] = {}
        for place, one in enumerate(inputs):
            if one is not None:
                origins.update(passed_on(step, place, one.origins, self.stored))
        found = by_onnx(plain(step).kind)
        if found is not None and found.costs is not None and origins:
            self._constant_row(step, inputs, types)
        return [
            GraphTensor(type_, constant(shape_of(type_) or ()), number, dict(origins))
            for type_, number in zip(types, numbers, strict=False)
        ]

    def _constant_row(
        self, step: Step, inputs: Sequence[GraphTensor | None], types: Sequence[Any]
    ) -> None:
        """Products that no input takes part in, such as on learned queries."""
        given, shapes = plain(step), [shape_of(type_) for type_ in types]
        cost = products(given.kind, arguments_of(given, inputs, shapes), shapes[0])
        before = self.tally.totals
        self._count(step, inputs)
        if not self.hidden:
            fields = self.sight.fields(constant(()))
            counts = self.tally.since(before)
            self.recording.row(
                step, given, types[:1], cost, counts, fields, constants=True
            )

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
        given, shapes = plain(step), [shape_of(type_) for type_ in types]
        sources = [one for one in (*inputs, *around) if one is not None]
        before = self.tally.totals
        for graph in step.graphs:
            self._look_through(graph, scope)
        self._count(step, inputs)
        if self.hidden:
            nothing = Provenance((), {}, from_input=True)
            return [GraphTensor(type_, nothing) for type_ in types]
        read = arguments_of(given, inputs, shapes)
        cost = products(given.kind, read, shapes[0] if shapes else None)
        sees = self.sight.of_outputs(
            step, given, read, [one.sees for one in sources], shapes
        )
        used = next((s for s, n in zip(sees, step.outputs, strict=True) if n), None)
        fields = self.sight.fields(used or constant(()))
        shown = self.recording.shown(step, given, types)
        place = self.recording.activation(shown, sources)
        counts = self.tally.since(before)
        self.recording.row(step, given, shown, cost, counts, fields)
        scale = step.kind == "Mul" and any(one.is_scale for one in sources)
        return [
            GraphTensor(
                type_, one, made_by=place, kind=step.kind,
                is_scale=scale or (step.kind == "DynamicQuantizeLinear" and at == 1),
            )
            for at, (type_, one) in enumerate(zip(types, sees, strict=True))
        ]  # fmt: skip

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


def _taken(step: Step, inputs: Sequence[GraphTensor | None]) -> Graph | None:
    """The branch that is taken, where the condition is known."""
    condition = inputs[0] if inputs else None
    if condition is None or condition.value is None or np.size(condition.value) != 1:
        return None
    name = "then_branch" if bool(np.reshape(condition.value, ())) else "else_branch"
    branch: Graph = step.attributes[name]
    return branch
