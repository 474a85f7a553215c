"""Finds the layer in which numbers first stop being finite."""

import torch
from torch import Tensor, nn

from convscope.execution import Setting


def first_fault(net: nn.Module, setting: Setting, images: Tensor) -> str:
    """A sentence that names the first input, weight or layer that is not finite."""
    if not torch.isfinite(images).all():
        return "the images themselves hold a value that is not finite"
    for name, parameter in net.named_parameters():
        if not torch.isfinite(parameter).all():
            return f"{_named(net, name)} holds a weight that is not finite"
    found: list[str] = []

    def watch(name: str, module: nn.Module) -> None:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            bad = isinstance(output, Tensor) and not torch.isfinite(output).all()
            if bad and not found:
                found.append(f"layer {name!r} ({type(module).__name__})")

        handles.append(module.register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    for name, module in net.named_modules():
        if not list(module.children()):
            watch(name or "the network", module)
    try:
        with torch.no_grad():
            setting.forward(net, images)
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return f"{found[0]} is the first whose output is not finite"
    return "every layer's output is finite; the loss itself overflowed"


def _named(net: nn.Module, parameter: str) -> str:
    path = parameter.rpartition(".")[0]
    return f"layer {path!r} ({type(net.get_submodule(path)).__name__})"
