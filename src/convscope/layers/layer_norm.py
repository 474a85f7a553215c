"""Layer and root-mean-square normalization, over the last axes of each sample.

The layers are torch's, with the same arguments, numbers and state dict; what does not
fit is refused in their names.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convscope.arithmetic import require
from convscope.errors import ArgumentError, ShapeError, explains_calls
from convscope.functional.operands import require_alike, require_eps, require_real


def _shape(where: str, normalized_shape: int | Sequence[int]) -> list[int]:
    """The lengths of the last axes, checked."""
    if isinstance(normalized_shape, Sequence) and not isinstance(normalized_shape, str):
        sizes = list(normalized_shape)
    else:
        sizes = [normalized_shape]
    if not sizes:
        raise ArgumentError(
            f"{where}: normalized_shape is empty. Give the lengths of the last axes."
        )
    for size in sizes:
        require(where, "normalized_shape", size, 1)
    return sizes


def _require_last_axes(layer: Any, x: Tensor) -> None:
    where, wanted = type(layer).__name__, tuple(layer.normalized_shape)
    require_real(x, where)
    if x.ndim < len(wanted) or tuple(x.shape[x.ndim - len(wanted) :]) != wanted:
        shown = ", ".join(map(str, wanted))
        raise ShapeError(
            f"{where}: x must have shape (..., {shown}); got {tuple(x.shape)}. Build "
            "the layer for the lengths of its last axes; for channels in front take "
            "GroupNorm(1, channels)."
        )
    require_alike(x, {"weight": layer.weight}, where, mixed=True)


class LayerNorm(nn.LayerNorm):
    """Normalizes the last axes of each sample by their mean and deviation.

    Args:
        normalized_shape: Lengths of the last axes, in elements.
        eps: Added to the variance.
        elementwise_affine: Whether each element has a weight.
        bias: Whether it has a bias too.
        device: Where the parameters are.
        dtype: What the parameters are.

    Shape:
        x:      (..., *normalized_shape)
        return: like x

    Raises:
        ArgumentError: ``eps`` is not above 0, or a length is not an integer from 1.
        ShapeError: The last axes have other lengths.

    Source:
        Ba, Kiros & Hinton, arXiv:1607.06450; ``torch.nn.LayerNorm``.

    >>> LayerNorm(4)(torch.zeros(2, 4)).shape
    torch.Size([2, 4])
    """

    @explains_calls
    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        where = type(self).__name__
        sizes = _shape(where, normalized_shape)
        require_eps(where, eps)
        super().__init__(
            sizes, eps, elementwise_affine, bias, device=device, dtype=dtype
        )

    @explains_calls
    def forward(self, x: Tensor) -> Tensor:
        """Normalized over the last axes."""
        _require_last_axes(self, x)
        return super().forward(x)


class RMSNorm(nn.RMSNorm):
    """Divides the last axes of each sample by the root of their mean square.

    Args:
        normalized_shape: Lengths of the last axes, in elements.
        eps: Added to the mean square; None for the rounding error of the numbers.
        elementwise_affine: Whether each element has a weight.
        device: Where the parameters are.
        dtype: What the parameters are.

    Shape:
        x:      (..., *normalized_shape)
        return: like x

    Raises:
        ArgumentError: ``eps`` is not above 0, or a length is not an integer from 1.
        ShapeError: The last axes have other lengths.

    Source:
        Zhang & Sennrich, arXiv:1910.07467; ``torch.nn.RMSNorm``.

    >>> RMSNorm(2)(torch.tensor([[3.0, 3.0]])).shape
    torch.Size([1, 2])
    """

    @explains_calls
    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        where = type(self).__name__
        sizes = _shape(where, normalized_shape)
        if eps is not None:
            require_eps(where, eps)
        super().__init__(sizes, eps, elementwise_affine, device=device, dtype=dtype)

    @explains_calls
    def forward(self, x: Tensor) -> Tensor:
        """Divided by the root of the mean square of the last axes."""
        _require_last_axes(self, x)
        return super().forward(x)
