"""A network's fast twin: the same layers and parameters, other containers.

Only containers are copied, and only those with something to gain inside: every layer,
parameter, buffer and hook is the original's own, so names, state dicts, optimizers and
the switch between training and evaluation hold for both at once.
"""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from convscope.execution.runs import Kind, Run, find_runs

Copied = tuple[nn.Module, nn.Module]  # the copy, the original
_Module = TypeVar("_Module", bound=nn.Module)


class FusedSequential(nn.Sequential):
    """An ``nn.Sequential`` that computes runs of its layers as one operation."""

    kinds: tuple[Kind, ...]

    def forward(self, x: Tensor) -> Tensor:
        """What the layers give one after the other."""
        # Exporters and compilers see layers: they join them in ways of their own.
        seen = torch.compiler.is_compiling() or torch._C._get_tracing_state()
        for step in self._modules.values() if seen else self._steps():
            x = step(x)
        return x

    def _steps(self) -> list[Run | nn.Module]:
        """Found anew when layers were put in or taken out."""
        modules = tuple(self._modules.values())
        known = self.__dict__.get("_known")
        if known is None or known[0] != modules:
            known = modules, find_runs(modules, self.kinds)
            self.__dict__["_known"] = known
        steps: list[Run | nn.Module] = known[1]
        return steps

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "_known"}


def rewrite(net: nn.Module, kinds: Sequence[Kind]) -> tuple[nn.Module, list[Copied]]:
    """The fast twin of ``net``; ``net`` itself where nothing is to be gained.

    Args:
        net: Stays as it is; layers and parameters are shared.
        kinds: Which runs to join.

    Returns:
        The twin, and each container that was copied beside its original.

    >>> net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
    >>> twin, copies = rewrite(net, ["norm"])
    >>> twin[0] is net[0], list(twin.state_dict()) == list(net.state_dict())
    (True, True)
    """
    done: dict[nn.Module, nn.Module] = {}
    twin = _rewritten(net, tuple(kinds), done)
    return twin, [(copy, own) for own, copy in done.items() if copy is not own]


def _rewritten(
    net: nn.Module, kinds: tuple[Kind, ...], done: dict[nn.Module, nn.Module]
) -> nn.Module:
    if net in done:  # a layer that is used twice stays one layer
        return done[net]
    children = {
        name: None if child is None else _rewritten(child, kinds, done)
        for name, child in net._modules.items()
    }
    twin = net
    if any(child is not net._modules[name] for name, child in children.items()):
        twin = _shallow_copy(net, children)
    present = [child for child in children.values() if child is not None]
    if type(net) is nn.Sequential and any(
        isinstance(step, Run) for step in find_runs(present, kinds)
    ):
        twin = _shallow_copy(net, children)
        twin.__class__ = FusedSequential
        twin.__dict__["kinds"] = kinds
    done[net] = twin
    return twin


def _shallow_copy(net: _Module, children: dict[str, nn.Module | None]) -> _Module:
    """The same parameters, buffers and hooks; other children."""
    copy: _Module = net.__class__.__new__(net.__class__)
    copy.__dict__.update(net.__dict__)
    copy.__dict__["_modules"] = children
    return copy
