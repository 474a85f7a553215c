"""Adaptive and global pooling: as many windows as outputs are wanted, of any size.

``adaptive_average_forward(x, outputs) -> y``
``adaptive_average_backward(grad, sizes) -> grad_x``
``adaptive_max_forward(x, outputs) -> y, winners``; back with `max_pooling_backward`

With one output per axis they are global pooling.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from convscope.arithmetic import adaptive_windows
from convscope.kernels.reference.arrays import Array, Numbers, Place, doubles


def adaptive_average_forward(x: Numbers, outputs: Sequence[int]) -> Array:
    """``y[n,c,i] = 1/m sum over the m elements j of window i of x[n,c,j]``.

    Along an axis, window ``i`` runs from ``floor(i * size / outputs)`` up to, not
    including, ``ceil((i + 1) * size / outputs)``.

    Args:
        x: Images.
        outputs: Output sizes, one per spatial axis.

    Shape:
        x:      (N, C, spatial...)
        return: (N, C, outputs...)

    Source:
        ``torch.nn.functional.adaptive_avg_pool2d``.

    >>> adaptive_average_forward(np.array([[[1, 2, 3, 4, 5]]]), (2,))
    array([[[2., 4.]]])
    """
    (x,) = doubles(x)
    y = np.zeros((*x.shape[:2], *outputs))
    for place, elements in _each_window(x.shape[2:], outputs):
        for element in elements:
            y[:, :, *place] += x[:, :, *element] / len(elements)
    return y


def adaptive_average_backward(grad: Numbers, sizes: Sequence[int]) -> Array:
    """Each window spreads its gradient evenly over its m elements.

    ``grad_x[n,c,j] = sum over the windows i that hold j of grad[n,c,i] / m[i]``

    Args:
        grad: Gradient of the loss for the output.
        sizes: Spatial sizes of the input, in elements.

    >>> adaptive_average_backward(np.array([[[3, 6]]]), (5,))
    array([[[1., 1., 3., 2., 2.]]])
    """
    (grad,) = doubles(grad)
    grad_x = np.zeros((*grad.shape[:2], *sizes))
    for place, elements in _each_window(sizes, grad.shape[2:]):
        for element in elements:
            grad_x[:, :, *element] += grad[:, :, *place] / len(elements)
    return grad_x


def adaptive_max_forward(
    x: Numbers, outputs: Sequence[int]
) -> tuple[Array, NDArray[np.int64]]:
    """The largest element of each window, the first in row order, and where it was.

    The windows are those of `adaptive_average_forward`; a NaN wins over every number.

    Args:
        x: Images.
        outputs: Output sizes, one per spatial axis.

    Shape:
        x:      (N, C, spatial...)
        return: (N, C, outputs...), and winners of the same shape: the index of each in
            its map, counted in row order

    >>> y, winners = adaptive_max_forward(np.array([[[1, 7, 7, 2, 5]]]), (2,))
    >>> y.tolist(), winners.tolist()
    ([[[7.0, 7.0]]], [[[1, 2]]])
    """
    (x,) = doubles(x)
    y = np.zeros((*x.shape[:2], *outputs))
    winners = np.zeros(y.shape, dtype=np.int64)
    for place, elements in _each_window(x.shape[2:], outputs):
        for n, c in np.ndindex(x.shape[:2]):
            for number, element in enumerate(elements):
                value = x[n, c, *element]
                if number == 0 or value > y[n, c, *place] or np.isnan(value):
                    y[n, c, *place] = value
                    winners[n, c, *place] = np.ravel_multi_index(element, x.shape[2:])
    return y, winners


def _each_window(
    sizes: Sequence[int], outputs: Sequence[int]
) -> Iterator[tuple[Place, list[Place]]]:
    tables = [adaptive_windows(*pair) for pair in zip(sizes, outputs, strict=True)]
    for place in np.ndindex(*outputs):
        rows = [table[index] for table, index in zip(tables, place, strict=True)]
        yield place, list(product(*rows))
