"""What our operators share: their names in torch, their layout, their threads."""

import ctypes
from typing import Final

import torch
from torch import Tensor

OPERATORS: Final = torch.library.Library("convscope", "FRAGMENT")
_WORTH_A_THREAD = (
    1 << 15
)  # numbers: below, starting a thread takes longer than it saves


def rows(x: Tensor) -> Tensor:
    """``x`` (N, C, ...) with the channels of a place next to each other in memory.

    >>> rows(torch.zeros(2, 3, 4, 5)).stride()
    (60, 1, 15, 3)
    """
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def threads_for(x: Tensor) -> int:
    """How many threads a pass over ``x`` is worth, of those that torch has."""
    return max(1, min(torch.get_num_threads(), x.numel() // _WORTH_A_THREAD))


def pointer(x: Tensor | None) -> ctypes.c_void_p:
    """Where the numbers of ``x`` begin; null for none."""
    return ctypes.c_void_p(None if x is None else x.data_ptr())
