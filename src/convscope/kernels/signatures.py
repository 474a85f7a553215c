"""What every function of native/convscope.h takes, and what its error codes mean."""

import ctypes
from collections.abc import Sequence
from typing import Any, Final

SURFACE: Final = 3  # CONVSCOPE_SURFACE of native/convscope.h

# CONVSCOPE_E_* of native/convscope.h: what it means, and what to do.
ERRORS: Final = {
    -1: (
        "a size or a choice is not supported",
        "Use torch's own operation for these sizes.",
    ),
    -2: (
        "a buffer is smaller than was asked for",
        "Report this call: it is a mistake of convscope.",
    ),
}


def _fields(**groups: tuple[type, Sequence[str]]) -> tuple[tuple[str, type], ...]:
    return tuple((name, kind) for kind, names in groups.values() for name in names)


class Norm(ctypes.Structure):
    """convscope_norm."""

    _fields_ = _fields(
        sizes=(ctypes.c_int64, ("rows", "channels")),
        choices=(ctypes.c_int32, ("half", "activation", "residual", "training")),
        numbers=(ctypes.c_float, ("epsilon",)),
        tensors=(ctypes.c_void_p, ("weight", "bias", "mean", "variance")),
    )


class MaxPool(ctypes.Structure):
    """convscope_maxpool."""

    _fields_ = _fields(
        sizes=(
            ctypes.c_int64,
            (
                *("images", "channels", "height", "width", "out_height", "out_width"),
                *("kernel_height", "kernel_width", "stride_height", "stride_width"),
                *("padding_height", "padding_width"),
            ),
        ),
        choices=(ctypes.c_int32, ("half",)),
    )


ADDRESS, SIZE, WHOLE = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
NORM, MAX_POOL = ctypes.POINTER(Norm), ctypes.POINTER(MaxPool)
SIGNATURES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {  # returns, and takes
    "surface": (WHOLE, ()),
    "runs": (WHOLE, (ctypes.c_char_p,)),
    "plan": (SIZE, (ADDRESS, SIZE, ADDRESS, SIZE)),
    "saved_size": (SIZE, (ADDRESS, SIZE)),
    "scratch_size": (SIZE, (ADDRESS, SIZE, WHOLE)),
    "forward": (WHOLE, (ADDRESS, SIZE, WHOLE, *5 * (ADDRESS,))),
    "backward": (WHOLE, (ADDRESS, SIZE, WHOLE, *7 * (ADDRESS,))),
    "step": (
        WHOLE,
        (ADDRESS, SIZE, WHOLE, *4 * (ADDRESS,), ctypes.c_float, *4 * (ADDRESS,)),
    ),
    "norm_scratch": (SIZE, (SIZE, SIZE)),
    "norm_statistics": (WHOLE, (NORM, *4 * (ADDRESS,), WHOLE)),
    "norm_forward": (WHOLE, (NORM, *4 * (ADDRESS,), WHOLE)),
    "norm_backward": (WHOLE, (NORM, *8 * (ADDRESS,), WHOLE)),
    "maxpool_forward": (WHOLE, (MAX_POOL, *3 * (ADDRESS,), WHOLE)),
    "maxpool_backward": (WHOLE, (MAX_POOL, *3 * (ADDRESS,), WHOLE)),
}
