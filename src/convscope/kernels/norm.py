"""Batch norm with the activation and the residual that follow it, as one operation.

``y = activation((x - mean) / sqrt(variance + epsilon) * weight + bias + other)``, or
with ``other`` added last. Forward reads ``x`` twice and writes once; backward reads
``x`` and the gradient twice and writes once. All that is kept for it is ``x``, the mean
and the variance: the rest is computed again while memory is waited for.

Numbers are float32 or bfloat16, sums and statistics float32, joined over blocks as
Chan, Golub & LeVeque do (1979), so that an offset far from 0 costs no digits. The
result is the same to the last bit for any number of threads.
"""

from typing import Any, Final, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.errors import ArgumentError
from convscope.kernels.activation import ACTIVATIONS, IN_TORCH, Activation
from convscope.kernels.library import available, call
from convscope.kernels.operations import (
    OPERATORS,
    address,
    gradients_by_torch,
    is_plain,
    kernels_may_compute,
    rows,
    threads_for,
    torch_must_derive,
)
from convscope.kernels.signatures import Norm

Residual = Literal["none", "before", "after"]
SERVED: Final[tuple[Activation, ...]] = ("none", "relu", "gelu")
RESIDUALS: Final[tuple[Residual, ...]] = ("none", "before", "after")


Choices = tuple[float, int, int]  # epsilon, activation, residual: places in the lists


def serves_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> bool:
    """Whether the native kernels take these; torch has to, where they do not."""
    return (
        available()
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.ndim >= 2
        and x.numel() > x.shape[1] > 0
        and all(p is None or p.dtype == torch.float32 for p in (weight, bias))
    )


def batch_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    other: Tensor | None = None,
    *,
    epsilon: float = 1e-5,
    activation: Activation = "none",
    residual: Residual = "none",
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalized by the batch's own mean and variance, which are returned too.

    Args:
        x: Float32 or bfloat16, fastest in channels-last layout.
        weight: Factor of each channel, by default 1.
        bias: Added to each channel, by default 0.
        other: What ``residual`` adds, of the shape and type of ``x``.
        epsilon: Added to the variance.
        activation: ``none``, ``relu`` or ``gelu``. With bfloat16 GELU is off by 8e-5 at
            most, and its slope by 2.3e-4, both below bfloat16's own rounding at 1.
        residual: ``none``, or ``before`` or ``after`` the activation.

    Shape:
        x, other:     (N, C, ...)
        weight, bias: (C,)
        return:       (N, C, ...), and mean and biased variance (C,)

    Source:
        Ioffe & Szegedy, arXiv:1502.03167, algorithm 1; there activation and residual
        are passes of their own.

    >>> if available():
    ...     y, mean, variance = batch_norm(torch.tensor([[1.0], [3.0]]), epsilon=0.0)
    ...     assert (y.flatten().tolist(), mean.item()) == ([-1.0, 1.0], 2.0)
    """
    choices = epsilon, ACTIVATIONS.index(activation), RESIDUALS.index(residual)
    if not kernels_may_compute():
        axes = [axis for axis in range(x.ndim) if axis != 1]
        variance, mean = torch.var_mean(x.detach().float(), axes, correction=0)
        y = _by_torch(x, weight, bias, other, None, None, choices=choices)
        return y, mean, variance
    compute: Any = _Direct.apply if is_plain(x) else torch.ops.convscope.norm
    out: tuple[Tensor, Tensor, Tensor] = compute(x, weight, bias, other, *choices)
    return out


def frozen_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    other: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    activation: Activation = "none",
    residual: Residual = "none",
) -> Tensor:
    """Normalized by statistics that are given; arguments as for ``batch_norm``.

    >>> x, one = torch.ones(2, 1), torch.ones(1)
    >>> if available():
    ...     y = frozen_norm(x, None, None, None, 0 * one, 4 * one, epsilon=0.0)
    ...     assert y.flatten().tolist() == [0.5, 0.5]
    """
    choices = epsilon, ACTIVATIONS.index(activation), RESIDUALS.index(residual)
    if not kernels_may_compute():
        return _by_torch(x, weight, bias, other, mean, variance, choices=choices)
    frozen = torch.ops.convscope.norm_frozen
    compute: Any = _DirectFrozen.apply if is_plain(x) else frozen
    out: Tensor = compute(x, weight, bias, other, mean, variance, *choices)
    return out


def _by_torch(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    other: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    *,
    choices: Choices,
) -> Tensor:
    """What the kernels compute, by torch's own operations, rounded where they round.

    Without mean and variance, those of the batch.
    """
    epsilon, activation, residual = choices
    y = F.batch_norm(
        x.float(), mean, variance, weight, bias, mean is None, 0.0, epsilon
    )
    added = None if other is None else other.float()
    if added is not None and RESIDUALS[residual] == "before":
        y = y + added
    y = IN_TORCH[ACTIVATIONS[activation]](y)
    if added is not None and RESIDUALS[residual] == "after":
        y = y + added
    return y.to(x.dtype)


_ARGUMENTS = "Tensor x, Tensor? weight, Tensor? bias, Tensor? other, "
_CHOICES = "float epsilon, int activation, int residual"
OPERATORS.define(f"norm({_ARGUMENTS}{_CHOICES}) -> (Tensor, Tensor, Tensor)")
OPERATORS.define(
    f"norm_frozen({_ARGUMENTS}Tensor mean, Tensor variance, {_CHOICES}) -> Tensor"
)
OPERATORS.define(
    f"norm_backward(Tensor gradient, {_ARGUMENTS}Tensor mean, Tensor variance, "
    f"{_CHOICES}, bool training) -> (Tensor, Tensor, Tensor, Tensor)"
)


def _described(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    statistics: tuple[Tensor, Tensor] | None,
    choices: Choices,
    training: bool = False,
) -> Norm:
    if not serves_norm(x, weight, bias):
        dtypes = [str(t.dtype) for t in (x, weight, bias) if t is not None]
        raise ArgumentError(
            f"batch_norm: x of shape {tuple(x.shape)} on {x.device}, with weight and "
            f"bias of dtypes {dtypes}: the kernel takes (N, C, ...) with two values or "
            "more per channel on the CPU, float32 or bfloat16, and float32 parameters. "
            "Use torch.nn.functional.batch_norm."
        )
    epsilon, activation, residual = choices
    mean, variance = statistics or (None, None)
    channels, half = x.shape[1], x.dtype == torch.bfloat16
    return Norm(
        *(x.numel() // channels, channels, half, activation, residual, training),
        epsilon,
        *(address(each) for each in (weight, bias, mean, variance)),
    )


def _scratch(x: Tensor) -> Tensor:
    channels = x.shape[1]
    return torch.empty(call("norm_scratch", x.numel() // channels, channels))


def _norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    other: Tensor | None,
    epsilon: float,
    activation: int,
    residual: int,
) -> tuple[Tensor, Tensor, Tensor]:
    x = rows(x)
    mean = x.new_empty(x.shape[1], dtype=torch.float32)
    variance = torch.empty_like(mean)
    described, scratch = _described(x, None, None, None, (epsilon, 0, 0)), _scratch(x)
    written = [t.data_ptr() for t in (mean, variance, scratch)]
    call("norm_statistics", described, x.data_ptr(), *written, threads_for(x))
    choices = (epsilon, activation, residual)
    y = _applied(x, weight, bias, other, (mean, variance), choices, scratch)
    return y, mean, variance


def _applied(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    other: Tensor | None,
    statistics: tuple[Tensor, Tensor],
    choices: Choices,
    scratch: Tensor,
) -> Tensor:
    y = torch.empty_like(x)
    other = None if other is None else rows(other.to(x.dtype))
    weight, bias = _dense(weight), _dense(bias)
    described = _described(x, weight, bias, statistics, choices)
    tensors = [address(t) for t in (x, other, y, scratch)]
    call("norm_forward", described, *tensors, threads_for(x))
    return y


def _dense(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.contiguous()


def _norm_frozen(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    other: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    epsilon: float,
    activation: int,
    residual: int,
) -> Tensor:
    x = rows(x)
    statistics = (mean.contiguous(), variance.contiguous())
    choices = (epsilon, activation, residual)
    return _applied(x, weight, bias, other, statistics, choices, _scratch(x))


def _norm_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    other: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    epsilon: float,
    activation: int,
    residual: int,
    training: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, gradient = rows(x), rows(gradient.to(x.dtype))
    other = None if other is None else rows(other.to(x.dtype))
    weight, bias = _dense(weight), _dense(bias)
    statistics = (mean.contiguous(), variance.contiguous())
    dx, *rest = _empty_gradients(x, residual)
    choices = (epsilon, activation, residual)
    described = _described(x, weight, bias, statistics, choices, training)
    scratch = _scratch(x)
    tensors = [address(t) for t in (gradient, x, other, dx, *rest, scratch)]
    call("norm_backward", described, *tensors, threads_for(x))
    return dx, rest[0], rest[1], rest[2]


def _empty_gradients(x: Tensor, residual: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of x, of other if it comes before the activation, of weight and bias."""
    dother = torch.empty_like(x) if RESIDUALS[residual] == "before" else x.new_empty(0)
    channels = x.shape[1]
    dweight = x.new_empty(channels, dtype=torch.float32)
    return torch.empty_like(x), dother, dweight, torch.empty_like(dweight)


def _norm_shapes(x: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    mean = x.new_empty(x.shape[1], dtype=torch.float32)
    return torch.empty_like(rows(x)), mean, torch.empty_like(mean)


def _backward_shapes(
    gradient: Tensor, x: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _empty_gradients(rows(x), rest[-2])


def _keep_norm(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, epsilon, activation, residual = inputs
    ctx.save_for_backward(*tensors, output[1], output[2])
    ctx.choices, ctx.training = (epsilon, activation, residual), True
    ctx.mark_non_differentiable(output[1], output[2])
    ctx.set_materialize_grads(False)


def _keep_frozen(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, epsilon, activation, residual = inputs
    ctx.save_for_backward(*tensors)
    ctx.choices, ctx.training = (epsilon, activation, residual), False


def _gradients(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    """Of every argument of ``norm`` or ``norm_frozen``."""
    x, weight, bias, other, mean, variance = ctx.saved_tensors
    if torch_must_derive(gradient):
        return _gradients_by_torch(ctx, gradient)
    direct = is_plain(x) and is_plain(gradient)
    backward: Any = _norm_backward if direct else torch.ops.convscope.norm_backward
    dx, dother, dweight, dbias = backward(
        gradient, x, weight, bias, other, mean, variance, *ctx.choices, ctx.training
    )
    if other is None:
        dother = None
    elif RESIDUALS[ctx.choices[2]] == "after":
        dother = gradient
    statistics = () if ctx.training else (None, None)
    return (
        dx,
        None if weight is None else dweight,
        None if bias is None else dbias,
        None if dother is None else dother.to(other.dtype),
        *statistics,
        None,
        None,
        None,
    )


def _gradients_by_torch(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    inputs = ctx.saved_tensors
    count = 4 if ctx.training else 6  # mean and variance are arguments, or results
    needed = ctx.needs_input_grad[:count]

    def compute(*inputs: Any) -> Tensor:
        statistics = (None, None) if ctx.training else ()
        return _by_torch(*inputs, *statistics, choices=ctx.choices)

    found = gradients_by_torch(compute, inputs[:count], needed, gradient)
    return *found, None, None, None


class _Direct(torch.autograd.Function):
    """``norm`` without the dispatcher."""

    forward = staticmethod(_norm)
    setup_context = staticmethod(_keep_norm)
    backward = staticmethod(_gradients)


class _DirectFrozen(torch.autograd.Function):
    """``norm_frozen`` without the dispatcher."""

    forward = staticmethod(_norm_frozen)
    setup_context = staticmethod(_keep_frozen)
    backward = staticmethod(_gradients)


OPERATORS.impl("norm", _norm, "CPU")
OPERATORS.impl("norm_frozen", _norm_frozen, "CPU")
OPERATORS.impl("norm_backward", _norm_backward, "CPU")
torch.library.register_fake("convscope::norm", _norm_shapes, lib=OPERATORS)
torch.library.register_fake(
    "convscope::norm_frozen", lambda x, *_: torch.empty_like(rows(x)), lib=OPERATORS
)
torch.library.register_fake("convscope::norm_backward", _backward_shapes, lib=OPERATORS)
torch.library.register_autograd(
    "convscope::norm", _gradients, setup_context=_keep_norm, lib=OPERATORS
)
torch.library.register_autograd(
    "convscope::norm_frozen", _gradients, setup_context=_keep_frozen, lib=OPERATORS
)
