"""The tensors that an operation is given, refused by name if they cannot be used."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from convscope.errors import ArgumentError, ShapeError

_HALF = (torch.float16, torch.bfloat16)
_SPARSE = {
    torch.sparse_coo: "sparse_coo",
    torch.sparse_csr: "sparse_csr",
    torch.sparse_csc: "sparse_csc",
    torch.sparse_bsr: "sparse_bsr",
    torch.sparse_bsc: "sparse_bsc",
}


def require_plain(x: object, where: str, name: str = "x") -> None:
    """Refuse what is not a tensor, or a sparse one.

    Raises:
        ArgumentError: It is not a dense tensor.

    >>> require_plain(torch.zeros(1), "conv2d")
    """
    if not isinstance(x, Tensor):
        raise ArgumentError(
            f"{where}: {name} is of type {type(x).__name__}. Give a tensor, such as "
            f"torch.as_tensor({name})."
        )
    if not torch.compiler.is_compiling() and x.layout in _SPARSE:
        raise ArgumentError(
            f"{where}: {name} has the layout {_SPARSE[x.layout]}, which this operation "
            f"does not take. Give {name}.to_dense()."
        )


def require_real(x: Tensor, where: str) -> None:
    """Refuse numbers without fractions, and complex ones.

    Raises:
        ArgumentError: It is not a dense tensor of real floating-point numbers.

    >>> require_real(torch.zeros(1), "GroupNorm")
    """
    require_plain(x, where)
    if not x.is_floating_point():
        raise ArgumentError(
            f"{where}: x is of type {x.dtype}, and normalizing needs real fractions. "
            "Give x.float()."
        )


def require_alike(
    x: Tensor,
    parameters: Mapping[str, Tensor | None],
    where: str,
    *,
    mixed: bool = False,
) -> None:
    """Refuse parameters of another type or on another device than ``x``.

    With ``mixed``, x may be in half precision beside parameters in float32.

    Raises:
        ArgumentError: They cannot be computed with each other.

    >>> require_alike(torch.zeros(1), {"weight": torch.ones(1)}, "conv2d")
    """
    for name, other in parameters.items():
        if other is None:
            continue
        require_plain(other, where, name)
        if x.device != other.device:
            raise ArgumentError(
                f"{where}: x is on {x.device}, {name} on {other.device}. Give "
                f"x.to({str(other.device)!r}), or move the parameters."
            )
        if mixed and other.dtype == torch.float32 and x.dtype in _HALF:
            continue
        if x.dtype != other.dtype and not torch.is_autocast_enabled(x.device.type):
            raise ArgumentError(
                f"{where}: x is of type {x.dtype}, {name} of type {other.dtype}. Give "
                f"x.to({other.dtype}), or convert the parameters."
            )


def require_bias(bias: Tensor | None, channels: int, where: str) -> None:
    """Refuse a bias that does not have one scalar for each output channel.

    Raises:
        ShapeError: It has another shape.

    >>> require_bias(None, 3, "conv2d")
    """
    if bias is not None and tuple(bias.shape) != (channels,):
        raise ShapeError(
            f"{where}: bias has shape {tuple(bias.shape)} for {channels} output "
            f"channels. Give one of shape ({channels},)."
        )


def require_eps(where: str, eps: float) -> None:
    """Refuse what would let a variance of 0 divide.

    Raises:
        ArgumentError: It is not above 0, or not finite.

    >>> require_eps("BatchNorm2d", 1e-5)
    """
    number = isinstance(eps, int | float) and not isinstance(eps, bool)
    if not number or not 0 < eps < math.inf:
        raise ArgumentError(
            f"{where}: eps={eps!r} is not a number above 0. Use 1e-5, for example."
        )


def require_momentum(where: str, momentum: float | None) -> None:
    """Refuse what is not the share of a batch in running statistics.

    Raises:
        ArgumentError: It is not from 0 to 1.

    >>> require_momentum("BatchNorm2d", 0.1)
    """
    if momentum is None:
        return
    if not isinstance(momentum, int | float) or not 0 <= momentum <= 1:
        raise ArgumentError(
            f"{where}: momentum={momentum!r} is not the share of a batch in the "
            "running statistics, from 0 to 1. Use 0.1, for example."
        )
