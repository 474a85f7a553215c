"""Locally connected layers: windows as in a convolution, weights of their own at each.

``locally_connected_forward(x, weight, bias) -> y``
``locally_connected_backward(grad, x, weight) -> grad_x, grad_weight, grad_bias``
"""

import numpy as np

from convscope.arithmetic import PaddingLike
from convscope.errors import ShapeError
from convscope.kernels.reference.arrays import (
    Array,
    Numbers,
    doubles,
    each_group,
    require_channels,
    require_groups,
)
from convscope.kernels.reference.windows import PerAxis, each_window


def locally_connected_forward(
    x: Numbers,
    weight: Numbers,
    bias: Numbers | None = None,
    *,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Array:
    """A correlation whose kernel and bias differ from place to place.

    ``y[n,o,i] = bias[o,i] + sum over c, p of x[n,c,i*stride + p*dilation] w[i,o,c,p]``

    Args:
        x: Images.
        weight: One kernel per place: ``weight[i, j]`` is that of a correlation.
        bias: One number per map and place.
        stride: Step from one window to the next, in elements.
        padding: Elements of 0 around the input.
        dilation: Step from one tap to the next, in elements.
        groups: Parts of the channels that do not see each other.

    Shape:
        x:      (N, C_in, spatial...)
        weight: (places..., C_out, C_in / groups, taps...)
        bias:   (C_out, places...)
        return: (N, C_out, places...)

    Raises:
        ShapeError: Rank, channels or places do not fit together.

    >>> weight = np.array([[[[1, 10]]], [[[0, -1]]]])  # one for each of 2 places
    >>> locally_connected_forward(np.array([[[1, 2, 4]]]), weight)
    array([[[21., -4.]]])
    """
    x, weight = doubles(x, weight)
    axes = (weight.ndim - 2) // 2
    sizes, taps = weight.shape[:axes], weight.shape[axes + 2 :]
    maps, channels = weight.shape[axes : axes + 2]
    where = "locally_connected_forward"
    require_channels(where, x, channels * groups, axes)
    require_groups(where, groups, x.shape[1], maps)
    places = list(
        each_window(
            x.shape[2:], taps, stride=stride, padding=padding, dilation=dilation
        )
    )
    found = tuple(index + 1 for index in places[-1][0])
    if found != sizes:
        raise ShapeError(
            f"{where}: weight has kernels for {sizes} places, the input has {found}. "
            f"Give a weight of shape {(*found, maps, channels, *taps)}."
        )
    y = np.zeros((len(x), maps, *sizes))
    for place, window in places:
        for tap, element in window:
            for c, o in each_group(x.shape[1], maps, groups):
                y[:, o, *place] += x[:, c, *element] @ weight[*place, o, :, *tap].T
    return y if bias is None else y + doubles(bias)[0]


def locally_connected_backward(
    grad: Numbers,
    x: Numbers,
    weight: Numbers,
    *,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    """As for a correlation, but no gradient of a weight is summed over the places.

    With ``j = i*stride + p*dilation``, the element under tap ``p`` of window ``i``:

    ``grad_x[n,c,j]        = sum over o and over all i, p that meet j of
    grad[n,o,i] w[i,o,c,p]``
    ``grad_weight[i,o,c,p] = sum over n of grad[n,o,i] x[n,c,j]``
    ``grad_bias[o,i]       = sum over n of grad[n,o,i]``

    Args:
        grad: Gradient of the loss for the output.
        x: What the forward pass was given.
        weight: What the forward pass was given.
        stride: As in the forward pass.
        padding: As in the forward pass.
        dilation: As in the forward pass.
        groups: As in the forward pass.

    >>> weight = np.array([[[[1, 10]]], [[[0, -1]]]])
    >>> grads = locally_connected_backward(
    ...     np.array([[[1, 1]]]), np.array([[[1, 2, 4]]]), weight
    ... )
    >>> [g.ravel().tolist() for g in grads]
    [[1.0, 10.0, -1.0], [1.0, 2.0, 2.0, 4.0], [1.0, 1.0]]
    """
    grad, x, weight = doubles(grad, x, weight)
    taps = weight.shape[x.ndim :]
    grad_x, grad_weight = np.zeros_like(x), np.zeros_like(weight)
    for place, window in each_window(
        x.shape[2:], taps, stride=stride, padding=padding, dilation=dilation
    ):
        for tap, element in window:
            for c, o in each_group(x.shape[1], grad.shape[1], groups):
                back = grad[:, o, *place]
                grad_x[:, c, *element] += back @ weight[*place, o, :, *tap]
                grad_weight[*place, o, :, *tap] += back.T @ x[:, c, *element]
    return grad_x, grad_weight, grad.sum(axis=0)
