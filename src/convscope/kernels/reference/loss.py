"""Softmax with cross-entropy: probabilities, and what the truth costs under them.

``softmax(logits) -> probabilities``
``cross_entropy_forward(logits, labels) -> loss, probabilities``
``cross_entropy_backward(probabilities, labels) -> grad_logits``
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.kernels.reference.arrays import Array, Numbers, doubles


def softmax(logits: Numbers) -> Array:
    """``p[n,k] = exp(z[n,k]) / sum over j of exp(z[n,j])``.

    The largest of each row is subtracted first, which changes no ``p`` and keeps exp
    from overflowing.

    Shape:
        logits: (N, classes)
        return: like logits

    >>> softmax(np.array([[0.0, 0.0]]))
    array([[0.5, 0.5]])
    """
    (z,) = doubles(logits)
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def cross_entropy_forward(logits: Numbers, labels: NDArray[Any]) -> tuple[float, Array]:
    """``loss = -1/N sum over n of log p[n, label[n]]``, and the probabilities.

    Args:
        logits: One number per image and class.
        labels: The true class of each image.

    Shape:
        logits: (N, classes)
        labels: (N,)
        return: one number, and (N, classes)

    >>> loss, p = cross_entropy_forward(np.array([[0.0, 0.0]]), np.array([1]))
    >>> round(loss, 4), p.tolist()
    (0.6931, [[0.5, 0.5]])
    """
    (z,) = doubles(logits)
    loss = 0.0
    for n, label in enumerate(labels):
        largest = z[n].max()  # log p from z itself: p may round to 0
        log_sum = largest + np.log(np.exp(z[n] - largest).sum())
        loss += (log_sum - z[n, label]) / len(labels)
    return float(loss), softmax(z)


def cross_entropy_backward(probabilities: Numbers, labels: NDArray[Any]) -> Array:
    """``grad_z[n,k] = (p[n,k] - y[n,k]) / N``, with y 1 for the true class, else 0.

    Args:
        probabilities: What the forward pass returned.
        labels: What the forward pass was given.

    >>> cross_entropy_backward(np.array([[0.5, 0.5]]), np.array([1]))
    array([[ 0.5, -0.5]])
    """
    (p,) = doubles(probabilities)
    truth = np.zeros_like(p)
    for n, label in enumerate(labels):
        truth[n, label] = 1
    return np.asarray((p - truth) / len(labels))
