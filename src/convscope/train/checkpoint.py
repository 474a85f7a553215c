"""Exact state of an unfinished run, in files that are whole or absent."""

import contextlib
import hashlib
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

from convscope.errors import CheckpointError, Remedy, RunError, WriteError
from convscope.train.untrusted_files import parse_json, require_regular

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
        draft.unlink(missing_ok=True)  # it may be a link to somewhere else
        with draft.open("xb") as file:
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
    text = json.dumps({} if values is None else values, allow_nan=False)
    sealed = {"sha256": _digest(plain, text), "values": text}
    # One key: the order of several is not the same each time.
    content = save(plain, {"convscope": json.dumps(sealed)})
    with whole_or_absent(path) as file:
        file.write(content)


def read_tensors(path: Path) -> Checkpoint:
    """Reads what ``write_tensors`` wrote.

    Raises:
        CheckpointError: The file is missing, cut short, changed since it was written,
            or not of this kind.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "some.safetensors")
    >>> write_tensors(path, {"weight": torch.ones(2)}, {"step": 3})
    >>> read_tensors(path).values
    {'step': 3}
    """
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        metadata = file.metadata() or {}
    try:
        if "convscope" not in metadata:  # written by version 0.1, without a checksum
            values = parse_json(metadata.get("values", "{}"), path)
            return Checkpoint(tensors, values if isinstance(values, dict) else {})
        sealed = parse_json(metadata["convscope"], path)
        if not isinstance(sealed, dict) or not isinstance(sealed.get("values"), str):
            raise RunError(f"{path} was not written by convscope.")
        if sealed.get("sha256") != _digest(tensors, sealed["values"]):
            raise RunError(
                f"{path} has changed since it was written: its sha256 is not the one "
                "that it holds."
            )
        values = parse_json(sealed["values"], path)
    except RunError as error:
        raise CheckpointError(str(error)) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds no JSON object; that is no run's file.")
    return Checkpoint(tensors, values)


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in a file, of which nothing else is read.

    Raises:
        CheckpointError: As for ``read_tensors``.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "some.safetensors")
    >>> write_tensors(path, {"weight": torch.ones(2, 3)})
    >>> read_shapes(path)
    {'weight': (2, 3)}
    """
    with _opened(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file to read; whatever is wrong with it is a CheckpointError."""
    try:
        require_regular(path)
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing.") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read, it may be cut short: {error}."
        ) from error
    except RunError as error:
        raise CheckpointError(str(error)) from error


def _digest(tensors: dict[str, Tensor], values: str) -> str:
    """sha256 over names, kinds, shapes and content of the tensors, and the values."""
    digest = hashlib.sha256(values.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
