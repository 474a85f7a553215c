"""``ConvTranspose1d``, ``ConvTranspose2d``, ``ConvTranspose3d``, as in torch.nn."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from convscope.arithmetic import (
    PADDING_MODES,
    PaddingLike,
    PerAxis,
    axis_name,
    parse_padding,
    per_axis,
    require_groups,
    transposed_output_shape,
)
from convscope.errors import ArgumentError, ShapeError, UnknownNameError, explains_calls
from convscope.functional.transposed import conv_transpose, cut_and_added
from convscope.layers.conv import arguments_text, compact_padding, draw_parameters
from convscope.layers.shape import require_input


class _ConvTranspose(nn.Module):
    """Transposed convolution along as many axes as the subclass says."""

    axes: ClassVar[int]
    weight: Tensor
    bias: Tensor | None
    padding: Any  # as in `Conv2d`
    padding_mode: Any

    @explains_calls
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        padding: PaddingLike = 0,
        output_padding: PerAxis = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: PerAxis = 1,
        padding_mode: str = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        flip: bool = False,
    ) -> None:
        # torch.nn's own __init__ would refuse what it does not have.
        nn.Module.__init__(self)
        where, axes = type(self).__name__, self.axes
        require_groups(where, in_channels, out_channels, groups)
        if padding_mode not in PADDING_MODES:
            raise UnknownNameError("padding_mode", str(padding_mode), PADDING_MODES)
        if padding_mode != "zeros":
            raise ArgumentError(
                f"{where}: padding_mode={padding_mode!r} says what surrounds an "
                "input, but the padding of a transposed convolution is cut off its "
                "output. Leave padding_mode='zeros'."
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = per_axis(kernel_size, axes, name="kernel_size", where=where)
        self.stride = per_axis(stride, axes, name="stride", where=where)
        self.padding = compact_padding(parse_padding(padding, axes, where=where))
        self.output_padding = per_axis(
            output_padding, axes, name="output_padding", minimum=0, where=where
        )
        self.dilation = per_axis(dilation, axes, name="dilation", where=where)
        self.groups, self.padding_mode = groups, padding_mode
        self.transposed, self.flip = True, flip
        for axis, (extra, step, spread) in enumerate(
            zip(self.output_padding, self.stride, self.dilation, strict=True)
        ):
            if extra >= max(step, spread):
                raise ShapeError(
                    f"{where}, {axis_name(axis, axes)}: output_padding={extra} is not "
                    f"below stride={step} or dilation={spread}. Use output_padding at "
                    f"most {max(step, spread) - 1}."
                )
        self._cut_and_added(self.output_padding)
        shape = (in_channels, out_channels // groups, *self.kernel_size)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        start = torch.empty(out_channels, device=device, dtype=dtype)
        self.register_parameter("bias", nn.Parameter(start) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters anew, as torch.nn does."""
        draw_parameters(self.weight, self.bias)

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """The transposed convolution of ``x``, of the spatial size asked for."""
        require_input(self, x, self.axes, self.in_channels)
        padding, more = self.padding, self.output_padding
        if output_size is not None:
            padding, more = self._reach(x, tuple(output_size)[-self.axes :])
        return conv_transpose(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=padding,
            output_padding=more,
            groups=self.groups,
            dilation=self.dilation,
            flip=self.flip,
            where=type(self).__name__,
        )

    def extra_repr(self) -> str:
        """Every argument that is not the default."""
        return arguments_text(self)

    def _cut_and_added(self, more: PerAxis) -> Any:
        return cut_and_added(
            self.padding,
            more,
            self.kernel_size,
            self.stride,
            self.dilation,
            type(self).__name__,
        )

    def _reach(self, x: Tensor, wanted: tuple[int, ...]) -> Any:
        """Padding as pairs, and the output padding that gives the wanted size."""
        where, (pairs, _) = type(self).__name__, self._cut_and_added(0)
        least = transposed_output_shape(
            x.shape[-self.axes :],
            self.kernel_size,
            stride=self.stride,
            padding=pairs,
            dilation=self.dilation,
            where=where,
        )
        most = tuple(
            size + max(step, spread) - 1
            for size, step, spread in zip(
                least, self.stride, self.dilation, strict=True
            )
        )
        if len(wanted) != self.axes or not all(
            low <= size <= high
            for low, size, high in zip(least, wanted, most, strict=True)
        ):
            raise ShapeError(
                f"{where}: output_size={wanted} cannot be reached from an input of "
                f"{tuple(x.shape[-self.axes :])}. Ask for {least} to {most}."
            )
        return pairs, tuple(size - low for size, low in zip(wanted, least, strict=True))


class ConvTranspose1d(_ConvTranspose, nn.ConvTranspose1d):
    """Transposed convolution along length; the rest as in `ConvTranspose2d`.

    >>> ConvTranspose1d(2, 4, 5, 3, "same")(torch.zeros(1, 2, 10)).shape
    torch.Size([1, 4, 30])
    """

    axes = 1


class ConvTranspose2d(_ConvTranspose, nn.ConvTranspose2d):
    """Transposed convolution along height and width.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Taps along each spatial axis; one integer serves all.
        stride: Steps between kernels, in output elements.
        padding: What is cut off the output: one integer, one per axis, one pair
            ``(before, after)`` per axis; or the name of the convolution's padding that
            is undone: ``valid``, ``same`` (gives ``size * stride``), ``same_lower``
            or ``full``.
        output_padding: Elements added at the end of the output.
        groups: Blocks of channels that do not see each other.
        bias: Whether each output channel has one scalar more.
        dilation: Steps between taps, in output elements.
        padding_mode: ``zeros``; there is nothing here that others could fill.
        device: Where the parameters are.
        dtype: What the parameters are.
        flip: Whether the kernel is reversed along every spatial axis.

    Shape:
        x:           (N, in_channels, *space) or (in_channels, *space)
        output_size: the spatial sizes wanted, in place of ``output_padding``
        weight:      (in_channels, out_channels / groups, *kernel_size)
        bias:        (out_channels,)
        return:      (N, out_channels, *space_out) or (out_channels, *space_out)

    Raises:
        UnknownNameError: Another name of a padding or of a padding mode.
        ArgumentError: A value is not in its range, or not one per axis; a padding or
            a padding mode that has no meaning here.
        ShapeError: ``groups`` does not divide the channels, ``output_padding`` is too
            large, or what reaches the layer does not fit.

    Source:
        Arguments, parameters and their start are torch.nn's, bit for bit.

    >>> ConvTranspose2d(3, 8, 4, 2, 1)(torch.zeros(1, 3, 7, 7)).shape
    torch.Size([1, 8, 14, 14])
    """

    axes = 2


class ConvTranspose3d(_ConvTranspose, nn.ConvTranspose3d):
    """Transposed convolution along three axes; the rest as in `ConvTranspose2d`.

    >>> ConvTranspose3d(1, 4, 2, 2)(torch.zeros(1, 1, 2, 3, 4)).shape
    torch.Size([1, 4, 4, 6, 8])
    """

    axes = 3
