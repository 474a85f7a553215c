"""What our operators share: their names in torch, who computes them, their threads.

A kernel gives a number and its first derivative. Where more is wanted, torch's own
operations compute the same: `kernels_may_compute` asks that of a call's surroundings,
`is_plain` of a tensor, and `gradients_by_torch` is the way on from a first derivative.
"""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn import Parameter

from convscope.private_torch import (
    has_dispatch_mode,
    has_forward_gradients,
    is_batch_of_gradients,
    is_transformed,
)

OPERATORS: Final = torch.library.Library("convscope", "FRAGMENT")
WORTH_A_THREAD: Final = 1 << 15  # numbers: below, starting one costs more than it saves


def kernels_may_compute() -> bool:
    """Whether no transform of torch.func and no forward-mode derivative is active.

    Those see through torch's own operations, but not into a kernel.
    """
    return not (is_transformed() or has_forward_gradients())


def is_plain(x: Tensor) -> bool:
    """Whether ``x`` is numbers, and nobody is tracing what is done with them.

    Then an ``autograd.Function`` calls the kernel at once; torch's way to an operation
    that is written in Python takes 0.1 ms, longer than a small kernel itself.
    """
    return (
        type(x) in (Tensor, Parameter)
        and not torch.compiler.is_compiling()
        and not has_dispatch_mode()
        and kernels_may_compute()
    )


def gradients_by_torch(
    compute: Callable[..., Tensor],
    inputs: Sequence[Tensor | None],
    needed: Sequence[bool],
    gradient: Tensor,
) -> list[Tensor | None]:
    """Gradients of the inputs that need one, from which torch can go on deriving.

    Args:
        compute: What the kernel computes, by torch's own operations.
        inputs: Its arguments, as the graph of the forward pass holds them.
        needed: Which of them need a gradient.
        gradient: Of its output.
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # A view each: a tensor that is given twice has two gradients.
        own = [None if x is None else x.view_as(x) for x in inputs]
        pairs = zip(own, needed, strict=True)
        wanted = [x for x, need in pairs if need and x is not None]
        found = iter(
            torch.autograd.grad(
                compute(*own), wanted, gradient, create_graph=again, allow_unused=True
            )
        )
    return [next(found) if need else None for need in needed]


def torch_must_derive(gradient: Tensor) -> bool:
    """Whether this backward pass is itself derived, or run for a batch of gradients."""
    return (
        torch.is_grad_enabled()
        or not kernels_may_compute()
        or is_batch_of_gradients(gradient)
    )


def rows(x: Tensor) -> Tensor:
    """``x`` (N, C, ...) with the channels of a place next to each other in memory.

    >>> rows(torch.zeros(2, 3, 4, 5)).stride()
    (60, 1, 15, 3)
    """
    if x.ndim == 4:
        return x.contiguous(memory_format=torch.channels_last)
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def threads_for(x: Tensor) -> int:
    """How many threads a pass over ``x`` is worth, of those that torch has."""
    return max(1, min(torch.get_num_threads(), x.numel() // WORTH_A_THREAD))


def address(x: Tensor | None) -> int | None:
    """Where the numbers of ``x`` begin; None (a null pointer) for none."""
    return None if x is None else x.data_ptr()
