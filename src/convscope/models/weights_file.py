"""What lies in a weights file: tensors by name; no code in it is run."""

import argparse
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from convscope.errors import DataError

Tensors = dict[str, Tensor]

_DEEPEST = 16  # dicts within each other; training scripts write up to 4
_GIVE = "Give a .safetensors file, or a .pth that torch.save wrote of a state dict."
# First bytes of what people take for weights files, and what to do about it.
_OTHERS = (
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file. Fetch the "
     "file with git lfs pull."),
    (b"<", "is a web page, not the file. Download the file itself."),
    (b"\x89HDF", f"is an HDF5 file, as Keras writes it, which is not read. {_GIVE}"),
    (b"\x93NUMPY", f"is a NumPy array without names. {_GIVE}"),
    (b"\x1f\x8b", "is compressed with gzip. Unpack it first."),
    (b"\x89PNG", f"is a picture. {_GIVE}"),
    (b"\xff\xd8\xff", f"is a picture. {_GIVE}"),
)  # fmt: skip
# Files inside of zip archives that torch.load takes no state dict from.
_ARCHIVES = (
    (r"(^|/)code/", "is a TorchScript program, which is not run here. Where you trust "
     "it, torch.load it, and save the state_dict() of what comes out."),
    (r"\.npy$", f"is an archive of NumPy arrays. {_GIVE}"),
    (r"\.h5$", f"is a Keras file, which is not read. {_GIVE}"),
    (r"archive_format$", "is an exported program, which is not run here. Where you "
     "trust it, torch.export.load it, and save its state_dict."),
    (r"\.(pth|pt|bin|ckpt|safetensors)$", "is an archive with files in it. Unpack it "
     "first."),
)  # fmt: skip
# What training scripts keep beside weights: plain values, whose making runs nothing.
_PLAIN: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(name)) for name in ("f4", "f8", "i4", "i8", "?")),
    (np._core.multiarray.scalar, "numpy._core.multiarray.scalar"),  # type: ignore[attr-defined]
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # type: ignore[attr-defined]
]


def read_weights(path: str | Path) -> Tensors:
    """The tensors of a file by name, on the CPU.

    Names of nested ones are joined by dots: ``state_dict.conv1.weight``. Whatever else
    a training script kept in the file is passed over.

    Only tensors and plain containers are read: a pickle that asks for anything else
    is refused before any of it is run.

    Args:
        path: A ``.safetensors`` file, or one that ``torch.save`` wrote.

    Raises:
        DataError: The file is not there, holds no weights, or holds code.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save({"net": {"bias": torch.ones(2)}}, Path(folder, "weights.pth"))
    ...     read_weights(Path(folder, "weights.pth"))
    {'net.bias': tensor([1., 1.])}
    """
    path = Path(path)
    where = f"load_weights: path={path}"
    _require_file(path, where)
    with path.open("rb") as file:
        begin = file.read(64)
    if not begin:
        raise DataError(
            f"{where} is empty: a download or a copy was not finished. Get it again."
        )
    if begin[8:9] == b"{":  # safetensors: eight bytes of length, then JSON
        try:
            return load_file(path)
        except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise DataError(f"{where} is not a whole weights file: {error}.") from None
    _require_pickle(path, begin, where)
    tensors: Tensors = {}
    content = _unpickled(path, where)
    _collect(content, (), tensors, where)
    if not tensors:
        raise DataError(
            f"{where} holds a {type(content).__name__}, not tensors by name. Save "
            "net.state_dict()."
        )
    return tensors


def _require_file(path: Path, where: str) -> None:
    if path.is_dir():
        inside = sorted(
            each.name
            for pattern in ("*.safetensors", "*.pth", "*.pt", "*.bin", "*.ckpt")
            for each in path.glob(pattern)
        )
        give = f"{path / inside[0]}" if inside else "a file"
        raise DataError(f"{where} is a folder. Give {give}.")
    if not path.exists():
        raise DataError(f"{where} is not there.")
    if not path.is_file():
        raise DataError(f"{where} is no plain file. Give a file on a disk.")


def _require_pickle(path: Path, begin: bytes, where: str) -> None:
    """Refuses by name what is known to be something else."""
    for magic, what in _OTHERS:
        if begin.lstrip().startswith(magic):
            raise DataError(f"{where} {what}")
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return  # torch says what is wrong with it
    for pattern, what in _ARCHIVES:
        if any(re.search(pattern, name) for name in names):
            raise DataError(f"{where} {what}")


def _unpickled(path: Path, where: str) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_PLAIN):
            warnings.simplefilter("ignore")  # of pickles written by other means
            with path.open("rb") as file:  # by name, torch goes by the ending
                return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever bytes that are no pickle lead to
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        if asked is None:
            raise DataError(
                f"{where} is not a weights file, or is cut short. {_GIVE}"
            ) from None
        raise DataError(
            f"{where} holds more than tensors: reading it would run "
            f"{asked.group(1)}. None of it was run. Ask its author for a .safetensors "
            "file, or for torch.save(net.state_dict(), path)."
        ) from None


def _collect(value: Any, names: tuple[str, ...], into: Tensors, where: str) -> None:
    """Puts every tensor in nested dicts under its name."""
    if len(names) > _DEEPEST:
        raise DataError(f"{where} holds dicts that are nested over {_DEEPEST} deep.")
    if isinstance(value, Mapping):
        for key, each in value.items():
            _collect(each, (*names, str(key)), into, where)
    elif isinstance(value, Tensor) and names:
        name = ".".join(names)
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            kind = "quantized" if value.is_quantized else "without numbers"
            kind = "sparse" if value.layout != torch.strided else kind
            raise DataError(
                f"{where} holds {name}, a tensor that is {kind}. Save the weights of "
                "the network in float32."
            )
        into[name] = value.detach()
