"""A network without its weights: same structure, same code, nothing of the caller's.

``meta_copy(module)`` copies the tree of modules and replaces every tensor by one of the
same shape on the meta device, which holds no values. Whatever is then done to the
copy (hooks, modes, replaced layers, lazy layers that take their shape) leaves the
original as it was, also when another thread is using it.
"""

import copy
import functools
import types
import weakref
from collections import OrderedDict, deque
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.utils.hooks import RemovableHandle

from convscope.execution.optimized import plain_network

_LAZY_PARAMETER: Any = UninitializedParameter  # torch's stubs leave their arguments out
_LAZY_BUFFER: Any = UninitializedBuffer
CONTAINERS = (list, tuple, set, deque, dict, OrderedDict)
_PLAIN = (bool, int, float, str, type(None), torch.dtype, torch.device)


def meta_copy(module: nn.Module, *, keep_values: bool = False) -> nn.Module:
    """A copy of the module tree with meta tensors instead of parameters and buffers.

    Args:
        module: Any module; it is only read.
        keep_values: Keep the memory of the parameters and copies of the buffers, for
            a forward pass that needs values.

    >>> copy = meta_copy(nn.Linear(3, 2))
    >>> copy.weight.device, copy.weight.shape
    (device(type='meta'), torch.Size([2, 3]))
    """
    return cast("nn.Module", _Copier(keep_values).copy(unwrapped(module)))


class _Copier:
    """Copies modules and plain containers; shares everything else."""

    def __init__(self, keep_values: bool) -> None:
        self.keep_values = keep_values
        self.made: dict[int, Any] = {}  # by id of the original: ties stay ties

    def copy(self, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if id(value) in self.made:
            return self.made[id(value)]
        if kind in CONTAINERS and not value:
            return self._kept(value, kind())
        if isinstance(value, nn.Module):
            return self._kept(value, self._module(uncompiled(value)))
        if isinstance(value, Tensor):
            return self._kept(value, self._tensor(value))
        if kind in CONTAINERS:
            return self._container(value)
        if isinstance(value, types.MethodType) and isinstance(
            value.__self__, nn.Module
        ):
            return types.MethodType(value.__func__, self.copy(value.__self__))
        if kind is functools.partial:
            arguments = [self.copy(a) for a in value.args]
            named = {k: self.copy(a) for k, a in value.keywords.items()}
            return functools.partial(self.copy(value.func), *arguments, **named)
        if kind is RemovableHandle:
            return self._handle(value)
        return value

    def _kept(self, original: Any, made: Any) -> Any:
        self.made[id(original)] = made
        return made

    def _module(self, module: nn.Module) -> nn.Module:
        if id(module) in self.made:
            return cast("nn.Module", self.made[id(module)])
        if isinstance(module, torch.jit.ScriptModule):
            return cast("nn.Module", self._kept(module, scripted(module)))
        kind = type(module)
        if isinstance(module, torch.fx.GraphModule):  # whose __new__ makes a new class
            clone: nn.Module = object.__new__(kind)
        else:
            clone = kind.__new__(kind)
        self.made[id(module)] = clone
        for name, value in list(module.__dict__.items()):
            clone.__dict__[name] = self.copy(value)
        for name in _slots(kind):
            if hasattr(module, name):
                object.__setattr__(clone, name, self.copy(getattr(module, name)))
        clone.__dict__["_compiled_call_impl"] = None
        return clone

    def _container(self, value: Any) -> Any:
        if isinstance(value, dict):
            same = self._kept(value, type(value)())
            same.update((key, self.copy(one)) for key, one in value.items())
            return same
        return self._kept(value, type(value)(self.copy(one) for one in value))

    def _tensor(self, value: Tensor) -> Tensor:
        if isinstance(value, UninitializedParameter):
            lazy: Tensor = _LAZY_PARAMETER(value.requires_grad, device="meta")
            return lazy
        if isinstance(value, UninitializedBuffer):
            buffer: Tensor = _LAZY_BUFFER(device="meta")
            return buffer
        if self.keep_values:
            if isinstance(value, nn.Parameter):  # the same memory, another history
                return nn.Parameter(value.data, value.requires_grad)
            return value.detach().clone()
        empty = torch.empty(value.shape, dtype=value.dtype, device="meta")
        if isinstance(value, nn.Parameter):
            return nn.Parameter(empty, value.requires_grad)
        return empty

    def _handle(self, handle: RemovableHandle) -> RemovableHandle:
        """The handle of the copied hook; the original's would remove the original."""
        made = RemovableHandle.__new__(RemovableHandle)
        made.id = handle.id
        made.hooks_dict_ref = weakref.ref(self.copy(handle.hooks_dict_ref()))
        made.extra_dict_ref = tuple(
            weakref.ref(self.copy(ref())) for ref in handle.extra_dict_ref
        )
        return made


class Scripted(nn.Module):
    """What TorchScript has compiled, as one layer: nobody sees into it."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self._compiled = (compiled,)  # in a tuple, for it is no module inside
        self._parameters.update(compiled.named_parameters())  # names with dots
        self._buffers.update(compiled.named_buffers())

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """What the compiled network gives."""
        return self._compiled[0](*inputs, **named)

    def train(self, mode: bool = True) -> "Scripted":
        """As of any module; a frozen one knows one mode only."""
        if hasattr(self._compiled[0], "training"):
            self._compiled[0].train(mode)
        return super().train(mode)

    def extra_repr(self) -> str:
        """Why no layer in it is shown."""
        return "TorchScript"


def scripted(compiled: torch.jit.ScriptModule) -> Scripted:
    """A copy of it, whose class has the name of the network that was compiled."""
    name = getattr(compiled, "original_name", type(compiled).__name__)
    kind = type(name, (Scripted,), {"__module__": __name__})
    return cast("Scripted", kind(copy.deepcopy(compiled)))


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside of what only calls it in another way.

    >>> net = nn.Linear(2, 2)
    >>> unwrapped(nn.DataParallel(net)) is net
    True
    """
    module = uncompiled(module)
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return unwrapped(module.module)
    return module


def uncompiled(module: nn.Module) -> nn.Module:
    """The module that ``torch.compile`` or ``optimize`` wraps."""
    module = plain_network(module)
    if isinstance(module, torch.jit.ScriptModule):
        return module
    original = module._modules.get("_orig_mod")
    return uncompiled(original) if isinstance(original, nn.Module) else module


def plain_path(path: str) -> str:
    """A path as it is without the compilers around modules.

    >>> plain_path("_orig_mod.features.0")
    'features.0'
    """
    return ".".join(part for part in path.split(".") if part != "_orig_mod")


def _slots(kind: type) -> list[str]:
    """Attributes that lie outside of ``__dict__``."""
    members = (vars(one) for one in kind.__mro__)
    slot = types.MemberDescriptorType
    return [
        name for one in members for name, value in one.items() if type(value) is slot
    ]
