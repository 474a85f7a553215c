"""What a network is looked into with: inputs as callers give them, and what is refused.

``require_network(net)``    a module that can be looked into
``GivenInputs(inputs)``       its inputs, read and copied
``explain_failure(...)``    why a pass failed, if the inputs are what is wrong
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from convscope.analysis.checking.check import failure_error, refuse_call
from convscope.analysis.tracing.meta_copy import uncompiled
from convscope.analysis.tracing.trace import LayerError, trace
from convscope.errors import ArgumentError, ShapeError
from convscope.execution import Inputs
from convscope.execution.optimized import plain_network

Given: TypeAlias = "Tensor | Sequence[Tensor] | Mapping[str, Tensor]"


def require_network(net: object, where: str) -> None:
    """Refuse what cannot be looked into.

    Raises:
        ArgumentError: No module, a scripted or exported one, or one without weights.
    """
    if not isinstance(net, nn.Module):
        raise ArgumentError(
            f"{where}: net is of type {type(net).__name__}. Give a torch.nn.Module; "
            "that of a run is run.net."
        )
    for path, module in plain_network(net).named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            name = f"net.{path}" if path else "net"
            raise ArgumentError(
                f"{where}: {name} is compiled by TorchScript, which hides its layers. "
                "Give the network that it was made from."
            )
        _require_no_program(module, where)
    tensors = [*net.parameters(), *net.buffers()]
    if any(is_lazy(t) or t.is_meta for t in tensors):
        raise ArgumentError(
            f"{where}: the network has layers without weights. Build it on a device, "
            "and call it once if it has lazy layers."
        )


def require_layers(net: nn.Module, where: str) -> None:
    """Refuse a program that is written out, operation by operation.

    Raises:
        ArgumentError: It is one of ``torch.export``, which has no layers.
    """
    for module in plain_network(net).modules():
        _require_no_program(module, where)


def _require_no_program(module: nn.Module, where: str) -> None:
    changed = getattr(vars(module).get("train"), "__module__", None)
    if changed == "torch.export.exported_program":
        raise ArgumentError(
            f"{where}: net is a program of torch.export, which has operations in place "
            "of layers. Give the network that it was made from."
        )


class GivenInputs:
    """The caller's inputs: read, and copied for a pass that may write into them."""

    def __init__(self, inputs: Given, where: str) -> None:
        self.names: tuple[str, ...] = ()
        values: Sequence[Any]
        if isinstance(inputs, Mapping):
            self.names, values = tuple(inputs), list(inputs.values())
        else:
            values = inputs if isinstance(inputs, tuple | list) else (inputs,)
        self.tensors = [_tensor(one, where) for one in values]
        self.leaves: list[Tensor] = []
        if not self.tensors:
            raise ArgumentError(
                f"{where}: inputs={inputs!r} is empty. Give a tensor (N, C, ...)."
            )

    def for_call(self, with_graph: bool) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Copies; with a graph, of leaves whose gradients can be asked for."""
        self.leaves = [
            t.detach().clone().requires_grad_(with_graph and _can_have_gradient(t))
            for t in self.tensors
        ]
        # A layer may write into its input, which a leaf does not allow.
        made = [t.clone() if t.requires_grad else t for t in self.leaves]
        if self.names:
            return [], dict(zip(self.names, made, strict=True))
        return made, {}

    def examples(self, like: Tensor | None) -> Inputs:
        """As `check` takes them, numbers in the type of a weight."""
        tensors = [
            t if like is None or not t.is_floating_point() else t.to(like.dtype)
            for t in self.tensors
        ]
        if self.names:
            return Inputs((), dict(zip(self.names, tensors, strict=True)))
        return Inputs(tuple(tensors), {})


def explain_failure(
    net: nn.Module, given: GivenInputs, error: Exception, training: bool, where: str
) -> None:
    """Raises what `check` says of the inputs, if they are what is wrong."""
    weights = [t for t in net.parameters() if t.is_floating_point()]
    for tensor in given.tensors:
        if not weights:
            break
        if tensor.device != weights[0].device:
            raise ArgumentError(
                f"{where}: inputs are on {tensor.device}, the network on "
                f"{weights[0].device}. Give inputs.to({str(weights[0].device)!r})."
            ) from error
    examples = given.examples(weights[0] if weights else None)
    problem = _problem(net, examples, training)
    if problem is not None:
        shape = tuple(given.tensors[0].shape)
        batch = Inputs(tuple(t.unsqueeze(0) for t in examples.tensors), {})
        if len(given.tensors) == 1 and not _problem(net, batch, training):
            raise ShapeError(
                f"{where}: inputs of shape {shape} have no batch axis. Give "
                "inputs.unsqueeze(0)."
            ) from error
        raise failure_error(net, examples, problem, training) from error
    for tensor in given.tensors:
        if weights and tensor.dtype != weights[0].dtype:
            name = str(weights[0].dtype).removeprefix("torch.")
            raise ArgumentError(
                f"{where}: inputs are of type {tensor.dtype}, the network's weights "
                f"torch.{name}. Give inputs.to(torch.{name})."
            ) from error


def _problem(net: nn.Module, inputs: Inputs, training: bool) -> LayerError | None:
    try:
        trace(uncompiled(net), inputs, training=training, refuse=refuse_call)
    except LayerError as error:
        return error
    return None


def _tensor(value: object, where: str) -> Tensor:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, Tensor):
        return value
    raise ArgumentError(
        f"{where}: inputs hold {type(value).__name__}. Give a tensor (N, C, ...), a "
        "tuple of them for several inputs, or a dict for inputs by name."
    )


def _can_have_gradient(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()
