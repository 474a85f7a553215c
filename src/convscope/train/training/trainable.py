"""Which networks can be trained: their weights are parameters, they know both modes."""

import torch
from torch import nn

from convscope.errors import ArgumentError
from convscope.execution.optimized import require_shareable


def require_trainable(net: nn.Module) -> None:
    """Refuse a network that is made for use only, by the name of what made it so.

    Raises:
        ArgumentError: TorchScript has compiled it, torch.export has made it, or it is
            quantized, as a whole or in part; or it cannot be called in another way.

    >>> require_trainable(nn.Linear(2, 2))
    """
    if isinstance(net, torch.jit.ScriptModule) and hasattr(net, "training"):
        raise ArgumentError(
            f"fit: net is a {type(net).__name__}, whose layers TorchScript has "
            "compiled. Give the network that it was made from, or nn.Sequential(net), "
            "which trains it as one layer."
        )
    for path, module in net.named_modules():
        name, kind = f"net.{path}" if path else "net", type(module)
        if isinstance(module, torch.jit.ScriptModule) and not hasattr(
            module, "training"
        ):
            raise ArgumentError(
                f"fit: {name} is frozen by torch.jit.freeze: its weights are "
                "constants. Give the network that it was made from."
            )
        if isinstance(module, torch.fx.GraphModule) and not _knows_modes(module):
            raise ArgumentError(
                f"fit: {name} is made by torch.export, for one mode only. Give the "
                "network that it was exported from."
            )
        if "quantized" in kind.__module__:
            raise ArgumentError(
                f"fit: {name} is a {kind.__name__}, which is quantized and has no "
                "weights that can be trained. Train the network before it is quantized."
            )
    require_shareable(net, "fit")


def _knows_modes(module: nn.Module) -> bool:
    """Whether it can be put into training; its flags are as before."""
    flags = [(inner, inner.training) for inner in module.modules()]
    try:
        module.train(module.training)
    except NotImplementedError:
        return False
    finally:
        for inner, flag in flags:
            inner.training = flag
    return True
