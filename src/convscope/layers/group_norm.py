"""Group and instance normalization, which look at one image at a time.

The layers are torch's, with the same arguments, numbers and state dict; what does not
fit is refused in their names.
"""

from typing import Any

import torch
from torch import Tensor, nn

from convscope.arithmetic import require, require_groups
from convscope.errors import ShapeError, explains_calls
from convscope.functional.operands import (
    require_alike,
    require_eps,
    require_momentum,
    require_real,
)
from convscope.layers.shape import require_input


class GroupNorm(nn.GroupNorm):
    """Normalizes groups of channels of each image by their mean and deviation.

    Args:
        num_groups: Groups; 1 is all channels together, ``num_channels`` each alone.
        num_channels: Channels.
        eps: Added to the variance.
        affine: Whether each channel has a weight and a bias.
        device: Where the parameters are.
        dtype: What the parameters are.
        bias: Whether a bias comes with the weight.

    Shape:
        x:      (N, C, ...) with any number of axes behind the channels
        return: like x

    Raises:
        ArgumentError: ``eps`` is not above 0, or a number is not an integer from 1.
        ShapeError: ``num_groups`` does not divide ``num_channels``; another number of
            channels; in training, one value per group.

    Source:
        Wu & He, arXiv:1803.08494; ``torch.nn.GroupNorm``.

    >>> GroupNorm(2, 4)(torch.zeros(1, 4, 5, 5)).shape
    torch.Size([1, 4, 5, 5])
    """

    @explains_calls
    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        where = type(self).__name__
        require(where, "num_groups", num_groups, 1)
        require(where, "num_channels", num_channels, 1)
        require_groups(where, num_channels, num_channels, num_groups)
        require_eps(where, eps)
        super().__init__(
            num_groups, num_channels, eps, affine, device, dtype, bias=bias
        )

    @explains_calls
    def forward(self, x: Tensor) -> Tensor:
        """Normalized group by group."""
        where = type(self).__name__
        require_real(x, where)
        if x.ndim < 2 or x.ndim > 5 or x.shape[1] != self.num_channels:
            raise ShapeError(
                f"{where}: x must have shape (N, {self.num_channels}, ...) with up to "
                f"three spatial axes; got {tuple(x.shape)}. Build the layer for the "
                "channels that reach it, or add the missing axes with unsqueeze."
            )
        require_alike(x, {"weight": self.weight}, where, mixed=True)
        if self.training and x.shape[0] and x[0].numel() == self.num_groups:
            raise ShapeError(
                f"{where}: x of shape {tuple(x.shape)} has 1 value per group, which "
                "has no variance: every output would be the bias. Use fewer groups, or "
                "a larger map."
            )
        return super().forward(x)


class _InstanceNorm(nn.Module):
    """What the three layers check before torch sees the input."""

    axes: int
    num_features: int
    track_running_stats: bool
    weight: Any  # a parameter, or None

    @explains_calls
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        where = type(self).__name__
        require(where, "num_features", num_features, 1)
        require_eps(where, eps)
        require_momentum(where, momentum)
        super().__init__(
            num_features,
            eps,
            momentum,
            affine,
            track_running_stats,
            device=device,
            dtype=dtype,
            bias=bias,
        )

    @explains_calls
    def forward(self, x: Tensor) -> Tensor:
        """Normalized map by map."""
        where = type(self).__name__
        require_input(self, x, self.axes, self.num_features)
        require_real(x, where)
        require_alike(x, {"weight": self.weight}, where, mixed=True)
        alone = self.training or not self.track_running_stats
        if alone and x.numel() and x.shape[-self.axes :].numel() == 1:
            raise ShapeError(
                f"{where}: x of shape {tuple(x.shape)} has 1 value per map, which has "
                "no variance: every output would be the bias. Give a larger map."
            )
        if not x.numel():
            return x * 1.0
        out: Tensor = super().forward(x)
        return out


class InstanceNorm2d(_InstanceNorm, nn.InstanceNorm2d):
    """Normalizes each map of each image by its mean and deviation.

    Args:
        num_features: Channels.
        eps: Added to the variance.
        momentum: Weight of the batch in the running statistics.
        affine: Whether each channel has a weight and a bias.
        track_running_stats: Whether running statistics are kept, for evaluation.
        device: Where the parameters are.
        dtype: What the parameters are.
        bias: Whether a bias comes with the weight.

    Shape:
        x:      (N, C, H, W) or (C, H, W)
        return: like x

    Raises:
        ArgumentError: ``eps`` is not above 0, or ``num_features`` is below 1.
        ShapeError: Another rank or number of channels; one value per map.

    Source:
        Ulyanov et al., arXiv:1607.08022; ``torch.nn.InstanceNorm2d``, which only warns
        of another number of channels.

    >>> InstanceNorm2d(3)(torch.zeros(1, 3, 5, 5)).shape
    torch.Size([1, 3, 5, 5])
    """

    axes = 2


class InstanceNorm1d(_InstanceNorm, nn.InstanceNorm1d):
    """`InstanceNorm2d` along one axis: (N, C, L) or (C, L).

    >>> InstanceNorm1d(3)(torch.zeros(1, 3, 5)).shape
    torch.Size([1, 3, 5])
    """

    axes = 1


class InstanceNorm3d(_InstanceNorm, nn.InstanceNorm3d):
    """`InstanceNorm2d` along three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> InstanceNorm3d(3)(torch.zeros(1, 3, 5, 5, 5)).shape
    torch.Size([1, 3, 5, 5, 5])
    """

    axes = 3
