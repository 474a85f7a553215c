"""Why a function of torch cannot work on what reaches it, before torch refuses it.

``refusal(name, args, kwargs)``  a `Refusal`, or None where all is well
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias

from torch import Tensor

from convscope.analysis.operations.refusal import (
    Refusal,
    no_window,
    shape_text,
    wanted_text,
    wrong_channels,
    wrong_rank,
)
from convscope.arithmetic import axis_name, kernel_span, transposed_output_size
from convscope.errors import ShapeError

Bound: TypeAlias = dict[str, Any]


def refusal(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Refusal | None:
    """What is wrong with a call of torch's function ``name``; None if nothing is."""
    entry = _CHECKS.get(name)
    if entry is None:
        return None
    names, judge = entry
    bound = dict(zip(names, args, strict=False))
    bound.update(kwargs)
    if len(args) > len(names):
        bound["rest"] = args[len(names) - 1 :]
    return judge(bound)


def _convolution(axes: int) -> Callable[[Bound], Refusal | None]:
    def judge(b: Bound) -> Refusal | None:
        x, weight, groups = b["input"], b["weight"], b.get("groups", 1)
        channels, dilation = weight.shape[1] * groups, b.get("dilation", 1)
        padding = _each(b.get("padding", 0), axes, weight.shape[2:], dilation)
        wanted = wanted_text(channels, axes)
        return (
            wrong_rank(x, channels, axes)
            or wrong_channels(x, x.shape[-axes - 1], channels, wanted, groups=groups)
            or no_window(
                x,
                channels,
                list(weight.shape[2:]),
                stride=_each(b.get("stride", 1), axes),
                padding=[(pad, pad) for pad in padding],
                dilation=_each(dilation, axes),
            )
        )

    return judge


def _transposed(axes: int) -> Callable[[Bound], Refusal | None]:
    def judge(b: Bound) -> Refusal | None:
        x, weight = b["input"], b["weight"]
        channels, wanted = weight.shape[0], wanted_text(weight.shape[0], axes)
        problem = wrong_rank(x, channels, axes) or wrong_channels(
            x, x.shape[-axes - 1], channels, wanted
        )
        if problem is not None:
            return problem
        padding = _each(b.get("padding", 0), axes)
        for axis, size in enumerate(x.shape[x.ndim - axes :]):
            try:
                transposed_output_size(
                    size,
                    weight.shape[2 + axis],
                    stride=_each(b.get("stride", 1), axes)[axis],
                    padding=(padding[axis], padding[axis]),
                    dilation=_each(b.get("dilation", 1), axes)[axis],
                    output_padding=_each(b.get("output_padding", 0), axes)[axis],
                    where=axis_name(axis, axes),
                )
            except ShapeError as error:
                return Refusal(
                    shape_text(x.shape), wanted, str(error).partition(". ")[0]
                )
        return None

    return judge


def _pool(axes: int) -> Callable[[Bound], Refusal | None]:
    def judge(b: Bound) -> Refusal | None:
        x = b["input"]
        kernels = _each(b["kernel_size"], axes)
        padding = _each(b.get("padding", 0), axes)
        problem = wrong_rank(x, None, axes)
        if problem is not None:
            return problem
        for kernel, pad in zip(kernels, padding, strict=True):
            if 2 * pad > kernel:
                return Refusal(
                    shape_text(x.shape),
                    f"padding of at most {kernel // 2}",
                    f"padding={pad} is more than half of kernel_size={kernel}",
                    ({"padding": kernel // 2},),
                )
        return no_window(
            x,
            None,
            kernels,
            stride=_each(b.get("stride") or kernels, axes),
            padding=[(pad, pad) for pad in padding],
            dilation=_each(b.get("dilation", 1), axes),
            rounds_up=bool(b.get("ceil_mode")),
            half_padded=True,
        )

    return judge


def _linear(b: Bound) -> Refusal | None:
    x, weight = b["input"], b["weight"]
    came, wants = x.shape[-1], weight.shape[1]
    if came == wants:
        return None
    shape = shape_text(x.shape)
    return Refusal(
        shape,
        shape.rpartition(", ")[0] + f", {wants})" if x.ndim > 1 else f"({wants},)",
        f"{came} features reach it, its weight is for {wants}",
        ({"in_features": came},),
        "features",
        {"came": came, "wants": wants},
    )


def _batch_norm(b: Bound) -> Refusal | None:
    x = b["input"]
    given = [b.get(n) for n in ("running_mean", "weight", "bias")]
    wants = next((t.shape[0] for t in given if t is not None), None)
    if wants is None or x.ndim < 2:
        return None
    return statistics_of_others(x, wants)


def statistics_of_others(x: Tensor, wants: int) -> Refusal | None:
    """Whether a batch norm has statistics for another number of channels."""
    return wrong_channels(
        x,
        x.shape[1],
        wants,
        f"(N, {wants}{', ...' if x.ndim > 2 else ''})",
        argument="num_features",
        holds="it has statistics",
    )


def _group_norm(b: Bound) -> Refusal | None:
    x, groups, weight = b["input"], b["num_groups"], b.get("weight")
    came = x.shape[1]
    wants = came if weight is None else weight.shape[0]
    if came == wants and came % groups == 0:
        return None
    if came != wants:
        text = f"{came} channels reach it, it has a weight for {wants}"
    else:
        text = f"{came} channels do not divide into {groups} groups"
    changes = ({"num_channels": came},) if came % groups == 0 else ()
    return Refusal(
        shape_text(x.shape), f"(N, {wants}, ...)", text, changes, "channels",
        {"came": came, "wants": wants},
    )  # fmt: skip


def _layer_norm(b: Bound) -> Refusal | None:
    x, wants = b["input"], tuple(b["normalized_shape"])
    came = tuple(x.shape[x.ndim - len(wants) :])
    if came == wants:
        return None
    return Refusal(
        shape_text(x.shape),
        f"(N, ..., {', '.join(map(str, wants))})",
        f"the last {'axis is' if len(wants) == 1 else 'axes are'} {_times(came)}, "
        f"its weight is for {_times(wants)}",
        ({"normalized_shape": came},),
        "features",
        {"came": prod(came), "wants": prod(wants)},
    )


def _cat(b: Bound) -> Refusal | None:
    tensors = [t for t in b["tensors"] if isinstance(t, Tensor) and t.shape != (0,)]
    if not tensors:
        return None
    rank = tensors[0].ndim
    dim = int(b.get("dim", 0)) % max(1, rank)
    came = " and ".join(shape_text(t.shape) for t in tensors)
    if any(t.ndim != rank for t in tensors):
        return Refusal(came, "tensors of equally many axes", "")
    for place in range(rank):
        sizes = [t.shape[place] for t in tensors]
        if place != dim and len(set(sizes)) > 1:
            return Refusal(
                came,
                f"equal shapes but for axis {dim}",
                f"{_axis(place, rank)}: {' and '.join(map(str, sizes))} differ",
                kind="join",
            )
    return None


def _elementwise(b: Bound) -> Refusal | None:
    left, right = b.get("input"), b.get("other")
    if not isinstance(left, Tensor) or not isinstance(right, Tensor):
        return None
    rank = max(left.ndim, right.ndim)
    for place in range(-1, -min(left.ndim, right.ndim) - 1, -1):
        a, c = left.shape[place], right.shape[place]
        if a != c and 1 not in (a, c):
            return Refusal(
                f"{shape_text(left.shape)} and {shape_text(right.shape)}",
                "equal shapes",
                f"{_axis(rank + place, rank)}: {a} and {c} differ",
                kind="join",
            )
    return None


def _view(b: Bound) -> Refusal | None:
    x, given = b["input"], b.get("rest", (b.get("shape", b.get("size")),))
    shape = given[0] if len(given) == 1 and not isinstance(given[0], int) else given
    if not isinstance(shape, (tuple, list)) or not all(
        isinstance(size, int) for size in shape
    ):
        return None
    known, total = prod(size for size in shape if size != -1), x.numel()
    if (-1 in shape and known and total % known == 0) or known == total:
        return None
    each = " x ".join(str(size) for size in x.shape[1:])
    return Refusal(
        shape_text(x.shape),
        "as many values as it makes",
        f"{each} = {prod(x.shape[1:])} values per image do not make "
        f"{' x '.join(str(size) for size in shape if size != -1)}",
        kind="view",
    )


def _matmul(b: Bound) -> Refusal | None:
    left, right = b.get("input"), b.get("other", b.get("mat2"))
    if not isinstance(left, Tensor) or not isinstance(right, Tensor):
        return None
    if left.ndim == 0 or right.ndim == 0:
        return None
    inner = right.shape[-2] if right.ndim > 1 else right.shape[0]
    if left.shape[-1] == inner:
        return None
    return Refusal(
        f"{tuple(left.shape)} and {tuple(right.shape)}",
        "as many columns on the left as rows on the right",
        f"{left.shape[-1]} columns meet {inner} rows",
        kind="features",
    )


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(str(size) for size in sizes)


def _axis(place: int, rank: int) -> str:
    if place < 2:
        return ("batch", "channels" if rank > 2 else "features")[place]
    return axis_name(place - 2, rank - 2)


def _each(
    value: Any, axes: int, kernels: Sequence[int] = (), dilation: Any = 1
) -> list[int]:
    """One number per axis; for paddings by name, what they come to on each side."""
    if value == "same":
        spread = _each(dilation, axes)
        return [
            -(-(kernel_span(k, d) - 1) // 2)
            for k, d in zip(kernels, spread, strict=True)
        ]
    if value == "valid":
        return [0] * axes
    if isinstance(value, int):
        return [value] * axes
    values = list(value)
    return values * axes if len(values) == 1 else values


_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = (
    "input", "weight", "bias", "stride", "padding", "output_padding", "groups",
    "dilation",
)  # fmt: skip
_MAX = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
_AVG = ("input", "kernel_size", "stride", "padding", "ceil_mode")
_PAIR = ("input", "other")
_CHECKS: dict[str, tuple[tuple[str, ...], Callable[[Bound], Refusal | None]]] = {
    "linear": (("input", "weight", "bias"), _linear),
    "batch_norm": (
        ("input", "running_mean", "running_var", "weight", "bias"),
        _batch_norm,
    ),
    "group_norm": (("input", "num_groups", "weight", "bias"), _group_norm),
    "layer_norm": (("input", "normalized_shape", "weight", "bias"), _layer_norm),
    "matmul": (_PAIR, _matmul),
    "__matmul__": (_PAIR, _matmul),
    "mm": (("input", "mat2"), _matmul),
    "view": (("input", "shape"), _view),
    "reshape": (("input", "shape"), _view),
}
for _name in ("cat", "concat", "concatenate"):
    _CHECKS[_name] = (("tensors", "dim"), _cat)
for _name in ("add", "sub", "mul", "div", "maximum", "minimum"):
    for _form in (_name, f"{_name}_", f"__{_name}__", f"__i{_name}__", f"__r{_name}__"):
        _CHECKS[_form] = (_PAIR, _elementwise)
for _axes in (1, 2, 3):
    _CHECKS[f"conv{_axes}d"] = (_CONV, _convolution(_axes))
    _CHECKS[f"conv_transpose{_axes}d"] = (_TRANSPOSED, _transposed(_axes))
    for _name in (f"max_pool{_axes}d", f"max_pool{_axes}d_with_indices"):
        _CHECKS[_name] = (_MAX, _pool(_axes))
    _CHECKS[f"avg_pool{_axes}d"] = (_AVG, _pool(_axes))
