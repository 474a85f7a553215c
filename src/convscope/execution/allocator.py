"""Memory freed by one training step, kept for the next."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # glibc's malloc.h
_GIBIBYTE = 2**30


def keep_freed_memory() -> bool:
    """Tells glibc to reuse large blocks instead of giving them back to the system.

    Each step of a wide network frees and asks for the same hundreds of megabytes; by
    default every one of them is mapped, zeroed and unmapped by the kernel again. This
    changes the whole process, so a program calls it, not a library function.

    Returns:
        Whether it took effect (only with glibc, that is on most Linux systems).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    limit = 2 * _GIBIBYTE - 1  # mallopt takes an int
    done = [mallopt(_M_MMAP_THRESHOLD, _GIBIBYTE), mallopt(_M_TRIM_THRESHOLD, limit)]
    done.append(mallopt(_M_TOP_PAD, _GIBIBYTE // 4))
    return all(done)
