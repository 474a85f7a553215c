"""Local response normalization: each map against its neighbors among the maps."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.arithmetic import require
from convscope.errors import ArgumentError, ShapeError, explains_calls
from convscope.functional.operands import require_plain

_BAND = 256  # maps up to which a matrix of 0 and 1 sums neighbors faster than slices


@explains_calls
def local_response_norm(
    x: Tensor,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    average: bool = True,
    where: str = "local_response_norm",
) -> Tensor:
    """Divides each value by a power of the squares of its place in neighboring maps.

    ``y = x / (k + alpha / size * sum of x^2 over size maps)^beta``. Maps beyond the
    first and the last count as 0; of an even ``size`` the odd map lies before.

    Args:
        size: Maps that are summed over.
        alpha: Factor of the squares.
        beta: Exponent.
        k: What the squares are added to.
        average: Whether ``alpha`` is divided by ``size``, as torch does; without it
            the squares are summed, as in the paper.
        where: What an error message begins with.

    Shape:
        x:      (N, C, ...) with one to three spatial axes
        return: like x

    Raises:
        ShapeError: ``x`` has another number of axes.
        ArgumentError: A number is out of range, or ``x`` is of integers.

    Source:
        Krizhevsky et al., ImageNet classification with deep convolutional neural
        networks, 2012, section 3.3: size 5, alpha 1e-4, beta 0.75, k 2 and
        ``average=False``. The defaults are torch's, which with ``average=True`` this
        equals except for rounding. Half precision is computed in float32.

    >>> x = torch.ones(1, 3, 1)
    >>> local_response_norm(x, 3, alpha=1.0, beta=1.0, k=1.0, average=False).flatten()
    tensor([0.3333, 0.2500, 0.3333])
    """
    require_plain(x, where)
    require_response(size, alpha, beta, k, where=where)
    if x.ndim not in (3, 4, 5):
        raise ShapeError(
            f"{where}: x must have shape (N, C, ...) with one to three spatial axes; "
            f"got {tuple(x.shape)}. Add or remove axes with unsqueeze or flatten."
        )
    if not x.is_floating_point():
        raise ArgumentError(
            f"{where}: x is of type {x.dtype}, which cannot hold the quotients. Give "
            "x.float()."
        )
    values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    factor = alpha / size if average else alpha
    before, after = size // 2, (size - 1) // 2
    apply: Callable[..., Tensor] = _Response.apply
    out = apply(values, before, after, factor, beta, k)
    return out.to(x.dtype)


def require_response(
    size: int,
    alpha: float,
    beta: float,
    k: float,
    *,
    where: str = "local_response_norm",
) -> None:
    """Refuses what `local_response_norm` cannot do.

    Raises:
        ArgumentError: ``size`` is below 1, ``alpha`` or ``k`` negative, or a number
            not finite.

    >>> require_response(5, 1e-4, 0.75, 2.0)
    """
    require(where, "size", size, 1)
    for name, value in (("alpha", alpha), ("k", k)):
        if not 0 <= value < float("inf"):
            raise ArgumentError(
                f"{where}: {name}={value!r} makes the divisor negative or infinite. "
                f"Use {name}=0 or more."
            )
    if not -float("inf") < beta < float("inf"):
        raise ArgumentError(
            f"{where}: beta={beta!r} is not a number. Use beta=0.75, for example."
        )


class _Response(torch.autograd.Function):
    """Holds nothing but its input for the way back, where autograd holds four times it.

    With ``b = k + alpha sum x^2`` and ``g`` the gradient of the result, that of x is
    ``g b^-beta - 2 alpha beta x sum' (g x b^(-beta - 1))``, where ``sum'`` goes over
    the maps that have x among their neighbors.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, before: int, after: int, alpha: float, beta: float, k: float
    ) -> Tensor:
        base = k + alpha * _sum_neighbors(x.square(), before, after)
        return x * _inverse_power(base, beta)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, *ctx.numbers = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (x,), (gradient,) = ctx.saved_tensors, gradients
        before, after, alpha, beta, k = ctx.numbers
        base = k + alpha * _sum_neighbors(x.square(), before, after)
        scaled = gradient * _inverse_power(base, beta)
        through = _sum_neighbors(scaled * x / base, after, before)
        return scaled - (2 * alpha * beta) * x * through, *[None] * 5


def _sum_neighbors(x: Tensor, before: int, after: int) -> Tensor:
    """Sum over the map itself, and so many before and after it."""
    maps = x.shape[1]
    # A product would be rounded by autocast, and counted by a summary, which runs on
    # the meta device.
    product = not x.is_meta and not torch.is_autocast_enabled(x.device.type)
    if maps <= _BAND and product:
        at = torch.arange(maps, device=x.device)
        step = at - at[:, None]
        band = ((step >= -before) & (step <= after)).to(x.dtype)
        return torch.matmul(band, x.flatten(2)).view(x.shape)
    padded = F.pad(x, (0, 0) * (x.ndim - 2) + (before, after))
    sums = padded[:, :maps]
    for start in range(1, before + after + 1):
        sums = sums + padded[:, start : start + maps]
    return sums


def _inverse_power(base: Tensor, beta: float) -> Tensor:
    if beta == 0.75:  # roots are several times faster than a power
        root = base.rsqrt()
        return root * root.sqrt()
    return base.pow(-beta)
