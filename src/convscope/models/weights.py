"""Weights from files: our own, torchvision's and timm's.

``load_weights(net, path)``   copies a file's tensors into a network
``read_weights(path)``        the tensors of a file by name; no code in it is run

The networks that torchvision has (``alexnet_2014``, ``vgg``, ``resnet``,
``mobilenet_v2``) name their tensors as it does, ``efficientnet_lite`` as timm does;
other names are in ``weight_names``. Where in a file they stand is in ``weight_places``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from convscope.errors import ArgumentError, DataError, ShapeError
from convscope.models.efficientnet_lite import ORIGIN
from convscope.models.weight_misfits import (
    is_in,
    listed,
    require_names,
    require_shapes,
)
from convscope.models.weight_places import COUNTER, find_place
from convscope.models.weight_shapes import adapted
from convscope.models.weights_file import read_weights

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class LoadedWeights:
    """What a file gave to a network.

    Attributes:
        path: The file.
        loaded: Names of the network's tensors that were copied from it.
        left: Names of those that kept their own numbers.
        unused: Names of the file's tensors that the network did not take.
        changed: What was done to tensors on the way, by name, in words.
        prefix: What stood before each name in the file: ``"state_dict.module."``.
        notes: Sentences a person should read.
        classes: Of the last layer, where it was loaded too: there must be as many.

    >>> print(LoadedWeights(Path("w.pth"), loaded=("0.weight",), left=("2.bias",)))
    w.pth: 1 tensor loaded
      new: 2.bias
    """

    path: Path
    loaded: tuple[str, ...]
    left: tuple[str, ...]
    unused: tuple[str, ...] = ()
    changed: dict[str, str] = field(default_factory=dict)
    prefix: str = ""
    notes: tuple[str, ...] = ()
    classes: int | None = None

    def __str__(self) -> str:
        """One line for each kind."""
        below = f" from below {self.prefix.rstrip('.')}" if self.prefix else ""
        plural = "" if len(self.loaded) == 1 else "s"
        rows = [f"{self.path.name}: {len(self.loaded)} tensor{plural} loaded{below}"]
        rows += [f"  {name}: {what}" for name, what in self.changed.items()]
        new = [name for name in self.left if not name.endswith(COUNTER)]
        for names, what in ((new, "new"), (self.unused, "not used")):
            if names:
                rows.append(f"  {what}: {listed(names)}")
        rows += [f"  {note}" for note in self.notes]
        if self.classes is not None:
            rows.append(
                f"  the last layer too, for {self.classes} classes: they must be the "
                "same, in the same order (head=False begins it anew)"
            )
        return "\n".join(rows)


def load_weights(
    net: nn.Module,
    path: str | Path,
    *,
    num_classes: int | None = None,
    head: bool | None = None,
    prefix: str | None = None,
) -> LoadedWeights:
    """Copies the tensors of a file into a network; either all that fit or none.

    Kernels of color images are adapted to a network for other channels
    (``weight_shapes.to_channels``), kernels of images to a network for signals or
    volumes (``weight_shapes.to_axes``); the answer says so.

    Args:
        net: What they are copied into.
        path: A ``.safetensors`` file, or one that ``torch.save`` wrote of a state
            dict or of a dict with one in it. The contents decide, not the ending.
        num_classes: Outputs that the network is to have: its last linear layer is
            replaced if it has another number of them.
        head: Whether the last layer is loaded too. By default it is if it has as many
            classes in the file; else it keeps its own weights.
        prefix: What stands before the network's names in the file, such as
            ``"model_ema.module."``; by default that below which most of them are.

    Raises:
        DataError: The file is not there, holds no weights, holds code, or holds
            numbers that are not finite.
        ArgumentError: Tensors are missing from the file or unknown to the network; the
            network has no memory, being on the meta device; or several parts of the
            file fit.
        UnknownNameError: Nothing in the file stands below ``prefix``.
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
    own = net.state_dict()
    last = head_path(own)
    fresh = None if num_classes is None else _new_head(net, num_classes)
    if fresh is not None:
        own |= {f"{last}.{name}": t for name, t in fresh.state_dict().items()}
    tensors = read_weights(path)
    place = find_place(tensors, own, prefix, path.name)
    found = place.tensors
    if f"{place.prefix}_conv_stem.weight" in tensors:
        _require_origin(net, path.name)
    if head is None:
        head = _has_head(own, found, last)
    unused = list(place.others)
    left: set[str] = set()
    if not head:
        left = {name for name in own if is_in(name, last)}
        unused += [name for name in found if is_in(name, last)]
        unused += _of_another_head(own, found, left)
        found = {name: t for name, t in found.items() if name not in unused}
    left |= {name for name in own if name.endswith(COUNTER) and name not in found}
    wanted = {name: tensor for name, tensor in own.items() if name not in left}
    require_names(net, wanted, found, path.name)
    found, changed = adapted(net, wanted, found)
    require_shapes(wanted, found, path.name, last)
    _require_numbers(wanted, found, path.name)
    if fresh is not None:
        _put(net, last, fresh)
    try:
        net.load_state_dict(found, strict=False)
    except RuntimeError as error:
        raise ShapeError(f"load_weights: {path.name} does not fit: {error}.") from None
    return LoadedWeights(
        path,
        loaded=tuple(wanted),
        left=tuple(name for name in own if name in left),
        unused=tuple(unused),
        changed=changed,
        prefix=place.prefix,
        notes=(
            *_notes_of_numbers(wanted, found),
            *_notes_of_origin(net, f"{place.prefix}conv_stem.weight" in tensors),
        ),
        classes=len(own[f"{last}.weight"]) if f"{last}.weight" in wanted else None,
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
    fresh = _new_head(net, num_classes)
    if fresh is not None:
        _put(net, head_path(net.state_dict()), fresh)


def classes_in(tensors: Mapping[str, Tensor], net: nn.Module, file: str) -> int | None:
    """For how many classes a file's last layer is; None where it has no such layer.

    Args:
        tensors: What ``read_weights`` read.
        net: A network of the model that they are for; it may be on the meta device.
        file: What messages call it.

    >>> classes_in({"1.weight": torch.ones(7, 4)}, nn.Sequential(nn.Flatten(),
    ...     nn.Linear(4, 10)), "a.pth")
    7
    """
    own = net.state_dict()
    name = f"{head_path(own)}.weight"
    found = find_place(tensors, own, None, file).tensors.get(name)
    if found is None or name not in own or found.shape[1:] != own[name].shape[1:]:
        return None
    return len(found)


def head_path(state: Mapping[str, Tensor]) -> str:
    """The path of the last layer that has a matrix or kernels; empty for none.

    >>> head_path(nn.Sequential(nn.Linear(2, 2), nn.ReLU()).state_dict())
    '0'
    """
    weights = [name for name, tensor in state.items() if tensor.ndim > 1]
    return weights[-1].rpartition(".")[0] if weights else ""


def _new_head(net: nn.Module, num_classes: int) -> nn.Linear | None:
    """A last layer for that many classes; None if the network has it."""
    path = head_path(net.state_dict())
    layer = net.get_submodule(path) if path else net
    if not isinstance(layer, nn.Linear) or not path:
        raise ArgumentError(
            f"load_weights: num_classes={num_classes} needs a linear layer at the end; "
            f"this network ends in {type(layer).__name__}. Replace its last layer "
            "yourself, and leave num_classes out."
        )
    if num_classes < 1:
        raise ArgumentError(
            f"load_weights: num_classes={num_classes} must be at least 1."
        )
    if layer.out_features == num_classes:
        return None
    fresh = nn.Linear(layer.in_features, num_classes, layer.bias is not None)
    return fresh.to(layer.weight)


def _put(net: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(net.get_submodule(parent), name, layer)


def _has_head(own: Tensors, found: Tensors, last: str) -> bool:
    """Whether the file's last layer is for as many classes, or does not fit at all."""
    names = [name for name in own if is_in(name, last)]
    others = [name for name in own if name not in names]
    if not others:  # the network is this layer
        return True
    if not any(name in found for name in names):
        return False
    classes = [
        found[name].shape[1:] == own[name].shape[1:] for name in names if name in found
    ]
    same = [found[name].shape == own[name].shape for name in names if name in found]
    return all(same) or not all(classes)


def _of_another_head(own: Tensors, found: Tensors, left: set[str]) -> list[str]:
    """Tensors of whole parts that a network lacks which has all else of the file."""
    if any(name in found for name in left):
        return []
    if any(n not in found and n not in left and not n.endswith(COUNTER) for n in own):
        return []
    tops = {name.partition(".")[0] for name in own}
    return [name for name in found if name.partition(".")[0] not in tops]


def _require_numbers(wanted: Tensors, found: Tensors, file: str) -> None:
    """Refuses what is copied without an error and then computes nonsense."""
    where = f"load_weights: {file}"
    for name, own in wanted.items():
        tensor = found[name]
        if own.dtype == torch.bool and not torch.equal(own.cpu(), tensor.bool()):
            raise ShapeError(
                f"{where} does not fit: {name} are another table, whose kernels belong "
                "to other pairs. Build the network with the file's table."
            )
        if not own.is_floating_point():
            continue
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise DataError(
                f"{where}: {name} holds {kind} numbers, which stand for others that "
                "the file does not tell. Get the file before it was quantized."
            )
        if not bool(tensor.float().isfinite().all()):
            raise DataError(
                f"{where}: {name} holds numbers that are NaN or infinite. The training "
                "that wrote it failed; take an earlier file."
            )
        if name.endswith("running_var") and bool((tensor < 0).any()):
            raise DataError(
                f"{where}: {name} holds variances below 0. The file is damaged; get it "
                "again."
            )


def _notes_of_numbers(wanted: Tensors, found: Tensors) -> list[str]:
    """Formats that become another."""
    kinds = {
        (str(found[name].dtype)[6:], str(own.dtype)[6:])
        for name, own in wanted.items()
        if own.is_floating_point() and found[name].dtype != own.dtype
    }
    return [f"{theirs} in the file, {ours} here" for theirs, ours in sorted(kinds)]


def _require_origin(net: nn.Module, file: str) -> None:
    """Refuses the package's weights in a network that pads as timm does."""
    if _origin(net) not in (None, ORIGIN):
        raise ArgumentError(
            f"load_weights: {file} holds weights of origin={ORIGIN!r}, and the network "
            f"is built for origin={_origin(net)!r}, which computes something else. "
            "Leave origin out."
        )


def _origin(net: nn.Module) -> str | None:
    """What EfficientNet-Lite is built for; None of other networks."""
    built = getattr(net, "built_from", None)
    if built is None or not built.name.startswith("efficientnet_lite"):
        return None
    return str(built.options.get("origin", ORIGIN))


def _notes_of_origin(net: nn.Module, by_timm: bool) -> list[str]:
    """What names and shapes do not tell."""
    origin = _origin(net)
    if not by_timm or origin is None:
        return []
    other = {"tensorflow": "timm", "timm": "tensorflow"}[origin]
    return [
        f"taken for weights of origin={origin!r}; those of origin={other!r} have the "
        "same names and shapes"
    ]
