"""Pooling: the largest or the mean of each window, also to a size that is given."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from convscope.analysis.operations.convolution import onnx_windows
from convscope.analysis.operations.operation import (
    Arguments,
    Node,
    Operation,
    Shape,
    each,
    meta,
)
from convscope.analysis.operations.provenance import Provenance, new_dim
from convscope.analysis.operations.refusal import (
    Refusal,
    no_window,
    shape_text,
    wrong_rank,
)
from convscope.arithmetic import Adaptive, CeilMode, Window

ROUNDINGS: tuple[CeilMode, ...] = ("torch", "onnx")


def _layers(a: Arguments) -> list[Window]:
    axes = len(a["kernel_size"])
    kernel, dilation = each(a["kernel_size"], axes), each(a.get("dilation", 1), axes)
    stride = each(a["stride"], axes) if a["stride"] else kernel
    pads = [p if isinstance(p, tuple) else (p, p) for p in each(a["padding"], axes)]
    rounding: list[CeilMode] = a.get("roundings") or (
        ["torch" if a["ceil_mode"] else False] * axes
    )
    return [
        Window(*one)
        for one in zip(kernel, stride, pads, dilation, rounding, strict=True)
    ]


def _shape(whole_windows: bool, indices: bool) -> Callable[[Arguments], object]:
    """``whole_windows``: torch wants maps as large as the kernel, whatever padding."""

    def rule(a: Arguments) -> Tensor | tuple[Tensor, Tensor] | None:
        x, windows = a["self"], _layers(a)
        axes = len(windows)
        sizes = x.shape[x.ndim - axes :]
        if not axes < x.ndim < axes + 3 or min(sizes) < 1:
            return None
        for size, window in zip(sizes, windows, strict=True):
            too_short = size < window.kernel_size and whole_windows
            if 2 * window.padding[0] > window.kernel_size or too_short:
                return None
        spatial = [w.output_size(s) for s, w in zip(sizes, windows, strict=True)]
        if min(spatial) < 1:
            return None
        values = meta(x, (*x.shape[: x.ndim - axes], *spatial))
        if not indices:
            return values
        return values, torch.empty(values.shape, dtype=torch.int64, device="meta")

    return rule


def _sees(a: Arguments, shape: Shape) -> Provenance:
    value, windows = a["self"], _layers(a)
    for axis, window in enumerate(windows):
        value = value.through(len(value.dims) - len(windows) + axis, window)
    return cast("Provenance", value)


def _refuses(whole_windows: bool) -> Callable[[Arguments], Refusal | None]:
    def rule(b: Arguments) -> Refusal | None:
        x, axes = b["input"], b["axes"]
        kernels = each(b["kernel_size"], axes)
        padding = each(b.get("padding", 0), axes)
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
            stride=each(b.get("stride") or kernels, axes),
            padding=[(pad, pad) for pad in padding],
            dilation=each(b.get("dilation") or 1, axes),
            rounds_up=bool(b.get("ceil_mode")),
            half_padded=True,
            whole_windows=whole_windows and axes == 3,
        )

    return rule


def _adaptive_shape(a: Arguments) -> Tensor | None:
    x, sizes = a["self"], a["output_size"]
    if not len(sizes) < x.ndim < len(sizes) + 3 or min(x.shape[1:]) < 1:
        return None
    return meta(x, (*x.shape[: x.ndim - len(sizes)], *sizes))


def _adaptive_sees(a: Arguments, shape: Shape) -> Provenance:
    value, axes = a["self"], len(a["output_size"])
    for dim in range(len(value.dims) - axes, len(value.dims)):
        value = value.through(dim, Adaptive(shape[dim]))
    return cast("Provenance", value)


def _read(node: Node) -> Arguments | None:
    x, kernel = node.inputs[0], node.attributes.get("kernel_shape")
    if x is None or kernel is None:
        return None
    sizes, outputs = x.shape[2:], node.shapes[0][2:]
    found = {
        "self": x, "kernel_size": kernel, "ceil_mode": False,
        **onnx_windows(node, kernel, sizes),
    }  # fmt: skip
    if node.attributes.get("ceil_mode"):
        found["roundings"] = [
            next(  # the rule changed with opset 22; the shape tells which it is
                (
                    rounding
                    for rounding in ROUNDINGS
                    if replace(one, ceil_mode=rounding).output_size(size) == output
                ),
                ROUNDINGS[-1],
            )
            for one, size, output in zip(_layers(found), sizes, outputs, strict=True)
        ]
    return found


def _read_global(node: Node) -> Arguments | None:
    return {"self": node.inputs[0]}


def _global_sees(a: Arguments, shape: Shape) -> Provenance:
    value = a["self"].mixed(range(2, len(shape)))
    return cast(
        "Provenance",
        value.with_dims([*value.dims[:2], *(new_dim(1) for _ in shape[2:])]),
    )


_MAX = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
_AVG = ("input", "kernel_size", "stride", "padding", "ceil_mode")

OPERATIONS = (
    Operation(
        "max pooling",
        torch=("max_pool2d_with_indices", "max_pool3d_with_indices"),
        functions={
            f"max_pool{axes}d{more}": _MAX
            for axes in (1, 2, 3)
            for more in ("", "_with_indices")
        },
        onnx={"MaxPool": _read},
        shape=_shape(whole_windows=False, indices=True),
        sees=_sees,
        windows=_layers,
        refuses=_refuses(whole_windows=False),
    ),
    Operation(
        "max pooling along a line",
        torch=("max_pool1d",),
        sees=_sees,
        windows=_layers,
    ),
    Operation(
        "average pooling",
        torch=("avg_pool1d", "avg_pool2d"),
        functions={f"avg_pool{axes}d": _AVG for axes in (1, 2, 3)},
        onnx={"AveragePool": _read, "LpPool": _read},
        shape=_shape(whole_windows=False, indices=False),
        sees=_sees,
        windows=_layers,
        refuses=_refuses(whole_windows=True),
    ),
    Operation(
        "average pooling of volumes",
        torch=("avg_pool3d",),
        shape=_shape(whole_windows=True, indices=False),
        sees=_sees,
        windows=_layers,
    ),
    Operation(
        "adaptive average pooling",
        torch=("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d"),
        shape=_adaptive_shape,
        sees=_adaptive_sees,
    ),
    Operation(
        "adaptive max pooling",
        torch=("adaptive_max_pool2d", "adaptive_max_pool3d"),
        sees=_adaptive_sees,
    ),
    Operation(
        "global pooling",
        onnx=dict.fromkeys(
            ("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"), _read_global
        ),
        sees=_global_sees,
    ),
)
