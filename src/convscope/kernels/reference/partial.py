"""Partial convolution: what a window misses is made up for by what it meets.

``partial_convolution_forward(x, weight, bias, mask) -> y, hits``
``partial_convolution_backward(grad, x, weight, hits, mask)
-> grad_x, grad_weight, grad_bias``
"""

from math import prod

import numpy as np

from convscope.arithmetic import PaddingLike
from convscope.kernels.reference.arrays import (
    Array,
    Numbers,
    doubles,
    per_map,
    sum_per_map,
)
from convscope.kernels.reference.convolution import (
    correlation_backward,
    correlation_forward,
)
from convscope.kernels.reference.windows import PerAxis


def partial_convolution_forward(
    x: Numbers,
    weight: Numbers,
    bias: Numbers | None = None,
    mask: Numbers | None = None,
    *,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> tuple[Array, Array]:
    """A correlation, each output scaled by its taps over those that hit data.

    With ``j = i*stride + p*dilation`` and ``m`` the mask, 1 on data, 0 on padding and
    in holes:

    ``hits[n,o,i] = sum over c, p of m[n,c,j]``
    ``y[n,o,i] = bias[o] + taps / hits[n,o,i] * sum over c, p of w[o,c,p] m x[n,c,j]``
    and 0 where there are no hits; ``taps`` counts channels too.

    Args:
        x: Images; what they hold in holes does not matter.
        weight: Kernels.
        bias: One number per map of the output.
        mask: 0 in holes, other numbers on data; by default only the padding is a hole.
        stride: Step from one window to the next, in elements.
        padding: Places around the input where windows may begin or end.
        dilation: Step from one tap to the next, in elements.
        groups: Parts of the channels that do not see each other.

    Shape:
        x:      (N, C_in, spatial...)
        weight: (C_out, C_in / groups, taps...)
        mask:   (N, C_in, spatial...), or 1 in place of N or C_in
        return: (N, C_out, places...), twice

    Source:
        Liu et al., arXiv:1804.07723, equation 1; arXiv:1811.11718 for padding.

    >>> y, hits = partial_convolution_forward(
    ...     np.full((1, 1, 3), 5), np.full((1, 1, 3), 1 / 3), padding=1
    ... )
    >>> y.round(9).tolist(), hits.tolist()  # no darker at the border
    ([[[5.0, 5.0, 5.0]]], [[[2.0, 3.0, 2.0]]])
    """
    x, weight = doubles(x, weight)
    m = _on_data(x, mask)
    hits = correlation_forward(
        m,
        np.ones_like(weight),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    sums = correlation_forward(
        np.where(m > 0, x, 0.0),
        weight,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    y = sums * _scale(weight, hits)
    if bias is not None:
        y += per_map(bias, y) * (hits > 0)
    return y, hits


def partial_convolution_backward(
    grad: Numbers,
    x: Numbers,
    weight: Numbers,
    hits: Numbers,
    mask: Numbers | None = None,
    *,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    """The gradients of a correlation, for ``grad * taps / hits`` and masked images.

    ``grad_bias[o] = sum over n, and the i with hits, of grad[n,o,i]``; holes get 0.

    Args:
        grad: Gradient of the loss for the output.
        x: What the forward pass was given.
        weight: What the forward pass was given.
        hits: What the forward pass returned.
        mask: What the forward pass was given.
        stride: As in the forward pass.
        padding: As in the forward pass.
        dilation: As in the forward pass.
        groups: As in the forward pass.

    >>> x, weight = np.array([[[1, 2]]]), np.array([[[3, 4]]])
    >>> y, hits = partial_convolution_forward(x, weight, mask=np.array([[[1, 0]]]))
    >>> grads = partial_convolution_backward(
    ...     np.ones_like(y), x, weight, hits, np.array([[[1, 0]]])
    ... )
    >>> [g.ravel().tolist() for g in grads]
    [[6.0, 0.0], [2.0, 0.0], [1.0]]
    """
    grad, x, weight, hits = doubles(grad, x, weight, hits)
    m = _on_data(x, mask)
    grad_x, grad_weight, _ = correlation_backward(
        grad * _scale(weight, hits),
        np.where(m > 0, x, 0.0),
        weight,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return grad_x * m, grad_weight, sum_per_map(grad * (hits > 0))


def _on_data(x: Array, mask: Numbers | None) -> Array:
    if mask is None:
        return np.ones_like(x)
    return np.broadcast_to(np.where(mask != 0, 1.0, 0.0), x.shape)


def _scale(weight: Array, hits: Array) -> Array:
    taps = prod(weight.shape[1:])
    return np.where(hits > 0, taps / np.where(hits > 0, hits, 1), 0.0)
