"""One convolution as the dense matrix that it is."""

from math import prod
from typing import Any

import torch
from torch import nn

from convscope.arithmetic import (
    PerAxis,
    per_axis,
)
from convscope.errors import ArgumentError, explains_calls
from convscope.functional.matrix import conv_matrix
from convscope.layers.conv import Conv1d, Conv2d, Conv3d

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@explains_calls
@torch.no_grad()
def to_linear(
    conv: nn.Module, input_size: PerAxis, *, max_bytes: int = 2**30
) -> nn.Linear:
    """The fully connected layer that does what a convolution does on one input size.

    Its weight is `functional.conv_matrix`, dense: mostly zeros, the same few numbers
    on every diagonal. ``linear(x.flatten(1))`` equals ``conv(x).flatten(1)``.

    Args:
        conv: A convolution or transposed convolution, of torch.nn or of this package,
            with any padding, connections included.
        input_size: Spatial sizes of the input, in elements; one integer serves all
            axes.
        max_bytes: Largest weight to make.

    Raises:
        ArgumentError: ``conv`` is another layer, or the weight is larger than
            ``max_bytes``.
        ShapeError: The kernel does not fit.

    >>> linear = to_linear(nn.Conv2d(1, 6, 5), (8, 8))
    >>> linear
    Linear(in_features=64, out_features=96, bias=True)
    """
    where = "to_linear"
    transposed = isinstance(conv, _TRANSPOSED)
    if not isinstance(conv, (*_CONVOLUTIONS, *_TRANSPOSED)):
        raise ArgumentError(
            f"{where}: conv is a {type(conv).__name__}, which is no convolution. Give "
            "Conv1d, 2d, 3d or ConvTranspose1d, 2d, 3d, of torch.nn or of "
            "convscope.layers."
        )
    layer: Any = conv
    axes = len(layer.kernel_size)
    sizes = per_axis(input_size, axes, name="input_size", where=where)
    zeros = conv.weight.new_zeros(1, conv.in_channels, *sizes)
    offset = conv(zeros).flatten()  # the bias at each place, and constant padding
    inputs = conv.in_channels * prod(sizes)
    size_bytes = inputs * len(offset) * zeros.element_size()
    if size_bytes > max_bytes:
        raise ArgumentError(
            f"{where}: a weight of {len(offset):,} outputs for {inputs:,} inputs takes "
            f"{size_bytes:,} bytes, and max_bytes={max_bytes:,}. Raise max_bytes, or "
            "take conv_matrix, which is sparse."
        )
    ours = isinstance(conv, Conv1d | Conv2d | Conv3d)
    constant = layer.padding_mode == "constant" and layer.padding_value != 0
    matrix = conv_matrix(
        layer.dense_weight() if ours else conv.weight,  # dense_weight has flipped it
        sizes,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=conv.groups,
        padding_mode="zeros"
        if layer.padding_mode == "constant"
        else layer.padding_mode,
        transposed=transposed,
        output_padding=layer.output_padding if transposed else 0,
        flip=transposed and getattr(layer, "flip", False),
        max_bytes=2**63,
        where=where,
    )
    linear = nn.Linear(
        inputs,
        len(offset),
        bias=conv.bias is not None or constant,
        device=zeros.device,
        dtype=zeros.dtype,
    )
    linear.weight.copy_(matrix.to_dense())
    if linear.bias is not None:
        linear.bias.copy_(offset)
    return linear.train(conv.training)
