"""The windows of a pooling, and what is done over all their taps.

``pool_window(x, kernel_size, ...)``   sizes, strides and paddings, resolved for ``x``
``tap_view(x, window)``                the elements under each tap, without a copy
``over_taps(x, window, value, slope)`` one value per window, holding ``x`` and it only
``take(x, index)``                     the winners, holding the index only
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.arithmetic import (
    CeilMode,
    PaddingLike,
    PerAxis,
    axis_name,
    kernel_span,
    output_shape,
    per_axis,
    resolve_paddings,
    windows,
)
from convscope.errors import ShapeError, UnknownNameError
from convscope.functional.operands import require_plain

TapValue: TypeAlias = Callable[[Tensor], Tensor]  # (N, C, *out, *taps) -> (N, C, *out)
TapSlope: TypeAlias = Callable[
    [Tensor, Tensor], Tensor
]  # taps, value -> d value / d tap


@dataclass(frozen=True)
class PoolWindow:
    """A pooling as it acts on one tensor; every entry has one value per axis."""

    sizes: tuple[int, ...]
    outputs: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    ceil_mode: CeilMode
    where: str

    @property
    def taps(self) -> int:
        """Elements of one window."""
        return math.prod(self.kernel)

    @property
    def axes(self) -> int:
        """Number of spatial axes."""
        return len(self.sizes)

    @property
    def torch_padding(self) -> list[int] | None:
        """The padding as torch's own pooling takes it; None where it refuses it."""
        # Half of what a dilated kernel spans is refused in some of its ways.
        fits = all(
            before == after <= taps // 2
            for (before, after), taps in zip(self.padding, self.kernel, strict=True)
        )
        if not fits or self.ceil_mode == "onnx":
            return None
        return [before for before, _ in self.padding]

    @property
    def reach(self) -> tuple[int, ...]:
        """Elements from the begin of the first window to the end of the last."""
        spans = map(kernel_span, self.kernel, self.dilation)
        return tuple(
            (outputs - 1) * stride + span
            for outputs, stride, span in zip(
                self.outputs, self.stride, spans, strict=True
            )
        )

    def padded(self, x: Tensor, value: float = 0.0) -> Tensor:
        """``x`` with ``value`` around it, as far as the windows reach."""
        sides: list[int] = []
        for size, reach, (before, _) in zip(
            self.sizes, self.reach, self.padding, strict=True
        ):
            sides = [before, max(0, reach - before - size), *sides]
        return F.pad(x, sides, value=value) if any(sides) else x

    def tables(self) -> list[list[list[int]]]:
        """Per axis and window, the input elements under its taps.

        Raises:
            ShapeError: A window holds padding only.
        """
        tables = []
        for axis in range(self.axes):
            table = [
                [element for element in row if element is not None]
                for row in windows(
                    self.sizes[axis],
                    self.kernel[axis],
                    stride=self.stride[axis],
                    padding=self.padding[axis],
                    dilation=self.dilation[axis],
                    ceil_mode=self.ceil_mode,
                )
            ]
            if [] in table:
                raise ShapeError(
                    f"{self.where}, {axis_name(axis, self.axes)}: window "
                    f"{table.index([])} of {len(table)} holds padding only, with "
                    f"padding={self.padding[axis]} around {self.sizes[axis]} elements "
                    f"and kernel_size={self.kernel[axis]}. Use less padding, or a "
                    "larger kernel."
                )
            tables.append(table)
        return tables


def pool_window(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    ceil_mode: CeilMode | bool = False,
    *,
    where: str,
) -> PoolWindow:
    """The windows of a pooling on ``x``, resolved.

    Args:
        x: A batch, with one to three spatial axes.
        kernel_size: Window lengths, in taps.
        stride: Steps between windows, in elements; None for the kernel size.
        padding: A name or numbers, as `convscope.arithmetic.parse_padding` reads them.
        dilation: Steps between taps, in elements.
        ceil_mode: Whether to round up; True is ``"torch"``, see `output_size`.
        where: What an error message begins with.

    Raises:
        ShapeError: No window fits, or ``x`` has another rank.
        ArgumentError: A value is not in its range, or not one per axis.
    """
    sizes = spatial_sizes(x, where)
    kernel = per_axis(kernel_size, len(sizes), name="kernel_size", where=where)
    chosen = kernel if stride is None else stride
    strides = per_axis(chosen, len(sizes), name="stride", where=where)
    dilations = per_axis(dilation, len(sizes), name="dilation", where=where)
    rounding = parse_ceil_mode(ceil_mode)
    pairs = resolve_paddings(
        padding, sizes, kernel, stride=strides, dilation=dilations, where=where
    )
    outputs = output_shape(
        sizes,
        kernel,
        stride=strides,
        padding=pairs,
        dilation=dilations,
        ceil_mode=rounding,
        where=where,
    )
    return PoolWindow(
        sizes, outputs, kernel, strides, dilations, pairs, rounding, where
    )


def parse_ceil_mode(ceil_mode: CeilMode | bool) -> CeilMode:
    """True is torch's way of rounding up.

    >>> parse_ceil_mode(True)
    'torch'
    """
    if ceil_mode not in (False, True, "torch", "onnx"):
        names = ["False", "True", "torch", "onnx"]
        raise UnknownNameError("ceil_mode", str(ceil_mode), names)
    return "torch" if ceil_mode is True else ceil_mode


def spatial_sizes(x: Tensor, where: str) -> tuple[int, ...]:
    """Sizes of the axes behind batch and channels.

    Raises:
        ShapeError: There are none, or more than three.
    """
    require_plain(x, where)
    if x.ndim not in (3, 4, 5):
        raise ShapeError(
            f"{where}: x must have shape (N, C, L), (N, C, H, W) or (N, C, D, H, W); "
            f"got {tuple(x.shape)}. Add or remove axes with unsqueeze or flatten."
        )
    if x.shape[1] == 0:
        raise ShapeError(
            f"{where}: x of shape {tuple(x.shape)} has no channels. Give it at least 1."
        )
    return tuple(x.shape[2:])


def like_layout(out: Tensor, x: Tensor) -> Tensor:
    """``out`` with channels last in memory where ``x`` has them there."""
    if not is_channels_last(x):
        return out
    last = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    return out.contiguous(memory_format=last)


def is_channels_last(x: Tensor) -> bool:
    """Whether neighbors in memory are channels of one place; works under vmap too."""
    return x.ndim > 3 and x.shape[1] > 1 and x.stride(1) == 1 and x.stride(-1) != 1


def tap_view(x: Tensor, window: PoolWindow) -> Tensor:
    """The elements under each tap, ``(N, C, *outputs, *kernel)``, a view.

    Args:
        x: Already padded, as ``window.padded`` gives it.
        window: Where the windows lie.
    """
    for axis, (kernel, step, gap) in enumerate(
        zip(window.kernel, window.stride, window.dilation, strict=True)
    ):
        x = x.unfold(2 + axis, kernel_span(kernel, gap), step)[..., ::gap]
    return x


def over_taps(
    x: Tensor, window: PoolWindow, value: TapValue, slope: TapSlope
) -> Tensor:
    """One value per window, of which only ``x`` and the value are held for backward.

    Args:
        x: Already padded, as ``window.padded`` gives it.
        window: Where the windows lie.
        value: From the taps of each window to its value.
        slope: From taps and value to the derivative of the value by each tap; made of
            differentiable operations, for second derivatives.
    """
    out: Tensor = _OverTaps.apply(  # type: ignore[no-untyped-call]  # torch's
        x, window, value, slope
    )
    return out


def take(x: Tensor, index: Tensor) -> Tensor:
    """The element of ``x`` at each row-order index; holds the index only.

    Shape:
        x:     (N, C, *sizes)
        index: (N, C, *outputs), also of what is returned
    """
    taken: Tensor = _Take.apply(  # type: ignore[no-untyped-call]  # torch's
        x.flatten(2), index.flatten(2)
    )
    return taken.view(index.shape)


class _Take(torch.autograd.Function):
    """``gather``, which for its backward pass would hold ``x`` to know its size."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, index: Tensor) -> Tensor:
        return x.gather(-1, index)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, index = inputs
        ctx.shape = x.shape
        ctx.save_for_backward(index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (index,) = ctx.saved_tensors
        zeros = grads[0].new_zeros(ctx.shape)
        return zeros.scatter_add(-1, index, grads[0]), None


class _OverTaps(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, window: PoolWindow, value: TapValue, slope: TapSlope
    ) -> Tensor:
        return value(tap_view(x, window))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.window, _, ctx.slope = inputs
        ctx.save_for_backward(x, output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, out = ctx.saved_tensors
        column = (..., *[None] * ctx.window.axes)
        slopes = ctx.slope(tap_view(x, ctx.window), out[column])
        return _fold(grads[0][column] * slopes, x, ctx.window), None, None, None


def _fold(taps: Tensor, x: Tensor, window: PoolWindow) -> Tensor:
    """The transpose of `tap_view`: every tap's value added where it came from."""
    sizes = x.shape[2:]
    places = torch.arange(math.prod(sizes), device=x.device).view(1, 1, *sizes)
    index = tap_view(places, window).flatten()
    flat = torch.zeros_like(x).flatten(2)
    return flat.index_add(-1, index, taps.flatten(2)).view(x.shape)
