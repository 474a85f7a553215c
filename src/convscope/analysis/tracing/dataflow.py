"""What every tensor of a forward pass sees, carried through torch's own operations.

``Dataflow.start(number, tensor)``   an input
``Dataflow.before(operation, ...)``  what its arguments are before it runs
``Dataflow.through(...)``            follow it to its result; returns what it multiplies
``Dataflow.value(tensor)``           what is known of a tensor

A tensor is known by the memory it describes (storage, offset, sizes, strides), so that
views and in-place operations need no special treatment by the caller's code.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from convscope.analysis.operations.elementwise import elementwise_sees
from convscope.analysis.operations.operation import Arguments, Operation
from convscope.analysis.operations.provenance import (
    Provenance,
    constant,
    input_provenance,
    new_dim,
    unknown,
)
from convscope.analysis.operations.rearrange import in_groups, written
from convscope.analysis.operations.registry import bound, by_torch, is_known, plain_name
from convscope.arithmetic import AxisLayer
from convscope.private_torch import tree_leaves

Key: TypeAlias = tuple[int, int, tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Cost:
    """What one operation multiplies, and the windows it moves.

    Attributes:
        multiply_adds: Products of a weight with a value that depends on the input.
        activation_products: Products of two values that depend on it.
        constant_products: Products of which neither does.
        window: Sizes and what moves along them, where a window may not fit exactly.
    """

    multiply_adds: int = 0
    activation_products: int = 0
    constant_products: int = 0
    window: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Pending:
    """A call that has not run yet: its arguments, as tensors and as what they see."""

    schema: Any
    pointwise: bool
    given: Arguments
    values: Arguments
    sources: list[Provenance]


class Dataflow:
    """The values of all tensors of one forward pass."""

    def __init__(self) -> None:
        self.values: dict[Key, Provenance] = {}
        self.alive: list[torch.UntypedStorage] = []  # an address is used only once
        self.by_storage: dict[int, list[Key]] = {}
        self.inputs: list[Provenance] = []
        self.escaped = False  # whether values have left torch and may have come back
        self.zeros: set[int] = set()  # storages
        self.filled: dict[int, int] = {}  # elements laid out into zeros, by storage
        self.not_understood: list[str] = []
        self.spatial_norms: list[str] = []

    def start(self, number: int, tensor: Tensor) -> None:
        """Declare an input of the network."""
        self.inputs.append(input_provenance(number, tensor.shape))
        self._set(tensor, self.inputs[-1])

    def keep(self, tensors: Iterable[Tensor]) -> None:
        """Declare weights, which depend on no input."""
        for tensor in tensors:
            self._set(tensor, constant(tensor.shape))

    def escape(self, tensors: Iterable[Tensor]) -> None:
        """Values leave torch; what comes from elsewhere afterwards may hold them."""
        self.escaped = self.escaped or any(self.value(t).from_input for t in tensors)

    def value(self, tensor: Tensor) -> Provenance:
        """What is known of a tensor; of one never seen, that it is a constant."""
        key = key_of(tensor)
        if key not in self.values:
            others = [self.values[k] for k in self.by_storage.get(key[0], ())]
            if not others and self.escaped:
                others = self.inputs
            live = [value for value in others if value.from_input]
            found = unknown(live, tensor.shape) if live else constant(tensor.shape)
            self._set(tensor, found)
        return self.values[key]

    def before(
        self, operation: Any, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Pending:
        """What the arguments are, before the operation may change them."""
        given = bound(operation._schema, args, kwargs)
        sources = [self.value(t) for t in _tensors(list(given.values()))]
        pointwise = torch.Tag.pointwise in operation.tags
        values = _with_values(given, self)
        return Pending(operation._schema, pointwise, given, values, sources)

    def through(self, call: Pending, result: Any) -> Cost:
        """Follow one operation to its result."""
        outputs, name = _tensors(result), plain_name(call.schema)
        found = by_torch(name) if is_known(call.schema) else None
        if not outputs:
            return Cost()
        if not any(value.from_input for value in call.sources) or (
            found is not None and found.from_shape
        ):
            for tensor in outputs:
                self._set(tensor, constant(tensor.shape))
            self._fill(call.schema, call.given, outputs[0])
        else:
            shapes = [tuple(t.shape) for t in outputs]
            made = self._result(found, name, call, shapes)
            for tensor, value in zip(outputs, made, strict=True):
                self._set(tensor, value, changed=call.schema.is_mutable)
        return self._cost(found, call, tuple(outputs[0].shape))

    def declare(
        self,
        before: Tensor,
        after: Tensor,
        layers: Sequence[AxisLayer | None],
        groups: int = 1,
    ) -> None:
        """``after`` is made from ``before`` by these layers, one per spatial axis.

        Channels mix within groups; where there is None, all positions of that axis mix
        too.
        """
        value = self.value(before)
        if not value.from_input:
            return
        first = before.ndim - len(layers)
        value = in_groups(value, first - 1, groups, after.shape[first - 1])
        for dim, layer in enumerate(layers, start=first):
            value = value.mixed([dim]) if layer is None else value.through(dim, layer)
        dims = list(value.dims)
        for dim, size in enumerate(after.shape):
            if dims[dim] and size != value.shape[dim]:
                dims[dim] = new_dim(size)
        self._set(after, value.with_dims(dims))

    def ended(self, label: str, outputs: Sequence[Tensor]) -> None:
        """A call has given these; here nothing is made of that."""

    def notes(self) -> Iterator[str]:
        """What is not known of what tensors see, or left out."""
        if self.not_understood:
            names = ", ".join(dict.fromkeys(self.not_understood))
            yield (
                f"receptive fields are unknown after {names}, which joins elements in "
                "a way that is not understood"
            )
        if self.spatial_norms:
            yield (
                "group, instance and layer norms take statistics of the whole map; "
                "receptive fields leave these out"
            )

    def _result(
        self,
        operation: Operation | None,
        name: str,
        call: Pending,
        shapes: list[tuple[int, ...]],
    ) -> list[Provenance]:
        rule = None if operation is None else operation.sees
        if rule is None and call.pointwise:
            rule = elementwise_sees
        over_space = None if operation is None else operation.over_space
        if over_space is not None and over_space(call.values):
            self.spatial_norms.append(name)
        found = None if rule is None else rule(call.values, shapes[0])
        if found is not None:
            made = found if isinstance(found, list) else [found]
            if len(made) == 1 and len(shapes) > 1:  # such as the indices of max_pool
                made = [
                    made[0] if shape == shapes[0] else unknown(call.sources, shape)
                    for shape in shapes
                ]
            if [value.shape for value in made] == shapes:
                return made
        if any(value.seen for value in call.sources):
            self.not_understood.append(name)
        return [unknown(call.sources, shape) for shape in shapes]

    def _cost(
        self, operation: Operation | None, call: Pending, shape: tuple[int, ...]
    ) -> Cost:
        if operation is None:
            return Cost()
        window = None
        layers = operation.windows(call.values) if operation.windows else None
        if layers:
            moved = call.values["input" if "input" in call.values else "self"]
            window = (moved.shape[-len(layers) :], tuple(layers))
        costs = operation.costs(call.values, shape) if operation.costs else None
        if costs is None:
            return Cost(window=window)
        products = costs.count
        for name in costs.operands:  # what is 0 for good multiplies nothing
            operand = call.given[name]
            filled = self.filled.get(key_of(operand)[0], operand.numel())
            products = products * filled // max(operand.numel(), 1)
        live = sum(call.values[name].from_input for name in costs.operands)
        if live > 1:
            return Cost(activation_products=products, window=window)
        if live:
            return Cost(multiply_adds=products, window=window)
        return Cost(constant_products=products, window=window)

    def _fill(self, schema: Any, given: dict[str, Any], output: Tensor) -> None:
        """Notes a weight that is laid out into zeros, as a connection table's is."""
        name, place = schema.name.partition("::")[2], key_of(output)[0]
        if schema.is_mutable:
            self.zeros.discard(place)
            self.filled.pop(place, None)
        elif name in ("zeros", "new_zeros"):
            self.zeros.add(place)
        elif name == "index_copy" and key_of(given["self"])[0] in self.zeros:
            self.filled[place] = given["source"].numel()

    def _set(self, tensor: Tensor, value: Provenance, changed: bool = False) -> None:
        key = key_of(tensor)
        if key[0] not in self.by_storage:
            self.by_storage[key[0]] = []
            self.alive.append(tensor.untyped_storage())
        others = self.by_storage[key[0]]
        if changed:
            for other in others:
                if other != key:
                    self.values[other] = _also(self.values[other], key, other, value)
        if key not in self.values:
            others.append(key)
        self.values[key] = value


def _also(
    base: Provenance, part_key: Key, base_key: Key, part: Provenance
) -> Provenance:
    """A view of memory in which another view has just been written."""
    (_, begin, part_shape, strides), (_, origin, shape, base_strides) = (
        part_key,
        base_key,
    )
    if part_shape == shape and part.shape == base.shape and begin == origin:
        return part
    starts, rest = [], begin - origin
    for size, stride in zip(shape, base_strides, strict=True):
        place = rest // stride if stride and size > 1 else 0
        starts.append(place)
        rest -= place * stride
    fits = strides == base_strides and rest == 0 and min(starts, default=0) >= 0
    if fits and all(
        start + few <= many
        for start, few, many in zip(starts, part_shape, shape, strict=True)
    ):
        return written(base, part, starts)
    return unknown([base, part], base.shape)


def _with_values(given: dict[str, Any], flow: Dataflow) -> dict[str, Any]:
    """The arguments of an operation with values in place of tensors."""

    def replaced(one: Any) -> Any:
        if isinstance(one, Tensor):
            return flow.value(one)
        if isinstance(one, (list, tuple)) and any(isinstance(t, Tensor) for t in one):
            return [replaced(t) for t in one]
        return one

    return {name: replaced(one) for name, one in given.items()}


def _tensors(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def key_of(tensor: Tensor) -> Key:
    """The memory that it describes, and how."""
    return (
        tensor.untyped_storage()._cdata,
        int(tensor.storage_offset()),
        tuple(tensor.shape),
        tuple(tensor.stride()),
    )
