"""Operations on each element by itself, on pairs of elements, and new tensors."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from convscope.analysis.operations.operation import (
    Arguments,
    Node,
    Operation,
    Shape,
    meta,
)
from convscope.analysis.operations.provenance import Provenance, broadcast
from convscope.analysis.operations.refusal import Refusal, shape_text, unequal


def _same_shape(a: Arguments) -> Tensor | None:
    x = a["self"]
    if not x.dtype.is_floating_point:
        return None
    return meta(x, x.shape)


def _pair_shape(a: Arguments) -> Tensor | None:
    left, right = a["self"], a["other"]
    if not isinstance(right, Tensor):
        return meta(left, left.shape) if left.dtype.is_floating_point else None
    if left.dtype != right.dtype or not left.dtype.is_floating_point:
        return None
    try:
        return meta(left, np.broadcast_shapes(left.shape, right.shape))
    except ValueError:
        return None


def _sees(a: Arguments, shape: Shape) -> Provenance | None:
    found = broadcast(list(_sources(list(a.values()))))
    return found if found.shape == shape else None


def _sources(values: list[Any]) -> list[Provenance]:
    found: list[Provenance] = []
    for value in values:
        if isinstance(value, Provenance):
            found.append(value)
        elif isinstance(value, list):
            found += _sources(value)
    return found


def _pair_refuses(b: Arguments) -> Refusal | None:
    left, right = b.get("input"), b.get("other")
    if not isinstance(left, Tensor) or not isinstance(right, Tensor):
        return None
    rank = max(left.ndim, right.ndim)
    for place in range(-1, -min(left.ndim, right.ndim) - 1, -1):
        sizes = [left.shape[place], right.shape[place]]
        if sizes[0] != sizes[1] and 1 not in sizes:
            came = f"{shape_text(left.shape)} and {shape_text(right.shape)}"
            return unequal(came, "equal shapes", rank + place, rank, sizes)
    return None


def _read(node: Node) -> Arguments | None:
    return {"tensors": [one for one in node.inputs if one is not None]}


def _forms(names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The names that Python knows them by: ``add``, ``add_``, ``__radd__``."""
    return {
        form: ("input", "other")
        for name in names
        for form in (name, f"{name}_", *(f"__{i}{name}__" for i in ("", "i", "r")))
    }


_FLOATING = (  # whose results have the type of what they get
    "relu", "gelu", "silu", "hardswish", "mish", "elu", "leaky_relu", "hardtanh",
    "hardsigmoid", "softplus", "tanh", "sigmoid", "exp", "sqrt", "rsqrt", "abs", "neg",
)  # fmt: skip
_OTHERS = (
    "where", "masked_fill", "bernoulli", "lerp", "addcmul", "addcdiv", "copy", "fill",
    "_prelu_kernel", "clamp", "celu", "threshold", "rrelu", "rrelu_with_noise", "selu",
)  # fmt: skip
_PAIRS = ("add", "sub", "mul", "div")
_ONNX = (
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift",
    "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast", "CastLike", "Ceil",
    "Celu", "Clip", "Cos", "Cosh", "DequantizeLinear", "Div", "Dropout", "Elu", "Equal",
    "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid",
    "HardSwish", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max",
    "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow",
    "QuantizeLinear", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid",
    "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tan",
    "Tanh", "ThresholdedRelu", "Where", "Xor",
)  # fmt: skip

elementwise_sees: Callable[[Arguments, Shape], Provenance | None] = _sees

OPERATIONS = (
    Operation("activation", torch=_FLOATING, shape=_same_shape, sees=_sees),
    Operation(
        "elementwise",
        torch=_OTHERS,
        onnx=dict.fromkeys(_ONNX, _read),
        sees=_sees,
    ),
    Operation(
        "arithmetic",
        torch=_PAIRS,
        functions=_forms((*_PAIRS, "maximum", "minimum")),
        shape=_pair_shape,
        sees=_sees,
        refuses=_pair_refuses,
    ),
    Operation(
        "new tensor",
        torch=(
            "empty", "empty_like", "empty_strided", "zeros", "zeros_like", "ones",
            "ones_like", "full", "full_like", "rand", "rand_like", "randn",
            "randn_like", "new_empty", "new_zeros", "new_ones", "new_full",
            "new_empty_strided", "randint_like",
        ),
        from_shape=True,
    ),
    Operation(
        "question",
        torch=("sym_size", "sym_stride", "sym_numel", "is_same_size"),
        from_shape=True,
    ),
)  # fmt: skip
