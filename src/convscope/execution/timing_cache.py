"""Measured times, kept in the user's cache: one small file for each question."""

import contextlib
import functools
import json
import math
import os
import platform
import tempfile
from collections.abc import Sequence
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

import platformdirs
import torch
from torch import nn

from convscope import kernels
from convscope.execution.setting import Setting
from convscope.kernels.library import built

Times = tuple[int, dict[str, float]]  # images in the batch, milliseconds by setting
_FORMAT = 2
# Of this process: an answer does not change while it runs.
_KNOWN: dict[str, Times] = {}


def key_of(
    net: nn.Module,
    inputs: Sequence[object],
    training: bool,
    precision: str,
    settings: Sequence[Setting],
) -> str:
    """A name for the question: layers, shapes, machine, versions, what is compared."""
    question = {
        "format": _FORMAT,
        "net": str(net),
        "parameters": [[n, p.dtype, *p.shape] for n, p in net.named_parameters()],
        "input": inputs,
        "training": training,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "machine": _processor(),
        "kernels": [kernels.instruction_set(), *_build()],
        "settings": [[str(each), *each.kinds] for each in settings],
        "versions": [torch.__version__, version("convscope")],
    }
    text = json.dumps(question, sort_keys=True, default=str)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def file_of(key: str) -> Path:
    """The file of an answer."""
    return platformdirs.user_cache_path("convscope") / "settings" / f"{key}.json"


def recall(key: str) -> Times | None:
    """What was measured before; None if it is not there or not whole."""
    if key in _KNOWN:
        return _KNOWN[key]
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        kept = json.loads(file_of(key).read_text(encoding="utf-8"))
        times = {str(name): float(ms) for name, ms in kept["milliseconds"].items()}
        images = int(kept["images"])
        if images > 0 and times and all(_is_time(ms) for ms in times.values()):
            _KNOWN[key] = images, times
            return _KNOWN[key]
    return None


def _is_time(milliseconds: float) -> bool:
    return math.isfinite(milliseconds) and milliseconds > 0


def keep(key: str, times: Times) -> None:
    """Writes the file whole or not at all; a cache that cannot be written is none."""
    _KNOWN[key] = times
    path = file_of(key)
    images, milliseconds = times
    text = json.dumps({"images": images, "milliseconds": milliseconds}, indent=1)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise


def _build() -> list[int]:
    """Size and time of the kernels' library: another when it is built anew."""
    path = built().get(kernels.instruction_set())
    if path is None:
        return []
    with contextlib.suppress(OSError):
        state = path.stat()
        return [state.st_size, state.st_mtime_ns]
    return []


@functools.cache
def _processor() -> str:
    """What this machine computes with."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()} x {os.cpu_count()}"
    return f"{platform.machine()} {platform.processor()} x {os.cpu_count()}"
