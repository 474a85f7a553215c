"""What every tensor of a forward pass sees, carried through torch's own operations.

``Dataflow.start(number, tensor)``   an input
``Dataflow.through(operation, ...)`` follow one operation; returns what it multiplies
``Dataflow.value(tensor)``           what is known of a tensor

A tensor is known by the memory it describes (storage, offset, sizes, strides), so that
views and in-place operations need no special treatment by the caller's code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from convscope.analysis.operations.effects import (
    BLANK,
    ELEMENTWISE,
    IGNORED,
    NORMS,
    RULES,
    product_counts,
    window_of,
)
from convscope.analysis.operations.provenance import (
    Provenance,
    broadcast,
    constant,
    input_provenance,
    new_dim,
    unknown,
)
from convscope.analysis.operations.rearrange import written
from convscope.arithmetic import AxisLayer
from convscope.private_torch import tree_leaves

Key: TypeAlias = tuple[int, int, tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Cost:
    """What one operation multiplies, and the windows it moves."""

    multiply_adds: int = 0
    activation_products: int = 0
    window: tuple[Any, ...] | None = None


class Dataflow:
    """The values of all tensors of one forward pass."""

    def __init__(self) -> None:
        self.values: dict[Key, Provenance] = {}
        self.alive: list[torch.UntypedStorage] = []  # an address is used only once
        self.by_storage: dict[int, list[Key]] = {}
        self.zeros: set[int] = set()  # storages
        self.filled: dict[int, int] = {}  # elements laid out into zeros, by storage
        self.not_understood: list[str] = []
        self.spatial_norms: list[str] = []

    def start(self, number: int, tensor: Tensor) -> None:
        """Declare an input of the network."""
        self._set(tensor, input_provenance(number, tensor.shape))

    def value(self, tensor: Tensor) -> Provenance:
        """What is known of a tensor; of one never seen, that it is a constant."""
        key = _key(tensor)
        if key not in self.values:
            self._set(tensor, constant(tensor.shape))
        return self.values[key]

    def through(
        self,
        operation: Any,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        result: Any,
    ) -> Cost:
        """Follow one operation from its arguments to its result."""
        schema = operation._schema
        name = schema.name.partition("::")[2]
        given = {a.name: a.default_value for a in schema.arguments}
        given.update(zip(given, args, strict=False))
        given.update(kwargs)
        outputs = _tensors(result)
        if not outputs or name in IGNORED:
            return Cost()
        sources = [self.value(t) for t in _tensors(list(given.values()))]
        live = [value for value in sources if value.from_input]
        if not live or name.startswith(BLANK):
            for tensor in outputs:
                self._set(tensor, constant(tensor.shape))
            self._fill(schema, given, outputs[0])
            return Cost()
        kind = name.rstrip("_") if name.endswith("_") else name
        made = self._result(operation, kind, given, outputs, sources)
        for tensor, value in zip(outputs, made, strict=True):
            self._set(tensor, value, changed=schema.is_mutable)
        return self._cost(kind, given, outputs[0])

    def declare(
        self, before: Tensor, after: Tensor, layers: Sequence[AxisLayer | None]
    ) -> None:
        """``after`` is made from ``before`` by these layers, one per spatial axis.

        Channels may mix; where there is None, all positions of that axis mix too.
        """
        value = self.value(before)
        if not value.from_input:
            return
        first = before.ndim - len(layers)
        value = value.mixed([first - 1])
        for dim, layer in enumerate(layers, start=first):
            value = value.mixed([dim]) if layer is None else value.through(dim, layer)
        dims = list(value.dims)
        for dim, size in enumerate(after.shape):
            if dims[dim] and size != value.shape[dim]:
                dims[dim] = new_dim(size)
        self._set(after, value.with_dims(dims))

    def _result(
        self,
        operation: Any,
        name: str,
        given: dict[str, Any],
        outputs: list[Tensor],
        sources: list[Provenance],
    ) -> list[Provenance]:
        shapes = [tuple(t.shape) for t in outputs]
        rule = RULES.get(name)
        values = _with_values(given, self)
        if rule is not None:
            found = rule(values, shapes[0])
            made = found if isinstance(found, list) else [found]
            if len(made) == 1 and len(shapes) > 1:  # such as the indices of max_pool
                made = [
                    made[0] if shape == shapes[0] else unknown(sources, shape)
                    for shape in shapes
                ]
            if [value.shape for value in made] == shapes:
                return made
        elif name in NORMS:
            if NORMS[name](values):
                self.spatial_norms.append(name)
            first = cast("Provenance", next(v for v in values.values() if _is_live(v)))
            return [
                first if shape == first.shape else unknown(sources, shape)
                for shape in shapes
            ]
        elif torch.Tag.pointwise in operation.tags or name in ELEMENTWISE:
            value = broadcast(sources)
            if all(shape == value.shape for shape in shapes):
                return [value] * len(shapes)
        if any(value.seen for value in sources):
            self.not_understood.append(name)
        return [unknown(sources, shape) for shape in shapes]

    def _cost(self, name: str, given: dict[str, Any], output: Tensor) -> Cost:
        counts = product_counts(name, given, output)
        window = window_of(name, given)
        if counts is None:
            return Cost(window=window)
        products, operands = counts
        for operand in operands:  # what is 0 for good multiplies nothing
            filled = self.filled.get(_key(operand)[0], operand.numel())
            products = products * filled // max(operand.numel(), 1)
        live = sum(self.value(operand).from_input for operand in operands)
        if live > 1:
            return Cost(activation_products=products, window=window)
        return Cost(multiply_adds=products, window=window)

    def _fill(self, schema: Any, given: dict[str, Any], output: Tensor) -> None:
        """Notes a weight that is laid out into zeros, as a connection table's is."""
        name, place = schema.name.partition("::")[2], _key(output)[0]
        if schema.is_mutable:
            self.zeros.discard(place)
            self.filled.pop(place, None)
        elif name in ("zeros", "new_zeros"):
            self.zeros.add(place)
        elif name == "index_copy" and _key(given["self"])[0] in self.zeros:
            self.filled[place] = given["source"].numel()

    def _set(self, tensor: Tensor, value: Provenance, changed: bool = False) -> None:
        key = _key(tensor)
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


def _is_live(value: object) -> bool:
    return isinstance(value, Provenance) and value.from_input


def _tensors(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _key(tensor: Tensor) -> Key:
    return (
        tensor.untyped_storage()._cdata,
        int(tensor.storage_offset()),
        tuple(tensor.shape),
        tuple(tensor.stride()),
    )
