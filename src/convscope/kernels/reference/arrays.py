"""What every definition takes and gives: arrays of float64."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from convscope.errors import ShapeError

Array: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = NDArray[Any]  # of any type; computed in float64
Place: TypeAlias = tuple[Any, ...]  # ints, one per axis; Any may stand beside slices


def doubles(*arrays: Numbers) -> list[Array]:
    """The same numbers as float64.

    >>> doubles(np.ones(2, dtype=np.float32))
    [array([1., 1.])]
    """
    return [np.asarray(array, dtype=np.float64) for array in arrays]


def per_map(values: Numbers, x: Numbers) -> Array:
    """One value per map, shaped so that it meets axis 1 of ``x``.

    >>> per_map(np.ones(3), np.ones((2, 3, 5, 5))).shape
    (3, 1, 1)
    """
    return np.asarray(values, dtype=np.float64).reshape(-1, *[1] * (x.ndim - 2))


def sum_per_map(values: Array) -> Array:
    """The sum over images and places: one value per map, axis 1.

    >>> sum_per_map(np.ones((2, 3, 5, 5)))
    array([50., 50., 50.])
    """
    return np.asarray(values.sum(axis=(0, *range(2, values.ndim))))


def each_group(
    in_channels: int, out_channels: int, groups: int
) -> Iterator[tuple[slice, slice]]:
    """Input and output channels of each group; no group sees those of another.

    >>> list(each_group(4, 6, 2))
    [(slice(0, 2, None), slice(0, 3, None)), (slice(2, 4, None), slice(3, 6, None))]
    """
    inputs, outputs = in_channels // groups, out_channels // groups
    for group in range(groups):
        yield (
            slice(group * inputs, (group + 1) * inputs),
            slice(group * outputs, (group + 1) * outputs),
        )


def require_channels(where: str, x: Numbers, channels: int, axes: int) -> None:
    """Refuse an input of another rank, or with other channels on axis 1.

    Raises:
        ShapeError: ``x`` is not ``(N, channels, spatial...)`` of ``axes`` axes.
    """
    if x.ndim == axes + 2 and x.shape[1] == channels:
        return
    spatial = {1: "L", 2: "H, W", 3: "D, H, W"}.get(axes, f"{axes} spatial axes")
    raise ShapeError(
        f"{where}: x has shape {x.shape}, the weight is for (N, {channels}, "
        f"{spatial}). Give {channels} channels on axis 1 and {axes} spatial "
        f"{'axis' if axes == 1 else 'axes'}."
    )


def require_groups(
    where: str, groups: int, in_channels: int, out_channels: int
) -> None:
    """Refuse groups that do not divide the channels.

    Raises:
        ShapeError: The input's or the output's channels are no multiple of ``groups``.
    """
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise ShapeError(
            f"{where}: groups={groups} does not divide {in_channels} input and "
            f"{out_channels} output channels. Use a divisor of both."
        )
