"""Pooling by sums: average, Lp, and the trainable subsampling of LeNet-5.

``average_pooling_forward(x, kernel_size) -> y``
``average_pooling_backward(grad, sizes, kernel_size) -> grad_x``
``lp_pooling_forward(x, kernel_size, power) -> y``
``lp_pooling_backward(grad, x, y, kernel_size, power) -> grad_x``
``subsampling_forward(x, coefficient, bias, kernel_size) -> y``
``subsampling_backward(grad, x, coefficient, kernel_size) -> grad_x, grad_coefficient,
grad_bias``
"""

from collections.abc import Sequence
from math import prod

import numpy as np

from convscope.arithmetic import (
    CeilMode,
    PaddingLike,
    output_shape,
    per_axis,
    resolve_paddings,
)
from convscope.errors import ArgumentError
from convscope.kernels.reference.arrays import (
    Array,
    Numbers,
    Place,
    doubles,
    per_map,
    sum_per_map,
)
from convscope.kernels.reference.windows import PerAxis, each_window


def average_pooling_forward(
    x: Numbers,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: PaddingLike = 0,
    ceil_mode: CeilMode = False,
    count_include_pad: bool = True,
) -> Array:
    """``y[n,c,i] = 1/m sum over p of x[n, c, i*stride + p]``.

    The divisor ``m`` is the number of taps: ``m = k^2`` for a square window of side
    ``k``. Taps that a ``ceil_mode`` puts behind the padding do not count; with
    ``count_include_pad=False`` only those on the input do.

    Args:
        x: Images.
        kernel_size: Window lengths, in taps.
        stride: Step from one window to the next; by default the window's length.
        padding: Elements of 0 around the input.
        ceil_mode: Whether, and by whose rule, a last window may reach past the end.
        count_include_pad: Whether taps on the padding count in the divisor.

    Shape:
        x:      (N, C, spatial...)
        return: (N, C, places...)

    >>> average_pooling_forward(np.array([[[1, 3, 5, 9]]]), 2)
    array([[[2., 7.]]])
    """
    (x,) = doubles(x)
    stride = kernel_size if stride is None else stride
    sizes = output_shape(
        x.shape[2:],
        kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        where="average_pooling_forward",
    )
    y = np.zeros((*x.shape[:2], *sizes))
    for place, window in each_window(
        x.shape[2:], kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode
    ):
        m = len(window)
        if count_include_pad:
            m = _padded_taps(place, x.shape[2:], kernel_size, stride, padding)
        for _, element in window:
            y[:, :, *place] += x[:, :, *element] / m
    return y


def average_pooling_backward(
    grad: Numbers,
    sizes: Sequence[int],
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: PaddingLike = 0,
    ceil_mode: CeilMode = False,
    count_include_pad: bool = True,
) -> Array:
    """Each window spreads its gradient evenly: ``1/m`` to every element in it.

    ``grad_x[n,c,j] = 1/m sum over the windows i that hold j of grad[n,c,i]``

    Args:
        grad: Gradient of the loss for the output.
        sizes: Spatial sizes of the input, in elements.
        kernel_size: As in the forward pass.
        stride: As in the forward pass.
        padding: As in the forward pass.
        ceil_mode: As in the forward pass.
        count_include_pad: As in the forward pass.

    >>> average_pooling_backward(np.array([[[4, 8]]]), (4,), 2)
    array([[[2., 2., 4., 4.]]])
    """
    (grad,) = doubles(grad)
    stride = kernel_size if stride is None else stride
    grad_x = np.zeros((*grad.shape[:2], *sizes))
    for place, window in each_window(
        sizes, kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode
    ):
        m = len(window)
        if count_include_pad:
            m = _padded_taps(place, sizes, kernel_size, stride, padding)
        for _, element in window:
            grad_x[:, :, *element] += grad[:, :, *place] / m
    return grad_x


def lp_pooling_forward(
    x: Numbers,
    kernel_size: PerAxis,
    power: float,
    *,
    stride: PerAxis | None = None,
    padding: PaddingLike = 0,
    ceil_mode: CeilMode = False,
) -> Array:
    """``y[n,c,i] = (sum over p of x[n,c,i*stride + p]^P)^(1/P)``, with P the power.

    The larger P is, the nearer to the maximum. Where P is odd, powers and root keep the
    sign, so that P = 1 gives the sum; where it is not whole, magnitudes are raised.

    Args:
        x: Images.
        kernel_size: Window lengths, in taps.
        power: P, at least 1.
        stride: Step from one window to the next; by default the window's length.
        padding: Elements of 0 around the input.
        ceil_mode: Whether, and by whose rule, a last window may reach past the end.

    Shape:
        x:      (N, C, spatial...)
        return: (N, C, places...)

    Raises:
        ArgumentError: ``power`` is below 1.

    Source:
        Sermanet, Chintala & LeCun, arXiv:1204.3968, without their Gaussian weights;
        and torch, which gives NaN for a negative sum, and with ``ceil_mode`` scales up
        a window that reaches past the end.

    >>> lp_pooling_forward(np.array([[[3, -4]]]), 2, 2)
    array([[[5.]]])
    """
    if not power >= 1:
        raise ArgumentError(
            f"lp_pooling_forward: power={power} is below 1. Use power=1 or more."
        )
    (x,) = doubles(x)
    stride = kernel_size if stride is None else stride
    sizes = output_shape(
        x.shape[2:],
        kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        where="lp_pooling_forward",
    )
    y = np.zeros((*x.shape[:2], *sizes))
    for place, window in each_window(
        x.shape[2:], kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode
    ):
        for _, element in window:
            value = x[:, :, *element]
            sign = np.sign(value) if power % 2 == 1 else 1
            y[:, :, *place] += sign * np.abs(value) ** power
    return np.sign(y) * np.abs(y) ** (1 / power)


def lp_pooling_backward(
    grad: Numbers,
    x: Numbers,
    y: Numbers,
    kernel_size: PerAxis,
    power: float,
    *,
    stride: PerAxis | None = None,
    padding: PaddingLike = 0,
    ceil_mode: CeilMode = False,
) -> Array:
    """``grad_x[n,c,j] = sum over i of grad[n,c,i] s (|x[n,c,j]| / |y[n,c,i]|)^(P-1)``.

    ``s`` is 1 where P is odd, else the sign of ``x[n,c,j]``. Where ``y`` is 0 the root
    has no slope, and nothing is passed back, unless P is 1.

    Args:
        grad: Gradient of the loss for the output.
        x: What the forward pass was given.
        y: What the forward pass returned.
        kernel_size: As in the forward pass.
        power: As in the forward pass.
        stride: As in the forward pass.
        padding: As in the forward pass.
        ceil_mode: As in the forward pass.

    >>> x = np.array([[[3, -4]]])
    >>> lp_pooling_backward(np.array([[[10]]]), x, lp_pooling_forward(x, 2, 2), 2, 2)
    array([[[ 6., -8.]]])
    """
    grad, x, y = doubles(grad, x, y)
    stride = kernel_size if stride is None else stride
    grad_x = np.zeros_like(x)
    for place, window in each_window(
        x.shape[2:], kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode
    ):
        root = np.where(y[:, :, *place] == 0, np.inf, np.abs(y[:, :, *place]))
        for _, element in window:
            value = x[:, :, *element]
            sign = 1 if power % 2 == 1 else np.sign(value)
            share = (np.abs(value) / root) ** (power - 1)
            grad_x[:, :, *element] += grad[:, :, *place] * sign * share
    return grad_x


def subsampling_forward(
    x: Numbers,
    coefficient: Numbers,
    bias: Numbers,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: PaddingLike = 0,
) -> Array:
    """``y[n,c,i] = bias[c] + coefficient[c] * sum over p of x[n, c, i*stride + p]``.

    Args:
        x: Images.
        coefficient: One trainable number per map.
        bias: One trainable number per map.
        kernel_size: Window lengths, in taps.
        stride: Step from one window to the next; by default the window's length.
        padding: Elements of 0 around the input.

    Shape:
        x:      (N, C, spatial...)
        return: (N, C, places...)

    Source:
        LeCun et al. 1998, section II.B: the inputs are added, not averaged. The
        squashing function that follows there is a step of its own here.

    >>> x = np.array([[[1, 3, 5, 9]]])
    >>> subsampling_forward(x, np.array([0.5]), np.array([1]), 2)
    array([[[3., 8.]]])
    """
    sums = _sums(x, kernel_size, stride, padding)
    return per_map(coefficient, sums) * sums + per_map(bias, sums)


def subsampling_backward(
    grad: Numbers,
    x: Numbers,
    coefficient: Numbers,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: PaddingLike = 0,
) -> tuple[Array, Array, Array]:
    """Every element of a window gets ``coefficient[c]`` times the window's gradient.

    ``grad_coefficient[c] = sum over n, i, p of grad[n,c,i] x[n,c,i*stride + p]``
    ``grad_bias[c]        = sum over n, i of grad[n,c,i]``

    Args:
        grad: Gradient of the loss for the output.
        x: What the forward pass was given.
        coefficient: What the forward pass was given.
        kernel_size: As in the forward pass.
        stride: As in the forward pass.
        padding: As in the forward pass.

    >>> grads = subsampling_backward(
    ...     np.array([[[1, 2]]]), np.array([[[1, 3, 5, 9]]]), np.array([0.5]), 2
    ... )
    >>> [g.ravel().tolist() for g in grads]
    [[0.5, 0.5, 1.0, 1.0], [32.0], [3.0]]
    """
    grad, x = doubles(grad, x)
    stride = kernel_size if stride is None else stride
    scaled, grad_x = grad * per_map(coefficient, grad), np.zeros_like(x)
    for place, window in each_window(
        x.shape[2:], kernel_size, stride=stride, padding=padding
    ):
        for _, element in window:
            grad_x[:, :, *element] += scaled[:, :, *place]
    grad_coefficient = sum_per_map(grad * _sums(x, kernel_size, stride, padding))
    return grad_x, grad_coefficient, sum_per_map(grad)


def _sums(
    x: Numbers, kernel_size: PerAxis, stride: PerAxis | None, padding: PaddingLike
) -> Array:
    (x,) = doubles(x)
    stride = kernel_size if stride is None else stride
    sizes = output_shape(
        x.shape[2:],
        kernel_size,
        stride=stride,
        padding=padding,
        where="subsampling_forward",
    )
    y = np.zeros((*x.shape[:2], *sizes))
    for place, window in each_window(
        x.shape[2:], kernel_size, stride=stride, padding=padding
    ):
        for _, element in window:
            y[:, :, *place] += x[:, :, *element]
    return y


def _padded_taps(
    place: Place,
    sizes: Sequence[int],
    kernel_size: PerAxis,
    stride: PerAxis,
    padding: PaddingLike,
) -> int:
    """Taps of a window on the padded input; behind it only a ceil_mode puts some."""
    axes = len(sizes)
    kernels = per_axis(kernel_size, axes, name="kernel_size")
    strides = per_axis(stride, axes, name="stride")
    pairs = resolve_paddings(padding, sizes, kernel_size, stride=stride)
    return prod(
        min(kernels[axis], sizes[axis] + sum(pairs[axis]) - place[axis] * strides[axis])
        for axis in range(axes)
    )
