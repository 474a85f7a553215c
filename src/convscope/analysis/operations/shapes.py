"""Results without values for the operations that every network is made of.

torch's own rules for meta tensors answer the same questions, but those of convolution,
pooling and norms are written in Python and import torch's compiler on first use: more
than a second and 100 MB. Sizes come from `convscope.arithmetic`; a test compares them
with torch's.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from convscope.arithmetic import output_shape, transposed_output_shape

Arguments: TypeAlias = dict[str, Any]


def meta_result(operation: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What the operation returns on meta tensors; None if torch is to be asked."""
    schema = operation._schema
    rule = _RULES.get(schema.name)
    if rule is None:
        return None
    given = {a.name: a.default_value for a in schema.arguments}
    given.update(zip(given, args, strict=False))
    given.update(kwargs)
    return rule(given)


def _convolution(a: Arguments) -> Tensor:
    x, weight, axes = a["input"], a["weight"], a["weight"].ndim - 2
    stride, padding, dilation = (
        _each(a[name], axes) for name in ("stride", "padding", "dilation")
    )
    sizes, kernel = x.shape[-axes:], weight.shape[2:]
    if a["transposed"]:
        channels = weight.shape[1] * a["groups"]
        spatial = transposed_output_shape(
            sizes,
            kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            output_padding=_each(a["output_padding"], axes),
            where="convolution",
        )
    else:
        channels = weight.shape[0]
        spatial = output_shape(
            sizes,
            kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            where="convolution",
        )
    return _empty(x, (*x.shape[: x.ndim - axes - 1], channels, *spatial))


def _pooled(a: Arguments) -> Tensor:
    x, axes = a["self"], len(a["kernel_size"])
    kernel = _each(a["kernel_size"], axes)
    spatial = output_shape(
        x.shape[-axes:],
        kernel,
        stride=_each(a["stride"], axes) if a["stride"] else kernel,
        padding=_each(a["padding"], axes),
        dilation=_each(a.get("dilation", 1), axes),
        ceil_mode="torch" if a["ceil_mode"] else False,
        where="pooling",
    )
    return _empty(x, (*x.shape[: x.ndim - axes], *spatial))


def _with_indices(a: Arguments) -> tuple[Tensor, Tensor]:
    values = _pooled(a)
    return values, torch.empty(values.shape, dtype=torch.int64, device="meta")


def _adaptive(a: Arguments) -> Tensor:
    x, sizes = a["self"], a["output_size"]
    return _empty(x, (*x.shape[: x.ndim - len(sizes)], *sizes))


def _batch_norm(a: Arguments) -> tuple[Tensor, Tensor, Tensor]:
    x = a["input"]
    saved = x.shape[1] if a.get("training", False) else 0
    return _empty(x, x.shape), _empty(x, (saved,)), _empty(x, (saved,))


def _group_norm(a: Arguments) -> tuple[Tensor, Tensor, Tensor]:
    x, statistics = a["input"], (a["N"], a["group"])
    return _empty(x, x.shape), _empty(x, statistics), _empty(x, statistics)


def _layer_norm(a: Arguments) -> tuple[Tensor, Tensor, Tensor]:
    x, axes = a["input"], len(a["normalized_shape"])
    statistics = (*x.shape[: x.ndim - axes], *[1] * axes)
    return _empty(x, x.shape), _empty(x, statistics), _empty(x, statistics)


def _same(a: Arguments) -> Tensor:
    return _empty(a["self"], a["self"].shape)


def _in_place(a: Arguments) -> Tensor:
    written: Tensor = a["self"]
    return written


def _pair(a: Arguments) -> Tensor | None:
    left, right = a["self"], a["other"]
    if not isinstance(right, Tensor):
        return _empty(left, left.shape) if left.dtype.is_floating_point else None
    if left.dtype != right.dtype:
        return None
    return _empty(left, np.broadcast_shapes(left.shape, right.shape))


def _mean(a: Arguments) -> Tensor | None:
    x, dims = a["self"], a.get("dim")
    if not dims or a["dtype"] is not None:
        return None
    gone = {dim % x.ndim for dim in dims}
    kept = [1 if d in gone else size for d, size in enumerate(x.shape)]
    if not a["keepdim"]:
        kept = [size for d, size in enumerate(x.shape) if d not in gone]
    return _empty(x, kept)


def _cat(a: Arguments) -> Tensor | None:
    first, dim = a["tensors"][0], a["dim"]
    if len({t.dtype for t in a["tensors"]}) > 1 or any(
        t.ndim < 2 for t in a["tensors"]
    ):
        return None
    sizes = list(first.shape)
    sizes[dim] = sum(t.shape[dim] for t in a["tensors"])
    return _empty(first, sizes)


def _padded(a: Arguments) -> Tensor:
    x, pads = a["self"], a["pad"] if "pad" in a else a["padding"]
    sizes = list(x.shape)
    for place in range(len(pads) // 2):
        sizes[-1 - place] += pads[2 * place] + pads[2 * place + 1]
    return _empty(x, sizes)


def _matrices(first: str, second: str) -> Callable[[Arguments], Tensor]:
    def rule(a: Arguments) -> Tensor:
        left, right = a[first], a[second]
        return _empty(left, (*left.shape[:-1], right.shape[-1]))

    return rule


def _empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device="meta")


def _each(values: int | Sequence[int], axes: int) -> list[int]:
    if isinstance(values, int):
        return [values] * axes
    return list(values) * (axes if len(values) == 1 else 1)


_RULES: dict[str, Callable[[Arguments], Any]] = {
    "aten::convolution": _convolution,
    "aten::native_batch_norm": _batch_norm,
    "aten::native_group_norm": _group_norm,
    "aten::native_layer_norm": _layer_norm,
    "aten::max_pool2d_with_indices": _with_indices,
    "aten::max_pool3d_with_indices": _with_indices,
    "aten::avg_pool2d": _pooled,
    "aten::avg_pool3d": _pooled,
    "aten::_adaptive_avg_pool2d": _adaptive,
    "aten::_adaptive_avg_pool3d": _adaptive,
}
_RULES["aten::mean"] = _mean
_RULES["aten::cat"] = _cat
_RULES["aten::constant_pad_nd"] = _padded
_RULES["aten::mm"] = _matrices("self", "mat2")
_RULES["aten::bmm"] = _matrices("self", "mat2")
_RULES["aten::addmm"] = _matrices("mat1", "mat2")
for _name in ("add", "sub", "mul", "div"):
    _RULES[f"aten::{_name}"] = _pair
    _RULES[f"aten::{_name}_"] = _in_place
for _name in (
    "relu",
    "gelu",
    "silu",
    "hardswish",
    "mish",
    "elu",
    "leaky_relu",
    "hardtanh",
    "hardsigmoid",
    "softplus",
    "_softmax",
    "_log_softmax",
    "tanh",
    "sigmoid",
    "exp",
    "sqrt",
    "rsqrt",
    "abs",
    "neg",
):
    _RULES[f"aten::{_name}"] = _same
    _RULES[f"aten::{_name}_"] = _in_place
