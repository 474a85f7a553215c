"""The rows of a network in a file, and what they leave out."""

from collections import Counter
from collections.abc import Sequence
from math import prod
from typing import Any

from convscope.analysis.inputs import Shape
from convscope.analysis.onnx.costs import Cost, is_known
from convscope.analysis.onnx.nodes import node_text
from convscope.analysis.onnx.plain import Plain
from convscope.analysis.onnx.reading import Step
from convscope.analysis.onnx.stored import bits_of
from convscope.analysis.onnx.tensor import GraphTensor, shape_of
from convscope.analysis.records import AxisField, Row

ONE_OUTPUT = ("BatchNormalization", "Dropout", "LayerNormalization")  # others: a mask,
# or statistics


class Recording:
    """Gathers rows, and activations with those that each is made from.

    Attributes:
        rows: One for each node that computes with what the network gets.
        bytes: Of each activation, inputs first.
        sources: For each, the places of those that it is made from.
        strange: Operators that nobody has told us.
        unsized: Operators whose products depend on a size that is not known.
    """

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self.rows: list[Row] = []
        self.bytes: list[int] = []
        self.sources: list[list[int]] = []
        self.strange: Counter[str] = Counter()
        self.unsized: Counter[str] = Counter()

    def activation(
        self, types: Sequence[Any], sources: Sequence[GraphTensor | None] = ()
    ) -> int:
        """One more activation; gives its place."""
        self.bytes.append(sum(map(self._bytes, types)))
        made_by = [one.made_by for one in sources if one is not None]
        self.sources.append([place for place in made_by if place is not None])
        return len(self.bytes) - 1

    def shown(self, step: Step, given: Plain, types: Sequence[Any]) -> list[Any]:
        """The types of the outputs that a row speaks of."""
        found = [t for t, name in zip(types, step.outputs, strict=True) if name]
        return found[:1] if given.kind in ONE_OUTPUT else found

    def row(
        self,
        step: Step,
        given: Plain,
        types: Sequence[Any],
        cost: Cost,
        counts: tuple[int, int],
        fields: tuple[tuple[AxisField, ...] | None, ...],
        *,
        constants: bool = False,
    ) -> None:
        """One row; ``counts`` are its parameters and buffers."""
        if not cost.known:
            missed = self.unsized if is_known(given.kind) else self.strange
            missed[step.kind] += 1
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
                parameters=counts[0],
                buffers=counts[1],
                multiply_adds=0 if two else cost.count,
                activation_products=cost.count if two else 0,
                activation_bytes=sum(map(self._bytes, types)),
                receptive_fields=fields,
                constant_products=cost.count if constants else 0,
                counted=cost.known,
                label=step.name,
            )
        )

    def _bytes(self, type_: Any) -> int:
        shape = shape_of(type_)
        if shape is None:
            return 0
        return -(-prod(shape) * bits_of(self._onnx, type_.tensor_type.elem_type) // 8)


def _of_one(shape: Shape) -> Shape:
    """Without the batch axis."""
    return shape[1:] if shape[:1] == (1,) else shape
