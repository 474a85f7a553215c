"""Batch normalization that says what is wrong with a batch of one value per channel.

The layers are torch's, with the same arguments, numbers and state dict::

    y = (x - mean) / sqrt(variance + eps) * weight + bias
    running = (1 - momentum) * running + momentum * batch

In training mean and variance are the batch's, in evaluation the running ones.
"""

import torch
from torch import Tensor, nn

from convscope.arithmetic import require
from convscope.errors import ShapeError, explains_calls
from convscope.functional.operands import (
    require_alike,
    require_eps,
    require_momentum,
    require_plain,
    require_real,
)
from convscope.layers.shape import require_input
from convscope.private_torch import AnyBatchNorm


class _Checked(AnyBatchNorm):
    """What the three layers check before torch sees the input."""

    axes: int

    @explains_calls
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
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

    def _check_input_dim(self, x: Tensor) -> None:
        require_input(self, x, self.axes, self.num_features, batched=True)

    def forward(self, x: Tensor) -> Tensor:
        """Normalized over batch and space."""
        self._check_input_dim(x)
        require_real(x, type(self).__name__)
        require_alike(x, {"weight": self.weight}, type(self).__name__, mixed=True)
        of_batch = self.training or self.running_mean is None
        if of_batch and x.numel() == self.num_features:
            name, eval_text = type(self).__name__, "eval() normalizes with the running "
            if self.running_mean is None:
                eval_text = (
                    "track_running_stats=True and eval() normalize with running "
                )
            raise ShapeError(
                f"{name}: x of shape {tuple(x.shape)} has 1 value per channel, which "
                "has no variance: every output would be the bias, and no gradient "
                "would come through. Give 2 or more images a batch (drop_last=True "
                "leaves out a last batch of one), or a larger map; "
                f"{eval_text}statistics, one image at a time."
            )
        if of_batch and not x.numel():
            return self._nothing(x)
        return super().forward(x)

    def _nothing(self, x: Tensor) -> Tensor:
        """An empty batch, which must not turn the running statistics into NaN."""
        if self.weight is None:
            return x * 1.0
        shape = (1, -1) + (1,) * (x.ndim - 2)
        y = x * self.weight.view(shape)
        return y if self.bias is None else y + self.bias.view(shape)


class BatchNorm1d(_Checked, nn.BatchNorm1d):
    """torch's ``BatchNorm1d``, which explains why it refuses one value per channel.

    Args:
        num_features: Channels.
        eps: Added to the variance.
        momentum: Weight of the batch in the running statistics; None for the mean over
            all batches so far.
        affine: Whether weight and bias are learned.
        track_running_stats: Whether running statistics are kept.
        bias: Whether a bias comes with the weight.

    Shape:
        x:      (N, C, L) or (N, C)
        return: like x

    Raises:
        ShapeError: Another number of axes or channels; in training, a batch with one
            value per channel.
        ArgumentError: ``eps`` is not above 0, ``momentum`` not from 0 to 1, or x of
            another type of numbers.

    Source:
        Ioffe & Szegedy, arXiv:1502.03167, algorithm 1. As in torch the running variance
        is the unbiased one.

    >>> import torch
    >>> BatchNorm1d(3)(torch.zeros(4, 3)).shape
    torch.Size([4, 3])
    """

    axes = 1

    def _check_input_dim(self, x: Tensor) -> None:
        require_plain(x, type(self).__name__)
        if x.ndim != 2 or x.shape[1] != self.num_features:
            super()._check_input_dim(x)


class BatchNorm2d(_Checked, nn.BatchNorm2d):
    """torch's ``BatchNorm2d``, which explains why it refuses one value per channel.

    Args:
        num_features: Channels.
        eps: Added to the variance.
        momentum: Weight of the batch in the running statistics; None for the mean over
            all batches so far.
        affine: Whether weight and bias are learned.
        track_running_stats: Whether running statistics are kept.
        bias: Whether a bias comes with the weight.

    Shape:
        x:      (N, C, H, W)
        return: like x

    Raises:
        ShapeError: Another number of axes or channels; in training, a batch with one
            value per channel.
        ArgumentError: ``eps`` is not above 0, ``momentum`` not from 0 to 1, or x of
            another type of numbers.

    Source:
        Ioffe & Szegedy, arXiv:1502.03167, algorithm 2. As in torch the running variance
        is the unbiased one.

    >>> import torch
    >>> BatchNorm2d(3)(torch.zeros(4, 3, 5, 5)).shape
    torch.Size([4, 3, 5, 5])
    """

    axes = 2


class BatchNorm3d(_Checked, nn.BatchNorm3d):
    """torch's ``BatchNorm3d``, which explains why it refuses one value per channel.

    Args:
        num_features: Channels.
        eps: Added to the variance.
        momentum: Weight of the batch in the running statistics; None for the mean over
            all batches so far.
        affine: Whether weight and bias are learned.
        track_running_stats: Whether running statistics are kept.
        bias: Whether a bias comes with the weight.

    Shape:
        x:      (N, C, D, H, W)
        return: like x

    Raises:
        ShapeError: Another number of axes or channels; in training, a batch with one
            value per channel.
        ArgumentError: ``eps`` is not above 0, ``momentum`` not from 0 to 1, or x of
            another type of numbers.

    Source:
        Ioffe & Szegedy, arXiv:1502.03167, algorithm 2. As in torch the running variance
        is the unbiased one.

    >>> import torch
    >>> BatchNorm3d(3)(torch.zeros(4, 3, 5, 5, 5)).shape
    torch.Size([4, 3, 5, 5, 5])
    """

    axes = 3
