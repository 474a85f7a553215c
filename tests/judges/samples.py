"""PyTorch's own samples of modules and operations (ModuleInfo and OpInfo), as cases."""

import functools
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only


class ModuleSample(NamedTuple):
    """Arguments of a module's constructor and of its call."""

    made: tuple[tuple[Any, ...], dict[str, Any]]
    called: tuple[tuple[Any, ...], dict[str, Any]]

    def build(self, cls: type[torch.nn.Module], dtype: torch.dtype) -> torch.nn.Module:
        torch.manual_seed(0)
        return cls(*self.made[0], **self.made[1]).to(dtype)

    def inputs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Copies of their own, so that no call changes those of another."""
        args, kwargs = tree_map_only(Tensor, fresh, self.called)
        return tuple(args), dict(kwargs)


def fresh(x: Tensor) -> Tensor:
    """The same numbers in a leaf of its own."""
    return x.detach().clone().requires_grad_(x.requires_grad)


@functools.cache
def module_infos() -> dict[str, Any]:
    """By the name of the module's class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_modules import module_db
    return {info.module_cls.__name__: info for info in module_db}


@functools.cache
def op_infos() -> dict[str, Any]:
    """By the last part of the operation's name; its variants are left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return {info.name.rpartition(".")[2]: info for info in reversed(op_db)}


def module_samples(
    name: str, dtype: torch.dtype, training: bool
) -> Iterator[ModuleSample]:
    info = module_infos()[name]
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = info.module_inputs_func(
            info, device="cpu", dtype=dtype, requires_grad=True, training=training
        )
    for each in given:
        if each.forward_input is not None:
            made, called = each.constructor_input, each.forward_input
            yield ModuleSample((made.args, made.kwargs), (called.args, called.kwargs))


def leaves(value: Any) -> list[Tensor]:
    """The tensors in a structure of tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [x for each in value for x in leaves(each)]
    return []


def outcome(function: Any, inputs: Any, parameters: list[Tensor]) -> list[Tensor]:
    """Outputs, and gradients of their squares: of the inputs, then of parameters."""
    torch.manual_seed(1)
    args, kwargs = inputs
    outputs = [y for y in leaves(function(*args, **kwargs)) if y is not None]
    targets = [x for x in leaves(inputs) if x.requires_grad and x.is_leaf] + [
        p for p in parameters if p.requires_grad
    ]
    loss = sum(
        y.square().sum() for y in outputs if y.is_floating_point() and y.requires_grad
    )
    if not isinstance(loss, Tensor) or not targets:
        return [y.detach() for y in outputs]
    found = torch.autograd.grad(loss, targets, allow_unused=True)
    zeros = zip(found, targets, strict=True)
    return [y.detach() for y in outputs] + [
        torch.zeros_like(x) if g is None else g for g, x in zeros
    ]


def require_same(
    found: list[Tensor], expected: list[Tensor], dtype: torch.dtype
) -> None:
    """Equal up to rounding: both sides add the same few hundred terms in other orders.

    A few hundred roundings of the dtype, of the largest number of each tensor.
    """
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        finite = other[other.isfinite()].abs().double()
        size = max(1.0, finite.max().item()) if finite.numel() else 1.0
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(
            one, other, rtol=0, atol=256 * eps * size, equal_nan=True
        )
