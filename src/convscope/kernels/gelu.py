"""GELU by itself, faster than torch's: the activation of ``norm`` without the norm."""

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from convscope.kernels.library import available, library
from convscope.kernels.norm import ACTIVATIONS, _Norm
from convscope.kernels.operations import OPERATORS, is_plain, pointer, threads_for


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
    compute: Any = _Direct.apply if is_plain(x) else torch.ops.convscope.gelu
    out: Tensor = compute(x)
    return out


OPERATORS.define("gelu(Tensor x) -> Tensor")
OPERATORS.define("gelu_backward(Tensor gradient, Tensor x) -> Tensor")


def _described(x: Tensor) -> Any:
    """Numbers as rows of one channel, of mean 0 and variance 1."""
    half, kind = x.dtype == torch.bfloat16, ACTIVATIONS.index("gelu")
    nothing = [pointer(None)] * 4
    return ctypes.byref(_Norm(x.numel(), 1, half, kind, 0, 0, 0.0, *nothing))


def _scratch(x: Tensor) -> Tensor:
    return torch.empty(library().convscope_norm_scratch(x.numel(), 1))


def _forward(x: Tensor) -> Tensor:
    y, scratch = torch.empty_like(x), _scratch(x)
    library().convscope_norm_forward(
        _described(x),
        pointer(x),
        pointer(None),
        pointer(y),
        pointer(scratch),
        threads_for(x),
    )
    return y


def _backward(gradient: Tensor, x: Tensor) -> Tensor:
    dx, scratch = torch.empty_like(x), _scratch(x)
    if gradient.stride() != x.stride() or gradient.dtype != x.dtype:
        gradient = torch.empty_like(x).copy_(gradient)
    library().convscope_norm_backward(
        _described(x),
        pointer(gradient),
        pointer(x),
        pointer(None),
        pointer(dx),
        *[pointer(None)] * 3,
        pointer(scratch),
        threads_for(x),
    )
    return dx


def _keep(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, gradient: Tensor) -> Tensor:
    (x,) = ctx.saved_tensors
    backward: Any = torch.ops.convscope.gelu_backward
    if is_plain(x) and is_plain(gradient):
        backward = _backward
    dx: Tensor = backward(gradient, x)
    return dx


class _Direct(torch.autograd.Function):
    """``gelu`` without the dispatcher."""

    forward = staticmethod(_forward)
    setup_context = staticmethod(_keep)
    backward = staticmethod(once_differentiable(_gradients))  # type: ignore[assignment]  # typed as methods


OPERATORS.impl("gelu", _forward, "CPU")
OPERATORS.impl("gelu_backward", _backward, "CPU")
torch.library.register_fake("convscope::gelu", torch.empty_like, lib=OPERATORS)
torch.library.register_fake(
    "convscope::gelu_backward", lambda _, x: torch.empty_like(x), lib=OPERATORS
)
torch.library.register_autograd(
    "convscope::gelu", _gradients, setup_context=_keep, lib=OPERATORS
)
