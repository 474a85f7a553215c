"""What a summary says, as data: rows, totals, remarks.

Shapes are without the batch axis, counts are for one image, lengths are in elements of
the input that they belong to.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from convscope.analysis.inputs import Shape
from convscope.errors import UnknownNameError


@dataclass(frozen=True)
class AxisField:
    """The receptive field along one axis of an input.

    Attributes:
        size: Input elements from the first to the last.
        stride: Input elements from one output to the next; 0 where all see the same.
        offset: Where the first window begins; below 0 on padding.
        clipped: ``size`` as far as it lies inside the image: the most that any output
            sees, borders regarded.
        misaligned: Branches that meet before it look at different places.
    """

    size: int
    stride: int | Fraction
    offset: int | Fraction
    clipped: int
    misaligned: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Numbers that JSON knows."""
        return {
            "size": self.size,
            "stride": number(self.stride),
            "offset": number(self.offset),
            "clipped": self.clipped,
            "misaligned": self.misaligned,
        }


@dataclass(frozen=True)
class Row:
    """One call of a layer, of a function, or of a module with layers inside.

    Attributes:
        path: Where the module is, ``layer1.0.conv1``; empty for the network itself.
        name: Last part of the path, or the function's name.
        kind: The layer as one would write it: ``Conv2d(3, 64, 7, stride=2)``.
        depth: 0 for the network itself.
        is_layer: Whether it is one layer; False if rows inside it follow.
        output_shapes: Of each tensor that it returns.
        parameters: Learnable scalars in it; 0 where an earlier row has them.
        buffers: Scalars that are kept but not learned.
        multiply_adds: Products of a weight with a value; the fixed windows of
            pooling and of contrast normalization have no weights.
        activation_products: Products of two activations, as in attention.
        constant_products: Those of ``multiply_adds`` that no input takes part in, as
            on learned queries; made once per batch.
        activation_bytes: Of its output; 0 where it lies in the memory of another.
        receptive_fields: For each input one `AxisField` per axis; None where it is
            not known, empty where that input is not seen.
        turn: 1 for the second call of the same module, and so on.
        label: Its name among all rows, by which `capture` finds it: the path, with
            ``:2`` for a second call; of a function ``layer1.0.add_1``.
        counted: Whether ``multiply_adds`` has all its products; False for an operator
            of a file that is not known, or of a size that is not known.
    """

    path: str
    name: str
    kind: str
    depth: int
    is_layer: bool
    output_shapes: tuple[Shape, ...]
    parameters: int
    buffers: int
    multiply_adds: int
    activation_products: int
    activation_bytes: int
    receptive_fields: tuple[tuple[AxisField, ...] | None, ...]
    turn: int = 0
    constant_products: int = 0
    label: str = ""
    counted: bool = True

    @property
    def receptive_field(self) -> tuple[AxisField, ...] | None:
        """On the first input."""
        return self.receptive_fields[0] if self.receptive_fields else ()

    @property
    def output_shape(self) -> Shape:
        """Of the first tensor that it returns."""
        return self.output_shapes[0] if self.output_shapes else ()

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON."""
        return {
            "path": self.path,
            "label": self.label,
            "name": self.name,
            "kind": self.kind,
            "depth": self.depth,
            "is_layer": self.is_layer,
            "call": self.turn + 1,
            "output_shapes": [list(shape) for shape in self.output_shapes],
            "parameters": self.parameters,
            "buffers": self.buffers,
            "multiply_adds": self.multiply_adds,
            "activation_products": self.activation_products,
            "constant_products": self.constant_products,
            "counted": self.counted,
            "activation_bytes": self.activation_bytes,
            "receptive_fields": [
                None if fields is None else [field.to_dict() for field in fields]
                for fields in self.receptive_fields
            ],
        }


@dataclass(frozen=True)
class Inexact:
    """A layer whose last window does not end on the last element.

    Attributes:
        path: The layer.
        ignored: Elements of its input, padding apart, that no window reaches, per axis.
        sentence: The formula, and what would fit.
    """

    path: str
    ignored: tuple[int, ...]
    sentence: str


@dataclass(frozen=True)
class NetworkRecord:
    """A network, counted; a `Summary` can also be printed.

    Attributes:
        name: The network's class, or what it was asked for by.
        input_shapes: Without the batch axis.
        rows: In the order of the calls, the network itself first.
        parameters: Learnable scalars, shared ones once.
        trainable: Those of them that are not frozen.
        buffers: Scalars that are kept but not learned.
        multiply_adds: Products of a weight with a value, bias excluded, padding
            counted.
        activation_products: Products of two activations; not in ``multiply_adds``.
        constant_products: Those of ``multiply_adds`` that no input takes part in; made
            once per batch.
        weight_bytes: Of parameters and buffers.
        inference_bytes: Most bytes of activations alive at one time.
        training_bytes: Bytes of all activations, kept for the backward pass.
        inexact: Windows that do not fit exactly.
        exceeding: Layers whose receptive field is larger than the image.
        unreached: Parameters that no gradient reaches.
        frozen: Parameters with ``requires_grad=False``.
        uncalled: Modules with parameters that ``forward`` never calls.
        notes: What is not known, and why; what was assumed.
    """

    name: str
    input_shapes: tuple[Shape, ...]
    rows: tuple[Row, ...]
    parameters: int
    trainable: int
    buffers: int
    multiply_adds: int
    activation_products: int
    weight_bytes: int
    inference_bytes: int
    training_bytes: int
    inexact: tuple[Inexact, ...] = ()
    exceeding: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    uncalled: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    constant_products: int = 0

    @property
    def layers(self) -> tuple[Row, ...]:
        """The rows that are one layer or one function each."""
        return tuple(row for row in self.rows if row.is_layer)

    def find(self, path: str) -> Row:
        """The first row of the module at ``path``.

        Raises:
            UnknownNameError: There is none; names the nearest.
        """
        for row in self.rows:
            if row.path == path and (row.turn == 0):
                return row
        raise UnknownNameError("layer", path, {row.path for row in self.rows})

    def dominant(self, quantity: str) -> tuple[Row, float] | None:
        """The layer with most of a quantity, and its share; None if all have none.

        Args:
            quantity: ``"parameters"``, ``"multiply_adds"`` or ``"activation_bytes"``.
        """
        total = sum(getattr(row, quantity) for row in self.layers)
        if not total:
            return None
        most = max(self.layers, key=lambda row: getattr(row, quantity))
        return most, getattr(most, quantity) / total

    def to_dict(self) -> dict[str, Any]:
        """The whole summary as JSON."""
        return {
            "name": self.name,
            "input_shapes": [list(shape) for shape in self.input_shapes],
            "parameters": self.parameters,
            "trainable": self.trainable,
            "buffers": self.buffers,
            "multiply_adds": self.multiply_adds,
            "activation_products": self.activation_products,
            "constant_products": self.constant_products,
            "weight_bytes": self.weight_bytes,
            "inference_bytes": self.inference_bytes,
            "training_bytes": self.training_bytes,
            "inexact": [
                {"path": i.path, "ignored": list(i.ignored), "sentence": i.sentence}
                for i in self.inexact
            ],
            "exceeding": list(self.exceeding),
            "unreached": list(self.unreached),
            "frozen": list(self.frozen),
            "uncalled": list(self.uncalled),
            "notes": list(self.notes),
            "rows": [row.to_dict() for row in self.rows],
        }


def number(value: int | Fraction) -> int | float:
    """A fraction as JSON has it."""
    return value if isinstance(value, int) else float(value)
