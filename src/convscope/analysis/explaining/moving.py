"""What moves numbers without changing them, and what weighs them by fixed numbers.

Where a number comes from is asked of the operation itself: it is called again on the
numbers of the elements in place of their values. What it weighs an element by is the
slope of the operation.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope.analysis.explaining.site import (
    Detail,
    Index,
    Rule,
    Site,
    Source,
    converted,
    one,
    place_text,
    shown,
)
from convscope.analysis.tracing.calls import tensors_of
from convscope.execution.outputs import map_tensors

MOST = 2**22  # elements of an input whose numbers are moved
TERMS = 16  # that a line shows


@dataclass(frozen=True, eq=False)
class Moved:
    """A copy of an element, or a constant.

    Attributes:
        what: The operation.
        value: The number.
        source: The element that it is a copy of; None for a constant.
        several: Whether there is more than one input.
        tolerance: 0, or what a change of number format may change.
    """

    what: str
    value: float
    source: Source | None
    several: bool
    tolerance: float = 0.0

    @property
    def follows(self) -> Source | None:
        """The element."""
        return self.source

    @property
    def lines(self) -> tuple[str, ...]:
        """Where it comes from."""
        if self.source is None:
            return (f"{self.what}: a constant = {shown(self.value)}",)
        number, index = self.source
        which = f"input {number + 1} at " if self.several else ""
        return (f"{self.what}: from {which}{place_text(index)} = {shown(self.value)}",)

    def to_dict(self) -> dict[str, Any]:
        """The source by number and index."""
        source = None
        if self.source is not None:
            source = {"input": self.source[0], "index": list(self.source[1])}
        return {"operation": self.what, "source": source}


@dataclass(frozen=True, eq=False)
class Weighted:
    """Elements of the input, each times a number that does not depend on them.

    Attributes:
        what: The operation.
        indices: The elements of the input.
        numbers: Their values.
        weights: What each is multiplied by.
        constant: What is added.
        unit: Rounding unit of the network's arithmetic.
    """

    what: str
    indices: tuple[Index, ...]
    numbers: tuple[float, ...]
    weights: tuple[float, ...]
    constant: float
    unit: float

    @property
    def value(self) -> float:
        """The number."""
        return math.fsum(self._products()) + self.constant

    def _products(self) -> list[float]:
        return [n * w for n, w in zip(self.numbers, self.weights, strict=True)]

    @property
    def tolerance(self) -> float:
        """Of a sum: a unit for each term. Weights may be rounded as often again."""
        size = math.fsum(map(abs, self._products())) + abs(self.constant)
        return (len(self.numbers) + 32) * self.unit * size

    @property
    def follows(self) -> Source | None:
        """None: it was made from many."""
        return None

    @property
    def lines(self) -> tuple[str, ...]:
        """Terms and their sum."""
        pairs = list(zip(self.numbers, self.weights, strict=True))
        parts = [f"{shown(n)}*{shown(w)}" for n, w in pairs[:TERMS]]
        if len(pairs) > TERMS:
            rest = math.fsum(self._products()[TERMS:])
            parts.append(f"({len(pairs) - TERMS} more: {shown(rest)})")
        if self.constant:
            parts.append(shown(self.constant))
        return (f"{self.what}: {' + '.join(parts) or '0'} = {shown(self.value)}",)

    def to_dict(self) -> dict[str, Any]:
        """Terms as lists."""
        return {
            "operation": self.what,
            "indices": [list(index) for index in self.indices],
            "numbers": list(self.numbers),
            "weights": list(self.weights),
            "constant": self.constant,
        }


def moved(site: Site) -> Detail | None:
    """Where the number comes from, by moving the numbers of the elements."""
    inputs = [t for t in site.inputs if t.is_floating_point()]
    total = sum(t.numel() for t in inputs)
    if not inputs or total > MOST:
        return None
    places = []
    for shift in (1, total + 1):
        started = shift

        def numbered(tensor: Tensor) -> Tensor:
            nonlocal started
            if not tensor.is_floating_point() or site.number_of(tensor) < 0:
                return tensor
            numbers = torch.arange(tensor.numel(), dtype=torch.float64) + started
            started += tensor.numel()
            return numbers.reshape(tensor.shape).to(tensor.device)

        given = map_tensors(numbered, (site.args, dict(site.kwargs)))
        made = _same_output(site, site.again(*given[0], **given[1]))
        if made is None:
            return None
        places.append(one(made, site.index))
    what = _what(site)
    several = len(inputs) > 1
    if places[0] == places[1]:
        return Moved(what, places[0], None, several)
    if places[1] - places[0] != total or places[0] != int(places[0]):
        return None
    element = int(places[0]) - 1
    for tensor in inputs:
        if element < tensor.numel():
            index = tuple(map(int, np.unravel_index(element, tuple(tensor.shape))))
            number = one(tensor, index)
            cast = tensor.dtype != site.output.dtype
            slack = site.unit * abs(number) if cast else 0.0
            return Moved(what, number, (site.number_of(tensor), index), several, slack)
        element -= tensor.numel()
    return None


def _same_output(site: Site, result: Any) -> Tensor | None:
    """Of several tensors, the one that is explained."""
    made = tensors_of(result)
    fitting = [t for t in made if t.shape == site.output.shape]
    number = site.output_number
    if number < len(made) and made[number].shape == site.output.shape:
        return made[number]
    return fitting[0] if fitting else None


def weighted(site: Site) -> Detail | None:
    """Values times slopes, of an operation that weighs its first input."""
    x = site.x.detach().double().requires_grad_()
    made = _at(site, x)
    if made is None or not made.requires_grad:
        return None
    (slope,) = torch.autograd.grad(made, x)
    constant = _at(site, torch.zeros_like(x))
    places = slope.nonzero()
    numbers = x.detach()[tuple(places.T)].tolist()
    return Weighted(
        _what(site), tuple(tuple(map(int, p)) for p in places.tolist()),
        tuple(numbers), tuple(slope[tuple(places.T)].tolist()),
        0.0 if constant is None else float(constant.item()), site.unit,
    )  # fmt: skip


def _at(site: Site, x: Tensor) -> Tensor | None:
    """The number for another first input, in float64."""
    waiting = [site.x]

    def widened(tensor: Tensor) -> Tensor:
        if waiting and tensor is waiting[0]:
            waiting.clear()
            return x
        return tensor.double() if tensor.is_floating_point() else tensor

    args, kwargs = map_tensors(widened, (site.args, dict(site.kwargs)))
    with torch.enable_grad():
        if site.module is None:
            result = site.call.function(*args, **kwargs)
        else:
            with converted(site.module, torch.float64, {}) as module:
                result = module(*args, **kwargs)
    made = _same_output(site, result)
    return None if made is None else made[site.index]


def cast(site: Site) -> Detail | None:
    """The same number in another format."""
    if site.x.shape != site.output.shape:
        return None
    number = one(site.x, site.index)
    slack = site.unit * abs(number) if site.x.dtype != site.output.dtype else 0.0
    return Moved(_what(site), number, (0, site.index), False, slack)


def extreme(site: Site) -> Detail | None:
    """The largest or smallest along an axis: the slope is 1 at the one that it is."""
    return weighted(site) if len(site.inputs) == 1 else None


def interpolated(site: Site) -> Detail | None:
    """A copy of the nearest element, or neighbors weighed by their distance."""
    mode = site.setting(3, "mode", "nearest")
    return moved(site) if "nearest" in mode else weighted(site)


def _what(site: Site) -> str:
    return site.call.name if site.module is None else type(site.module).__name__


_PADS = ("ZeroPad", "ConstantPad", "ReflectionPad", "ReplicationPad", "CircularPad")
_UNPOOL = [f"MaxUnpool{axes}d" for axes in (1, 2, 3)]
RULES = (
    Rule(
        "moving numbers",
        moved,
        [
            "Identity", "Flatten", "Unflatten", "PixelShuffle", "PixelUnshuffle",
            "ChannelShuffle", "Unfold", *_UNPOOL,
            *(f"{name}{axes}d" for name in _PADS for axes in (1, 2, 3)),
        ],
        [
            "flatten", "unflatten", "reshape", "view", "view_as", "reshape_as",
            "permute", "transpose", "swapaxes", "movedim", "t", "get", "unsqueeze",
            "squeeze", "contiguous", "clone", "detach", "getitem", "expand",
            "expand_as", "narrow", "select", "chunk", "split", "tensor_split", "unbind",
            "cat", "concat", "concatenate", "stack", "hstack", "vstack", "pad", "roll",
            "flip", "repeat", "tile", "repeat_interleave", "pixel_shuffle",
            "pixel_unshuffle", "channel_shuffle", "unfold", "index_select", "gather",
            "max_unpool1d", "max_unpool2d", "max_unpool3d", "diagonal", "rot90",
            "broadcast_to", "take_along_dim", "where", "masked_fill", "tril", "triu",
            "diag_embed", "constant_pad_nd",
        ],
    ),
    Rule(
        "number format", cast, [],
        ["float", "double", "half", "bfloat16", "to", "type", "type_as"],
    ),
    Rule(
        "extreme", extreme, [], ["amax", "amin", "max", "min", "sort", "topk", "median"]
    ),
    Rule(
        "interpolation",
        interpolated,
        ["Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"],
        ["interpolate", "upsample"],
    ),
    Rule(
        "weighing",
        weighted,
        ["Fold", "Bilinear"],
        ["mean", "sum", "fold", "cumsum", "matmul", "bmm", "mm", "bilinear", "einsum"],
    ),
)  # fmt: skip
