"""What a stored tensor is to the network, decided by where it goes.

Training adjusts numbers that values are computed from. In a file these are tensors
like any other: in the list of initializers or in ``Constant`` nodes, as floating-point
numbers or as codes of 8 bits, and often a node or two away from the layer. So a
tensor is judged by the input of an operator that it reaches, whatever lies between:

``parameter``  it is multiplied with or added to values, selects among them as a slope,
               or is a table that values are looked up in. Codes of quantized numbers
               count, one for each number
``buffer``     kept, not learned: running statistics, scales and zero points
``setting``    it says how a node works: sizes, indices, paddings, bounds, exponents;
               also a number without axes in a formula, as in ``x + 3``

Integers are parameters only as codes: those of 8 bits or fewer, of any width behind a
``DequantizeLinear``. What a file cannot say: a table that training kept fixed (anchors,
a filter bank) looks as one that it learned, and counts; a single learned number without
an axis looks as one of a formula, and does not.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np

from convscope.analysis.onnx.plain import UNDERNEATH, plain
from convscope.analysis.onnx.reading import Step
from convscope.analysis.onnx.stored import Stored
from convscope.analysis.onnx.tensor import Form, GraphTensor

Role: TypeAlias = Literal["parameter", "operand", "buffer", "state", "setting"]

# Inputs by their place, where integers count too: they are codes.
WEIGHTS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "DeformConv": (1, 3),
    "GRU": (1, 2, 3),
    "Gemm": (1, 2),
    "LSTM": (1, 2, 3, 7),
    "MatMul": (0, 1),
    "FusedMatMul": (0, 1),
    "MatMulNBits": (1, 5),
    "PRelu": (1,),
    "RNN": (1, 2, 3),
}
BUFFERS: Mapping[str, tuple[int, ...]] = {
    "BatchNormalization": (3, 4),
    "DequantizeLinear": (1, 2),
    "MatMulNBits": (2, 3, 4),
    "QuantizeLinear": (1, 2),
}
STATES: Mapping[str, tuple[int, ...]] = {"GRU": (5,), "LSTM": (5, 6), "RNN": (5,)}
_AXES = ("Max", "Mean", "Min", "Prod", "Sum", "L1", "L2", "LogSum", "LogSumExp")
SETTINGS: Mapping[str, tuple[int, ...]] = {
    **{f"Reduce{kind}": (1,) for kind in (*_AXES, "SumSquare")},
    "CenterCropPad": (1,),
    "Clip": (1, 2),
    "Compress": (1,),
    "ConstantOfShape": (0,),
    "CumSum": (1,),
    "Dropout": (1, 2),
    "Equal": (0, 1),
    "Expand": (1,),
    "EyeLike": (0,),
    "GatherElements": (1,),
    "GatherND": (1,),
    "Greater": (0, 1),
    "GreaterOrEqual": (0, 1),
    "If": (0,),
    "Less": (0, 1),
    "LessOrEqual": (0, 1),
    "Loop": (0, 1),
    "MaxUnpool": (2,),
    "NonMaxSuppression": (2, 3, 4),
    "OneHot": (0, 1, 2),
    "Pad": (1, 2, 3),
    "Pow": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "RoiAlign": (1, 2),
    "STFT": (1, 2, 3),
    "ScatterElements": (1,),
    "ScatterND": (1,),
    "Shape": (0,),
    "Size": (0,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
    "Where": (0,),
}
# Formulas, in which a number without axes is a factor and no parameter.
FORMULAS = {
    "Add", "Div", "Max", "Mean", "Min", "Mod", "Mul", "Sub", "Sum", "Where", "Concat",
    "ScatterND", "ScatterElements", "CastLike",
}  # fmt: skip
# What torch's exporter calls a number that it has worked out, such as the factor of
# attention; parameters keep the names that they have in the network.
COMPUTED = re.compile(r"val_\d+")
NARROW = 8  # bits of the widest code that an operator we do not know may hold


def role(step: Step, place: int) -> Role:
    """What the input of a node at ``place`` is to it.

    >>> conv = Step("Conv", "c", ("x", "w"), ("y",), {}, None)
    >>> role(conv, 1)
    'parameter'
    """
    kind, at = step.kind, place
    if kind in UNDERNEATH:
        below = plain(step)
        if place not in below.places:
            return "buffer"  # scales and zero points
        kind, at = below.kind, below.places.index(place)
    if kind == "Gather":
        return "operand" if at == 0 else "setting"
    tables: tuple[tuple[Role, Mapping[str, tuple[int, ...]]], ...] = (
        ("parameter", WEIGHTS),
        ("buffer", BUFFERS),
        ("state", STATES),
        ("setting", SETTINGS),
    )
    return next((name for name, t in tables if at in t.get(kind, ())), "operand")


def passed_on(
    step: Step, place: int, origins: Mapping[str, Form], stored: Mapping[str, Stored]
) -> dict[str, Form]:
    """What a node that computes a constant hands on of the one at ``place``."""
    what = role(step, place)
    if what == "setting":
        return {}
    if step.kind == "DequantizeLinear" and place == 0:
        return dict.fromkeys(origins, "codes")
    if what == "buffer":
        return dict.fromkeys(origins, "scale")
    return {
        name: form
        for name, form in origins.items()
        if form != "plain" or not _is_factor(stored[name], step.kind)
    }


def is_neutral(
    step: Step, inputs: Sequence[GraphTensor | None], stored: Mapping[str, Stored]
) -> bool:
    """Whether a norm has a scale of ones and a shift of zeros that nobody learned.

    A group norm is written as an instance norm of the reshaped map that needs some,
    and so is an instance norm without any. Learned ones that are still as they began
    are told from them by where they are: not in a node, and not behind a ``Reshape``.
    """
    if step.kind != "InstanceNormalization" or len(inputs) < 3:
        return False
    x, scale, shift = inputs[:3]
    if x is None or scale is None or shift is None:
        return False
    if scale.value is None or shift.value is None:
        return False
    if np.any(scale.value != 1) or np.any(shift.value != 0):
        return False
    within = all(stored[n].in_node for n in (*scale.origins, *shift.origins))
    return within or x.kind == "Reshape"


class Tally:
    """What has been found of the stored tensors so far; each counts once."""

    def __init__(self) -> None:
        self.totals = (0, 0)  # parameters, buffers
        self.bytes = 0
        self._counted: set[str] = set()

    def since(self, before: tuple[int, int]) -> tuple[int, int]:
        """What has been found after ``before``."""
        return self.totals[0] - before[0], self.totals[1] - before[1]

    def found(
        self,
        step: Step,
        place: int,
        origins: Mapping[str, Form],
        stored: Mapping[str, Stored],
        *,
        known: bool,
        scales: bool,
    ) -> None:
        """A constant has reached a node that computes values.

        Args:
            step: The node.
            place: Of the input.
            origins: Stored tensors that the constant is made from.
            stored: All of them, by name.
            known: Whether the operator is one that we know.
            scales: Whether it meets the scale of a tensor quantized on the way.
        """
        what: Role = "buffer" if scales else role(step, place)
        for name, form in origins.items():
            one = stored[name]
            parameters, buffers = self.totals
            if name in self._counted:
                continue
            if form == "scale" or what == "buffer":
                self.totals = parameters, buffers + one.numbers
            elif counts(one, what, form, step.kind, known=known):
                self.totals = parameters + _numbers(step, place, one), buffers
            else:
                continue
            self._counted.add(name)
            self.bytes += one.bytes


def counts(one: Stored, what: Role, form: Form, kind: str, *, known: bool) -> bool:
    """Whether a stored tensor is a parameter in this place."""
    if what == "setting" or one.element in ("STRING", "BOOL"):
        return False
    if what == "state":
        return one.is_float and not _is_zero(one)
    if form == "codes":
        return True
    if what == "parameter":  # wide integers are factors of a position, or a bias
        return one.is_float or one.bits <= NARROW or kind in UNDERNEATH
    if not known and len(one.shape) > 1 and one.bits <= NARROW:
        return True  # such as packed weights of an operator of its own
    return one.is_float and not _is_factor(one, kind)


def _is_factor(one: Stored, kind: str) -> bool:
    """Whether it is a number of a formula: ``x + 3``, ``x / 6``."""
    if kind not in FORMULAS or one.numbers != 1:
        return False
    computed = one.tensor is not None and COMPUTED.fullmatch(one.tensor.name)
    return not one.shape or kind == "Div" or computed is not None


def _numbers(step: Step, place: int, one: Stored) -> int:
    """How many it holds; in packed ones several share a byte."""
    if step.kind == "MatMulNBits" and place == 1:
        return int(step.attributes["K"]) * int(step.attributes["N"])
    return one.numbers


def _is_zero(one: Stored) -> bool:
    """Whether an initial state is where every state begins, and was not learned."""
    if one.tensor is None:
        return False
    from onnx import numpy_helper

    return not np.any(numpy_helper.to_array(one.tensor))
