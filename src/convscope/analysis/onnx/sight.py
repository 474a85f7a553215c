"""What the values of a graph see, as long as there is not too much to work out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from convscope.analysis.inputs import Shape
from convscope.analysis.onnx.plain import Plain
from convscope.analysis.onnx.reading import Step
from convscope.analysis.onnx.tensor import GraphTensor, shape_of
from convscope.analysis.operations.operation import Arguments, Node
from convscope.analysis.operations.provenance import (
    Provenance,
    constant,
    input_provenance,
    unknown,
)
from convscope.analysis.operations.registry import by_onnx
from convscope.analysis.records import AxisField

# Elements that all windows together may read where what they see is followed, and 40
# for each position, which takes about as long: 15 seconds in all. A long signal through
# very many layers has more.
MOST_READS = 80_000_000


class Sight:
    """Works out what is seen, and remembers where that is not known.

    Attributes:
        inputs: How many inputs there are.
        over_space: Whether statistics of a whole map are left out.
        lost: Kinds of nodes after which nothing is known.
        too_long: The first node with too much to work out; empty if there is none.
    """

    def __init__(self) -> None:
        self.inputs = 0
        self.over_space = False
        self.lost: list[str] = []
        self.too_long = ""
        self._reads = 0

    def of_input(self, type_: Any) -> Provenance:
        """What one more input of the network sees: itself."""
        number, shape = self.inputs, shape_of(type_)
        self.inputs += 1
        if shape is None:
            return Provenance((), {}, from_input=True)
        if self._fits(40 * sum(shape[2:])):
            return input_provenance(number, shape)
        axes = frozenset((number, axis) for axis in range(len(shape) - 2))
        return Provenance(constant(shape).dims, {}, axes, from_input=True)

    def of_outputs(
        self,
        step: Step,
        given: Plain,
        read: Arguments | None,
        sources: Sequence[Provenance],
        shapes: Sequence[Shape | None],
    ) -> list[Provenance]:
        """What each output of a node sees."""
        found = by_onnx(given.kind)
        if found is not None and read is not None and found.sees is not None:
            if found.over_space is not None and found.over_space(read):
                self.over_space = True
            made = (
                found.sees(read, shapes[0] or ()) if self._few(step, shapes) else None
            )
            every = list(made) if isinstance(made, list) else [made] * len(shapes)
            every += [None] * len(shapes)
            if every[0] is not None and every[0].shape == shapes[0]:
                return [
                    one
                    if one is not None and one.shape == shape
                    else unknown(sources, shape or ())
                    for one, shape in zip(every, shapes, strict=False)
                ]
        if any(one.seen for one in sources):
            self.lost.append(step.kind)
        return [unknown(sources, shape or ()) for shape in shapes]

    def fields(self, value: Provenance) -> tuple[tuple[AxisField, ...] | None, ...]:
        """The receptive field on each input."""
        return tuple(_fields(value, number) for number in range(self.inputs))

    def _few(self, step: Step, shapes: Sequence[Shape | None]) -> bool:
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
        if self._reads + reads > MOST_READS:
            return False
        self._reads += reads
        return True


def arguments_of(
    given: Plain,
    inputs: Sequence[GraphTensor | None],
    shapes: Sequence[Shape | None],
) -> Arguments | None:
    """A node's arguments as torch would have them; None where too little is known."""
    found = by_onnx(given.kind)
    used = [inputs[place] for place in given.places]
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


def _few_numbers(tensor: GraphTensor | None) -> list[Any] | None:
    if tensor is None or tensor.value is None or np.ndim(tensor.value) > 1:
        return None
    found: list[Any] = np.reshape(tensor.value, -1).tolist()
    return found


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
