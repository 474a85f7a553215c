"""The door to the native kernels: finds the library for this machine, loads it once.

``CONVSCOPE_KERNELS`` chooses by hand: ``off``, or an instruction set (``sse2``,
``avx2``, ``avx512``, ``neon``, ``generic``) that the machine must have.
"""

import contextlib
import ctypes
import functools
import os
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, NamedTuple

import torch

from convscope.errors import ArgumentError, KernelError, UnknownNameError
from convscope.kernels.signatures import ERRORS, SIGNATURES, SURFACE

BASELINES = ("sse2", "neon", "generic")  # run on every machine of their kind
SETS = ("avx512", "avx2", *BASELINES)  # the fastest first

Functions = Mapping[str, Callable[..., int]]


class Found(NamedTuple):
    """The functions that serve this process, or the reason why there are none."""

    functions: Functions
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


def opened(path: Path) -> Functions:
    """The functions of a library, with OpenMP from torch's own runtime."""
    try:
        native = ctypes.CDLL(str(path))
    except OSError:  # torch did not offer its runtime to all: do it here
        for runtime in (Path(torch.__file__).parent / "lib").glob("lib*omp*"):
            ctypes.CDLL(str(runtime), mode=ctypes.RTLD_GLOBAL)
        native = ctypes.CDLL(str(path))
    functions = {}
    for name, (result, arguments) in SIGNATURES.items():
        if hasattr(native, f"convscope_{name}"):  # an older library may lack it
            functions[name] = getattr(native, f"convscope_{name}")
            functions[name].restype, functions[name].argtypes = result, arguments
    return functions


def choose(wanted: str) -> Found:
    """The fastest library that this machine runs, or the one that is ``wanted``."""
    if wanted and wanted != "off" and wanted not in SETS:
        raise UnknownNameError("instruction set", wanted, ("off", *SETS))
    if wanted == "off":
        return Found({}, "", "CONVSCOPE_KERNELS=off")
    paths = built()
    base = next((name for name in BASELINES if name in paths), None)
    if base is None:
        return Found({}, "", "no native library was built: no C++ compiler was found")
    try:
        probe = opened(paths[base])
    except OSError as error:
        return Found({}, "", f"the native library cannot be loaded: {error}")
    if probe["surface"]() != SURFACE:
        return Found({}, "", "the native library is of another version: reinstall")
    runs = [name for name in paths if probe["runs"](name.encode())]
    if wanted and wanted not in runs:
        raise ArgumentError(
            f"CONVSCOPE_KERNELS={wanted} does not run on this machine. "
            f"Use one of {', '.join(runs)}, or off."
        )
    name = wanted or runs[0]
    return Found(opened(paths[name]), name, "")


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
    return bool(found().functions)


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
    return tuple(name for name in paths if probe["runs"](name.encode()))


def call(name: str, *arguments: Any) -> int:
    """What a function of native/convscope.h returns: the only way to any of them.

    Args:
        name: Without ``convscope_``.
        arguments: Numbers, structures, and addresses of tensors or None.

    Raises:
        KernelError: It returned an error code, so that nothing was computed.
        ArgumentError: There are no native kernels; ask ``available`` first.

    >>> call("norm_scratch", 8, 16) > 0 if available() else True
    True
    """
    functions, _, reason = found()
    if not functions:
        raise ArgumentError(
            f"kernels: there are no native kernels here ({reason}). "
            "Ask kernels.available() first, and use torch where it is False."
        )
    code = functions[name](*arguments)
    if code < 0:
        meaning, remedy = ERRORS.get(code, ("an error without a name", ERRORS[-2][1]))
        raise KernelError(
            f"kernels: convscope_{name} returned {code}, {meaning}, and computed "
            f"nothing. {remedy}"
        )
    return code


@functools.cache
def warn_if_missing() -> None:
    """Warn, at most once per process, where torch has to do what kernels would."""
    if not available() and why_not() != "CONVSCOPE_KERNELS=off":
        warnings.warn(
            f"convscope runs on torch alone, which is slower for small networks: "
            f"{why_not()}.",
            stacklevel=3,
        )
