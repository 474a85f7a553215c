"""A layer with other arguments, to try a suggestion on a copy of a network.

``replacing(path, change)``  what `trace` calls to put the other layer in place
``rebuilt(layer, change)``   the other layer
``layer_text(layer)``        a layer as one would write it, for messages and tables

What a layer was built with is read from the signature of its class and from attributes
of the same names, for the layers of torch.nn as for those of this package.
"""

import copy
import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

HOMES = ("torch.nn.modules.", "convscope.layers.")
PLACE = ("device", "dtype")  # arguments that say where, not what
ALWAYS = ("kernel_size", "p")  # arguments that are written without name, always
_MISSING = object()
Kind: TypeAlias = Callable[..., nn.Module]  # a class


def replacing(path: str, change: dict[str, Any]) -> Callable[[nn.Module], None] | None:
    """A function that puts the layer at ``path`` with other arguments into a network.

    None for the network itself, which has no place to be put into.
    """
    if not path:
        return None

    def change_it(root: nn.Module) -> None:
        owner, _, name = path.rpartition(".")
        old = root.get_submodule(path)
        new = rebuilt(old, change)
        if new is not None:
            new.train(old.training)
            root.get_submodule(owner)._modules[name] = new

    return change_it


def rebuilt(layer: nn.Module, change: dict[str, Any]) -> nn.Module | None:
    """The same layer with other arguments, on the meta device; None if unknown.

    What follows from other arguments does so again: a pooling whose stride is its
    kernel keeps that with another kernel.
    """
    kind, given = _kind(layer), _given(layer)
    if kind is None or given is None:
        return _with_other_first_part(layer, change)
    if not change.keys() <= given.keys():
        return None
    arguments = {
        name: value
        for name, value in given.items()
        if name in _plain(kind) or value != _defaults(layer, given).get(name, _MISSING)
    }
    arguments.update(change)
    channels = change.get("in_channels")
    if channels and 1 < given.get("groups", 1) == given["in_channels"]:
        arguments["groups"] = channels  # depthwise stays depthwise
    with torch.device("meta"):
        return kind(**arguments)


def layer_text(layer: nn.Module) -> str:
    """A layer with the arguments that matter, as one would write it.

    >>> layer_text(nn.Conv2d(3, 8, 3, padding=1))
    'Conv2d(3, 8, 3, padding=1)'
    """
    kind, given = _kind(layer), _given(layer)
    name = type(layer).__name__.removeprefix("Parametrized")
    if kind is None or given is None:
        text = layer.extra_repr() if not layer._modules else ""
        return f"{name}({text})" if text and "\n" not in text else name
    defaults = _defaults(layer, given)
    parts: list[str] = []
    for argument, value in given.items():
        plain = argument in _plain(kind)
        if not plain and value == defaults.get(argument, _MISSING):
            continue
        text = "..." if isinstance(value, Tensor) else repr(_short(value))
        parts.append(text if plain else f"{argument}={text}")
    return f"{name}({', '.join(parts)})" if parts else name


def _kind(layer: nn.Module) -> Kind | None:
    """The class that it is or derives from, of torch.nn or of this package."""
    for kind in type(layer).__mro__[:-1]:
        if kind is nn.Module or kind is nn.Sequential:
            return None
        if kind.__module__.startswith(HOMES) and not kind.__name__.startswith("_"):
            return kind
    return None


@lru_cache
def _parameters(kind: Kind) -> tuple[inspect.Parameter, ...] | None:
    """Of the constructor; None where they are not fixed in number."""
    found = [
        p
        for p in inspect.signature(kind).parameters.values()
        if p.name not in PLACE and not p.name.startswith("_")
    ]
    loose = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return None if any(p.kind in loose for p in found) else tuple(found)


@lru_cache
def _plain(kind: Kind) -> tuple[str, ...]:
    """Arguments that are written without name: the required ones, in front."""
    plain = []
    for p in _parameters(kind) or ():
        if p.default is not p.empty and p.name not in ALWAYS:
            break
        plain.append(p.name)
    return tuple(plain)


def _given(layer: nn.Module) -> dict[str, Any] | None:
    """The arguments that it was built with, as far as it holds them."""
    kind = _kind(layer)
    parameters = None if kind is None else _parameters(kind)
    if parameters is None:
        return None
    apart: dict[str, Any] = getattr(layer, "constructor_arguments", {})
    found: dict[str, Any] = {}
    for parameter in parameters:
        name = parameter.name
        value = apart.get(name, getattr(layer, name, _MISSING))
        if value is _MISSING or isinstance(value, nn.Module):
            return None
        if name == "bias" and not isinstance(value, bool | str):
            value = value is not None or not _is_affine(layer)
        found[name] = value
    return found


def _is_affine(layer: nn.Module) -> bool:
    """False for a norm without weights, whose missing bias says nothing."""
    return all(getattr(layer, n, True) for n in ("affine", "elementwise_affine"))


def _defaults(layer: nn.Module, given: dict[str, Any]) -> dict[str, Any]:
    """What the layer would hold if only its plain arguments had been given."""
    kind = _kind(layer)
    if kind is None:
        return {}
    plain = (given[name] for name in _plain(kind))
    return _held_by_default(
        kind, *(tuple(one) if isinstance(one, list) else one for one in plain)
    )


@lru_cache(maxsize=256)
def _held_by_default(kind: Kind, *plain: Any) -> dict[str, Any]:
    try:
        with torch.device("meta"):
            return _given(kind(*plain)) or {}
    except (ValueError, RuntimeError, TypeError):  # it needs more, as one of two sizes
        return {p.name: p.default for p in _parameters(kind) or ()}


def _with_other_first_part(
    layer: nn.Module, change: dict[str, Any]
) -> nn.Module | None:
    """A sequence takes what its first part takes."""
    if not isinstance(layer, nn.Sequential) or not layer._modules:
        return None
    name, part = next(iter(layer._modules.items()))
    first = None if part is None else rebuilt(part, change)
    if first is None:
        return None
    made = copy.copy(layer)
    made._modules = {**layer._modules, name: first}
    made.__dict__.update(
        {key: value for key, value in change.items() if key in made.__dict__}
    )
    return made


def _short(value: Any) -> Any:
    """One number where all axes have the same."""
    if isinstance(value, tuple) and value and len(set(value)) == 1:
        one = value[0]
        return value if isinstance(one, tuple) else one
    return value
