"""GELU by itself, faster than torch's: the activation of ``norm`` without the norm."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.errors import ArgumentError
from convscope.kernels.activation import ACTIVATIONS
from convscope.kernels.library import available, call
from convscope.kernels.operations import (
    OPERATORS,
    gradients_by_torch,
    is_plain,
    kernels_may_compute,
    threads_for,
    torch_must_derive,
)
from convscope.kernels.signatures import Norm


def serves_gelu(x: Tensor) -> bool:
    """Whether the native kernel takes this; torch has to, where it does not."""
    return (
        available()
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.numel() > 0
        and (
            x.is_contiguous()
            or (x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last))
        )
    )


def gelu(x: Tensor) -> Tensor:
    """``x`` times the normal distribution's probability below ``x``.

    With bfloat16 it is off by 8e-5 at most, and its slope by 2.3e-4, both below
    bfloat16's own rounding at 1.

    Shape:
        x:      any, float32 or bfloat16, without gaps in memory
        return: the same

    Source:
        Hendrycks & Gimpel, arXiv:1606.08415; torch's ``approximate="none"``.

    >>> x = torch.tensor([0.0, 10.0])
    >>> gelu(x).tolist() if available() else x.tolist()
    [0.0, 10.0]
    """
    if not kernels_may_compute():
        return F.gelu(x)
    compute: Any = _Direct.apply if is_plain(x) else torch.ops.convscope.gelu
    out: Tensor = compute(x)
    return out


OPERATORS.define("gelu(Tensor x) -> Tensor")
OPERATORS.define("gelu_backward(Tensor gradient, Tensor x) -> Tensor")


def _described(x: Tensor) -> Norm:
    """Numbers as rows of one channel, of mean 0 and variance 1."""
    if not serves_gelu(x):
        raise ArgumentError(
            f"gelu: x is {x.dtype} on {x.device} of shape {tuple(x.shape)} and strides "
            f"{x.stride()}, but the kernel takes float32 or bfloat16 without gaps. Use "
            "torch.nn.functional.gelu."
        )
    half, kind = x.dtype == torch.bfloat16, ACTIVATIONS.index("gelu")
    return Norm(x.numel(), 1, half, kind, 0, 0, 0.0, None, None, None, None)


def _scratch(x: Tensor) -> Tensor:
    return torch.empty(call("norm_scratch", x.numel(), 1))


def _forward(x: Tensor) -> Tensor:
    described, y, scratch = _described(x), torch.empty_like(x), _scratch(x)
    read, written = x.data_ptr(), (y.data_ptr(), scratch.data_ptr())
    call("norm_forward", described, read, None, *written, threads_for(x))
    return y


def _backward(gradient: Tensor, x: Tensor) -> Tensor:
    described, dx, scratch = _described(x), torch.empty_like(x), _scratch(x)
    if gradient.stride() != x.stride() or gradient.dtype != x.dtype:
        gradient = torch.empty_like(x).copy_(gradient)
    call(
        "norm_backward",
        described,
        gradient.data_ptr(),
        x.data_ptr(),
        None,
        dx.data_ptr(),
        *(None, None, None),
        scratch.data_ptr(),
        threads_for(x),
    )
    return dx


def _keep(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, gradient: Tensor) -> Tensor | None:
    (x,) = ctx.saved_tensors
    if torch_must_derive(gradient):
        return gradients_by_torch(F.gelu, [x], [True], gradient)[0]
    backward: Any = torch.ops.convscope.gelu_backward
    if is_plain(x) and is_plain(gradient):
        backward = _backward
    dx: Tensor = backward(gradient, x)
    return dx


class _Direct(torch.autograd.Function):
    """``gelu`` without the dispatcher."""

    forward = staticmethod(_forward)
    setup_context = staticmethod(_keep)
    backward = staticmethod(_gradients)


OPERATORS.impl("gelu", _forward, "CPU")
OPERATORS.impl("gelu_backward", _backward, "CPU")
torch.library.register_fake("convscope::gelu", torch.empty_like, lib=OPERATORS)
torch.library.register_fake(
    "convscope::gelu_backward", lambda _, x: torch.empty_like(x), lib=OPERATORS
)
torch.library.register_autograd(
    "convscope::gelu", _gradients, setup_context=_keep, lib=OPERATORS
)
