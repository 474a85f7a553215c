"""How a kernel lies on an input: the arguments of a convolution, read once.

``read_geometry(x, weight, ...) -> Geometry``   one number per axis, all checked
``correlate(x, weight, bias, geometry)``        torch's convolution on it
"""

from collections.abc import Callable
from typing import NamedTuple, TypeGuard

from torch import Tensor
from torch.nn import functional as F

from convscope.arithmetic import (
    PaddingLike,
    PerAxis,
    kernel_span,
    output_shape,
    per_axis,
    require_groups,
    resolve_paddings,
)
from convscope.errors import ShapeError
from convscope.functional.operands import require_plain

_TORCH: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
WEIGHT = "(C_out, C_in / groups, *kernel)"


class Geometry(NamedTuple):
    """Where the windows of a convolution lie, per spatial axis."""

    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def axes(self) -> int:
        """Spatial axes."""
        return len(self.stride)


def read_geometry(
    x: Tensor,
    weight: Tensor,
    stride: PerAxis,
    padding: PaddingLike,
    dilation: PerAxis,
    groups: int,
    where: str,
) -> Geometry:
    """The arguments of `functional.conv`, after all of them were found to fit."""
    axes = _require_operands(x, weight, groups, where)
    sizes, taps = x.shape[-axes:], weight.shape[2:]
    strides, spread, pairs = stride, dilation, padding
    if not _is_read(strides, axes, 1):
        strides = per_axis(stride, axes, name="stride", where=where)
    if not _is_read(spread, axes, 1):
        spread = per_axis(dilation, axes, name="dilation", where=where)
    if _is_read(padding, axes, 0):
        pairs = tuple([(amount, amount) for amount in padding])
    else:
        pairs = resolve_paddings(
            padding, sizes, taps, stride=strides, dilation=spread, where=where
        )
    for size, tap, pair, step in zip(sizes, taps, pairs, spread, strict=True):
        if size < 1 or size + sum(pair) < kernel_span(tap, step):
            output_shape(sizes, taps, padding=pairs, dilation=spread, where=where)
    return Geometry(strides, pairs, spread, groups)


def correlate(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
) -> Tensor:
    """Convolution with zeros around; only what one end has more of is a copy."""
    stride, padding, dilation, groups = geometry
    both = [min(pair) for pair in padding]
    if both != [max(pair) for pair in padding]:
        more = [
            amount - least
            for pair, least in zip(reversed(padding), reversed(both), strict=True)
            for amount in pair
        ]
        x = F.pad(x, more)
    return _TORCH[geometry.axes](x, weight, bias, stride, both, dilation, groups)


def _is_read(value: object, axes: int, minimum: int) -> TypeGuard[tuple[int, ...]]:
    """Whether it is one integer per axis already, as layers hold it; takes no time."""
    if type(value) is not tuple or len(value) != axes:
        return False
    return not [one for one in value if type(one) is not int or one < minimum]


def reversed_kernel(weight: Tensor) -> Tensor:
    """The kernel from its last tap to its first, along every spatial axis."""
    return weight.flip(tuple(range(2, weight.ndim)))


def require_rank(
    x: Tensor, weight: Tensor, where: str, letters: str, axes: int | None = None
) -> int:
    """The number of spatial axes, after the ranks were found to belong together."""
    require_plain(x, where)
    require_plain(weight, where, "weight")
    found = weight.ndim - 2
    if found not in (1, 2, 3) if axes is None else found != axes:
        one_of = "1, 2 or 3" if axes is None else str(axes)
        raise ShapeError(
            f"{where}: weight has shape {tuple(weight.shape)}, which is {weight.ndim} "
            f"axes. Give {letters} with {one_of} spatial {_axes(axes or 3)}."
        )
    if x.ndim not in (found + 1, found + 2):
        raise ShapeError(
            f"{where}: x has shape {tuple(x.shape)}, which is {x.ndim} axes, and the "
            f"weight has {found} spatial {_axes(found)}. Give x {found + 2} axes, or "
            f"{found + 1} without a batch."
        )
    return found


def _require_operands(x: Tensor, weight: Tensor, groups: int, where: str) -> int:
    axes = require_rank(x, weight, where, WEIGHT)
    channels = x.shape[-axes - 1]
    if type(groups) is int and groups == 1 and channels == weight.shape[1] > 0:
        return axes
    require_groups(where, channels, weight.shape[0], groups)
    if channels != weight.shape[1] * groups:
        raise ShapeError(
            f"{where}: x has {channels} channels, and weight {tuple(weight.shape)} "
            f"with groups={groups} takes {weight.shape[1] * groups}. Give x that many, "
            f"or weight {channels // groups} on its second axis."
        )
    return axes


def _axes(number: int) -> str:
    return "axis" if number == 1 else "axes"
