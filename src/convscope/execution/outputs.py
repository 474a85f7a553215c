"""The tensors in what a network takes or gives, whatever holds them."""

import copy
import dataclasses
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

_DEEPEST = 8  # levels that are looked through
_CLOSED = (nn.Module, type, types.ModuleType, types.FunctionType, types.MethodType)


def map_tensors(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """``value`` with every tensor changed; itself where none is another afterwards.

    Looks into tuples, lists, mappings and dataclasses, of any class.

    >>> map_tensors(lambda x: x + 1, {"a": (Tensor([1]), None)})
    {'a': (tensor([2.]), None)}
    """
    return _mapped(change, value, _DEEPEST)


def _mapped(change: Callable[[Tensor], Tensor], value: Any, levels: int) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    parts = _parts(value)
    if not parts or not levels:
        return value
    new = {key: _mapped(change, part, levels - 1) for key, part in parts.items()}
    if all(new[key] is part for key, part in parts.items()):
        return value
    if isinstance(value, tuple):
        named = hasattr(value, "_fields")
        return type(value)(*new.values()) if named else type(value)(new.values())
    twin = copy.copy(value)
    for key, part in new.items():
        if isinstance(value, list | Mapping):
            twin[key] = part
        else:
            object.__setattr__(twin, key, part)
    return twin


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in ``value``, also in the attributes of objects, such as laws.

    Networks, classes and functions are not looked into; of what one object holds twice,
    each tensor comes once.

    >>> [x.item() for x in tensors_in([Tensor([1]), {"b": Tensor([2])}, "c"])]
    [1.0, 2.0]
    >>> from torch.distributions import Normal
    >>> len(list(tensors_in(Normal(Tensor([1]), Tensor([2])))))
    2
    """
    yield from _tensors(value, _DEEPEST, set())


def _tensors(value: Any, levels: int, seen: set[int]) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
        return
    parts = _parts(value)
    if not parts and not isinstance(value, _CLOSED):
        parts = getattr(value, "__dict__", None) or {}
        if id(value) in seen:
            return
        seen.add(id(value))
        parts = {id(part): part for part in parts.values()}
    for part in parts.values() if levels else ():
        yield from _tensors(part, levels - 1, seen)


def _parts(value: Any) -> dict[Any, Any]:
    """What ``value`` is made of, by key, if it is a structure of data."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple | list):
        return dict(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (field.name for field in dataclasses.fields(value))
        return {name: getattr(value, name) for name in fields if hasattr(value, name)}
    return {}
