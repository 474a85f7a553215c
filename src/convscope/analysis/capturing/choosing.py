"""Which calls a caller means: paths, globs, labels, types of modules, modules."""

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor, nn

from convscope.analysis.tracing.calls import Call, is_leaf, named, tensors_of
from convscope.analysis.tracing.meta_copy import plain_path, uncompiled
from convscope.errors import ArgumentError, UnknownNameError

One: TypeAlias = str | type[nn.Module] | nn.Module
Layers: TypeAlias = One | Sequence[One] | None
_GLOB = "*?["
_SHOWN = 8  # names in a message


class Choice:
    """The calls that ``layers`` means, in a copy of the network.

    Args:
        layers: What the caller wrote; None for every layer.
        net: The caller's network, whose modules may be meant.
        root: Its `meta_copy`, whose calls are judged.
        where: What an error message begins with.

    Raises:
        ArgumentError: Something else than a path, a type or a module.
    """

    def __init__(
        self, layers: Layers, net: nn.Module, root: nn.Module, where: str
    ) -> None:
        self.where = where
        first = {id(m): path for path, m in root.named_modules()}
        every = root.named_modules(remove_duplicate=False)
        self.paths = {str(path): str(first[id(module)]) for path, module in every}
        leaves = {p for p, m in root.named_modules() if is_leaf(m, m is root)}
        self.wanted: list[str | type[nn.Module]] | None = None
        self.matched: set[str | type[nn.Module]] = set()
        if layers is not None:
            several = [layers] if isinstance(layers, str | type | nn.Module) else layers
            self.wanted = [self._read(one, net) for one in several]
        self.nested = {  # globs that mean modules with layers inside
            one
            for one in self.wanted or ()
            if isinstance(one, str)
            and is_glob(one)
            and not any(fnmatch.fnmatchcase(path, one) for path in leaves)
        }

    def _read(self, one: object, net: nn.Module) -> "str | type[nn.Module]":
        if isinstance(one, str):
            return self.paths.get(plain_path(one), plain_path(one))
        if isinstance(one, type) and issubclass(one, nn.Module):
            return one
        if isinstance(one, nn.Module):
            inner = uncompiled(one)
            for path, module in uncompiled(net).named_modules():
                if uncompiled(module) is inner:
                    return self.paths.get(plain_path(path), plain_path(path))
            raise ArgumentError(
                f"{self.where}: layers={type(one).__name__}(...) is no module of this "
                "network. Give one of net.modules(), or a path."
            )
        raise ArgumentError(
            f"{self.where}: layers={one!r} is neither a path, a type of module nor a "
            "module. Give a path of summary(...), such as 'features.*'."
        )

    def one_of(self, calls: Iterable[Call]) -> Call:
        """The first call that is meant.

        Raises:
            UnknownNameError: There is none; names the nearest.
            ArgumentError: It is a module that is not called.
        """
        every = list(calls)
        for call in every:
            if self.means(call, True, (), {}):
                return call
        self.require_matches(call.label for call in every)
        raise AssertionError("what matches nothing was refused")

    def means(self, call: Call, shown: bool, args: Any, kwargs: Any) -> bool:
        """Whether a call is meant; ``shown`` if it is not inside of a layer."""
        if self.wanted is None:
            return shown and call.is_layer
        found = [one for one in self.wanted if self._fits(one, call, shown)]
        self.matched.update(found)
        return bool(found)

    def _fits(self, one: str | type[nn.Module], call: Call, shown: bool) -> bool:
        if isinstance(one, type):
            return isinstance(call.module, one)
        if one in named(call):
            return True
        if not is_glob(one) or not shown:
            return False
        return (call.is_layer or one in self.nested) and any(
            fnmatch.fnmatchcase(name, one)
            for name in (call.label, call.path if call.module is not None else "")
        )

    def require_matches(self, labels: Iterable[str]) -> None:
        """Refuse what meant no call.

        Args:
            labels: Of all calls.

        Raises:
            UnknownNameError: There is no such path; names the nearest.
            ArgumentError: A glob or a type matches nothing, or a module is not called.
        """
        known = list(labels)
        if self.wanted is not None and not self.wanted:
            raise ArgumentError(
                f"{self.where}: layers={self.wanted!r} is empty. Leave it out for all "
                "layers."
            )
        for one in self.wanted or ():
            if one in self.matched:
                continue
            if isinstance(one, str) and one in self.paths.values():
                raise ArgumentError(
                    f"{self.where}: layers={one!r} is a module that forward does not "
                    f"call here. Called are {_some(known)}."
                )
            if isinstance(one, str) and not is_glob(one):
                raise UnknownNameError("layer", one, {*known, *self.paths})
            name = one if isinstance(one, str) else one.__name__
            raise ArgumentError(
                f"{self.where}: layers={name!r} matches no layer. Called are "
                f"{_some(known)}."
            )


@dataclass(frozen=True)
class Uses:
    """Every layer and function that uses the parameter of this name."""

    parameter: str


class Everything:
    """Every call, also those inside of layers."""

    def means(self, call: Call, shown: bool, args: Any, kwargs: Any) -> bool:
        """Yes."""
        return True

    def require_matches(self, labels: Iterable[str]) -> None:
        """Nothing."""


class UsersOf:
    """The calls that use a parameter: layers that hold it, functions that get it."""

    def __init__(self, parameter: Tensor) -> None:
        self.parameter = parameter

    def means(self, call: Call, shown: bool, args: Any, kwargs: Any) -> bool:
        """Whether a call uses it and is not inside of another that does."""
        if not shown or not call.is_layer:
            return False
        if call.module is not None:
            module = call.module
            held = any(p is self.parameter for p in module.parameters())
            return held and not _made_before(module, self.parameter)
        return any(t is self.parameter for t in tensors_of((args, kwargs)))

    def require_matches(self, labels: Iterable[str]) -> None:
        """Nothing: a parameter may be used by none."""


def _made_before(module: nn.Module, parameter: Tensor) -> bool:
    """Whether a weight is made of the parameter before the layer is called.

    So do ``torch.nn.utils.weight_norm`` and ``spectral_norm``, by a hook: what uses the
    parameter then are the functions in the hook.
    """
    for hook in module._forward_pre_hooks.values():
        name = getattr(hook, "name", None)
        if type(hook).__module__.startswith("torch.nn.utils.") and name is not None:
            parts = (f"{name}_{end}" for end in ("g", "v", "orig"))
            if any(getattr(module, part, None) is parameter for part in parts):
                return True
    return False


def is_glob(text: str) -> bool:
    """Whether a path has a wildcard.

    >>> is_glob("features.*"), is_glob("features.0")
    (True, False)
    """
    return any(sign in text for sign in _GLOB)


def _some(names: list[str]) -> str:
    shown = [repr(name) for name in names if name][:_SHOWN]
    more = len([name for name in names if name]) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
