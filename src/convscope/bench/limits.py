"""How fast this machine multiplies matrices and moves memory."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

_SIZE = 1024  # large enough to leave dispatch behind, small enough for the cache
_REPEATS = 12
_BYTES = 2**28  # larger than caches


def matrix_product_limit(dtype: torch.dtype, threads: int) -> float:
    """Most floating-point operations per second in a product of large matrices.

    Args:
        dtype: float32 or bfloat16.
        threads: That may work on it.

    Returns:
        Operations a second, one multiply-add counted as two; the fastest of several
        products, because whatever else the machine does only slows it down.
    """
    with _threads(threads):
        a = torch.randn(_SIZE, _SIZE).to(dtype)
        b = torch.randn(_SIZE, _SIZE).to(dtype)
        return 2 * _SIZE**3 / _fastest(lambda: a @ b)


def memory_bandwidth(threads: int) -> float:
    """Most bytes per second, read and written, in a copy larger than the caches."""
    with _threads(threads):
        source = torch.zeros(_BYTES // 4)
        target = torch.empty_like(source)
        return 2 * _BYTES / _fastest(lambda: target.copy_(source))


def _fastest(function: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(_REPEATS):
        began = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - began)
    return best


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
