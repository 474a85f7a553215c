"""Weights from files: our own, torchvision's and timm's.

``load_weights(net, path)``   copies a file's tensors into a network
``read_weights(path)``        the tensors of a file by name; no code in it is run

The networks that torchvision has (``alexnet_2014``, ``vgg``, ``resnet``,
``mobilenet_v2``) name their tensors as it does, ``efficientnet_lite`` as timm does;
other names are in ``weight_names``.
"""

import difflib
import functools
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from convscope.errors import ArgumentError, DataError, ShapeError
from convscope.models.card import build_untrained, cards
from convscope.models.weight_names import renamed
from convscope.models.weight_shapes import to_axes, to_channels

Tensors = dict[str, Tensor]

_WRAPPED = ("state_dict", "model_state_dict", "model")  # where training scripts put it
_PARALLEL = "module."  # what data-parallel training puts before each name
_COUNTER = "num_batches_tracked"  # files from before 2018 have none
_SHOWN = 3  # names in a message


@dataclass(frozen=True)
class LoadedWeights:
    """What a file gave to a network.

    Attributes:
        path: The file.
        loaded: Names of the network's tensors that were copied from it.
        left: Names of those that kept their own numbers.
        unused: Names of the file's tensors that the network did not take.
        changed: What was done to tensors on the way, by name, in words.

    >>> LoadedWeights(Path("w.pth"), loaded=("0.weight",), left=("2.bias",)).left
    ('2.bias',)
    """

    path: Path
    loaded: tuple[str, ...]
    left: tuple[str, ...]
    unused: tuple[str, ...] = ()
    changed: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line for each kind."""
        rows = [f"{self.path.name}: {len(self.loaded)} tensors loaded"]
        rows += [f"  {name}: {what}" for name, what in self.changed.items()]
        for names, what in ((self.left, "new"), (self.unused, "not used")):
            if names:
                rows.append(f"  {what}: {_listed(names)}")
        return "\n".join(rows)


def load_weights(
    net: nn.Module,
    path: str | Path,
    *,
    num_classes: int | None = None,
    head: bool | None = None,
) -> LoadedWeights:
    """Copies the tensors of a file into a network; either all that fit or none.

    Kernels of color images are adapted to a network for other channels
    (``weight_shapes.to_channels``), kernels of images to a network for signals or
    volumes (``weight_shapes.to_axes``); the answer says so.

    Args:
        net: What they are copied into.
        path: A ``.safetensors`` file, or one that ``torch.save`` wrote of a state
            dict. The contents decide, not the ending.
        num_classes: Outputs that the network is to have: its last linear layer is
            replaced if it has another number of them.
        head: Whether the last layer is loaded too. By default it is if it has as many
            classes in the file; else it keeps its own weights.

    Raises:
        DataError: The file is not there, holds no weights, holds code, or holds
            numbers that are not finite.
        ArgumentError: Tensors are missing from the file or unknown to the network;
            or the network has no memory, being on the meta device.
        ShapeError: A tensor has another shape.

    >>> load_weights(nn.Linear(2, 2), "weights.pth")
    Traceback (most recent call last):
    convscope.errors.DataError: load_weights: path=weights.pth is not there.
    """
    path = Path(path)
    if any(tensor.is_meta for tensor in net.state_dict().values()):
        raise ArgumentError(
            "load_weights: the network is on the meta device, which keeps no numbers. "
            "Build it outside of torch.device('meta')."
        )
    found = renamed(read_weights(path), net.state_dict())
    _require_finite(found, path)
    if num_classes is not None:
        replace_head(net, num_classes)
    own = net.state_dict()
    last = _head(own)
    left: set[str] = set()
    if head is None:
        head = all(
            name not in found or found[name].shape == own[name].shape
            for name in own
            if _is_in(name, last)
        )
    unused: list[str] = []
    if not head:
        left = {name for name in own if _is_in(name, last)}
        unused = [name for name in found if _is_in(name, last)]
        found = {name: t for name, t in found.items() if not _is_in(name, last)}
    left |= {name for name in own if name.endswith(_COUNTER) and name not in found}
    wanted = {name: tensor for name, tensor in own.items() if name not in left}
    _require_names(net, wanted, found, path)
    found, changed = _adapted(wanted, found)
    _require_shapes(wanted, found, path, last)
    try:
        net.load_state_dict(found, strict=False)
    except RuntimeError as error:  # another connection table
        raise ShapeError(f"load_weights: {path.name} does not fit: {error}.") from None
    return LoadedWeights(
        path,
        loaded=tuple(wanted),
        left=tuple(name for name in own if name in left),
        unused=tuple(unused),
        changed=changed,
    )


def replace_head(net: nn.Module, num_classes: int) -> None:
    """Gives the network's last linear layer ``num_classes`` outputs, with new weights.

    A layer that has as many already stays as it is.

    Raises:
        ArgumentError: The network has no linear layer at its end.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 1000))
    >>> replace_head(net, 3)
    >>> net[1]
    Linear(in_features=4, out_features=3, bias=True)
    """
    path = _head(net.state_dict())
    layer = net.get_submodule(path) if path else net
    if not isinstance(layer, nn.Linear) or not path:
        raise ArgumentError(
            f"load_weights: num_classes={num_classes} needs a linear layer at the end; "
            f"this network ends in {type(layer).__name__}. Replace its last layer "
            "yourself, and leave num_classes out."
        )
    if layer.out_features != num_classes:
        parent, _, name = path.rpartition(".")
        fresh = nn.Linear(layer.in_features, num_classes, layer.bias is not None)
        setattr(net.get_submodule(parent), name, fresh.to(layer.weight))


def read_weights(path: str | Path) -> Tensors:
    """The tensors of a file by name, on the CPU.

    Only tensors and plain containers are read: a pickle that asks for anything else
    is refused before any of it is run.

    Args:
        path: A ``.safetensors`` file, or one that ``torch.save`` wrote.

    Raises:
        DataError: The file is not there, holds no weights, or holds code.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save({"bias": torch.ones(2)}, Path(folder, "weights.pth"))
    ...     read_weights(Path(folder, "weights.pth"))
    {'bias': tensor([1., 1.])}
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


def _require_finite(found: Tensors, path: Path) -> None:
    for name, tensor in found.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise DataError(
                f"load_weights: {path.name}: {name} holds numbers that are NaN or "
                "infinite. The training that wrote it failed; take an earlier file."
            )


def _adapted(wanted: Tensors, found: Tensors) -> tuple[Tensors, dict[str, str]]:
    """Tensors in the network's shapes where a rule leads there, and what was done."""
    result, changed = dict(found), {}
    first = next((name for name, tensor in wanted.items() if tensor.ndim > 2), None)
    for name, own in wanted.items():
        tensor, said = result[name], []
        if tensor.ndim == 4 and own.ndim in (3, 5):
            square = tensor.shape[2] == tensor.shape[3]
            if square and set(own.shape[2:]) == {tensor.shape[2]}:
                tensor = to_axes(tensor, tuple(own.shape[2:]))
                said.append(
                    "summed over rows for signals" if own.ndim == 3
                    else "repeated along depth for volumes, divided by its length"
                )  # fmt: skip
        if name == first and tensor.ndim == own.ndim and tensor.shape[1] in (1, 3):
            theirs, ours = tensor.shape[1], own.shape[1]
            if theirs != ours and tensor.shape[0] == own.shape[0]:
                tensor = to_channels(tensor, ours)
                said.append(
                    f"summed over its {theirs} channels" if ours == 1
                    else f"its {theirs} channels repeated for {ours}, scaled"
                )  # fmt: skip
        if said:
            result[name], changed[name] = tensor, "; ".join(said)
    kinds = set(changed.values())
    if len(changed) > _SHOWN and len(kinds) == 1:  # every kernel the same way
        changed = {f"{len(changed)} kernels": kinds.pop()}
    return result, changed


def _best_model(found: Tensors) -> str:
    """The model of ours whose tensors most of these are; empty for none."""
    best, score = "", 0.0
    names = set(found)
    for name in cards():
        theirs = _names_of(name)
        share = len(names & theirs) / len(names | theirs)
        if share > score:
            best, score = name, share
    return best if score > 0.9 else ""


@functools.cache
def _names_of(model: str) -> frozenset[str]:
    with torch.device("meta"):
        return frozenset(build_untrained(model).state_dict())


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _require_names(net: nn.Module, wanted: Tensors, found: Tensors, path: Path) -> None:
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
    other = _best_model(found)
    own = getattr(getattr(net, "built_from", None), "name", None)
    advice = "Build the network that the file was made for."
    if other and other != own:
        advice = f"It fits the names of {other}: build that, with its options."
    raise ArgumentError(
        f"load_weights: {path.name} does not fit: {'; '.join(parts)}. {advice}"
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
