"""A stage: filters, activation, rectification, normalization, pooling, in this order.

The unit that networks of convolutions are made of, with any part left out. Jarrett et
al. (2009) write it ``F_CSG-R_abs-N-P_A``; ``[Conv, ReLU, Pool] x N`` is N of them.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar, Literal, get_args, overload

from torch import Tensor, nn

from convscope.arithmetic import PaddingLike, PaddingMode, PerAxis
from convscope.errors import ArgumentError, UnknownNameError, explains_calls
from convscope.layers.batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from convscope.layers.contrast import (
    LocalContrastNorm1d,
    LocalContrastNorm2d,
    LocalContrastNorm3d,
)
from convscope.layers.conv import Conv1d, Conv2d, Conv3d
from convscope.layers.pool import (
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    LPPool1d,
    LPPool2d,
    LPPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from convscope.layers.rectify import Gain, Rectification
from convscope.layers.response import (
    LocalResponseNorm1d,
    LocalResponseNorm2d,
    LocalResponseNorm3d,
)
from convscope.layers.shape import require_input

StageActivation = Literal["relu", "tanh", "sigmoid", "gelu", "silu", "gain"]
Normalization = Literal["contrast", "response", "batch"]
Pooling = Literal["max", "average", "lp"]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
_FILTERS: dict[int, Any] = {1: Conv1d, 2: Conv2d, 3: Conv3d}
_CONTRAST: dict[int, Any] = {
    1: LocalContrastNorm1d,
    2: LocalContrastNorm2d,
    3: LocalContrastNorm3d,
}
_RESPONSE: dict[int, Any] = {
    1: LocalResponseNorm1d,
    2: LocalResponseNorm2d,
    3: LocalResponseNorm3d,
}
_BATCH: dict[int, Any] = {1: BatchNorm1d, 2: BatchNorm2d, 3: BatchNorm3d}
_MAX: dict[int, Any] = {1: MaxPool1d, 2: MaxPool2d, 3: MaxPool3d}
_AVERAGE: dict[int, Any] = {1: AvgPool1d, 2: AvgPool2d, 3: AvgPool3d}
_LP: dict[int, Any] = {1: LPPool1d, 2: LPPool2d, 3: LPPool3d}

# What each sign of the paper asks for; in the order in which they may stand.
_SIGNS: dict[str, tuple[int, dict[str, Any]]] = {
    "F": (0, {"activation": "gain"}),
    "F_CSG": (0, {"activation": "gain"}),
    "R": (1, {"rectification": True}),
    "R_abs": (1, {"rectification": True}),
    "N": (2, {"normalization": "contrast"}),
    "P_A": (3, {"pooling": "average"}),
    "P_M": (3, {"pooling": "max"}),
}


class _Stage(nn.Sequential):
    """A stage with ``axes`` spatial axes."""

    axes: ClassVar[int]

    @explains_calls
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        *,
        stride: PerAxis = 1,
        padding: PaddingLike = 0,
        padding_mode: PaddingMode = "zeros",
        groups: int = 1,
        bias: bool | None = None,
        activation: StageActivation | nn.Module | None = "relu",
        rectification: bool = False,
        normalization: Normalization | nn.Module | None = None,
        pooling: Pooling | nn.Module | None = None,
        pool_size: PerAxis | None = None,
        pool_stride: PerAxis | None = None,
    ) -> None:
        super().__init__()
        _require_pooling(type(self).__name__, pooling, pool_size, pool_stride)
        self.in_channels, self.out_channels = in_channels, out_channels
        axes = self.axes
        batch = normalization == "batch"
        self.filters = _FILTERS[axes](
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            groups=groups,
            bias=not batch if bias is None else bias,
            padding_mode=padding_mode,
        )
        normalizes = _normalization(normalization, axes, out_channels)
        if batch:
            self.normalization = normalizes
        if activation is not None:
            self.activation = _activation(activation, axes, out_channels)
        if rectification:
            self.rectification = Rectification()
        if normalizes is not None and not batch:
            self.normalization = normalizes
        if pooling is not None:
            self.pooling = _pooling(
                pooling, axes, 2 if pool_size is None else pool_size, pool_stride
            )

    def forward(self, x: Tensor) -> Tensor:
        """Through each part in turn."""
        require_input(self, x, self.axes, self.in_channels)
        for part in self:
            x = part(x)
        return x

    @overload
    def __getitem__(self, index: slice) -> nn.Sequential: ...
    @overload
    def __getitem__(self, index: int) -> nn.Module: ...
    def __getitem__(self, index: slice | int) -> nn.Module:
        """One part by number; several as a plain ``Sequential``."""
        parts = nn.Sequential(OrderedDict(self.named_children()))
        part: nn.Module = parts[index]
        return part

    @classmethod
    def of(
        cls,
        notation: str,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        *,
        stride: PerAxis = 1,
        padding: PaddingLike = 0,
        padding_mode: PaddingMode = "zeros",
        groups: int = 1,
        bias: bool | None = None,
        activation: StageActivation | nn.Module | None = None,
        normalization: Normalization | nn.Module | None = None,
        pooling: Pooling | nn.Module | None = None,
        pool_size: PerAxis | None = None,
        pool_stride: PerAxis | None = None,
    ) -> "_Stage":
        """A stage from the paper's notation, such as ``"F_CSG-R_abs-N-P_A"``.

        ``F`` or ``F_CSG``: filters, then a gain times tanh. ``R`` or ``R_abs``:
        absolute value. ``N``: local contrast normalization. ``P_A``: average pooling;
        ``P_M``: max pooling.

        Args:
            notation: The parts, with ``-`` between them.
            in_channels: Channels of the input.
            out_channels: Filters.
            kernel_size: Size of the filters, in taps.
            stride: This and what follows: as for the stage itself.
            padding: Around the input of the filters.
            padding_mode: What it holds.
            groups: Blocks of channels that do not see each other.
            bias: Whether the filters have one.
            activation: In place of the one that the notation asks for.
            normalization: In place of the one that the notation asks for.
            pooling: In place of the one that the notation asks for.
            pool_size: Size of the pooling windows, in elements.
            pool_stride: Steps between them, in elements.

        Raises:
            UnknownNameError: A part that the paper does not have.
            ArgumentError: Parts in another order, or without filters in front.

        Source:
            Jarrett et al., ICCV 2009, section 2.2 and table 1.
        """
        found: dict[str, Any] = {"activation": None}
        last = -1
        for sign in notation.replace(" ", "").split("-"):
            if sign not in _SIGNS:
                raise UnknownNameError("part of a stage", sign, _SIGNS)
            place, asks = _SIGNS[sign]
            if place <= last or (last < 0 < place):
                raise ArgumentError(
                    f"{cls.__name__}: notation={notation!r} has {sign!r} out of order. "
                    "Write F, then any of R, N and P_A or P_M, in this order."
                )
            last = place
            found |= asks
        instead = {
            "activation": activation,
            "normalization": normalization,
            "pooling": pooling,
        }
        found |= {part: value for part, value in instead.items() if value is not None}
        return cls(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            padding_mode=padding_mode,
            groups=groups,
            bias=bias,
            pool_size=pool_size,
            pool_stride=pool_stride,
            **found,
        )


class Stage2d(_Stage):
    """Filters, activation, rectification, normalization and pooling over an image.

    The parts are named ``filters``, ``activation``, ``rectification``,
    ``normalization`` and ``pooling``; those that are not asked for are not there. A
    part may also be given as a layer, for options that have no argument here.

    Args:
        in_channels: Channels of the input.
        out_channels: Filters.
        kernel_size: Size of the filters, in taps.
        stride: Steps between windows of the filters, in elements.
        padding: Around the input of the filters, as for `Conv2d`.
        padding_mode: What it holds, as for `Conv2d`.
        groups: Blocks of channels that do not see each other.
        bias: Whether the filters have one; by default unless batch normalization, which
            has its own, follows.
        activation: ``"relu"``, ``"tanh"``, ``"sigmoid"``, ``"gelu"``, ``"silu"``, or
            ``"gain"``: tanh times a trainable gain for each map.
        rectification: Whether the absolute value is taken.
        normalization: ``"contrast"``: local contrast, 9 elements wide; ``"response"``:
            local response as Krizhevsky et al. publish it; or ``"batch"``, which stands
            before the activation, as Ioffe & Szegedy put it.
        pooling: ``"max"``, ``"average"``, or ``"lp"`` for the Euclidean norm.
        pool_size: Size of the pooling windows, in elements; by default 2.
        pool_stride: Steps between them; by default ``pool_size``.

    Shape:
        x:      (N, in_channels, H, W) or (in_channels, H, W)
        return: (N, out_channels, H_out, W_out); sizes as of filters, then pooling

    Raises:
        UnknownNameError: No part of that name.
        ArgumentError: What the parts refuse; a size of pooling windows without a named
            pooling.
        ShapeError: Channels that do not fit; an input of another rank.

    Source:
        Jarrett et al., What is the best multi-stage architecture for object
        recognition?, ICCV 2009, section 2. There every stage has a gain and a tanh;
        here the activation is free.

    >>> stage = Stage2d(3, 16, 3, padding="same", pooling="max")
    >>> [name for name, _ in stage.named_children()]
    ['filters', 'activation', 'pooling']
    >>> published = Stage2d.of(
    ...     "F_CSG-R_abs-N-P_A", 1, 64, 9, pool_size=10, pool_stride=5
    ... )
    >>> [name for name, _ in published.named_children()]
    ['filters', 'activation', 'rectification', 'normalization', 'pooling']
    """

    axes = 2


class Stage1d(_Stage):
    """`Stage2d` along one axis: (N, C, L) or (C, L).

    >>> import torch
    >>> Stage1d(2, 4, 3, pooling="average")(torch.zeros(5, 2, 10)).shape
    torch.Size([5, 4, 4])
    """

    axes = 1


class Stage3d(_Stage):
    """`Stage2d` along three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> import torch
    >>> Stage3d(2, 4, 3, pooling="average")(torch.zeros(5, 2, 6, 6, 6)).shape
    torch.Size([5, 4, 2, 2, 2])
    """

    axes = 3


def _require_pooling(where: str, pooling: Any, size: Any, stride: Any) -> None:
    """Refuse the size of windows that nothing pools."""
    given = {"pool_size": size, "pool_stride": stride}
    named = [f"{n}={v!r}" for n, v in given.items() if v is not None]
    if named and not isinstance(pooling, str):
        what = "is a layer, with windows of its own" if pooling else "pools nothing"
        shown = type(pooling).__name__ if pooling else None
        raise ArgumentError(
            f"{where}: {' and '.join(named)} but pooling={shown} {what}. Name the "
            "pooling: 'max', 'average' or 'lp'; or leave the size out."
        )


def _activation(
    asked: StageActivation | nn.Module, axes: int, channels: int
) -> nn.Module:
    if isinstance(asked, nn.Module):
        return asked
    if asked == "gain":
        return Gain(channels, axes)
    if asked not in _ACTIVATIONS:
        raise UnknownNameError("activation", str(asked), get_args(StageActivation))
    return _ACTIVATIONS[asked]()


def _normalization(
    asked: Normalization | nn.Module | None, axes: int, channels: int
) -> Any:
    if asked is None or isinstance(asked, nn.Module):
        return asked
    if asked == "contrast":
        return _CONTRAST[axes]()
    if asked == "response":
        return _RESPONSE[axes](5, k=2.0, average=False)
    if asked == "batch":
        return _BATCH[axes](channels)
    raise UnknownNameError("normalization", str(asked), get_args(Normalization))


def _pooling(
    asked: Pooling | nn.Module, axes: int, size: PerAxis, stride: PerAxis | None
) -> Any:
    if isinstance(asked, nn.Module):
        return asked
    if asked == "max":
        return _MAX[axes](size, stride)
    if asked == "average":
        return _AVERAGE[axes](size, stride)
    if asked == "lp":
        return _LP[axes](2, size, stride)
    raise UnknownNameError("pooling", str(asked), get_args(Pooling))
