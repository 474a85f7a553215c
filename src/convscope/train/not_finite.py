"""Finds the layer in which numbers first stop being finite."""

import torch
from torch import Tensor, nn

from convscope.execution import Optimized, Setting


def first_fault(net: nn.Module, setting: Setting, images: Tensor) -> str:
    """A sentence that names the first input, weight or layer that is not finite.

    >>> from convscope.execution import choose
    >>> net, bad = nn.Linear(2, 1), torch.full((1, 2), float("inf"))
    >>> first_fault(net, choose(net, device="cpu"), bad)
    'the images themselves hold a value that is not finite'
    """
    if not torch.isfinite(images).all():
        return "the images themselves hold a value that is not finite"
    return bad_weight(net) or _bad_output(net, setting, images)


def bad_weight(net: nn.Module) -> str | None:
    """A sentence that names the first layer with a weight that is not finite, if any.

    >>> layer = nn.Linear(2, 1)
    >>> with torch.no_grad():
    ...     _ = layer.bias.fill_(float("nan"))
    >>> bad_weight(nn.Sequential(nn.ReLU(), layer))
    "layer '1' (Linear) holds a bias that is not finite"
    """
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            path, _, kind = name.rpartition(".")
            layer = _named(path, net.get_submodule(path))
            return f"{layer} holds a {kind} that is not finite"
    return None


def _bad_output(net: nn.Module, setting: Setting, images: Tensor) -> str:
    found: list[str] = []

    def watch(name: str, module: nn.Module) -> None:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            bad = isinstance(output, Tensor) and not torch.isfinite(output).all()
            if bad and not found:
                found.append(_named(name, module))

        handles.append(module.register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    # A layer is through before the one that holds it: the innermost comes first.
    for name, module in net.named_modules():
        watch(name, module)
    try:
        with torch.no_grad():
            Optimized(net, setting)(images)
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return f"{found[0]} is the first whose output is not finite"
    return "every layer's output is finite; the loss itself overflowed"


def _named(path: str, module: nn.Module) -> str:
    kind = type(module).__name__
    return f"layer {path!r} ({kind})" if path else f"the network itself ({kind})"
