"""Where in a file the tensors of a network are: below which keys and prefixes.

Training scripts keep weights below ``state_dict``, ``model``, ``net`` and the like,
put ``module.``, ``backbone.`` or ``model.`` before each name, and keep averages and
optimizers beside them. What stands before the names is found by the network's names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from convscope.errors import ArgumentError, UnknownNameError
from convscope.models.weight_names import renamed

Tensors = dict[str, Tensor]

COUNTER = "num_batches_tracked"  # files from before 2018 have none
_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_COPIES = ("ema", "average", "averaged", "teacher", "momentum", "shadow", "swa")
_SHOWN = 4


@dataclass(frozen=True)
class Place:
    """Tensors that stand below one prefix of a file.

    Attributes:
        prefix: What stood before each name, such as ``"state_dict.module."``.
        tensors: By the network's names, as far as they are known.
        others: Names in the file of what does not stand below it.
    """

    prefix: str
    tensors: Tensors
    others: tuple[str, ...]


def find_place(
    tensors: Mapping[str, Tensor], own: Iterable[str], prefix: str | None, file: str
) -> Place:
    """The part of a file that holds a network's tensors.

    Args:
        tensors: All that the file holds, by name.
        own: The network's names.
        prefix: What stands before the names, if it is known.
        file: What messages call it.

    Raises:
        UnknownNameError: No name in the file begins with ``prefix``.
        ArgumentError: Several parts of the file fit equally well.

    >>> import torch
    >>> kept = {"model.module.bias": torch.ones(1), "optimizer.step": torch.ones(1)}
    >>> place = find_place(kept, ["bias"], None, "a.pth")
    >>> place.prefix, list(place.tensors), place.others
    ('model.module.', ['bias'], ('optimizer.step',))
    """
    own = list(own)
    plain = {_unwrapped(name): tensor for name, tensor in tensors.items()}
    if prefix is not None:
        if not any(name.startswith(prefix) for name in plain):
            raise UnknownNameError("prefix", prefix, _prefixes(plain))
        return _below(plain, prefix, own)
    wanted = {name for name in own if not name.endswith(COUNTER)}
    found = [_below(plain, each, own) for each in _candidates(plain, own)]
    scores = [len(wanted & set(place.tensors)) for place in found]
    best = max(scores)
    if best and scores[0] == best:  # the first is without a prefix
        return found[0]
    fits = [p for p, score in zip(found, scores, strict=True) if score == best]
    first = [place for place in fits if not _is_copy(place.prefix)] or fits
    unclear = len(first) > 1 and 2 * best < len(wanted)  # any network has such names
    if best == 0 or unclear:
        return _below(plain, _common(plain), own)
    if len(first) > 1:
        listed = ", ".join(repr(place.prefix) for place in first[:_SHOWN])
        raise ArgumentError(
            f"load_weights: {file} holds {len(first)} sets of weights that fit, below "
            f"{listed}. Say which one: cs.models.load_weights(net, {file!r}, "
            f"prefix={first[0].prefix!r})."
        )
    return first[0]


def _unwrapped(name: str) -> str:
    """Without what ``torch.compile`` and the like put between the parts of a name."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _candidates(names: Iterable[str], own: list[str]) -> list[str]:
    """Nothing, then all that stands before a name that the network may have."""
    known = {*own, "_conv_stem.weight", "conv_stem.weight", "pre_logits.fc1.weight"}
    found = dict.fromkeys([""])
    for name in names:
        for place, letter in enumerate(name):
            if letter == "." and name[place + 1 :] in known:
                found[name[: place + 1]] = None
    return list(found)


def _below(tensors: Mapping[str, Tensor], prefix: str, own: list[str]) -> Place:
    inside = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    others = tuple(name for name in tensors if not name.startswith(prefix))
    return Place(prefix, renamed(inside, own), others)


def _prefixes(names: Iterable[str]) -> set[str]:
    """Up to two parts of names, as prefixes."""
    parts = [name.split(".")[:-1] for name in names]
    return {".".join(p[:n]) + "." for p in parts for n in (1, 2) if len(p) >= n}


def _common(names: Iterable[str]) -> str:
    """The longest prefix that most names share: what is probably the network."""
    names = list(names)
    best = ""
    for prefix in sorted(_prefixes(names), key=len):
        share = sum(name.startswith(prefix) for name in names) / len(names)
        if share > 0.5 and not prefix.startswith(("layer", "features", "blocks")):
            best = prefix
    return best


def _is_copy(prefix: str) -> bool:
    """Whether it names an average of weights, or a network that only teaches."""
    words = prefix.lower().replace("_", ".").split(".")
    return any(word in _COPIES for word in words)
