"""Local response normalization: each map against its neighbors among the maps.

``local_response_forward(x, size) -> y, divisor``
``local_response_backward(grad, x, divisor, size) -> grad_x``

Not to be mistaken for local contrast normalization, which looks at surrounding places.
"""

import numpy as np

from convscope.kernels.reference.arrays import Array, Numbers, doubles


def local_response_forward(
    x: Numbers,
    size: int,
    *,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    average: bool = True,
) -> tuple[Array, Array]:
    """``y[n,c,i] = x[n,c,i] / d[n,c,i]^beta``, and the divisors d.

    ``d[n,c,i] = k + alpha / size * sum over the neighbors j of c of x[n,j,i]^2``, the
    neighbors being the maps from ``c - size // 2`` to ``c + (size - 1) // 2`` that
    there are.

    Args:
        x: Images.
        size: Neighbors, in maps, with the map itself.
        alpha: Factor of the squares.
        beta: Exponent.
        k: What the squares are added to.
        average: Whether ``alpha`` is divided by ``size``, as torch does; the paper
            does not.

    Shape:
        x:      (N, C, spatial...)
        return: like x, twice

    Source:
        Krizhevsky et al. 2012, section 3.3.

    >>> y, divisor = local_response_forward(
    ...     np.ones((1, 3, 1)), 3, alpha=1, beta=1, average=False
    ... )
    >>> y.ravel().round(3), divisor.ravel()
    (array([0.333, 0.25 , 0.333]), array([3., 4., 3.]))
    """
    (x,) = doubles(x)
    factor = alpha / size if average else alpha
    divisor = np.full_like(x, k)
    for c in range(x.shape[1]):
        for j in _neighbors(c, x.shape[1], size):
            divisor[:, c] += factor * x[:, j] ** 2
    return x / divisor**beta, divisor


def local_response_backward(
    grad: Numbers,
    x: Numbers,
    divisor: Numbers,
    size: int,
    *,
    alpha: float = 1e-4,
    beta: float = 0.75,
    average: bool = True,
) -> Array:
    """Each value counts in its own quotient and in the divisors of its neighbors.

    ``grad_x[n,j,i] = grad[n,j,i] / d[n,j,i]^beta - 2 beta a x[n,j,i] s[n,j,i]``, with
    ``a = alpha / size`` and
    ``s[n,j,i] = sum over the maps c that have j as a neighbor of
    grad[n,c,i] x[n,c,i] d[n,c,i]^(-beta-1)``

    Args:
        grad: Gradient of the loss for the output.
        x: What the forward pass was given.
        divisor: What the forward pass returned.
        size: As in the forward pass.
        alpha: As in the forward pass.
        beta: As in the forward pass.
        average: As in the forward pass.

    >>> x = np.ones((1, 1, 1))
    >>> _, divisor = local_response_forward(x, 1, alpha=1, beta=1)
    >>> local_response_backward(x, x, divisor, 1, alpha=1, beta=1)  # of x / (1 + x^2)
    array([[[0.]]])
    """
    grad, x, divisor = doubles(grad, x, divisor)
    factor = alpha / size if average else alpha
    grad_x = grad / divisor**beta
    for c in range(x.shape[1]):
        pull = grad[:, c] * x[:, c] * divisor[:, c] ** (-beta - 1)
        for j in _neighbors(c, x.shape[1], size):
            grad_x[:, j] -= 2 * beta * factor * x[:, j] * pull
    return grad_x


def _neighbors(c: int, maps: int, size: int) -> range:
    return range(max(0, c - size // 2), min(maps, c + (size - 1) // 2 + 1))
