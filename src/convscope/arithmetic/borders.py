"""Which element stands in for one beyond the border."""

from typing import Literal, get_args

BorderMode = Literal[
    "zeros", "constant", "reflect", "symmetric", "replicate", "circular"
]
"""What lies beyond the border."""
BORDER_MODES: tuple[BorderMode, ...] = get_args(BorderMode)
"""Every `BorderMode`."""
PaddingMode = Literal[BorderMode, "partial"]
"""What a convolution pads with; ``partial`` weights up what is there instead."""
PADDING_MODES: tuple[PaddingMode, ...] = get_args(PaddingMode)
"""Every `PaddingMode`."""


def border_element(position: int, size: int, mode: BorderMode) -> int | None:
    """The element of an axis that is found at ``position``, on the axis or beyond it.

    =============  =====================================================
    ``replicate``  the nearest element: 0 or ``size - 1``
    ``circular``   the position modulo ``size``
    ``symmetric``  mirrored at the outer edges, so that the border comes twice
    ``reflect``    mirrored at the outermost elements
    the others     none: what is there is no element of the input
    =============  =====================================================

    Args:
        position: Where to look; negative before the first element.
        size: Length of the axis, in elements.
        mode: What padding holds.

    >>> [border_element(i, 4, "reflect") for i in range(-2, 6)]
    [2, 1, 0, 1, 2, 3, 2, 1]
    """
    if 0 <= position < size:
        return position
    if mode == "replicate":
        return min(max(position, 0), size - 1)
    if mode == "circular":
        return position % size
    if mode == "symmetric":
        turn = 2 * size
        return min(position % turn, turn - 1 - position % turn)
    if mode == "reflect":
        turn = 2 * (size - 1)
        return min(position % turn, turn - position % turn)
    return None
