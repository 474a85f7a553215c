"""Output sizes, one axis at a time and for N axes.

One axis; lengths in elements, ``padding`` as ``(before, after)``:

``output_size(size, kernel_size, stride=, padding=, dilation=, ceil_mode=)``
    of convolution and pooling; ``ceil_mode`` is False, ``"torch"`` or ``"onnx"``
``transposed_output_size(size, kernel_size, ..., output_padding=)``

N axes; every argument an integer or one per axis, ``padding`` as in `parse_padding`:

``output_shape(sizes, kernel_size, ...)``, ``transposed_output_shape(sizes, ...)``

Which element lies under which tap is in ``windows.py``; paddings by name are in
``padding.py``.
"""

from collections.abc import Sequence
from typing import Literal

from convscope.arithmetic.axis import (
    EndsLike,
    both_ends,
    kernel_span,
    per_axis,
    require,
)
from convscope.arithmetic.borders import PaddingMode
from convscope.arithmetic.fixes import nearest_fixes
from convscope.arithmetic.padding import (
    PaddingLike,
    parse_padding,
    resolve_padding,
)
from convscope.errors import ArgumentError, ShapeError, UnknownNameError, explains_calls

CeilMode = Literal[False, "torch", "onnx"]
"""Whether output sizes are rounded up, and by whose rule for the last window."""


@explains_calls
def output_size(
    size: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: EndsLike = 0,
    dilation: int = 1,
    ceil_mode: CeilMode = False,
    where: str = "output_size",
) -> int:
    """Number of window positions along one axis, in convolution and pooling.

    ``floor((size + padding - span) / stride) + 1``, with
    ``span = dilation * (kernel_size - 1) + 1``. With a ``ceil_mode`` the division
    rounds up, so that a last window may reach past the end. ``"torch"`` drops that
    window where it would begin behind the input (as ONNX does since opset 22);
    ``"onnx"`` is the formula of ONNX opsets 10 to 21, which keeps it.

    Args:
        size: Input length, in elements, at least 1.
        kernel_size: Window length, in taps, at least 1.
        stride: Step from one window to the next, in input elements, at least 1.
        padding: Elements added at each end of the input, or ``(before, after)`` it;
            at least 0.
        dilation: Step from one tap to the next, in input elements, at least 1.
        ceil_mode: Whether, and by whose rule, to round up.
        where: What an error message begins with.

    Raises:
        ShapeError: No window fits in the padded input.
        ArgumentError: A value is not an integer in its range.

    Source:
        Dumoulin & Visin, arXiv:1603.07285, relationship 15 (one padding for both
        ends there); torch's ``pooling_output_shape_pad_lr``; ONNX MaxPool.

    >>> output_size(224, 11, stride=4, padding=2)  # AlexNet (2014)
    55
    >>> output_size(6, 2, stride=3, padding=(1, 1), ceil_mode="torch")
    3
    """
    ends = both_ends(padding, where=where)
    _require_all(where, size, kernel_size, stride, dilation)
    if ceil_mode not in (False, "torch", "onnx"):
        raise UnknownNameError("ceil_mode", str(ceil_mode), ["False", "torch", "onnx"])
    padded = size + sum(ends)
    span = kernel_span(kernel_size, dilation)
    slack = padded - span + (stride - 1 if ceil_mode else 0)
    if slack < 0:
        spread = f" with dilation={dilation}" if dilation > 1 else ""
        fixes = nearest_fixes(size, kernel_size, padding=ends, dilation=dilation)
        raise ShapeError(
            f"{where}: kernel_size={kernel_size}{spread} spans {span} elements, the "
            f"input has {padded_text(size, ends)}. {fixes}"
        )
    outputs = slack // stride + 1
    if ceil_mode == "torch" and (outputs - 1) * stride >= size + ends[0]:
        outputs -= 1
    return outputs


@explains_calls
def transposed_output_size(
    size: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: EndsLike = 0,
    dilation: int = 1,
    output_padding: int = 0,
    where: str = "transposed_output_size",
) -> int:
    """Output length of a transposed convolution along one axis.

    ``(size - 1) * stride + span - padding + output_padding``: the input lengths
    that a convolution with the same arguments takes to ``size`` begin here, and
    ``output_padding`` chooses among them.

    Args:
        size: Input length, in elements, at least 1.
        kernel_size: Window length, in taps, at least 1.
        stride: Step from one window to the next, in *output* elements, at least 1.
        padding: Elements cut off each end of the output, or ``(before, after)``; at
            least 0.
        dilation: Step from one tap to the next, in output elements, at least 1.
        output_padding: Elements added at the end of the output, below
            ``max(stride, dilation)``.
        where: What an error message begins with.

    Raises:
        ShapeError: Nothing is left of the output, or ``output_padding`` is too large.
        ArgumentError: A value is not an integer in its range.

    Source:
        Dumoulin & Visin, arXiv:1603.07285, relationship 14; the limit of
        ``output_padding`` is torch's.

    >>> transposed_output_size(5, 3, stride=2, padding=(1, 1), output_padding=1)
    10
    """
    ends = both_ends(padding, where=where)
    _require_all(where, size, kernel_size, stride, dilation)
    require(where, "output_padding", output_padding, 0)
    if output_padding >= max(stride, dilation):
        raise ShapeError(
            f"{where}: output_padding={output_padding} is not below stride={stride} "
            f"or dilation={dilation}. "
            f"Use output_padding at most {max(stride, dilation) - 1}."
        )
    full = (size - 1) * stride + kernel_span(kernel_size, dilation) + output_padding
    outputs = full - sum(ends)
    if outputs < 1:
        least = size + -((outputs - 1) // stride)
        raise ShapeError(
            f"{where}: padding={padding} cuts {sum(ends)} elements off an output of "
            f"{full}, which leaves {outputs}. Use an input of at least {least}, or "
            f"padding of at most {full - 1} in all."
        )
    return outputs


@explains_calls
def output_shape(
    sizes: Sequence[int],
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: PaddingLike = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: CeilMode = False,
    where: str = "output_shape",
) -> tuple[int, ...]:
    """Output sizes of a convolution or a pooling, one per spatial axis.

    Args:
        sizes: Input lengths ``(D, H, W)``, ``(H, W)`` or ``(L,)``, in elements.
        kernel_size: Window lengths, in taps; one integer serves all axes.
        stride: Steps between windows; one integer serves all axes.
        padding: A name or numbers, as `parse_padding` reads them.
        dilation: Steps between taps; one integer serves all axes.
        ceil_mode: Whether, and by whose rule, to round up; see `output_size`.
        where: What an error message begins with.

    Raises:
        ShapeError: No window fits along an axis, which the message names.
        ArgumentError: A value is not in its range, or not one per axis.

    >>> output_shape((480, 640), (3, 5), stride=2, padding="same")
    (240, 320)
    """
    axes = len(sizes)
    kernels = per_axis(kernel_size, axes, name="kernel_size", where=where)
    strides = per_axis(stride, axes, name="stride", where=where)
    dilations = per_axis(dilation, axes, name="dilation", where=where)
    paddings = parse_padding(padding, axes, where=where)
    return tuple(
        output_size(
            sizes[axis],
            kernels[axis],
            stride=strides[axis],
            padding=resolve_padding(
                paddings[axis],
                sizes[axis],
                kernels[axis],
                stride=strides[axis],
                dilation=dilations[axis],
            ),
            dilation=dilations[axis],
            ceil_mode=ceil_mode,
            where=f"{where}, {axis_name(axis, axes)}",
        )
        for axis in range(axes)
    )


@explains_calls
def transposed_output_shape(
    sizes: Sequence[int],
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: PaddingLike = 0,
    dilation: int | Sequence[int] = 1,
    output_padding: int | Sequence[int] = 0,
    where: str = "transposed_output_shape",
) -> tuple[int, ...]:
    """Output sizes of a transposed convolution, one per spatial axis.

    Args:
        sizes: Input lengths, in elements.
        kernel_size: Window lengths, in taps; one integer serves all axes.
        stride: Steps between windows, in output elements.
        padding: Numbers, as `parse_padding` reads them; a name has no meaning here.
        dilation: Steps between taps, in output elements.
        output_padding: Elements added at the end of the output.
        where: What an error message begins with.

    Raises:
        ShapeError: See `transposed_output_size`; the message names the axis.
        ArgumentError: A value is not in its range, or padding is a name.

    >>> transposed_output_shape((7, 7), 4, stride=2, padding=1)
    (14, 14)
    """
    axes = len(sizes)
    kernels = per_axis(kernel_size, axes, name="kernel_size", where=where)
    strides = per_axis(stride, axes, name="stride", where=where)
    dilations = per_axis(dilation, axes, name="dilation", where=where)
    more = per_axis(output_padding, axes, name="output_padding", minimum=0, where=where)
    outputs = []
    for axis, pair in enumerate(parse_padding(padding, axes, where=where)):
        if isinstance(pair, str):
            raise ArgumentError(
                f"{where}: padding={padding!r} is a name, which a transposed "
                "convolution does not take. Give numbers."
            )
        outputs.append(
            transposed_output_size(
                sizes[axis],
                kernels[axis],
                stride=strides[axis],
                padding=pair,
                dilation=dilations[axis],
                output_padding=more[axis],
                where=f"{where}, {axis_name(axis, axes)}",
            )
        )
    return tuple(outputs)


def axis_name(axis: int, axes: int) -> str:
    """What a spatial axis is called: length; height, width; depth, height, width.

    >>> axis_name(0, 3)
    'depth'
    """
    names = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
    return names[axes][axis] if axes in names else f"axis {axis}"


def padded_text(size: int, padding: tuple[int, int]) -> str:
    """An input length with its padding, as messages show it.

    >>> padded_text(8, (1, 2))
    '11 (8 + padding 1 + 2)'
    """
    if padding == (0, 0):
        return str(size)
    return f"{size + sum(padding)} ({size} + padding {padding[0]} + {padding[1]})"


def _require_all(
    where: str,
    size: int,
    kernel_size: int,
    stride: int,
    dilation: int,
) -> None:
    require(where, "size", size, 1)
    require(where, "kernel_size", kernel_size, 1)
    require(where, "stride", stride, 1)
    require(where, "dilation", dilation, 1)


def require_room(
    sizes: Sequence[int],
    ends: Sequence[tuple[int, int]],
    mode: PaddingMode,
    *,
    where: str,
) -> None:
    """Refuses padding that repeats more elements than an input has.

    Args:
        sizes: Input lengths, one per spatial axis.
        ends: Elements of padding ``(before, after)``, one pair per axis.
        mode: What padding holds.
        where: What an error message begins with.

    Raises:
        ShapeError: An axis is too short to be mirrored or to go round so far.

    >>> require_room((4, 3), [(3, 3), (2, 0)], "reflect", where="pad")
    """
    if mode not in ("reflect", "symmetric", "circular"):
        return
    spare = 1 if mode == "reflect" else 0  # the outermost element is not repeated
    for axis, (size, pair) in enumerate(zip(sizes, ends, strict=True)):
        if max(pair) > size - spare:
            raise ShapeError(
                f"{where}, {axis_name(axis, len(sizes))}: padding={pair} with "
                f"padding_mode={mode!r} needs {max(pair) + spare} elements, the input "
                f"has {size}. Use padding at most {max(0, size - spare)}, or "
                "padding_mode='replicate'."
            )
