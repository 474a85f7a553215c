"""Batch norm, in training by the batch's statistics, in evaluation by the running ones.

``batch_norm_forward(x, gamma, beta) -> y, BatchStatistics``
``batch_norm_backward(grad, gamma, statistics) -> grad_x, grad_gamma, grad_beta``
``running_statistics_update(running_mean, running_variance, statistics) -> both anew``
``batch_norm_evaluation_forward(x, gamma, beta, running_mean, running_variance) -> y``
``batch_norm_evaluation_backward(grad, x, gamma, running_mean, running_variance)
-> grad_x, grad_gamma, grad_beta``

All of it happens to each map ``c`` alone, over the ``m`` values that the images of the
batch have there: over n and i, the image and the place.
"""

from typing import NamedTuple

import numpy as np

from convscope.errors import ShapeError
from convscope.kernels.reference.arrays import (
    Array,
    Numbers,
    doubles,
    per_map,
    sum_per_map,
)


class BatchStatistics(NamedTuple):
    """What the forward pass found, and the way back needs.

    Attributes:
        normalized: x with mean 0 and variance 1 in each map.
        mean: Mean of each map over the batch.
        variance: Mean of the squared distances from it.
        epsilon: What was added to the variance.
    """

    normalized: Array
    mean: Array
    variance: Array
    epsilon: float


def batch_norm_forward(
    x: Numbers, gamma: Numbers, beta: Numbers, epsilon: float = 1e-5
) -> tuple[Array, BatchStatistics]:
    """Mean 0 and variance 1 in each map, then a learned scale and shift.

    ``mean[c]       = 1/m sum over n, i of x[n,c,i]``
    ``variance[c]   = 1/m sum over n, i of (x[n,c,i] - mean[c])^2``
    ``normalized    = (x - mean) / sqrt(variance + epsilon)``
    ``y             = gamma[c] normalized + beta[c]``

    Args:
        x: Images.
        gamma: Scale of each map.
        beta: Shift of each map.
        epsilon: Keeps the divisor from being 0.

    Shape:
        x:      (N, C, spatial...), any number of spatial axes, also none
        return: like x

    Raises:
        ShapeError: There is one value per map, whose variance is 0 whatever it is.

    Source:
        Ioffe & Szegedy, arXiv:1502.03167, algorithm 1.

    >>> y, _ = batch_norm_forward(np.array([[1], [3]]), np.array([2]), np.array([5]))
    >>> y.round(3).tolist()
    [[3.0], [7.0]]
    """
    (x,) = doubles(x)
    maps = x.shape[1]
    m = x.size // maps
    if m < 2:
        raise ShapeError(
            f"batch_norm_forward: x={x.shape} has {m} values per map, which have no "
            "variance. Give 2 images or more, or use batch_norm_evaluation_forward."
        )
    mean, variance, normalized = np.zeros(maps), np.zeros(maps), np.zeros_like(x)
    for c in range(maps):
        mean[c] = x[:, c].sum() / m
        variance[c] = ((x[:, c] - mean[c]) ** 2).sum() / m
        normalized[:, c] = (x[:, c] - mean[c]) / np.sqrt(variance[c] + epsilon)
    y = per_map(gamma, x) * normalized + per_map(beta, x)
    return y, BatchStatistics(normalized, mean, variance, epsilon)


def batch_norm_backward(
    grad: Numbers, gamma: Numbers, statistics: BatchStatistics
) -> tuple[Array, Array, Array]:
    """Each value has three ways to the loss: itself, the mean, and the variance.

    With ``g = grad * gamma[c]``, the gradient for the normalized values:

    ``grad_x = (g - mean of g - normalized * mean of (g * normalized)) / sqrt(variance +
    epsilon)``, the means over n and i. The first subtraction is the way through the
    mean, the second that through the variance.

    ``grad_gamma[c] = sum over n, i of grad * normalized``
    ``grad_beta[c]  = sum over n, i of grad``

    Args:
        grad: Gradient of the loss for the output.
        gamma: What the forward pass was given.
        statistics: What the forward pass returned.

    >>> x = np.array([[1.0], [3.0], [8.0]])
    >>> _, statistics = batch_norm_forward(x, np.ones(1), np.zeros(1))
    >>> grad_x, _, _ = batch_norm_backward(np.ones((3, 1)), np.ones(1), statistics)
    >>> bool((np.abs(grad_x) < 1e-12).all())  # no input can shift all outputs
    True
    """
    grad, gamma = doubles(grad, gamma)
    normalized, _, variance, epsilon = statistics
    grad_x = np.zeros_like(grad)
    for c in range(grad.shape[1]):
        g, hat = grad[:, c] * gamma[c], normalized[:, c]
        through_all = g - g.mean() - hat * (g * hat).mean()
        grad_x[:, c] = through_all / np.sqrt(variance[c] + epsilon)
    return grad_x, sum_per_map(grad * normalized), sum_per_map(grad)


def running_statistics_update(
    running_mean: Numbers,
    running_variance: Numbers,
    statistics: BatchStatistics,
    momentum: float = 0.1,
) -> tuple[Array, Array]:
    """``running = (1 - momentum) * running + momentum * batch``.

    The batch's variance is scaled by ``m / (m - 1)`` for this: an estimate of that of
    all images, which the batch's own falls short of on average.

    Args:
        running_mean: Mean of each map so far.
        running_variance: Variance of each map so far.
        statistics: What the forward pass returned.
        momentum: Share of the new, in [0, 1].

    >>> x = np.array([[1.0], [3.0]])
    >>> _, statistics = batch_norm_forward(x, np.ones(1), np.zeros(1))
    >>> running_statistics_update(np.zeros(1), np.ones(1), statistics)
    (array([0.2]), array([1.1]))
    """
    running_mean, running_variance = doubles(running_mean, running_variance)
    m = statistics.normalized.size // len(statistics.mean)
    unbiased = statistics.variance * m / (m - 1)
    return (
        (1 - momentum) * running_mean + momentum * statistics.mean,
        (1 - momentum) * running_variance + momentum * unbiased,
    )


def batch_norm_evaluation_forward(
    x: Numbers,
    gamma: Numbers,
    beta: Numbers,
    running_mean: Numbers,
    running_variance: Numbers,
    epsilon: float = 1e-5,
) -> Array:
    """The same by the running mean and variance instead of the batch's.

    ``y = gamma[c] (x - mean[c]) / sqrt(variance[c] + epsilon) + beta[c]``

    Args:
        x: Images; one is enough.
        gamma: Scale of each map.
        beta: Shift of each map.
        running_mean: Mean of each map.
        running_variance: Variance of each map.
        epsilon: As in training.

    Shape:
        x:      (N, C, spatial...), any number of spatial axes, also none
        return: like x

    >>> one = np.ones(1)
    >>> batch_norm_evaluation_forward(np.array([[5]]), 2 * one, one, one, 4 * one, 0)
    array([[5.]])
    """
    (x,) = doubles(x)
    deviation = np.sqrt(per_map(running_variance, x) + epsilon)
    normalized = (x - per_map(running_mean, x)) / deviation
    return per_map(gamma, x) * normalized + per_map(beta, x)


def batch_norm_evaluation_backward(
    grad: Numbers,
    x: Numbers,
    gamma: Numbers,
    running_mean: Numbers,
    running_variance: Numbers,
    epsilon: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """``grad_x = grad * gamma[c] / sqrt(running_variance[c] + epsilon)``.

    The statistics do not depend on ``x`` here, so that one way is left of three.
    ``grad_gamma`` and ``grad_beta`` are the sums of `batch_norm_backward`.

    Args:
        grad: Gradient of the loss for the output.
        x: What the forward pass was given.
        gamma: What the forward pass was given.
        running_mean: What the forward pass was given.
        running_variance: What the forward pass was given.
        epsilon: As in the forward pass.

    >>> one = np.ones(1)
    >>> grads = batch_norm_evaluation_backward(
    ...     np.array([[3]]), np.array([[5]]), 2 * one, one, 4 * one, 0
    ... )
    >>> [g.ravel().tolist() for g in grads]
    [[3.0], [6.0], [3.0]]
    """
    grad, x = doubles(grad, x)
    deviation = np.sqrt(per_map(running_variance, x) + epsilon)
    normalized = (x - per_map(running_mean, x)) / deviation
    grad_x = grad * per_map(gamma, x) / deviation
    return grad_x, sum_per_map(grad * normalized), sum_per_map(grad)
