"""The p-norm of each window: from the sum (p = 1) over the energy to the maximum."""

import math

import torch
from torch import Tensor

from convscope.arithmetic import CeilMode, PaddingLike, PerAxis
from convscope.errors import ArgumentError, explains_calls
from convscope.functional.pool_window import like_layout, over_taps, pool_window


@explains_calls
def lp_pool(
    x: Tensor,
    norm_type: float,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    ceil_mode: CeilMode | bool = False,
    padding: PaddingLike = 0,
    *,
    signed: bool = True,
    where: str = "lp_pool",
) -> Tensor:
    """``(sum of x ** p) ** (1 / p)`` over each window, p being ``norm_type``.

    There are two conventions for an odd whole p. With ``signed``, as in torch, terms
    keep the sign of ``x``, and so does the root: p = 1 is the sum. Without, as in ONNX
    and in mathematics, they are ``|x| ** p``: p = 1 is the sum of magnitudes. Any other
    p takes magnitudes either way. Windows whose powers would overflow or
    vanish are divided by their largest magnitude first. A window of zeros gets no
    gradient unless p is 1.

    Args:
        x: A batch, with one to three spatial axes.
        norm_type: p, above 0 and finite.
        kernel_size: Window lengths, in elements.
        stride: Steps between windows, in elements; None for the kernel size.
        ceil_mode: Whether to round output sizes up: True or ``"torch"``; or
            ``"onnx"``, see `convscope.arithmetic.output_size`.
        padding: Zeros around the input: a name or numbers, as
            `convscope.arithmetic.parse_padding` reads them.
        signed: Whether terms of an odd whole p keep the sign of ``x``.
        where: What an error message begins with.

    Shape:
        x:      (N, C, L), (N, C, H, W) or (N, C, D, H, W)
        return: the same rank; sizes from `convscope.arithmetic.output_shape`

    Raises:
        ShapeError: No window fits, or another rank.
        ArgumentError: ``norm_type`` or another value is not in its range.

    Source:
        ``torch.nn.functional.lp_pool2d``, which gives NaN for a negative sum or a
        negative element to a fractional power, overflows, and with ``ceil_mode``
        weighs a cut-off window up to a full one; ``signed=False``: ONNX LpPool.

    >>> lp_pool(torch.tensor([[[3.0, -4.0, 0.0, 2.0]]]), 2, 2)
    tensor([[[5., 2.]]])
    >>> x = torch.tensor([[[3.0, -4.0]]])
    >>> lp_pool(x, 1, 2), lp_pool(x, 1, 2, signed=False)
    (tensor([[[-1.]]]), tensor([[[7.]]]))
    """
    require_norm_type(norm_type, where)
    window = pool_window(x, kernel_size, stride, padding, 1, ceil_mode, where=where)
    norm = _Norm(float(norm_type), window.axes, signed)
    pooled = over_taps(window.padded(x), window, norm.value, norm.slope)
    return like_layout(pooled, x)


def require_norm_type(norm_type: float, where: str) -> None:
    """Refuse a p that gives no p-norm.

    Raises:
        ArgumentError: It is not above 0, or not finite.

    >>> require_norm_type(2, "LPPool2d")
    """
    if norm_type == math.inf:
        raise ArgumentError(
            f"{where}: norm_type=inf is the largest magnitude of the window. Take max "
            "pooling of x.abs()."
        )
    if not norm_type > 0:
        raise ArgumentError(
            f"{where}: norm_type={norm_type!r} is not above 0. Use 1 for the sum, 2 "
            "for the root of the energy."
        )


class _Norm:
    """A p-norm over the last ``axes`` axes, and its derivative."""

    def __init__(self, p: float, axes: int, signed: bool) -> None:
        self.p, self.axes = p, axes
        self.signed = signed and p % 2 == 1

    def value(self, taps: Tensor) -> Tensor:
        each = [taps]  # views; flattened they were a copy
        for _ in range(self.axes):
            axis = taps.ndim - self.axes
            each = [one for part in each for one in part.unbind(axis)]
        if taps.dtype in (torch.float16, torch.bfloat16):
            each = [tap.float() for tap in each]
        scale = self._scale(each)
        total = torch.zeros_like(each[0])
        for tap in each:
            total = total + self._term(tap / scale)
        # As torch does: a mean, times the taps. It keeps our last bit equal to its.
        total = total / len(each) * len(each)
        root = total.abs().pow(1 / self.p)
        if self.signed:
            root = root * total.sign()
        return (root * scale).to(taps.dtype)

    def slope(self, taps: Tensor, value: Tensor) -> Tensor:
        if self.p == 1 and self.signed:
            return torch.ones_like(taps)
        zero = (value == 0) | (taps == 0)
        ratio = (taps / torch.where(value == 0, 1, value)).abs()
        power = torch.where(zero, 1, ratio).pow(self.p - 1)
        sign = 1 if self.signed else taps.detach().sign()
        return torch.where(zero, 0, power * sign)

    def _term(self, x: Tensor) -> Tensor:
        return (x if self.signed or self.p % 2 == 0 else x.abs()).pow(self.p)

    def _scale(self, each: list[Tensor]) -> Tensor:
        """The largest magnitude of a window where powers leave the range, else 1."""
        largest = each[0].abs()
        for tap in each[1:]:
            largest = torch.maximum(largest, tap.abs())
        limits = torch.finfo(largest.dtype)
        root = min(1.0, 1 / self.p)  # a power below 1 stays in the range
        most = (limits.max / len(each)) ** root
        least = (limits.tiny / limits.eps) ** root
        inside = (largest >= least) & (largest <= most)
        plain = inside | (largest == 0) | largest.isinf()
        return torch.where(plain, 1, largest)
