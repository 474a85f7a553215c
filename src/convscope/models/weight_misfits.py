"""Why a file's tensors do not fit a network, in words, and which network they fit."""

import difflib
import functools
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from convscope.errors import ArgumentError, ShapeError
from convscope.models.card import build_untrained, cards
from convscope.models.weight_names import renamed
from convscope.models.weight_places import COUNTER

Tensors = Mapping[str, Tensor]

_SHOWN = 3  # names in a message
_ALIKE = 0.9  # share of names from which a file is taken for a model's


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are.

    >>> listed(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def require_names(net: nn.Module, wanted: Tensors, found: Tensors, file: str) -> None:
    """Refuses names that only one side has.

    Raises:
        ArgumentError: There are some; names the nearest, and what to do.
    """
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    extra = [name for name in extra if not name.endswith(COUNTER)]
    if not missing and not extra:
        return
    parts = []
    if missing:
        parts.append(f"the file lacks {_named(missing, extra)}")
    if extra:
        parts.append(f"the network has no {_named(extra, missing)}")
    raise ArgumentError(
        f"load_weights: {file} does not fit: {'; '.join(parts)}. "
        f"{_advice(net, wanted, found, missing, extra)}"
    )


def _advice(
    net: nn.Module,
    wanted: Tensors,
    found: Tensors,
    missing: list[str],
    extra: list[str],
) -> str:
    """What to do about names that differ."""
    part = _part(wanted, found)
    if part:
        return f"It fits a part of the network: load it into net.{part}."
    other = best_model(found)
    own = getattr(getattr(net, "built_from", None), "name", None)
    if other and other != own:
        return f"It fits the names of {other}: build that, with its options."
    if missing and not extra:
        kept = len(wanted) - len(missing)
        return (
            f"It holds {kept} of the network's {len(wanted)} tensors: get a file that "
            "is whole."
        )
    return "Build the network that the file was made for."


def _part(wanted: Tensors, found: Tensors) -> str:
    """The part of the network whose names the file has; empty for none."""
    theirs = {name for name in found if not name.endswith(COUNTER)}
    for top in dict.fromkeys(name.partition(".")[0] for name in wanted):
        own = {name.partition(".")[2] for name in wanted if name.startswith(f"{top}.")}
        if _likeness({n for n in own if not n.endswith(COUNTER)}, theirs) > _ALIKE:
            return f"get_submodule({top!r})" if top.isdigit() else top
    return ""


def _named(names: list[str], others: Iterable[str]) -> str:
    """The first names, each with the nearest of the others; how many more."""
    others, shown = list(others), []
    for name in names[:_SHOWN]:
        close = difflib.get_close_matches(name, others, n=1, cutoff=0.75)
        shown.append(name + (f" (nearest: {close[0]})" if close else ""))
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def best_model(found: Tensors) -> str:
    """The model of ours whose tensors most of these are; empty for none.

    >>> best_model({"nothing.of.ours": torch.ones(1)})
    ''
    """
    best, score = "", (_ALIKE, 0.0)
    for name in cards():
        theirs = _shapes_of(name)
        shapes = {key: tuple(t.shape) for key, t in renamed(found, theirs).items()}
        shapes = {k: shape for k, shape in shapes.items() if not k.endswith(COUNTER)}
        same = sum(theirs.get(key) == shape for key, shape in shapes.items())
        own = (_likeness(set(shapes), set(theirs)), same / len(theirs))
        if own > score:
            best, score = name, own
    return best


def _likeness(ours: set[str], theirs: set[str]) -> float:
    return len(ours & theirs) / max(1, len(ours | theirs))


@functools.cache
def _shapes_of(model: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        state = build_untrained(model).state_dict()
    return {k: tuple(t.shape) for k, t in state.items() if not k.endswith(COUNTER)}


def require_shapes(wanted: Tensors, found: Tensors, file: str, last: str) -> None:
    """Refuses tensors of other shapes, all of them before any is copied.

    Args:
        wanted: The network's tensors.
        found: The file's, by the same names.
        file: What messages call it.
        last: The path of the network's last layer.

    Raises:
        ShapeError: There are some; names the first with both shapes.
    """
    wrong = [name for name in wanted if wanted[name].shape != found[name].shape]
    if not wrong:
        return
    first = wrong[0]
    theirs, ours = tuple(found[first].shape), tuple(wanted[first].shape)
    if all(is_in(name, last) for name in wrong) and theirs[1:] == ours[1:]:
        raise ShapeError(
            f"load_weights: {file} is for {theirs[0]} classes, the network for "
            f"{ours[0]}. Give head=False to load all but the last layer, {last}; or "
            f"build the network with num_classes={theirs[0]}."
        )
    more = f", and {len(wrong) - 1} more differ" if len(wrong) > 1 else ""
    raise ShapeError(
        f"load_weights: {file} does not fit: {first} is {theirs} in the file and "
        f"{ours} in the network{more}. Build the network that the file was made for, "
        "with its channels and options."
    )


def is_in(name: str, layer: str) -> bool:
    """Whether a tensor belongs to the layer of that path.

    >>> is_in("classifier.6.bias", "classifier.6")
    True
    """
    return name.rpartition(".")[0] == layer
