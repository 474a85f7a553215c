"""Weights from files: our own, and those made for torchvision's networks.

``load_weights(net, path)``   copies a file's tensors into a network
``read_weights(path)``        the tensors of a file by name; no code in it is run

The networks that torchvision has (``alexnet_2014``, ``vgg``, ``resnet``,
``mobilenet_v2``) name their tensors as it does.
"""

import difflib
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from convscope.errors import ArgumentError, DataError, ShapeError

Tensors = dict[str, Tensor]

_WRAPPED = ("state_dict", "model_state_dict", "model")  # where training scripts put it
_PARALLEL = "module."  # what data-parallel training puts before each name
_COUNTER = "num_batches_tracked"  # files from before 2018 have none
_SHOWN = 3  # names in a message


def load_weights(
    net: nn.Module, path: str | Path, *, head: bool = True
) -> tuple[str, ...]:
    """Copies the tensors of a file into a network; either all or none.

    Args:
        net: What they are copied into.
        path: A ``.safetensors`` file, or one that ``torch.save`` wrote of a state
            dict. The contents decide, not the ending.
        head: Whether the last layer is loaded too. Without it that layer keeps its
            own weights, so that it may have another number of classes.

    Returns:
        Names of the network's tensors that were left as they were.

    Raises:
        DataError: The file is not there, holds no weights, or holds code.
        ArgumentError: Tensors are missing from the file or unknown to the network;
            or the network has no memory, being on the meta device.
        ShapeError: A tensor has another shape.

    >>> load_weights(nn.Linear(2, 2), "weights.pth")
    Traceback (most recent call last):
    convscope.errors.DataError: load_weights: path=weights.pth is not there.
    """
    path = Path(path)
    own = net.state_dict()
    if any(tensor.is_meta for tensor in own.values()):
        raise ArgumentError(
            "load_weights: the network is on the meta device, which keeps no numbers. "
            "Build it outside of torch.device('meta')."
        )
    found = read_weights(path)
    last = _head(own)
    left: set[str] = set()
    if not head:
        left = {name for name in own if _is_in(name, last)}
        found = {name: t for name, t in found.items() if not _is_in(name, last)}
    left |= {name for name in own if name.endswith(_COUNTER) and name not in found}
    wanted = {name: tensor for name, tensor in own.items() if name not in left}
    _require_names(wanted, found, path)
    _require_shapes(wanted, found, path, last)
    try:
        net.load_state_dict(found, strict=False)
    except RuntimeError as error:  # another connection table
        raise ShapeError(f"load_weights: {path.name} does not fit: {error}.") from None
    return tuple(name for name in own if name in left)


def read_weights(path: str | Path) -> Tensors:
    """The tensors of a file by name, on the CPU.

    Only tensors and plain containers are read: a pickle that asks for anything else
    is refused before any of it is run.

    Args:
        path: A ``.safetensors`` file, or one that ``torch.save`` wrote.

    Raises:
        DataError: The file is not there, holds no weights, or holds code.
    """
    path = Path(path)
    where = f"load_weights: path={path}"
    if not path.is_file():
        raise DataError(f"{where} is not there.")
    with path.open("rb") as file:
        begin = file.read(9)
    if begin[8:] == b"{":  # safetensors: eight bytes of length, then JSON
        try:
            return load_file(path)
        except SafetensorError as error:
            raise DataError(f"{where} is not a whole weights file: {error}.") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles written by other means
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever bytes that are no pickle lead to
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        if asked is None:
            raise DataError(
                f"{where} is not a weights file, or is cut short. Give a .safetensors "
                "file, or a .pth that torch.save wrote of a state dict."
            ) from None
        raise DataError(
            f"{where} holds more than tensors: reading it would run "
            f"{asked.group(1)}. None of it was run. Ask its author for a .safetensors "
            "file, or for torch.save(net.state_dict(), path)."
        ) from None
    return _tensors(content, where)


def _tensors(content: Any, where: str) -> Tensors:
    """The state dict in what was read, without prefixes."""
    for key in _WRAPPED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise DataError(
            f"{where} holds a {type(content).__name__}, not tensors by name. Save "
            "net.state_dict()."
        )
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise DataError(
                f"{where} holds {name!r}, a {type(value).__name__}, among its tensors. "
                "Save net.state_dict() alone, or below the key 'state_dict'."
            )
    if all(name.startswith(_PARALLEL) for name in content):
        return {name.removeprefix(_PARALLEL): t for name, t in content.items()}
    return dict(content)


def _require_names(wanted: Tensors, found: Tensors, path: Path) -> None:
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    extra = [name for name in extra if not name.endswith(_COUNTER)]
    if not missing and not extra:
        return
    parts = []
    if missing:
        parts.append(f"the file lacks {_named(missing, extra)}")
    if extra:
        parts.append(f"the network has no {_named(extra, missing)}")
    raise ArgumentError(
        f"load_weights: {path.name} does not fit: {'; '.join(parts)}. Build the "
        "network that the file was made for."
    )


def _named(names: list[str], others: Iterable[str]) -> str:
    """The first names, each with the nearest of the others; how many more."""
    shown = []
    for name in names[:_SHOWN]:
        close = difflib.get_close_matches(name, others, n=1, cutoff=0.75)
        shown.append(name + (f" (nearest: {close[0]})" if close else ""))
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _require_shapes(wanted: Tensors, found: Tensors, path: Path, last: str) -> None:
    wrong = [name for name in wanted if wanted[name].shape != found[name].shape]
    if not wrong:
        return
    first = wrong[0]
    theirs, ours = tuple(found[first].shape), tuple(wanted[first].shape)
    if all(_is_in(name, last) for name in wrong) and theirs[1:] == ours[1:]:
        raise ShapeError(
            f"load_weights: {path.name} is for {theirs[0]} classes, the network for "
            f"{ours[0]}. Give head=False to load all but the last layer, {last}; or "
            f"build the network with num_classes={theirs[0]}."
        )
    more = f", and {len(wrong) - 1} more differ" if len(wrong) > 1 else ""
    raise ShapeError(
        f"load_weights: {path.name} does not fit: {first} is {theirs} in the file and "
        f"{ours} in the network{more}. Build the network that the file was made for, "
        "with its channels and options."
    )


def _head(state: Tensors) -> str:
    """The path of the last layer that has a matrix or kernels."""
    weights = [name for name, tensor in state.items() if tensor.ndim > 1]
    return weights[-1].rpartition(".")[0] if weights else ""


def _is_in(name: str, layer: str) -> bool:
    return name.rpartition(".")[0] == layer
