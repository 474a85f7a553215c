"""A network called in a fast way: one set of layers, one state, another call."""

import copy
import threading
from abc import ABCMeta
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.errors import ArgumentError
from convscope.execution.fusion import Kind, compute_row, is_plain_call
from convscope.execution.outputs import map_tensors, tensors_in
from convscope.execution.setting import Setting
from convscope.private_torch import is_traced


class Optimized(nn.Module):
    """A network that is called in a setting: ``Optimized(net, setting)``.

    What comes back is also an instance of the network's own class, and everything that
    it keeps is kept in the network's own dictionary: layers, parameters, hooks, the
    training flag, any attribute. So there is nothing to keep equal. Only calling
    differs, and what can be computed as one is found anew at each call.

    ``torch.compile`` with a backend of ours would notice changes too, by its guards,
    and would also see networks that are not written with ``nn.Sequential``. It takes
    seconds at the first call, though; this way takes microseconds, and nothing before.

    Args:
        net: Any network whose state is its attributes.
        setting: How to call it.
        same_dropout: Whether dropout draws the same masks in every memory format.

    Raises:
        ArgumentError: A network of which there cannot be a second view.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> fast = Optimized(net, Setting(torch.device("cpu"), "float32", False))
    >>> fast[0] is net[0], isinstance(fast, nn.Sequential)
    (True, True)
    """

    setting: Setting
    _way: "_Way"  # of the class that is made for each network

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        """The fast view of a network; of a class made here, a network without one."""
        if cls is Optimized:
            return _view(*arguments, **named)
        return cls._way.plain(*arguments, **named)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass  # the state is there already

    def __init_subclass__(cls) -> None:
        pass  # the network's class is not told of a subclass that nobody wrote

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """What the network gives, in float32 where ours is another precision."""
        if torch.compiler.is_compiling() or is_traced():
            return super().__call__(*inputs, **named)
        net = _NETS.get(self)
        if net is None:  # our class on the network itself: see __setattr__
            return super().__call__(*inputs, **named)
        return self._way.call(net, inputs, named)

    def __getattr__(self, name: str) -> Any:
        if name == "setting":
            return self._way.setting
        try:
            return super().__getattr__(name)
        except AttributeError:
            net = _NETS.get(self)
            if net is None or type(net) is self._way.plain:
                raise
            return getattr(net, name)  # of a class that it was given later

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "__class__" and self in _NETS:  # as parametrizations do
            made = isinstance(value.__dict__.get("_way"), _Way)
            _NETS[self].__class__ = self._way.plain if made else value
        super().__setattr__(name, value)

    def __reduce_ex__(self, _: Any) -> Any:
        return Optimized, (_NETS[self], self._way.setting, self._way.same_dropout)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Optimized":
        net, way = copy.deepcopy(_NETS[self], memo), self._way
        return Optimized(net, way.setting, way.same_dropout)

    def __copy__(self) -> "Optimized":
        way = self._way
        return Optimized(copy.copy(_NETS[self]), way.setting, way.same_dropout)

    def __prepare_scriptable__(self) -> nn.Module:
        return _NETS[self]  # torch.jit.script compiles the network itself

    def _get_name(self) -> str:
        return f"Optimized{self._way.plain.__name__}"

    def extra_repr(self) -> str:
        """What the network's own class shows, and the setting."""
        own = super().extra_repr()
        return f"{own}, {self._way.setting}" if own else str(self._way.setting)


_NETS: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()


def plain_network(net: nn.Module) -> nn.Module:
    """The network that an ``Optimized`` calls; any other network itself."""
    return _NETS.get(net, net)


def _view(net: nn.Module, setting: Setting, same_dropout: bool = False) -> Any:
    net = plain_network(net)
    plain: Any = type(net)
    require_shareable(net)
    way = _Way(setting, plain, same_dropout)
    words = {"_way": way, "__module__": plain.__module__, "__doc__": plain.__doc__}
    bases = (plain,) if issubclass(plain, Optimized) else (Optimized, plain)
    fast: Any = object.__new__(type(f"Optimized{plain.__name__}", bases, words))
    object.__setattr__(fast, "__dict__", net.__dict__)
    _NETS[fast] = net
    return fast


def require_shareable(net: nn.Module, where: str = "optimize") -> None:
    """Refuse a network of which there cannot be a second view.

    Raises:
        ArgumentError: A scripted one, or one with slots or a metaclass of its own.
    """
    kind = type(net).__name__
    if isinstance(net, torch.jit.ScriptModule):
        raise ArgumentError(
            f"{where}: net is a {kind}, whose layers TorchScript has compiled. Give "
            "the network that it was made from."
        )
    slots = [c.__name__ for c in type(net).__mro__ if c.__dict__.get("__slots__")]
    if slots:
        raise ArgumentError(
            f"{where}: net keeps state in __slots__ of {slots[0]}, which cannot be "
            f"shared. Remove __slots__ from {slots[0]}."
        )
    if type(type(net)) not in (type, ABCMeta):
        raise ArgumentError(
            f"{where}: {kind} has the metaclass {type(type(net)).__name__}, so that "
            "no class can safely be derived from it. Wrap the network in a module of "
            "your own, without one."
        )


class _Thread(threading.local):
    """How this thread calls networks at the moment."""

    kinds: tuple[Kind, ...] = ()
    same_dropout = False


_THREAD = _Thread()
_LOCK = threading.Lock()  # while forwards are put in place or taken away


class _Way:
    """How a network is called."""

    def __init__(self, setting: Setting, plain: Any, same_dropout: bool) -> None:
        self.setting, self.plain, self.same_dropout = setting, plain, same_dropout
        self.kinds = setting.kinds

    def call(
        self, net: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        """What ``net`` gives, its containers joining what they hold for this call."""
        setting = self.setting
        if not setting.channels_last and setting.precision == "float32":
            return self._joined(net, inputs, named)
        laid, laid_named = inputs, named
        if setting.channels_last and is_plain_call():
            laid = tuple(setting.lay_out(x) for x in inputs)
            laid_named = {name: setting.lay_out(x) for name, x in named.items()}
        with (context := setting.autocast()):
            y = self._joined(net, laid, laid_named)
        given, called = (*inputs, *named.values()), (*laid, *laid_named.values())
        moved = any(old is not new for old, new in zip(given, called, strict=True))
        ours = isinstance(context, torch.autocast)
        halved = ours and not _had_half(net, given)
        if not moved and not halved:
            return y
        return map_tensors(lambda x: _as_without(x, moved, halved), y)

    def _joined(
        self, net: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        if not self.kinds and not self.same_dropout:
            return net(*inputs, **named)
        found = _places(net, self.same_dropout)
        before = _THREAD.kinds, _THREAD.same_dropout
        with _LOCK:
            for module in found:
                _put(module)
        _THREAD.kinds, _THREAD.same_dropout = self.kinds, self.same_dropout
        try:
            return net(*inputs, **named)
        finally:
            _THREAD.kinds, _THREAD.same_dropout = before
            with _LOCK:
                for module in found:
                    _take(module)


def _as_without(x: Tensor, moved: bool, halved: bool) -> Tensor:
    """``x`` in the layout and the number format that it has without a setting."""
    if halved and x.dtype == torch.bfloat16:
        x = x.float()
    last = moved and x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return x.contiguous() if last else x


def _had_half(net: nn.Module, given: Any) -> bool:
    """Whether there are numbers in bfloat16 that our autocast has not made so."""
    numbers = (*net.parameters(), *tensors_in(given))
    return any(x.dtype == torch.bfloat16 for x in numbers)


def rows_of(net: nn.Module) -> list[nn.Module]:
    """The containers in it that call one layer after the other."""
    return [module for module in net.modules() if _is_row(module)]


def _places(net: nn.Module, dropout_too: bool) -> list[nn.Module]:
    """The containers that join their layers, and the dropouts if they are wanted."""
    found: list[nn.Module] = []
    known, todo = {id(net)}, [net]
    while todo:
        module = todo.pop()
        if _is_row(module) or (dropout_too and type(module) is nn.Dropout):
            found.append(module)
        # Hooks of this old kind get what torch's last operation gets: it must be there.
        if module._is_full_backward_hook is False and module._modules:
            return []
        if isinstance(module, torch.jit.ScriptModule) or "_orig_mod" in module._modules:
            continue  # compiled
        for child in module._modules.values():
            if child is None or not (child._modules or dropout_too):
                continue
            if id(child) not in known:
                known.add(id(child))
                todo.append(child)
    return found


def _is_row(module: nn.Module) -> bool:
    """Whether it calls its children one after the other, as ``nn.Sequential`` does."""
    return (
        isinstance(module, nn.Sequential)
        and type(module).forward is nn.Sequential.forward
        and type(module).__iter__ is nn.Sequential.__iter__
    )


class _Forward:
    """The forward pass of a module while some thread calls it in a fast way."""

    __slots__ = ("module", "users")

    def __init__(self, module: nn.Module) -> None:
        self.module, self.users = module, 1

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        module: Any = self.module
        if len(inputs) == 1 and not named:
            if _THREAD.kinds and type(module) is not nn.Dropout:
                if is_plain_call():
                    row = tuple(module._modules.values())
                    return compute_row(row, inputs[0], _THREAD.kinds)
            elif _THREAD.same_dropout and type(module) is nn.Dropout:
                return _dropped(module, inputs[0])
        return type(module).forward(module, *inputs, **named)


def _put(module: nn.Module) -> None:
    own = module.__dict__.get("forward")
    if own is None:
        module.__dict__["forward"] = _Forward(module)
    elif type(own) is _Forward:
        own.users += 1


def _take(module: nn.Module) -> None:
    own = module.__dict__.get("forward")
    if type(own) is _Forward:
        own.users -= 1
        if own.users == 0:
            del module.__dict__["forward"]


def _dropped(dropout: nn.Dropout, x: Tensor) -> Tensor:
    """Dropout whose mask is drawn in the order of elements, not of memory."""
    # What checkpointing computes again, outside of this call, has to be as here.
    again = not torch.is_grad_enabled() or not is_plain_call()
    drawn = dropout.training and 0 < dropout.p < 1
    if not drawn or again or x.is_contiguous():
        return nn.Dropout.forward(dropout, x)
    ones = torch.ones(x.shape, dtype=x.dtype, device=x.device)
    mask = torch.empty_like(x).copy_(F.dropout(ones, dropout.p))
    return x.mul_(mask) if dropout.inplace else x * mask
