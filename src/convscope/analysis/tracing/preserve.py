"""A network's state wherever it hides, put back after a pass that may have changed it.

``Snapshot(module)``   remembers what the module, or anything else, can reach
``restore()``          puts it back

The tree of modules is copied for a pass (`meta_copy`), but a forward may keep tensors
elsewhere: in a helper object, a closure, a global, a class, a cache. All of these are
walked once, and what they hold is remembered by identity: nothing large is copied.
"""

import functools
import inspect
import random
import sys
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MOST = 300_000  # objects; whoever hides more keeps the rest at own risk
LARGEST_ARRAY = 2**26  # bytes of a NumPy array that is copied
_PLAIN = (int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device)
_FOREIGN = {
    *sys.stdlib_module_names,
    "torch",
    "numpy",
    "convscope",
    "torchvision",
    "sympy",
}
_MISSING = object()
_LRU_CACHE = type(functools.lru_cache(len))


class Snapshot:
    """What a module, and what it is called with, can reach, as it is now."""

    def __init__(self, *roots: Any) -> None:
        self.undo: list[Callable[[], None]] = []
        self.empty: list[Any] = []
        self.seen: set[int] = set()
        self.kept: list[Any] = []  # so that no id is used twice
        self._generators()
        waiting: deque[Any] = deque(roots)
        while waiting and len(self.seen) < MOST:
            found = waiting.popleft()
            if isinstance(found, _PLAIN) or id(found) in self.seen:
                continue
            self.seen.add(id(found))
            self.kept.append(found)
            if isinstance(found, dict | list | set | deque) and not found:
                self.empty.append(found)  # most of a module's are
            else:
                waiting.extend(self._remember(found))

    def restore(self) -> None:
        """Puts everything back that has changed."""
        for undo in self.undo:
            undo()
        for container in self.empty:
            if container:
                container.clear()

    def _generators(self) -> None:
        """The random numbers of the process."""
        python, numpy, torch_state = (
            random.getstate(),
            np.random.get_state(),  # noqa: NPY002  # the user's code may use it
            torch.get_rng_state(),
        )
        self.undo.append(lambda: random.setstate(python))
        self.undo.append(lambda: np.random.set_state(numpy))  # noqa: NPY002
        self.undo.append(lambda: torch.set_rng_state(torch_state))

    def _remember(self, found: Any) -> Iterator[Any]:
        """Notes what an object holds; gives what to look at next."""
        if isinstance(found, dict):
            self._keep(found, dict(found), dict.update)
            yield from list(found.values())
        elif isinstance(found, list | deque):
            self._keep(found, list(found), type(found).extend)
            yield from list(found)
        elif isinstance(found, set):
            self._keep(found, set(found), set.update)
            yield from list(found)
        elif isinstance(found, tuple | frozenset):
            yield from found
        elif isinstance(found, types.FunctionType):
            yield from self._function(found)
        elif isinstance(found, types.MethodType):
            yield from (found.__func__, found.__self__)
        elif isinstance(found, types.ModuleType | torch.fx.Graph):
            return
        elif isinstance(found, type):
            yield from self._class(found)
        else:
            yield from self._instance(found)

    def _keep(self, found: Any, held: Any, fill: Callable[[Any, Any], Any]) -> None:
        def undo() -> None:
            if not _same(found, held):
                found.clear()
                fill(found, held)

        self.undo.append(undo)

    def _function(self, found: types.FunctionType) -> Iterator[Any]:
        for cell in found.__closure__ or ():
            yield self._attribute(cell, "cell_contents")
        yield from (found.__defaults__, found.__kwdefaults__, found.__dict__)
        for name in _names(found.__code__):
            value = self._entry(found.__globals__, name)
            if isinstance(value, types.ModuleType) and _is_users(value.__name__):
                for attribute in _names(found.__code__):
                    yield self._entry(value.__dict__, attribute)
            else:
                yield value

    def _class(self, found: type) -> Iterator[Any]:
        if not _is_users(found.__module__):
            return
        for name, value in list(vars(found).items()):
            if not name.startswith("__") or name == "__call__":
                self._attribute(found, name, value)
                yield value
        before = set(vars(found))

        def undo() -> None:
            for name in set(vars(found)) - before:
                if not name.startswith("__"):
                    delattr(found, name)

        self.undo.append(undo)
        yield from found.__bases__

    def _instance(self, found: Any) -> Iterator[Any]:
        if isinstance(found, np.ndarray):
            self._array(found)
            return
        if isinstance(found, nn.Module) and "_orig_mod" in found._modules:
            yield found._modules["_orig_mod"]  # not the compiler around it
            return
        if isinstance(found, _LRU_CACHE):
            self._cache(found)
            yield found.__wrapped__
            return
        if isinstance(found, functools.partial):
            yield from (found.func, found.args, found.keywords)
        elif isinstance(found, weakref.ref):
            yield found()
        elif isinstance(found, property):
            yield from (found.fget, found.fset)
        elif isinstance(found, staticmethod | classmethod):
            yield found.__func__
        elif isinstance(found, np.random.Generator):
            state = found.bit_generator.state
            self.undo.append(lambda: setattr(found.bit_generator, "state", state))
        elif isinstance(found, torch.Generator):
            bits = found.get_state()
            self.undo.append(lambda: _ignored(found.set_state(bits)))
        elif isinstance(found, random.Random):
            numbers = found.getstate()
            self.undo.append(lambda: found.setstate(numbers))
        if isinstance(found, Tensor):
            if found.is_leaf and not found.is_meta:
                self._leaf(found)
                yield found.grad
            yield getattr(found, "__dict__", None)
            return
        yield getattr(found, "__dict__", None)
        for kind in type(found).__mro__:
            slots = (
                vars(kind).get("__slots__", ()) if _is_users(kind.__module__) else ()
            )
            for name in (slots,) if isinstance(slots, str) else slots:
                slot = _mangled(kind, name)
                shown = inspect.getattr_static(type(found), slot, None)
                if shown is vars(kind).get(slot):  # no property stands before it
                    yield self._attribute(found, slot)
        yield type(found)

    def _leaf(self, found: Tensor) -> None:
        gradient = found.grad

        def undo() -> None:
            if not found.is_leaf:  # written into with what has a history
                found.detach_()
            if found.grad is not gradient:
                found.grad = gradient

        self.undo.append(undo)

    def _attribute(self, owner: Any, name: str, value: Any = _MISSING) -> Any:
        """Notes an attribute, also that it is missing."""
        if value is _MISSING:
            try:
                value = getattr(owner, name)
            except (AttributeError, ValueError):  # an empty slot or cell
                value = _MISSING

        def undo() -> None:
            try:
                now = (
                    vars(owner)[name]
                    if isinstance(owner, type)
                    else getattr(owner, name)
                )
            except (AttributeError, ValueError, KeyError):
                now = _MISSING
            if now is value:
                return
            if value is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, value)

        self.undo.append(undo)
        return None if value is _MISSING else value

    def _entry(self, owner: dict[str, Any], name: str) -> Any:
        value = owner.get(name, _MISSING)

        def undo() -> None:
            if owner.get(name, _MISSING) is value:
                return
            if value is _MISSING:
                del owner[name]
            else:
                owner[name] = value

        self.undo.append(undo)
        return None if value is _MISSING else value

    def _array(self, found: "np.ndarray[Any, Any]") -> None:
        if found.nbytes <= LARGEST_ARRAY and found.flags.writeable:
            held = found.copy()
            self.undo.append(lambda: np.copyto(found, held))

    def _cache(self, found: Any) -> None:
        misses = found.cache_info().misses

        def undo() -> None:
            if found.cache_info().misses != misses:
                found.cache_clear()

        self.undo.append(undo)


def _same(found: Any, held: Any) -> bool:
    """Whether a container holds the same objects as before, in the same order."""
    if len(found) != len(held):
        return False
    if isinstance(held, dict):
        pairs = zip(found.items(), held.items(), strict=True)
        return all(a is c and b is d for (a, b), (c, d) in pairs)
    if isinstance(held, set):
        return bool(found == held)
    return all(a is b for a, b in zip(found, held, strict=True))


def _names(code: types.CodeType) -> Iterator[str]:
    """Global names that a function uses, those inside it too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _is_users(module: str) -> bool:
    return module.partition(".")[0] not in _FOREIGN


def _mangled(kind: type, name: str) -> str:
    private = name.startswith("__") and not name.endswith("__")
    return f"_{kind.__name__.lstrip('_')}{name}" if private else name


def _ignored(value: object) -> None:
    """For what returns something and is called for what it does."""
