"""What happens to each value alone: sigmoid, tanh, ReLU, absolute value, GELU, gain.

Each ``..._forward(x)`` gives ``y``. The way back takes what its formula is written in:
``sigmoid_backward(grad, y)`` and ``tanh_backward(grad, y)`` the output, the others the
input: ``relu_backward(grad, x)``.
"""

import math

import numpy as np

from convscope.kernels.reference.arrays import Array, Numbers, doubles, per_map


def sigmoid_forward(x: Numbers) -> Array:
    """``y = 1 / (1 + exp(-x))``.

    >>> sigmoid_forward(np.array([0.0]))
    array([0.5])
    """
    (x,) = doubles(x)
    return np.exp(-np.logaddexp(0.0, -x))  # the same, but exp(-x) may overflow


def sigmoid_backward(grad: Numbers, y: Numbers) -> Array:
    """``grad_x = grad * y * (1 - y)``.

    >>> sigmoid_backward(np.array([1.0]), np.array([0.5]))
    array([0.25])
    """
    grad, y = doubles(grad, y)
    return grad * y * (1 - y)


def tanh_forward(x: Numbers) -> Array:
    """``y = (exp(x) - exp(-x)) / (exp(x) + exp(-x))``.

    >>> tanh_forward(np.array([0.0]))
    array([0.])
    """
    return np.tanh(doubles(x)[0])


def tanh_backward(grad: Numbers, y: Numbers) -> Array:
    """``grad_x = grad * (1 - y^2)``.

    >>> tanh_backward(np.array([1.0]), np.array([0.5]))
    array([0.75])
    """
    grad, y = doubles(grad, y)
    return grad * (1 - y**2)


def relu_forward(x: Numbers) -> Array:
    """``y = max(0, x)``.

    >>> relu_forward(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return np.maximum(doubles(x)[0], 0.0)


def relu_backward(grad: Numbers, x: Numbers) -> Array:
    """``grad_x = grad`` where ``x > 0``, else 0; at the kink 0, as in torch.

    >>> relu_backward(np.array([5.0, 5.0, 5.0]), np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 5.])
    """
    grad, x = doubles(grad, x)
    return np.where(x > 0, grad, 0.0)


def absolute_forward(x: Numbers) -> Array:
    """``y = |x|``: rectification, which forgets whether an edge is dark or bright.

    >>> absolute_forward(np.array([-1.0, 2.0]))
    array([1., 2.])
    """
    return np.abs(doubles(x)[0])


def absolute_backward(grad: Numbers, x: Numbers) -> Array:
    """``grad_x = grad * sign(x)``; at the kink 0, as in torch.

    >>> absolute_backward(np.array([5.0, 5.0, 5.0]), np.array([-1.0, 0.0, 2.0]))
    array([-5.,  0.,  5.])
    """
    grad, x = doubles(grad, x)
    return grad * np.sign(x)


def gelu_forward(x: Numbers) -> Array:
    """``y = x * P(x)``, with ``P(x) = (1 + erf(x / sqrt 2)) / 2``.

    ``P(x)`` is the chance that a standard normal number is below ``x``.

    Source:
        Hendrycks & Gimpel, arXiv:1606.08415, the exact form.

    >>> gelu_forward(np.array([0.0, 1.0])).round(4)
    array([0.    , 0.8413])
    """
    (x,) = doubles(x)
    return x * _normal_below(x)


def gelu_backward(grad: Numbers, x: Numbers) -> Array:
    """``grad_x = grad * (P(x) + x * exp(-x^2 / 2) / sqrt(2 pi))``.

    >>> gelu_backward(np.array([1.0]), np.array([0.0]))
    array([0.5])
    """
    grad, x = doubles(grad, x)
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return grad * (_normal_below(x) + x * density)


def gain_forward(x: Numbers, gain: Numbers) -> Array:
    """``y[n,j,i] = gain[j] * tanh(x[n,j,i])``: a learned factor for each map ``j``.

    Source:
        Jarrett et al. 2009, section 2.1: the filter bank layer's ``g_j tanh``.

    >>> gain_forward(np.array([[[0.0]]]), np.array([2.0]))
    array([[[0.]]])
    """
    return per_map(gain, x) * tanh_forward(x)


def gain_backward(grad: Numbers, x: Numbers, gain: Numbers) -> tuple[Array, Array]:
    """``grad_x = grad * gain[j] * (1 - tanh(x)^2)``; ``grad_gain`` is a sum.

    ``grad_gain[j] = sum over n, i of grad[n,j,i] * tanh(x[n,j,i])``

    >>> grads = gain_backward(np.ones((1, 1, 2)), np.zeros((1, 1, 2)), np.array([3.0]))
    >>> [g.ravel().tolist() for g in grads]
    [[3.0, 3.0], [0.0]]
    """
    grad, x = doubles(grad, x)
    y = tanh_forward(x)
    grad_gain = (grad * y).sum(axis=(0, *range(2, x.ndim)))
    return tanh_backward(grad * per_map(gain, x), y), grad_gain


def _normal_below(x: Array) -> Array:
    below = np.empty_like(x)
    for place in np.ndindex(x.shape):
        below[place] = (1 + math.erf(x[place] / math.sqrt(2))) / 2
    return below
