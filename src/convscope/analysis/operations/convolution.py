"""Convolution and transposed convolution, over one to three axes."""

from collections.abc import Sequence
from math import prod

from torch import Tensor

from convscope.analysis.operations.operation import (
    Arguments,
    Node,
    Operation,
    Products,
    Shape,
    each,
    meta,
)
from convscope.analysis.operations.provenance import Provenance, joined
from convscope.analysis.operations.rearrange import in_groups
from convscope.analysis.operations.refusal import (
    Refusal,
    no_window,
    shape_text,
    wanted_text,
    wrong_channels,
    wrong_rank,
)
from convscope.arithmetic import (
    AxisLayer,
    Transposed,
    Window,
    axis_name,
    convolution_multiply_adds,
    kernel_span,
    resolve_padding,
    transposed_output_size,
)
from convscope.errors import ShapeError


def _shape(a: Arguments) -> Tensor | None:
    x, weight, groups = a["input"], a["weight"], a["groups"]
    axes = weight.ndim - 2
    reaches = weight.shape[0] if a["transposed"] else weight.shape[1] * groups
    if not axes < x.ndim < axes + 3 or x.shape[-axes - 1] != reaches:
        return None
    if weight.shape[0] % groups or x.dtype != weight.dtype:
        return None
    channels = weight.shape[1] * groups if a["transposed"] else weight.shape[0]
    if a["bias"] is not None and tuple(a["bias"].shape) != (channels,):
        return None
    sizes = x.shape[x.ndim - axes :]
    try:
        spatial = [
            layer.output_size(size)
            for size, layer in zip(sizes, layers(a, weight.shape), strict=True)
        ]
    except (ShapeError, ValueError):
        return None
    if min(spatial) < 1 or min(sizes) < 1:
        return None
    return meta(x, (*x.shape[: x.ndim - axes - 1], channels, *spatial))


def _sees(a: Arguments, shape: Shape) -> Provenance:
    value, weight = a["input"], a["weight"]
    axes = len(weight.shape) - 2
    channels = len(value.dims) - axes - 1
    for axis, layer in enumerate(layers(a, weight.shape)):
        value = value.through(channels + 1 + axis, layer)
    whole = joined([value, weight.mixed(range(axes + 2))], value.dims)
    return in_groups(whole, channels, a.get("groups", 1), shape[channels])


def layers(a: Arguments, weight: Sequence[int]) -> list[AxisLayer]:
    """What it does along each axis, from the dispatcher's arguments."""
    axes = len(weight) - 2
    stride, padding, dilation, more = (
        each(a[name], axes)
        for name in ("stride", "padding", "dilation", "output_padding")
    )
    pads = [pad if isinstance(pad, tuple) else (pad, pad) for pad in padding]
    if a["transposed"]:
        return [
            Transposed(*one)
            for one in zip(weight[2:], stride, pads, dilation, more, strict=True)
        ]
    return [
        Window(*one) for one in zip(weight[2:], stride, pads, dilation, strict=True)
    ]


def _costs(a: Arguments, shape: Shape) -> Products:
    x, weight = a["input"].shape, a["weight"].shape
    axes = len(weight) - 2
    sizes = (x if a["transposed"] else shape)[-axes:]
    products = convolution_multiply_adds(
        weight[0], weight[1] * a["groups"], weight[2:], sizes, groups=a["groups"]
    )
    return Products(products * prod(x[: len(x) - axes - 1]), ("input", "weight"))


def _windows(a: Arguments) -> list[AxisLayer] | None:
    return None if a["transposed"] else layers(a, tuple(a["weight"].shape))


def _refuses(b: Arguments) -> Refusal | None:
    x, weight, groups = b["input"], b["weight"], b.get("groups", 1)
    axes = weight.ndim - 2
    channels, dilation = weight.shape[1] * groups, b.get("dilation", 1)
    padding = _amounts(b.get("padding", 0), axes, weight.shape[2:], dilation)
    return wrong_rank(x, channels, axes) or (
        wrong_channels(
            x, x.shape[-axes - 1], channels, wanted_text(channels, axes), groups=groups
        )
        or no_window(
            x,
            channels,
            list(weight.shape[2:]),
            stride=each(b.get("stride", 1), axes),
            padding=[(pad, pad) for pad in padding],
            dilation=each(dilation, axes),
        )
    )


def _amounts(
    value: object, axes: int, kernels: Sequence[int], dilation: int | Sequence[int]
) -> list[int]:
    """Paddings by name as what they come to on each side."""
    if value == "same":
        spread = each(dilation, axes)
        return [
            -(-(kernel_span(k, d) - 1) // 2)
            for k, d in zip(kernels, spread, strict=True)
        ]
    return each(0 if value == "valid" else value, axes)  # type: ignore[arg-type]


def _refuses_transposed(b: Arguments) -> Refusal | None:
    x, weight = b["input"], b["weight"]
    axes = weight.ndim - 2
    channels, wanted = weight.shape[0], wanted_text(weight.shape[0], axes)
    refusal = wrong_rank(x, channels, axes) or wrong_channels(
        x, x.shape[-axes - 1], channels, wanted
    )
    if refusal is not None:
        return refusal
    padding = each(b.get("padding", 0), axes)
    for axis, size in enumerate(x.shape[x.ndim - axes :]):
        try:
            transposed_output_size(
                size,
                weight.shape[2 + axis],
                stride=each(b.get("stride", 1), axes)[axis],
                padding=(padding[axis], padding[axis]),
                dilation=each(b.get("dilation", 1), axes)[axis],
                output_padding=each(b.get("output_padding", 0), axes)[axis],
                where=axis_name(axis, axes),
            )
        except ShapeError as error:
            return Refusal(shape_text(x.shape), wanted, str(error).partition(". ")[0])
    return None


def onnx_windows(node: Node, kernel: Sequence[int], sizes: Sequence[int]) -> Arguments:
    """Stride, padding (all before, then all after in ONNX) and dilation, per axis."""
    a, axes = node.attributes, len(kernel)
    stride = a.get("strides") or [1] * axes
    dilation = a.get("dilations") or [1] * axes
    pads = a.get("pads") or [0] * (2 * axes)
    padding = [(pads[axis], pads[axes + axis]) for axis in range(axes)]
    named = _BY_NAME.get(a.get("auto_pad", ""))
    if named is not None:
        padding = [
            resolve_padding(named, size, k, stride=s, dilation=d)  # type: ignore[arg-type]  # a literal
            for size, k, s, d in zip(sizes, kernel, stride, dilation, strict=True)
        ]
    return {"stride": stride, "padding": padding, "dilation": dilation}


def _read(node: Node) -> Arguments | None:
    x, weight = node.inputs[0], node.inputs[1]
    if x is None or weight is None:
        return None
    return {
        "input": x,
        "weight": weight,
        "groups": node.attributes.get("group", 1),
        "transposed": node.kind == "ConvTranspose",
        "output_padding": node.attributes.get("output_padding") or 0,
        **onnx_windows(node, weight.shape[2:], x.shape[2:]),
    }


_BY_NAME = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower"}
_NAMES = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = (*_NAMES[:5], "output_padding", "groups", "dilation")

OPERATIONS = (
    Operation(
        "convolution",
        torch=("convolution", "_convolution"),  # the second in traced networks
        functions={f"conv{axes}d": _NAMES for axes in (1, 2, 3)},
        onnx={"Conv": _read, "ConvTranspose": _read},
        shape=_shape,
        sees=_sees,
        costs=_costs,
        windows=_windows,
        refuses=_refuses,
    ),
    Operation("deformable convolution", onnx={"DeformConv": _read}, costs=_costs),
    Operation(
        "transposed convolution",  # to the dispatcher a convolution
        functions={f"conv_transpose{axes}d": _TRANSPOSED for axes in (1, 2, 3)},
        refuses=_refuses_transposed,
    ),
)
