"""What each node of an ONNX graph moves, reads and multiplies.

``followed(node, arguments, inputs, shapes, numbers)``   what its outputs see
``folded(kind, given)``                                  numbers made from numbers
``products_of(kind, arguments, inputs, shape)``          multiplications of one image
``node_text(kind, arguments)``                           the node as one would write it
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from convscope.analysis.inputs import Shape
from convscope.analysis.operations.provenance import (
    Provenance,
    broadcast,
    joined,
    new_dim,
)
from convscope.analysis.operations.rearrange import (
    concatenated,
    padded,
    permuted,
    resized,
    sliced,
    viewed,
)
from convscope.arithmetic import (
    BorderMode,
    CeilMode,
    ResizeMode,
    Transposed,
    Window,
    convolution_multiply_adds,
    linear_multiply_adds,
    resolve_padding,
)


@dataclass
class GraphTensor:
    """One value of the graph."""

    shape: Shape
    value: Provenance
    made_by: int | None = None  # place among the activations


ELEMENTWISE = frozenset(
    {
        "Abs", "Add", "Cast", "Ceil", "Clip", "Div", "Dropout",
        "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity",
        "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow",
        "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Softplus", "Softsign",
        "Sqrt", "Sub", "Sum", "Swish", "Tanh", "Where",
    }
)  # fmt: skip


NORMS = frozenset(
    {
        "BatchNormalization",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
    }
)


MOVES = frozenset({"Clip", "Pad", "Resize", "Slice", "Split", "Upsample"})
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": lambda one, other: one / other if isinstance(one, float) else one // other,
}
BORDERS: dict[str, BorderMode] = {
    "constant": "zeros",
    "reflect": "reflect",
    "edge": "replicate",
    "wrap": "circular",
}
RESIZES: dict[str, ResizeMode] = {
    "nearest": "nearest",
    "linear": "linear",
    "cubic": "cubic",
}
ROUNDINGS: tuple[CeilMode, ...] = ("torch", "onnx")
COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners")


def followed(
    node: Any,
    a: dict[str, Any],
    inputs: list[GraphTensor],
    shapes: Sequence[Shape],
    numbers: Mapping[str, list[Any]],
) -> list[Provenance] | None:
    """What the node's outputs see; None where it is not understood.

    Args:
        node: The node.
        a: Its attributes.
        inputs: Those of its inputs that are there.
        shapes: Of its outputs.
        numbers: Small constants of the graph, by name.
    """
    if node.op_type == "Split":
        return _split(inputs[0].value, a.get("axis", 0), shapes)
    value = _one_followed(node, a, inputs, shapes[0], numbers)
    return None if value is None else [value] * len(shapes)


def folded(kind: str, given: Sequence[list[Any]]) -> list[Any] | None:
    """What a node makes of a few numbers; None where it is not understood.

    >>> folded("Add", [[3, 4], [1]]), folded("Gather", [[1, 3, 8, 8], [2]])
    ([4, 5], [8])
    """
    first, second = given[0], given[1] if len(given) > 1 else []
    if kind in ARITHMETIC and second:
        length = max(len(first), len(second))
        pairs = zip((first * length)[:length], (second * length)[:length], strict=True)
        try:
            return [ARITHMETIC[kind](one, other) for one, other in pairs]
        except ZeroDivisionError:
            return None
    if kind == "Concat":
        return [number for part in given for number in part]
    if kind == "Gather" and all(-len(first) <= place < len(first) for place in second):
        return [first[place] for place in second]
    if kind == "Slice" and len(given) > 2 and len(second) == len(given[2]) == 1:
        step = given[4][0] if len(given) > 4 else 1
        return first[second[0] : given[2][0] : step] if step else None
    return first if kind in ("Cast", "Identity", "Squeeze", "Unsqueeze") else None


def _one_followed(
    node: Any,
    a: dict[str, Any],
    inputs: list[GraphTensor],
    shape: Shape,
    numbers: Mapping[str, list[Any]],
) -> Provenance | None:
    kind, first = node.op_type, inputs[0].value
    if kind in NORMS:
        return first
    if kind in ELEMENTWISE:
        return broadcast([tensor.value for tensor in inputs])
    if kind == "Conv" or kind in ("MaxPool", "AveragePool"):
        kernel = a.get("kernel_shape") or list(inputs[1].shape[2:])
        windows = _windows(a, kernel, first.shape[2:], shape[2:])
        for axis, window in enumerate(windows):
            first = first.through(2 + axis, window)
        return _into(first, 1, shape[1]) if kind == "Conv" else first
    if kind == "ConvTranspose":
        for axis, layer in enumerate(_transposed(a, inputs[1].shape[2:], shape[2:])):
            first = first.through(2 + axis, layer)
        return _into(first, 1, shape[1])
    if kind in ("GlobalAveragePool", "GlobalMaxPool"):
        first = first.mixed(range(2, len(shape)))
        return first.with_dims([*first.dims[:2], *(new_dim(1) for _ in shape[2:])])
    if kind in ("Gemm", "MatMul"):
        second = inputs[1].value
        left = first.mixed([-1])
        right = second.mixed(range(len(second.dims)))
        if first.from_input and second.from_input:
            left = first.mixed(range(len(first.dims)))
        dims = [*left.dims[: len(shape) - 1], new_dim(shape[-1])]
        return joined([left, right], dims)
    if kind in ("Flatten", "Reshape", "Squeeze", "Unsqueeze"):
        return viewed(first, shape)
    if kind == "Transpose":
        order = a.get("perm") or list(range(len(shape)))[::-1]
        return permuted(first, order)
    if kind == "Concat":
        return concatenated([t.value for t in inputs], a["axis"] % len(shape))
    if kind in ("Softmax", "LogSoftmax"):
        return first.mixed([a.get("axis", -1)])
    given = [numbers.get(name) for name in node.input]
    if kind == "Pad":
        return _padded(first, a, given, shape)
    if kind == "Slice":
        return _sliced(first, a, given)
    if kind in ("Resize", "Upsample"):
        return _resized(first, a, given, shape)
    return None


def _split(value: Provenance, axis: int, shapes: Sequence[Shape]) -> list[Provenance]:
    dim, at, parts = axis % len(value.dims), 0, []
    for shape in shapes:
        parts.append(sliced(value, dim, at, at + shape[dim], 1))
        at += shape[dim]
    return parts


def _padded(
    value: Provenance,
    a: dict[str, Any],
    given: Sequence[list[Any] | None],
    shape: Shape,
) -> Provenance | None:
    """Padding is all before, then all after."""
    mode = BORDERS.get(a.get("mode", b"constant").decode())
    pads = a.get("pads") or _argument(given, 1)
    axes = _argument(given, 3) or range(len(value.dims))
    if mode is None or pads is None or len(pads) != 2 * len(axes):
        return None
    for place, axis in enumerate(axes):
        before, after, dim = pads[place], pads[len(axes) + place], axis % len(shape)
        if value.shape[dim] + before + after != shape[dim]:
            return None
        value = padded(value, dim, before, after, mode)
    return value


def _sliced(
    value: Provenance, a: dict[str, Any], given: Sequence[list[Any] | None]
) -> Provenance | None:
    starts = a.get("starts") or _argument(given, 1)
    ends = a.get("ends") or _argument(given, 2)
    if starts is None or ends is None:
        return None
    if any(len(given) > place and given[place] is None for place in (3, 4)):
        return None
    axes = a.get("axes") or _argument(given, 3) or list(range(len(starts)))
    steps = _argument(given, 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1:
            return None
        dim = axis % len(value.dims)
        begin, stop, _ = slice(start, end).indices(value.shape[dim])
        value = sliced(value, dim, begin, max(begin, stop), step)
    return value


def _resized(
    value: Provenance,
    a: dict[str, Any],
    given: Sequence[list[Any] | None],
    shape: Shape,
) -> Provenance | None:
    """Interpolation by torch's rules; None for those that torch does not have."""
    mode = RESIZES.get(a.get("mode", b"nearest").decode())
    place = a.get("coordinate_transformation_mode", b"half_pixel").decode()
    if mode is None or a.get("antialias") or shape[:2] != value.shape[:2]:
        return None
    if mode != "nearest" and place not in COORDINATES:
        return None
    scales = a.get("scales") or _argument(
        given, len(given) - 1 if len(given) < 4 else 2
    )
    for dim in range(2, len(shape)):
        size, outputs = value.shape[dim], shape[dim]
        exact = outputs % size == 0
        if mode == "nearest" and not exact and not _rounds_as_torch(a):
            return None
        if scales and len(scales) == len(shape) and scales[dim] * size != outputs:
            return None  # torch goes by the sizes, the file by its factor
        value = resized(
            value, dim, outputs, mode, align_corners=place == "align_corners"
        )
    return value


def _rounds_as_torch(a: dict[str, Any]) -> bool:
    """Whether the nearest element is torch's; with whole factors it always is."""
    place = a.get("coordinate_transformation_mode", b"half_pixel")
    return place == b"asymmetric" and a.get("nearest_mode") == b"floor"


def _argument(given: Sequence[list[Any] | None], place: int) -> list[Any] | None:
    return given[place] if len(given) > place else None


def _transposed(
    a: dict[str, Any], kernel: Sequence[int], outputs: Sequence[int]
) -> list[Transposed]:
    """The window along each axis of a transposed convolution."""
    axes = len(kernel)
    strides = a.get("strides") or [1] * axes
    dilations = a.get("dilations") or [1] * axes
    pads = a.get("pads") or [0] * (2 * axes)
    more = a.get("output_padding") or [0] * axes
    return [
        Transposed(
            kernel[axis],
            strides[axis],
            (pads[axis], pads[axes + axis]),
            dilations[axis],
            more[axis],
        )
        for axis in range(len(outputs))
    ]


def _into(value: Provenance, dim: int, size: int) -> Provenance:
    dims = list(value.mixed([dim]).dims)
    dims[dim] = new_dim(size)
    return value.mixed([dim]).with_dims(dims)


def _windows(
    a: dict[str, Any],
    kernel: Sequence[int],
    sizes: Sequence[int],
    outputs: Sequence[int],
) -> list[Window]:
    """The window along each axis; padding is all before, then all after in ONNX."""
    axes = len(kernel)
    strides = a.get("strides") or [1] * axes
    dilations = a.get("dilations") or [1] * axes
    pads = a.get("pads") or [0] * (2 * axes)
    auto = a.get("auto_pad", b"NOTSET").decode()
    windows = []
    for axis in range(axes):
        pair = (pads[axis], pads[axes + axis])
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            pair = resolve_padding(
                "same" if auto == "SAME_UPPER" else "same_lower",
                sizes[axis],
                kernel[axis],
                stride=strides[axis],
                dilation=dilations[axis],
            )
        window = Window(kernel[axis], strides[axis], pair, dilations[axis])
        for rounding in ROUNDINGS if a.get("ceil_mode") else ():
            window = replace(window, ceil_mode=rounding)
            if window.output_size(sizes[axis]) == outputs[axis]:
                break  # the rule changed with opset 22; the shape tells which it is
        windows.append(window)
    return windows


def products_of(
    kind: str, a: dict[str, Any], inputs: list[GraphTensor], shape: Shape
) -> int:
    """Products of one image."""
    if kind in ("Conv", "ConvTranspose"):
        weight, groups = inputs[1].shape, a.get("group", 1)
        sizes = inputs[0].shape[2:] if kind == "ConvTranspose" else shape[2:]
        return convolution_multiply_adds(
            weight[0], weight[1] * groups, weight[2:], sizes, groups=groups
        )
    if kind in ("Gemm", "MatMul"):
        left = inputs[0].shape
        inner = left[-2] if kind == "Gemm" and a.get("transA") else left[-1]
        return linear_multiply_adds(inner, shape[-1], positions=prod(shape[:-1]))
    return 0


def node_text(kind: str, a: dict[str, Any]) -> str:
    """The node with the arguments that matter."""
    names = {
        "kernel_shape": "kernel_size",
        "strides": "stride",
        "pads": "padding",
        "dilations": "dilation",
        "group": "groups",
        "axis": "axis",
    }
    parts = []
    for name, word in names.items():
        value = a.get(name)
        if (
            value is None
            or value == 1
            or (
                isinstance(value, list)
                and set(value) == ({0} if name == "pads" else {1})
            )
        ):
            continue
        same = isinstance(value, list) and len(set(value)) == 1
        parts.append(f"{word}={value[0] if same else value}")
    return f"{kind}({', '.join(parts)})"
