"""Whether a node fits what reaches it, where onnx's own rules do not look.

``require_sense(...)``    its attributes can be meant
``require_fit(...)``      its weight is for as many channels as come
``require_as_many(...)``  a reshaped map has as many elements as before
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from convscope.analysis.inputs import Shape
from convscope.analysis.onnx.attributes import nonsense
from convscope.analysis.onnx.plain import Plain
from convscope.analysis.onnx.reading import Step
from convscope.analysis.onnx.tensor import GraphTensor, shape_of
from convscope.errors import ArgumentError, ShapeError


def require_sense(where: str, step: Step, inputs: Sequence[GraphTensor | None]) -> None:
    """Attributes that can be meant, for what reaches the node.

    Raises:
        ArgumentError: One cannot.
    """
    first = inputs[0].shape if inputs and inputs[0] is not None else None
    wrong = nonsense(step.attributes, None if first is None else len(first))
    if step.kind == "Split":
        parts: Any = step.attributes.get("split")
        if parts is None and len(inputs) > 1 and inputs[1] is not None:
            parts = inputs[1].value
        count = len(step.outputs)
        known = parts is not None and np.ndim(parts) == 1
        if known and len(parts) != count:
            wrong = f"{len(parts)} sizes for {count} outputs"
        elif step.attributes.get("num_outputs", count) != count:
            wrong = f"num_outputs={step.attributes['num_outputs']}, and {count} outputs"
    if wrong:
        raise ArgumentError(
            f"summary: {where}: {step.kind} {step.name!r} has {wrong}, which cannot be "
            f"for an input of {first}. The file is damaged; get it again."
        )


def require_fit(
    where: str, step: Step, given: Plain, inputs: Sequence[GraphTensor | None]
) -> None:
    """Channels and columns that onnx's own rules do not compare.

    Raises:
        ShapeError: Others reach the node than its weight is for.
    """
    if given.kind not in _FITS or len(given.places) < 2:
        return
    if step.kind == "DynamicQuantizeLSTM":  # its weight lies the other way
        return
    both = [inputs[place] for place in given.places[:2]]
    x, weight = (None if one is None else one.shape for one in both)
    rank, least, what, rule = _FITS[given.kind]
    if x is None or weight is None or len(x) < rank or len(weight) < least:
        return
    came, wants = rule(x, weight, given.attributes)
    if came != wants:
        raise ShapeError(
            f"summary: {where}: {step.kind} {step.name!r} has a weight for {wants} "
            f"{what}, and {came} reach it. Give a size that the network was made for."
        )


def require_as_many(where: str, step: Step, x: GraphTensor | None, type_: Any) -> None:
    """A ``Reshape`` to another number of elements, which onnx lets pass, too.

    Raises:
        ShapeError: It is to another number.
    """
    before, after = None if x is None else x.shape, shape_of(type_)
    if step.kind != "Reshape" or before is None or after is None:
        return
    if prod(before) != prod(after):
        raise ShapeError(
            f"summary: {where}: Reshape {step.name!r} makes {after} of {before}, which "
            f"has {prod(before):,} elements and not {prod(after):,}. Give a size that "
            "the network was made for."
        )


# Least axes of the input and of the weight, what is counted, what comes and is wanted.
_Rule = Callable[[Shape, Shape, Mapping[str, Any]], tuple[int, int]]
_PER_CHANNEL: _Rule = lambda x, w, a: (x[1], w[0])  # noqa: E731
_RECURRENT: _Rule = lambda x, w, a: (x[2], w[2])  # noqa: E731
_FITS: dict[str, tuple[int, int, str, _Rule]] = {
    "BatchNormalization": (2, 1, "channels", _PER_CHANNEL),
    "Conv": (2, 2, "channels", lambda x, w, a: (x[1], w[1] * int(a.get("group", 1)))),
    "ConvTranspose": (2, 1, "channels", _PER_CHANNEL),
    "GRU": (3, 3, "features", _RECURRENT),
    "Gemm": (2, 2, "columns",
             lambda x, w, a: (x[0 if a.get("transA") else 1],
                              w[1 if a.get("transB") else 0])),
    "InstanceNormalization": (2, 1, "channels", _PER_CHANNEL),
    "LSTM": (3, 3, "features", _RECURRENT),
    "RNN": (3, 3, "features", _RECURRENT),
}  # fmt: skip
