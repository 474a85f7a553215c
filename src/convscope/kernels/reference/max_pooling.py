"""Max pooling: the winner of each window takes all, forward and backward.

``max_pooling_forward(x, kernel_size) -> y, winners``
``max_pooling_backward(grad, winners, sizes) -> grad_x``
``max_unpooling_forward(x, winners, sizes) -> y``
``max_unpooling_backward(grad, winners) -> grad_x``
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.arithmetic import CeilMode, PaddingLike, output_shape
from convscope.kernels.reference.arrays import Array, Numbers, doubles
from convscope.kernels.reference.windows import PerAxis, each_window


def max_pooling_forward(
    x: Numbers,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    ceil_mode: CeilMode = False,
) -> tuple[Array, NDArray[np.int64]]:
    """``y[n,c,i] = max over p of x[n, c, i*stride + p*dilation]``, and where it was.

    Of equal values the first in row order wins. A NaN wins over every number, and
    the last of several, as in torch. The padding never wins: a window that holds
    nothing else gives -inf, and its winner is -1.

    Args:
        x: Images.
        kernel_size: Window lengths, in taps.
        stride: Step from one window to the next; by default the window's length.
        padding: Places around the input where windows may begin or end.
        dilation: Step from one tap to the next, in elements.
        ceil_mode: Whether, and by whose rule, a last window may reach past the end.

    Shape:
        x:      (N, C, spatial...)
        return: (N, C, places...), and winners of the same shape: the index of each in
            its map, counted in row order

    >>> y, winners = max_pooling_forward(np.array([[[5, 5, 1, 7]]]), 2)
    >>> y.tolist(), winners.tolist()
    ([[[5.0, 7.0]]], [[[0, 3]]])
    """
    (x,) = doubles(x)
    stride = kernel_size if stride is None else stride
    sizes = output_shape(
        x.shape[2:],
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        where="max_pooling_forward",
    )
    y = np.full((*x.shape[:2], *sizes), -np.inf)
    winners = np.full(y.shape, -1, dtype=np.int64)
    for place, window in each_window(
        x.shape[2:],
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    ):
        for n, c in np.ndindex(x.shape[:2]):
            for number, (_, element) in enumerate(window):
                value = x[n, c, *element]
                if number == 0 or value > y[n, c, *place] or np.isnan(value):
                    y[n, c, *place] = value
                    winners[n, c, *place] = np.ravel_multi_index(element, x.shape[2:])
    return y, winners


def max_pooling_backward(
    grad: Numbers, winners: NDArray[Any], sizes: Sequence[int]
) -> Array:
    """The gradient goes to the winners only; one that won twice gets both.

    ``grad_x[n,c,j] = sum over the windows i that j won of grad[n,c,i]``

    Args:
        grad: Gradient of the loss for the output.
        winners: What the forward pass returned.
        sizes: Spatial sizes of the input, in elements.

    >>> max_pooling_backward(np.array([[[1, 2]]]), np.array([[[0, 3]]]), (4,))
    array([[[1., 0., 0., 2.]]])
    """
    (grad,) = doubles(grad)
    grad_x = np.zeros((*grad.shape[:2], prod(sizes)))
    for n, c, *place in np.ndindex(grad.shape):
        winner = winners[n, c, *place]
        if winner >= 0:
            grad_x[n, c, winner] += grad[n, c, *place]
    return grad_x.reshape(*grad.shape[:2], *sizes)


def max_unpooling_forward(
    x: Numbers, winners: NDArray[Any], sizes: Sequence[int]
) -> Array:
    """``y[n,c,winners[n,c,i]] = x[n,c,i]``, and 0 at all other places.

    Args:
        x: What a max pooling gave, or something of that shape.
        winners: What that pooling returned; -1 belongs to no place.
        sizes: Spatial sizes of the output, in elements.

    Shape:
        x, winners: (N, C, places...)
        return:     (N, C, sizes...)

    Source:
        Zeiler & Fergus, arXiv:1311.2901, section 2.1: the switches of unpooling.

    >>> max_unpooling_forward(np.array([[[5, 7]]]), np.array([[[0, 3]]]), (4,))
    array([[[5., 0., 0., 7.]]])
    """
    (x,) = doubles(x)
    y = np.zeros((*x.shape[:2], prod(sizes)))
    for n, c, *place in np.ndindex(x.shape):
        winner = winners[n, c, *place]
        if winner >= 0:
            y[n, c, winner] = x[n, c, *place]
    return y.reshape(*x.shape[:2], *sizes)


def max_unpooling_backward(grad: Numbers, winners: NDArray[Any]) -> Array:
    """``grad_x[n,c,i] = grad[n,c,winners[n,c,i]]``.

    Args:
        grad: Gradient of the loss for the output.
        winners: What the forward pass was given.

    >>> max_unpooling_backward(np.array([[[1, 2, 3, 4]]]), np.array([[[0, 3]]]))
    array([[[1., 4.]]])
    """
    (grad,) = doubles(grad)
    flat = grad.reshape(*grad.shape[:2], -1)
    grad_x = np.zeros(winners.shape)
    for n, c, *place in np.ndindex(winners.shape):
        winner = winners[n, c, *place]
        if winner >= 0:
            grad_x[n, c, *place] = flat[n, c, winner]
    return grad_x
