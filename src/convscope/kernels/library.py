"""The door to the native kernels: finds the library for this machine, loads it once.

``CONVSCOPE_KERNELS`` chooses by hand: ``off``, or an instruction set (``sse2``,
``avx2``, ``avx512``, ``neon``, ``generic``) that the machine must have.
"""

import contextlib
import ctypes
import functools
import os
import warnings
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

import torch

from convscope.errors import ArgumentError, UnknownNameError

SURFACE = 2  # CONVSCOPE_SURFACE of native/convscope.h
BASELINES = ("sse2", "neon", "generic")  # run on every machine of their kind
SETS = ("avx512", "avx2", *BASELINES)  # the fastest first

ADDRESS, SIZE, WHOLE = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
FLOAT, DOUBLE = ctypes.c_float, ctypes.c_double
SIGNATURES = {  # of native/convscope.h: what a function returns, and takes
    "convscope_plan": (SIZE, (ADDRESS, SIZE, ADDRESS, SIZE)),
    "convscope_saved_size": (SIZE, (ADDRESS, SIZE)),
    "convscope_scratch_size": (SIZE, (ADDRESS, SIZE, WHOLE)),
    "convscope_forward": (WHOLE, (ADDRESS, SIZE, WHOLE, *5 * (ADDRESS,))),
    "convscope_backward": (WHOLE, (ADDRESS, SIZE, WHOLE, *7 * (ADDRESS,))),
    "convscope_step": (
        WHOLE,
        (ADDRESS, SIZE, WHOLE, *4 * (ADDRESS,), FLOAT, *4 * (ADDRESS,)),
    ),
    "convscope_sgd": (
        WHOLE,
        (*3 * (ADDRESS,), SIZE, *4 * (FLOAT,), *3 * (WHOLE,)),
    ),
    "convscope_adamw": (
        WHOLE,
        (*4 * (ADDRESS,), SIZE, *5 * (DOUBLE,), SIZE, WHOLE),
    ),
}


class Found(NamedTuple):
    """The library that serves this process, or the reason why there is none."""

    library: ctypes.CDLL | None
    instruction_set: str
    reason: str


def folders() -> list[Path]:
    """Where libraries may lie: in site-packages, or beside this file."""
    places = [Path(__file__).parent]
    with contextlib.suppress(PackageNotFoundError):
        installed = distribution("convscope").locate_file("convscope/kernels")
        places.insert(0, Path(str(installed)))
    return places


def built() -> dict[str, Path]:
    """The libraries that were built with the package, the fastest first."""
    paths = [
        (name, place / f"libconvscope-{name}{suffix}")
        for name in SETS
        for place in reversed(folders())
        for suffix in (".dylib", ".so")
    ]
    return {name: path for name, path in paths if path.exists()}


def opened(path: Path) -> ctypes.CDLL:
    """The library, with OpenMP from torch's own runtime."""
    try:
        return ctypes.CDLL(str(path))
    except OSError:  # torch did not offer its runtime to all: do it here
        for runtime in (Path(torch.__file__).parent / "lib").glob("lib*omp*"):
            ctypes.CDLL(str(runtime), mode=ctypes.RTLD_GLOBAL)
        return ctypes.CDLL(str(path))


def choose(wanted: str) -> Found:
    """The fastest library that this machine runs, or the one that is ``wanted``."""
    if wanted and wanted != "off" and wanted not in SETS:
        raise UnknownNameError("instruction set", wanted, ("off", *SETS))
    if wanted == "off":
        return Found(None, "", "CONVSCOPE_KERNELS=off")
    paths = built()
    base = next((name for name in BASELINES if name in paths), None)
    if base is None:
        return Found(None, "", "no native library was built: no C++ compiler was found")
    try:
        probe = opened(paths[base])
    except OSError as error:
        return Found(None, "", f"the native library cannot be loaded: {error}")
    if probe.convscope_surface() != SURFACE:
        return Found(None, "", "the native library is of another version: reinstall")
    runs = [name for name in paths if probe.convscope_runs(name.encode())]
    if wanted and wanted not in runs:
        raise ArgumentError(
            f"CONVSCOPE_KERNELS={wanted} does not run on this machine. "
            f"Use one of {', '.join(runs)}, or off."
        )
    name = wanted or runs[0]
    native = opened(paths[name])
    for function, (result, arguments) in SIGNATURES.items():
        entry = getattr(native, function)
        entry.restype, entry.argtypes = result, arguments
    return Found(native, name, "")


@functools.cache
def found() -> Found:
    """The choice, made once per process."""
    return choose(os.environ.get("CONVSCOPE_KERNELS", ""))


def available() -> bool:
    """Whether native kernels can be used in this process.

    >>> from convscope import kernels
    >>> kernels.available() == (kernels.why_not() == "")
    True
    """
    return found().library is not None


def why_not() -> str:
    """The reason why there are no native kernels; empty where there are."""
    return found().reason


def instruction_set() -> str:
    """Name of the instruction set in use, as ``"avx512"``; empty without kernels."""
    return found().instruction_set


def sets() -> tuple[str, ...]:
    """Instruction sets that were built and run here, the fastest first."""
    paths = built()
    base = next((name for name in BASELINES if name in paths), None)
    if base is None:
        return ()
    probe = opened(paths[base])
    return tuple(name for name in paths if probe.convscope_runs(name.encode()))


def library() -> ctypes.CDLL:
    """The loaded library.

    Raises:
        ArgumentError: There is none; ask ``available`` first.
    """
    native = found().library
    if native is None:
        raise ArgumentError(
            f"kernels: there are no native kernels here ({why_not()}). "
            "Ask kernels.available() first, and use torch where it is False."
        )
    return native


@functools.cache
def say_once_that_it_is_slower() -> None:
    """Warn, at most once per process, where torch has to do what kernels would."""
    if not available() and why_not() != "CONVSCOPE_KERNELS=off":
        warnings.warn(
            f"convscope runs on torch alone, which is slower for small networks: "
            f"{why_not()}.",
            stacklevel=3,
        )
