"""An optimizer's update of one flat tensor of parameters in one native pass."""

import torch
from torch import Tensor

from convscope.errors import ArgumentError
from convscope.kernels.library import library


def _require_flat(where: str, *tensors: Tensor | None) -> None:
    """Refuse what the native side would read wrongly."""
    given = [t for t in tensors if t is not None]
    same = all(t.numel() == given[0].numel() and t.is_contiguous() for t in given)
    if not same or any(
        t.dtype != torch.float32 or t.device.type != "cpu" for t in given
    ):
        raise ArgumentError(
            f"{where}: tensors of {[tuple(t.shape) for t in given]} must be contiguous "
            "float32 on the CPU, all with as many numbers. Give flat tensors."
        )


def sgd(
    parameters: Tensor,
    gradients: Tensor,
    velocity: Tensor | None,
    *,
    learning_rate: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    first: bool = False,
) -> None:
    """Update ``parameters`` and ``velocity`` in place, as ``torch.optim.SGD`` does.

    Args:
        parameters: Flat, float32.
        gradients: As many.
        velocity: As many; None without momentum.
        learning_rate: Step size.
        momentum: Part of the velocity that is kept.
        dampening: Part of the gradient that does not enter it.
        weight_decay: Factor of the parameters that is added to the gradient.
        nesterov: Look ahead by one step of the velocity.
        first: Whether the velocity holds nothing yet.

    Raises:
        ArgumentError: Tensors are not flat float32 of one length on the CPU, or there
            is momentum without velocity.

    >>> from convscope import kernels
    >>> p, g = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 1.0])
    >>> sgd(p, g, None, learning_rate=2.0) if kernels.available() else p.zero_()
    >>> p.tolist()
    [0.0, 0.0]
    """
    _require_flat("sgd", parameters, gradients, velocity)
    if momentum and velocity is None:
        raise ArgumentError(
            f"sgd: momentum={momentum} needs a velocity. Give a tensor as large as "
            "the parameters."
        )
    library().convscope_sgd(
        parameters.data_ptr(),
        gradients.data_ptr(),
        None if velocity is None else velocity.data_ptr(),
        parameters.numel(),
        learning_rate,
        momentum,
        dampening,
        weight_decay,
        nesterov,
        first,
        torch.get_num_threads(),
    )


def adamw(
    parameters: Tensor,
    gradients: Tensor,
    mean: Tensor,
    square: Tensor,
    *,
    step: int,
    learning_rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
    weight_decay: float = 0.01,
) -> None:
    """Update all four in place, as ``torch.optim.AdamW`` does.

    Args:
        parameters: Flat, float32.
        gradients: As many.
        mean: Running mean of the gradients, zeros at first.
        square: Running mean of their squares, zeros at first.
        step: 1 for the first update, then one more each time.
        learning_rate: Step size.
        betas: Part of each running mean that is kept.
        epsilon: Added to the root of the second.
        weight_decay: Part of the parameters that is taken off per unit of step size.

    Raises:
        ArgumentError: Tensors are not flat float32 of one length on the CPU, or step is
            below 1.

    >>> from convscope import kernels
    >>> p, g, m, s = torch.ones(4, 2)
    >>> if kernels.available():
    ...     adamw(p, g, m.zero_(), s.zero_(), step=1, learning_rate=0.5, weight_decay=0)
    """
    _require_flat("adamw", parameters, gradients, mean, square)
    if step < 1:
        raise ArgumentError(f"adamw: step={step} is below 1. Count updates from 1.")
    library().convscope_adamw(
        parameters.data_ptr(),
        gradients.data_ptr(),
        mean.data_ptr(),
        square.data_ptr(),
        parameters.numel(),
        learning_rate,
        *betas,
        epsilon,
        weight_decay,
        step,
        torch.get_num_threads(),
    )
