"""Fully connected layers.

``fully_connected_forward(x, weight, bias) -> y``
``fully_connected_backward(grad, x, weight) -> grad_x, grad_weight, grad_bias``
"""

import numpy as np

from convscope.errors import ShapeError
from convscope.kernels.reference.arrays import Array, Numbers, doubles


def fully_connected_forward(
    x: Numbers, weight: Numbers, bias: Numbers | None = None
) -> Array:
    """``y[n,o] = bias[o] + sum over i of w[o,i] x[n,i]``.

    Args:
        x: One row of features per image.
        weight: One row of weights per output.
        bias: One number per output.

    Shape:
        x:      (N, in_features)
        weight: (out_features, in_features)
        return: (N, out_features)

    Raises:
        ShapeError: ``x`` has not as many features as ``weight`` has columns.

    >>> fully_connected_forward(np.array([[1, 2]]), np.array([[3, 4]]), np.array([5]))
    array([[16.]])
    """
    x, weight = doubles(x, weight)
    outputs, features = weight.shape
    if x.ndim != 2 or x.shape[1] != features:
        raise ShapeError(
            f"fully_connected_forward: x has shape {x.shape}, the weight is for "
            f"(N, {features}). Flatten each image to one row of {features} values."
        )
    y = np.zeros((len(x), outputs))
    for o in range(outputs):
        y[:, o] = x @ weight[o]
    return y if bias is None else y + doubles(bias)[0]


def fully_connected_backward(
    grad: Numbers, x: Numbers, weight: Numbers
) -> tuple[Array, Array, Array]:
    """Each output passes its gradient to what it was made of.

    ``grad_x[n,i]      = sum over o of grad[n,o] w[o,i]``
    ``grad_weight[o,i] = sum over n of grad[n,o] x[n,i]``
    ``grad_bias[o]     = sum over n of grad[n,o]``

    Args:
        grad: Gradient of the loss for the output.
        x: What the forward pass was given.
        weight: What the forward pass was given.

    >>> grads = fully_connected_backward(
    ...     np.array([[1]]), np.array([[1, 2]]), np.array([[3, 4]])
    ... )
    >>> [g.tolist() for g in grads]
    [[[3.0, 4.0]], [[1.0, 2.0]], [1.0]]
    """
    grad, x, weight = doubles(grad, x, weight)
    grad_x, grad_weight = np.zeros_like(x), np.zeros_like(weight)
    for o in range(len(weight)):
        grad_x += np.outer(grad[:, o], weight[o])
        grad_weight[o] = grad[:, o] @ x
    return grad_x, grad_weight, grad.sum(axis=0)
