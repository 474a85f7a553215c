"""Transposed convolution: the way back of a correlation, as a forward pass.

``transposed_convolution_forward(x, weight, bias) -> y``
``transposed_convolution_backward(grad, x, weight) -> grad_x, grad_weight, grad_bias``
"""

import numpy as np

from convscope.arithmetic import PaddingLike, transposed_output_shape
from convscope.kernels.reference.arrays import (
    Array,
    Numbers,
    doubles,
    each_group,
    per_map,
    require_channels,
    require_groups,
    sum_per_map,
)
from convscope.kernels.reference.windows import PerAxis, each_transposed_window


def transposed_convolution_forward(
    x: Numbers,
    weight: Numbers,
    bias: Numbers | None = None,
    *,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Array:
    """Each input element stamps the kernel, times its value, onto the output.

    ``y[n,o,j] = bias[o] + sum over c, and all i, p with j = i*stride + p*dilation -
    before, of x[n,c,i] w[c,o,p]``, where ``before`` elements are cut off the output.

    Args:
        x: Images.
        weight: Kernels.
        bias: One number per map of the output.
        stride: Step from one stamp to the next, in output elements.
        padding: Elements cut off each end of the output.
        output_padding: Elements added at the end of the output.
        dilation: Step from one tap to the next, in output elements.
        groups: Parts of the channels that do not see each other.

    Shape:
        x:      (N, C_in, spatial...)
        weight: (C_in, C_out / groups, taps...)
        return: (N, C_out, places...)

    Raises:
        ShapeError: Rank or channels do not fit together, or no output is left.

    >>> x, weight = np.array([[[1, 2]]]), np.array([[[1, 10]]])
    >>> transposed_convolution_forward(x, weight)
    array([[[ 1., 12., 20.]]])
    """
    x, weight = doubles(x, weight)
    maps, taps = weight.shape[1] * groups, weight.shape[2:]
    where = "transposed_convolution_forward"
    require_channels(where, x, len(weight), len(taps))
    require_groups(where, groups, x.shape[1], maps)
    sizes = transposed_output_shape(
        x.shape[2:],
        taps,
        stride=stride,
        padding=padding,
        dilation=dilation,
        output_padding=output_padding,
        where=where,
    )
    y = np.zeros((len(x), maps, *sizes))
    for place, window in each_transposed_window(
        x.shape[2:],
        taps,
        stride=stride,
        padding=padding,
        dilation=dilation,
        output_padding=output_padding,
    ):
        for tap, element in window:
            for c, o in each_group(x.shape[1], maps, groups):
                y[:, o, *place] += x[:, c, *element] @ weight[c, :, *tap]
    return y if bias is None else y + per_map(bias, y)


def transposed_convolution_backward(
    grad: Numbers,
    x: Numbers,
    weight: Numbers,
    *,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    """The gradient, sent back along every connection; for ``x`` it is a correlation.

    With ``j = i*stride + p*dilation - before``, where tap ``p`` of stamp ``i`` lands:

    ``grad_x[n,c,i]      = sum over o, p of grad[n,o,j] w[c,o,p]``
    ``grad_weight[c,o,p] = sum over n, i of x[n,c,i] grad[n,o,j]``
    ``grad_bias[o]       = sum over n, j of grad[n,o,j]``

    Args:
        grad: Gradient of the loss for the output.
        x: What the forward pass was given.
        weight: What the forward pass was given.
        stride: As in the forward pass.
        padding: As in the forward pass.
        output_padding: As in the forward pass.
        dilation: As in the forward pass.
        groups: As in the forward pass.

    >>> grads = transposed_convolution_backward(
    ...     np.array([[[1, 1, 1]]]), np.array([[[1, 2]]]), np.array([[[1, 10]]])
    ... )
    >>> [g.ravel().tolist() for g in grads]
    [[11.0, 11.0], [3.0, 3.0], [3.0]]
    """
    grad, x, weight = doubles(grad, x, weight)
    grad_x, grad_weight = np.zeros_like(x), np.zeros_like(weight)
    for place, window in each_transposed_window(
        x.shape[2:],
        weight.shape[2:],
        stride=stride,
        padding=padding,
        dilation=dilation,
        output_padding=output_padding,
    ):
        for tap, element in window:
            for c, o in each_group(x.shape[1], grad.shape[1], groups):
                back = grad[:, o, *place]
                grad_x[:, c, *element] += back @ weight[c, :, *tap].T
                grad_weight[c, :, *tap] += x[:, c, *element].T @ back
    return grad_x, grad_weight, sum_per_map(grad)
