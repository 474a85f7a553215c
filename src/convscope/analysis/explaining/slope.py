"""A number that a call uses, and how much each output changes with it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from convscope.analysis.explaining.site import Array, Index, Site

Places: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Variable:
    """A number that a call uses.

    Attributes:
        index: Where it is in its tensor.
        number: Which of the tensors that the call takes; -1 for a weight.
        parameter: The weight.
        name: What the layer calls the weight: ``weight``, ``bias``.
    """

    index: Index
    number: int = -1
    parameter: Tensor | None = None
    name: str = ""


@dataclass(frozen=True, eq=False)
class Slopes:
    """Outputs that use a number, and how much each changes with it.

    Attributes:
        what: What the slope is, in words.
        outputs: Their indices, (terms, axes); the same output may come more than once.
        values: The slopes, (terms,).
        parts: Where a slope is a sum, what it is made of, by name.
        units: By how many rounding units a slope may be off besides its own.
    """

    what: str
    outputs: Places
    values: Array
    parts: Mapping[str, Array] | None = None
    units: float = 0.0


def at(site: Site, index: Index) -> Site:
    """The same call at another output."""
    return replace(site, index=index)


def listed(what: str, outputs: list[Index], values: list[float], axes: int) -> Slopes:
    """Slopes from lists; ``axes`` of the output."""
    places = np.array(outputs, dtype=np.int64).reshape(len(outputs), axes)
    return Slopes(what, places, np.array(values, dtype=np.float64))
