"""Adaptive and global pooling in one, two and three dimensions."""

from functools import partial
from typing import Any

from torch import Tensor

from convscope.errors import explains_calls
from convscope.functional.adaptive_pool import (
    OutputSize,
    adaptive_avg_pool,
    adaptive_max_pool,
    adaptive_max_pool_with_indices,
    global_avg_pool,
    global_max_pool,
    parse_output_size,
)
from convscope.layers.pool_layer import PoolLayer


class _AdaptiveAvgPool(PoolLayer):
    shown = ("output_size",)

    @explains_calls
    def __init__(self, output_size: OutputSize) -> None:
        super().__init__()
        parse_output_size(output_size, self.axes, self.where)
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        """Mean over windows that follow from the output size."""
        out: Tensor = self.pooled(adaptive_avg_pool, x, self.output_size)
        return out


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Mean over windows chosen so that ``output_size`` of them cover the input.

    Args:
        output_size: Output lengths, in elements; None keeps the input's.

    Shape:
        x:      (N, C, H, W) or (C, H, W)
        return: the same rank, ``output_size`` in space

    Raises:
        ShapeError: Another rank.
        ArgumentError: Not one length per axis, or not an integer of at least 1.

    Source:
        ``torch.nn.AdaptiveAvgPool2d``.

    >>> AdaptiveAvgPool2d((None, 1))
    AdaptiveAvgPool2d(output_size=(None, 1))
    """

    axes = 2


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """`AdaptiveAvgPool2d` along one axis: (N, C, L) or (C, L).

    >>> AdaptiveAvgPool1d(3)
    AdaptiveAvgPool1d(output_size=3)
    """

    axes = 1


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """`AdaptiveAvgPool2d` along three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> AdaptiveAvgPool3d(3)
    AdaptiveAvgPool3d(output_size=3)
    """

    axes = 3


class _AdaptiveMaxPool(PoolLayer):
    shown = ("output_size", "return_indices")

    @explains_calls
    def __init__(self, output_size: OutputSize, return_indices: bool = False) -> None:
        super().__init__()
        parse_output_size(output_size, self.axes, self.where)
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, x: Tensor) -> Any:
        """Largest element over windows that follow from the output size."""
        indices = self.return_indices
        function = adaptive_max_pool_with_indices if indices else adaptive_max_pool
        return self.pooled(function, x, self.output_size)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Largest element over windows as in `AdaptiveAvgPool2d`; ties go to the first.

    Args:
        output_size: Output lengths, in elements; None keeps the input's.
        return_indices: Whether to return the winners' indices too.

    Shape:
        x:      (N, C, H, W) or (C, H, W)
        return: the same rank, ``output_size`` in space

    Raises:
        ShapeError: Another rank.
        ArgumentError: Not one length per axis, or not an integer of at least 1.

    Source:
        ``torch.nn.AdaptiveMaxPool2d``.

    >>> AdaptiveMaxPool2d(3)
    AdaptiveMaxPool2d(output_size=3, return_indices=False)
    """

    axes = 2


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """`AdaptiveMaxPool2d` along one axis: (N, C, L) or (C, L).

    >>> AdaptiveMaxPool1d(3)
    AdaptiveMaxPool1d(output_size=3, return_indices=False)
    """

    axes = 1


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """`AdaptiveMaxPool2d` along three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> AdaptiveMaxPool3d(3)
    AdaptiveMaxPool3d(output_size=3, return_indices=False)
    """

    axes = 3


class _GlobalAvgPool(PoolLayer):
    shown = ("keepdim",)

    @explains_calls
    def __init__(self, keepdim: bool = False) -> None:
        super().__init__()
        self.keepdim = keepdim

    def forward(self, x: Tensor) -> Tensor:
        """Mean of each feature map."""
        out: Tensor = self.pooled(partial(global_avg_pool, keepdim=self.keepdim), x)
        return out


class GlobalAvgPool2d(_GlobalAvgPool):
    """Mean of each feature map.

    Args:
        keepdim: Whether the spatial axes stay, with one element each.

    Shape:
        x:      (N, C, H, W) or (C, H, W)
        return: (N, C) or (C,); with ``keepdim`` (N, C, 1, 1) or (C, 1, 1)

    Raises:
        ShapeError: Another rank.

    Source:
        Lin, Chen & Yan, Network in Network, arXiv:1312.4400, section 3.2.

    >>> GlobalAvgPool2d()
    GlobalAvgPool2d(keepdim=False)
    """

    axes = 2


class GlobalAvgPool1d(_GlobalAvgPool):
    """`GlobalAvgPool2d` along one axis: (N, C, L) or (C, L).

    >>> GlobalAvgPool1d()
    GlobalAvgPool1d(keepdim=False)
    """

    axes = 1


class GlobalAvgPool3d(_GlobalAvgPool):
    """`GlobalAvgPool2d` along three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> GlobalAvgPool3d()
    GlobalAvgPool3d(keepdim=False)
    """

    axes = 3


class _GlobalMaxPool(PoolLayer):
    shown = ("keepdim",)

    @explains_calls
    def __init__(self, keepdim: bool = False) -> None:
        super().__init__()
        self.keepdim = keepdim

    def forward(self, x: Tensor) -> Tensor:
        """Largest element of each feature map."""
        out: Tensor = self.pooled(partial(global_max_pool, keepdim=self.keepdim), x)
        return out


class GlobalMaxPool2d(_GlobalMaxPool):
    """Largest element of each feature map; ties go to the first in row order.

    Args:
        keepdim: Whether the spatial axes stay, with one element each.

    Shape:
        x:      (N, C, H, W) or (C, H, W)
        return: (N, C) or (C,); with ``keepdim`` (N, C, 1, 1) or (C, 1, 1)

    Raises:
        ShapeError: Another rank.

    >>> GlobalMaxPool2d()
    GlobalMaxPool2d(keepdim=False)
    """

    axes = 2


class GlobalMaxPool1d(_GlobalMaxPool):
    """`GlobalMaxPool2d` along one axis: (N, C, L) or (C, L).

    >>> GlobalMaxPool1d()
    GlobalMaxPool1d(keepdim=False)
    """

    axes = 1


class GlobalMaxPool3d(_GlobalMaxPool):
    """`GlobalMaxPool2d` along three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> GlobalMaxPool3d()
    GlobalMaxPool3d(keepdim=False)
    """

    axes = 3
