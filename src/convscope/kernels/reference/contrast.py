"""Local contrast normalization: each place against its surroundings, over all maps.

``subtractive_forward(x, window) -> v``
``subtractive_backward(grad, window) -> grad_x``
``divisive_forward(v, window, threshold) -> y, deviation``
``divisive_backward(grad, v, deviation, window, threshold) -> grad_v``
``gaussian_window(kernel_size, sigma) -> window``

The lectures' normalization is the first followed by the second. ``window`` is one
weight per tap; the weights are scaled to the sum 1 over maps and taps.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from convscope.kernels.reference.arrays import Array, Numbers, Place, doubles
from convscope.kernels.reference.windows import each_window

Border = Literal["partial", "zeros"]


def gaussian_window(kernel_size: Sequence[int], sigma: float) -> Array:
    """``w[p] = exp(-|p - center|^2 / (2 sigma^2))``, scaled to the sum 1.

    Args:
        kernel_size: Window lengths, in taps.
        sigma: Standard deviation, in taps.

    >>> gaussian_window((3,), 1.0).round(3)
    array([0.274, 0.452, 0.274])
    """
    weights = np.zeros(tuple(kernel_size))
    for tap in np.ndindex(*kernel_size):
        away = sum(
            (p - (taps - 1) / 2) ** 2 for p, taps in zip(tap, kernel_size, strict=True)
        )
        weights[tap] = np.exp(-away / (2 * sigma**2))
    return np.asarray(weights / weights.sum())


def subtractive_forward(
    x: Numbers, window: Numbers, border: Border = "partial"
) -> Array:
    """``v[n,c,i] = x[n,c,i] - sum over k, p of w[p] x[n,k,i+p]``, the local mean.

    Args:
        x: Images.
        window: One weight per tap.
        border: What becomes of taps outside the image: with ``"partial"`` the weights
            inside are scaled to the sum 1, with ``"zeros"`` there are zeros, as
            published.

    Shape:
        x:      (N, C, spatial...)
        window: (taps...)
        return: like x

    Source:
        Jarrett et al., ICCV 2009, section 2.1.

    >>> subtractive_forward(np.array([[[3, 3, 9]]]), np.ones(3))
    array([[[ 0., -2.,  3.]]])
    """
    (x,) = doubles(x)
    if border == "partial":  # weights that sum to 1 see no shift, their rounding would
        x = x - x.max(axis=tuple(range(1, x.ndim)), keepdims=True)
    v = x.copy()
    for place, weights in _each_surrounding(x.shape, window, border):
        for element, w in weights:
            v[:, :, *place] -= w * x[:, :, *element].sum(axis=1, keepdims=True)
    return v


def subtractive_backward(
    grad: Numbers, window: Numbers, border: Border = "partial"
) -> Array:
    """Each value counts at its own place, and with ``-w`` in every mean it is part of.

    ``grad_x[n,k,j] = grad[n,k,j] - sum over c, and all i, p with i+p=j, of
    w[p] grad[n,c,i]``

    Args:
        grad: Gradient of the loss for ``v``.
        window: What the forward pass was given.
        border: What the forward pass was given.

    >>> subtractive_backward(np.array([[[0, 1, 0]]]), np.ones(3)).round(3)
    array([[[-0.333,  0.667, -0.333]]])
    """
    (grad,) = doubles(grad)
    grad_x = grad.copy()
    for place, weights in _each_surrounding(grad.shape, window, border):
        for element, w in weights:
            grad_x[:, :, *element] -= w * grad[:, :, *place].sum(axis=1, keepdims=True)
    return grad_x


def divisive_forward(
    v: Numbers,
    window: Numbers,
    threshold: float | Literal["mean"] = "mean",
    border: Border = "partial",
) -> tuple[Array, Array]:
    """``y[n,c,i] = v[n,c,i] / max(t, deviation[n,i])``, and the deviations.

    ``deviation[n,i] = sqrt(sum over k, p of w[p] v[n,k,i+p]^2)``

    Args:
        v: Images, as a rule with their local means subtracted.
        window: One weight per tap.
        threshold: t, a number above 0; or the mean of the image's deviations.
        border: As in `subtractive_forward`.

    Shape:
        v:      (N, C, spatial...)
        window: (taps...)
        return: like v, and the deviations (N, spatial...)

    Source:
        Jarrett et al., ICCV 2009, section 2.1. Where the divisor is 0 the result is 0.

    >>> y, deviation = divisive_forward(np.array([[[1, 4, 0]]]), np.ones(1), 2.0)
    >>> y.tolist(), deviation.tolist()
    ([[[0.5, 1.0, 0.0]]], [[1.0, 4.0, 0.0]])
    """
    (v,) = doubles(v)
    variance = np.zeros((len(v), *v.shape[2:]))
    for place, weights in _each_surrounding(v.shape, window, border):
        for element, w in weights:
            variance[:, *place] += w * (v[:, :, *element] ** 2).sum(axis=1)
    deviation = np.sqrt(variance)
    divisor = np.maximum(_threshold(deviation, threshold), deviation)
    return v / np.where(divisor > 0, divisor, 1)[:, None], deviation


def divisive_backward(
    grad: Numbers,
    v: Numbers,
    deviation: Numbers,
    window: Numbers,
    threshold: float | Literal["mean"] = "mean",
    border: Border = "partial",
) -> Array:
    """The quotient's two ways: the numerator, and the deviation where it divides.

    With ``d = max(t, deviation)``:

    ``grad_d[n,i] = - sum over c of grad[n,c,i] v[n,c,i] / d[n,i]^2``
    ``grad_deviation[n,i] = grad_d[n,i] where deviation > t, else 0``; where t is the
    mean of the deviations, each of them gets an equal share of ``sum of grad_d where
    deviation <= t`` too
    ``grad_v[n,k,j] = grad[n,k,j] / d[n,j] + sum over all i, p with i+p=j of
    grad_deviation[n,i] w[p] v[n,k,j] / deviation[n,i]``

    Args:
        grad: Gradient of the loss for ``y``.
        v: What the forward pass was given.
        deviation: What the forward pass returned.
        window: What the forward pass was given.
        threshold: What the forward pass was given.
        border: What the forward pass was given.

    >>> v = np.array([[[1.0, 4.0]]])
    >>> y, deviation = divisive_forward(v, np.ones(1), 2.0)
    >>> divisive_backward(np.ones((1, 1, 2)), v, deviation, np.ones(1), 2.0)
    array([[[0.5, 0. ]]])
    """
    grad, v, deviation = doubles(grad, v, deviation)
    t = _threshold(deviation, threshold)
    d = np.maximum(t, deviation)
    d = np.where(d > 0, d, 1)
    grad_v = grad / d[:, None]
    grad_d = -(grad * v).sum(axis=1) / d**2
    grad_deviation = np.where(deviation > t, grad_d, 0.0)
    if threshold == "mean":
        for n in range(len(v)):
            share = grad_d[n][deviation[n] <= t[n]].sum() / deviation[n].size
            grad_deviation[n] += share
    slope = grad_deviation / np.where(deviation > 0, deviation, 1)
    for place, weights in _each_surrounding(v.shape, window, border):
        for element, w in weights:
            grad_v[:, :, *element] += w * v[:, :, *element] * slope[:, None, *place]
    return grad_v


def _threshold(deviation: Array, threshold: float | Literal["mean"]) -> Array:
    if threshold != "mean":
        return np.full((1,) * deviation.ndim, threshold)
    places = tuple(range(1, deviation.ndim))
    return np.asarray(deviation.mean(axis=places, keepdims=True))


def _each_surrounding(
    shape: Sequence[int], window: Numbers, border: Border
) -> Iterator[tuple[Place, list[tuple[Place, float]]]]:
    """Each place with the elements around it and the weight of each."""
    (window,) = doubles(window)
    maps, total = shape[1], window.sum()
    for place, taps in each_window(shape[2:], window.shape, padding="same"):
        inside = sum(window[tap] for tap, _ in taps) if border == "partial" else total
        yield (
            place,
            [(element, float(window[tap] / inside / maps)) for tap, element in taps],
        )
