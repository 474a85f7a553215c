"""What stands around an image: zeros, a value, or the image's own values again.

``pad_forward(x, padding, mode) -> y``
``pad_backward(grad, sizes, padding, mode) -> grad_x``
"""

from collections.abc import Sequence
from typing import get_args

import numpy as np

from convscope.arithmetic import BorderMode, border_element
from convscope.errors import UnknownNameError
from convscope.kernels.reference.arrays import Array, Numbers, Place, doubles


def pad_forward(
    x: Numbers,
    padding: Sequence[tuple[int, int]],
    mode: BorderMode = "zeros",
    value: float = 0.0,
) -> Array:
    """``y[n,c,i] = x[n,c,source(i - before)]``, or the value where there is no source.

    Of an axis of ``size`` elements, the source of place ``i`` is

    =============  =====================================================
    ``zeros``      i, if it is on the image; the value is 0
    ``constant``   i, if it is on the image
    ``replicate``  the nearest element: 0 or ``size - 1``
    ``circular``   i modulo ``size``
    ``symmetric``  i mirrored at the outer edges, so that the border comes twice
    ``reflect``    i mirrored at the outermost elements
    =============  =====================================================

    Args:
        x: Images.
        padding: Elements added ``(before, after)``, for each spatial axis.
        mode: Where they come from.
        value: What ``constant`` adds.

    Shape:
        x:      (N, C, spatial...)
        return: (N, C, longer spatial...)

    Raises:
        UnknownNameError: Another mode.

    >>> pad_forward(np.array([[[1, 2, 3, 4]]]), [(2, 2)], "reflect")
    array([[[3., 2., 1., 2., 3., 4., 3., 2.]]])
    """
    (x,) = doubles(x)
    sizes = x.shape[2:]
    longer = [size + sum(pair) for size, pair in zip(sizes, padding, strict=True)]
    y = np.full((*x.shape[:2], *longer), value if mode == "constant" else 0.0)
    for place in np.ndindex(*longer):
        source = _source(place, sizes, padding, mode)
        if None not in source:
            y[:, :, *place] = x[:, :, *source]
    return y


def pad_backward(
    grad: Numbers,
    sizes: Sequence[int],
    padding: Sequence[tuple[int, int]],
    mode: BorderMode = "zeros",
) -> Array:
    """Each element gets the gradients of all places that show it.

    ``grad_x[n,c,j] = sum over i with source(i - before) = j of grad[n,c,i]``

    Args:
        grad: Gradient of the loss for the output.
        sizes: Spatial sizes of the input, in elements.
        padding: As in the forward pass.
        mode: As in the forward pass.

    >>> pad_backward(np.ones((1, 1, 8)), (4,), [(2, 2)], "reflect")
    array([[[1., 3., 3., 1.]]])
    """
    (grad,) = doubles(grad)
    grad_x = np.zeros((*grad.shape[:2], *sizes))
    for place in np.ndindex(grad.shape[2:]):
        source = _source(place, sizes, padding, mode)
        if None not in source:
            grad_x[:, :, *source] += grad[:, :, *place]
    return grad_x


def _source(
    place: Place,
    sizes: Sequence[int],
    padding: Sequence[tuple[int, int]],
    mode: BorderMode,
) -> Place:
    if mode not in get_args(BorderMode):
        raise UnknownNameError("mode", mode, get_args(BorderMode))
    return tuple(
        border_element(i - before, size, mode)
        for i, size, (before, _) in zip(place, sizes, padding, strict=True)
    )
