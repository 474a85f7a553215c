"""What our operators share: their names in torch, their layout, their threads."""

import ctypes
from typing import Final

import torch
from torch import Tensor
from torch.nn import Parameter

OPERATORS: Final = torch.library.Library("convscope", "FRAGMENT")
_WORTH_A_THREAD = (
    1 << 15
)  # numbers: below, starting a thread takes longer than it saves


def is_plain(x: Tensor) -> bool:
    """Whether ``x`` is numbers, and nobody is tracing what is done with them.

    Then an ``autograd.Function`` calls the kernel at once; torch's way to an operation
    that is written in Python takes 0.1 ms, longer than a small kernel itself.
    """
    return (
        type(x) in (Tensor, Parameter)
        and not torch.compiler.is_compiling()
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._functorch.peek_interpreter_stack() is None
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
    return max(1, min(torch.get_num_threads(), x.numel() // _WORTH_A_THREAD))


def pointer(x: Tensor | None) -> ctypes.c_void_p:
    """Where the numbers of ``x`` begin; null for none."""
    return ctypes.c_void_p(None if x is None else x.data_ptr())
