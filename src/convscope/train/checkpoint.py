"""Exact state of an unfinished run, in files that are whole or absent."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from convscope.errors import CheckpointError, Remedy, WriteError

LATEST, PREVIOUS = "state.safetensors", "state.previous.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and everything else as JSON values.

    >>> state = Checkpoint({"net/bias": torch.zeros(1), "best/bias": torch.ones(1)}, {})
    >>> state.part("best")
    {'bias': tensor([1.])}
    """

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with ``prefix/``, without it."""
        start = f"{prefix}/"
        return {
            name.removeprefix(start): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(start)
        }


@contextlib.contextmanager
def whole_or_absent(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of ``path`` at once when it is complete.

    Raises:
        WriteError: It cannot be written; what stood at ``path`` before still does.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "notes")
    >>> with whole_or_absent(path) as file:
    ...     _ = file.write(b"all of it")
    ...     path.exists()
    False
    >>> path.read_text()
    'all of it'
    """
    # One name, so that what a killed process left behind is written over.
    draft = path.with_name(f".{path.name}.part")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise WriteError(
            f"cannot write {path}: {error.strerror or error}. What was there before "
            "is unchanged. Free some space, or make the folder writable."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def write_tensors(path: Path, tensors: dict[str, Tensor], values: Any = None) -> None:
    """Writes tensors, and JSON values beside them, as one safetensors file."""
    # A copy each: safetensors refuses tensors that share memory, as tied weights do.
    plain = {
        name: t.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, t in tensors.items()
    }
    metadata = None if values is None else {"values": json.dumps(values)}
    content = save(plain, metadata)
    with whole_or_absent(path) as file:
        file.write(content)


def read_tensors(path: Path) -> Checkpoint:
    """Reads what ``write_tensors`` wrote.

    Raises:
        CheckpointError: The file is missing, cut short, or not of this kind.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "some.safetensors")
    >>> write_tensors(path, {"weight": torch.ones(2)}, {"step": 3})
    >>> read_tensors(path).values
    {'step': 3}
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            metadata = file.metadata() or {}
        values = json.loads(metadata.get("values", "{}"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing.") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read, it may be cut short: {error}."
        ) from error
    return Checkpoint(tensors, values)


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Makes ``checkpoint`` the latest one; the one before it is kept beside it."""
    try:
        folder.mkdir(exist_ok=True)
        latest = folder / LATEST
        if latest.exists():
            # A hard link, so that there is a latest one at every moment.
            spare = folder / f".{PREVIOUS}"
            spare.unlink(missing_ok=True)
            os.link(latest, spare)
            spare.replace(folder / PREVIOUS)
    except OSError as error:
        raise WriteError(
            f"cannot write in {folder}: {error.strerror or error}."
        ) from error
    write_tensors(latest, checkpoint.tensors, checkpoint.values)
    return latest


def read(folder: Path) -> tuple[Checkpoint, str | None]:
    """The latest usable checkpoint, and a warning if that is not the last written.

    Raises:
        CheckpointError: There is none that can be read.
    """
    try:
        return read_tensors(folder / LATEST), None
    except CheckpointError as first:
        try:
            older = read_tensors(folder / PREVIOUS)
        except CheckpointError:
            raise CheckpointError(
                f"{first} There is no older checkpoint to fall back on.",
                remedies=[Remedy("start again", "force", True)],
            ) from None
        return older, f"{first} Going on from the checkpoint before it."
