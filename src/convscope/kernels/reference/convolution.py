"""Correlation, which libraries call convolution, and convolution, which flips.

``correlation_forward(x, weight, bias) -> y``
``correlation_backward(grad, x, weight) -> grad_x, grad_weight, grad_bias``
``convolution_forward``, ``convolution_backward``: the same with the kernel flipped

In every formula ``n`` is an image, ``o`` a map of the output, ``c`` a channel of the
input, ``i`` a place of the output, ``p`` a tap of the kernel; ``i`` and ``p`` have one
index per spatial axis. The sum over ``c`` is the matrix product ``@``.
"""

import numpy as np

from convscope.arithmetic import PaddingLike, output_shape
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
from convscope.kernels.reference.windows import PerAxis, each_window


def correlation_forward(
    x: Numbers,
    weight: Numbers,
    bias: Numbers | None = None,
    *,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Array:
    """``y[n,o,i] = bias[o] + sum over c, p of x[n,c,i*stride + p*dilation] w[o,c,p]``.

    Places outside the input count as 0; ``padding`` says how many there are.

    Args:
        x: Images.
        weight: Kernels.
        bias: One number per map of the output.
        stride: Step from one window to the next, in elements.
        padding: Elements of 0 around the input, in any form of `parse_padding`.
        dilation: Step from one tap to the next, in elements.
        groups: Parts of the channels that do not see each other.

    Shape:
        x:      (N, C_in, spatial...), 1, 2, 3 or more spatial axes
        weight: (C_out, C_in / groups, taps...)
        return: (N, C_out, places...)

    Raises:
        ShapeError: Rank or channels do not fit together, or no window fits.

    >>> correlation_forward(np.array([[[1, 2, 4]]]), np.array([[[1, 10]]]))
    array([[[21., 42.]]])
    """
    x, weight = doubles(x, weight)
    maps, taps = weight.shape[0], weight.shape[2:]
    require_channels("correlation_forward", x, weight.shape[1] * groups, len(taps))
    require_groups("correlation_forward", groups, x.shape[1], maps)
    sizes = output_shape(
        x.shape[2:],
        taps,
        stride=stride,
        padding=padding,
        dilation=dilation,
        where="correlation_forward",
    )
    y = np.zeros((len(x), maps, *sizes))
    for place, window in each_window(
        x.shape[2:], taps, stride=stride, padding=padding, dilation=dilation
    ):
        for tap, element in window:
            for c, o in each_group(x.shape[1], maps, groups):
                y[:, o, *place] += x[:, c, *element] @ weight[o, :, *tap].T
    return y if bias is None else y + per_map(bias, y)


def correlation_backward(
    grad: Numbers,
    x: Numbers,
    weight: Numbers,
    *,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    """The gradient, sent back along every connection that the forward pass used.

    With ``j = i*stride + p*dilation``, the element under tap ``p`` of window ``i``:

    ``grad_x[n,c,j]      = sum over o and the i, p that meet j of grad[n,o,i] w[o,c,p]``
    ``grad_weight[o,c,p] = sum over n, i of grad[n,o,i] x[n,c,j]``
    ``grad_bias[o]       = sum over n, i of grad[n,o,i]``

    Args:
        grad: Gradient of the loss for the output.
        x: What the forward pass was given.
        weight: What the forward pass was given.
        stride: As in the forward pass.
        padding: As in the forward pass.
        dilation: As in the forward pass.
        groups: As in the forward pass.

    >>> grads = correlation_backward(
    ...     np.array([[[1, 1]]]), np.array([[[1, 2, 4]]]), np.array([[[1, 10]]])
    ... )
    >>> [g.ravel().tolist() for g in grads]
    [[1.0, 11.0, 10.0], [3.0, 6.0], [2.0]]
    """
    grad, x, weight = doubles(grad, x, weight)
    grad_x, grad_weight = np.zeros_like(x), np.zeros_like(weight)
    for place, window in each_window(
        x.shape[2:], weight.shape[2:], stride=stride, padding=padding, dilation=dilation
    ):
        for tap, element in window:
            for c, o in each_group(x.shape[1], len(weight), groups):
                back = grad[:, o, *place]
                grad_x[:, c, *element] += back @ weight[o, :, *tap]
                grad_weight[o, :, *tap] += back.T @ x[:, c, *element]
    return grad_x, grad_weight, sum_per_map(grad)


def convolution_forward(
    x: Numbers,
    weight: Numbers,
    bias: Numbers | None = None,
    *,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Array:
    """Correlation with the kernel flipped in every spatial axis.

    ``y[n,o,i] = bias[o] + sum over c, p of x[n, c, i*stride + p*dilation] w[o,c,r-p]``
    with ``r`` the last tap. Arguments as in `correlation_forward`.

    >>> convolution_forward(np.array([[[1, 2, 4]]]), np.array([[[1, 10]]]))
    array([[[12., 24.]]])
    """
    return correlation_forward(
        x,
        flipped(weight),
        bias,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


def convolution_backward(
    grad: Numbers,
    x: Numbers,
    weight: Numbers,
    *,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    """Gradients of `convolution_forward`: the correlation's, the weight's flipped back.

    >>> grads = convolution_backward(
    ...     np.array([[[1, 1]]]), np.array([[[1, 2, 4]]]), np.array([[[1, 10]]])
    ... )
    >>> [g.ravel().tolist() for g in grads]
    [[10.0, 11.0, 1.0], [6.0, 3.0], [2.0]]
    """
    grad_x, grad_weight, grad_bias = correlation_backward(
        grad,
        x,
        flipped(weight),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return grad_x, flipped(grad_weight), grad_bias


def flipped(weight: Numbers) -> Array:
    """The kernel with its taps in reverse along every spatial axis.

    >>> flipped(np.array([[[[0, 0.25], [0.5, 1]]]]))
    array([[[[1.  , 0.5 ],
             [0.25, 0.  ]]]])
    """
    return np.flip(doubles(weight)[0], axis=tuple(range(2, weight.ndim)))
