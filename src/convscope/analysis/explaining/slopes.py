"""How much each output of a call changes with one number that it takes.

``slopes(site, variable)``  the outputs that use the number, and the slope of each

Convolution, linear, pooling, batch norm and the usual activations are derived here,
from their windows and formulas. Any other operation is asked itself, in float64: its
backward pass is linear in what arrives, and the factor of each output is the slope.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.analysis.explaining.activation_slopes import (
    SLOPES,
    activation,
    dropout,
)
from convscope.analysis.explaining.kernel_slopes import (
    convolution,
    linear,
    transposed,
)
from convscope.analysis.explaining.map_slopes import batch_norm, norm, pooling
from convscope.analysis.explaining.registry import rule_of
from convscope.analysis.explaining.site import Site, converted
from convscope.analysis.explaining.slope import Slopes, Variable
from convscope.analysis.tracing.calls import tensors_of
from convscope.execution.outputs import map_tensors

_OWN: dict[str, Callable[[Site, Variable], "Slopes | None"]] = {
    "convolution": convolution,
    "transposed convolution": transposed,
    "linear": linear,
    "max pooling": pooling,
    "fractional max pooling": pooling,
    "stochastic pooling": pooling,
    "trained subsampling": pooling,
    "average pooling": pooling,
    "adaptive average pooling": pooling,
    "adaptive max pooling": pooling,
    "global pooling": pooling,
    "batch norm": batch_norm,
    "group norm": norm,
    "instance norm": norm,
    "layer norm": norm,
    "dropout": dropout,
    **{name: activation(name) for name in SLOPES},
}


_DRAWS = (
    "dropout", "alpha dropout", "random leaky ReLU", "stochastic pooling",
    "fractional max pooling",
)  # fmt: skip
_WORDS = {
    "moving numbers": "1 where it is copied to",
    "addition": "1: it is added",
    "difference": "1, or -1 where it is subtracted",
    "product": "the other factor",
}


def slopes(site: Site, variable: Variable) -> Slopes | None:
    """Of the site's output tensor; its index is not regarded.

    None where the operation cannot be asked.
    """
    rule = rule_of(site.call)
    name = "" if rule is None else rule.name
    own = _OWN.get(name)
    if own is not None and site.output_number == 0:
        made = own(site, variable)
        if made is not None:
            return made
    if name in _DRAWS and (site.training or name == "fractional max pooling"):
        return None  # asked again, it would draw again
    return asked(site, variable)


def asked(site: Site, variable: Variable) -> Slopes | None:
    """The slopes as the operation's own backward pass has them, in float64."""
    slope = _backward(site, variable, torch.float64)
    if slope is None:
        return None
    # Where terms cancel, a slope is known less well than its own digits say. How much
    # less is seen in float32, and is as many units in any other format.
    short = _backward(site, variable, torch.float32)
    units = 0.0
    if short is not None:
        units = float((short.double() - slope).abs().max()) / _UNIT32
    found = slope.nonzero()
    rule = rule_of(site.call)
    words = _WORDS.get(rule.name if rule else "", "slope, by its own backward pass")
    return Slopes(
        words,
        found.cpu().numpy().astype(np.int64),
        slope[tuple(found.T)].cpu().numpy().astype(np.float64),
        units=units,
    )


_UNIT32 = torch.finfo(torch.float32).eps


def _backward(site: Site, variable: Variable, dtype: torch.dtype) -> Tensor | None:
    """How much each output changes: the factor of what arrives there."""
    leaf, run = _converted(site, variable, dtype)
    try:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            state = torch.get_rng_state()
            outputs = [t for t in tensors_of(run()) if t.is_floating_point()]
            if not torch.equal(state, torch.get_rng_state()):
                return None  # it draws, and has drawn something else
            made = _like(outputs, site)
            if made is None or not made.requires_grad:
                return None
            arriving = torch.zeros_like(made, requires_grad=True)
            total = (made * arriving).sum()
            (back,) = torch.autograd.grad(total, leaf, create_graph=True)
            here = back[variable.index]
            if not here.requires_grad:
                return None
            return torch.autograd.grad(here, arriving, allow_unused=True)[0]
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return None


def _like(outputs: list[Tensor], site: Site) -> Tensor | None:
    number = site.output_number
    if number < len(outputs) and outputs[number].shape == site.output.shape:
        return outputs[number]
    return next((t for t in outputs if t.shape == site.output.shape), None)


def _converted(
    site: Site, variable: Variable, dtype: torch.dtype
) -> tuple[Tensor, Callable[[], Any]]:
    """A leaf in place of the variable's tensor, and the call with it."""
    parameter = variable.parameter
    started = site.inputs[variable.number] if parameter is None else parameter
    leaf = started.detach().to(dtype).requires_grad_()
    waiting = [started]

    def changed(tensor: Tensor) -> Tensor:
        if waiting and tensor is waiting[0]:
            if parameter is None:
                waiting.clear()  # the same tensor may be passed twice
            return leaf.clone()  # an operation in place may write into it
        if isinstance(tensor, nn.Parameter) or tensor.is_floating_point():
            return tensor.detach().to(dtype)
        return tensor

    args, kwargs = map_tensors(changed, (site.args, dict(site.kwargs)))
    module = site.module
    if module is None:
        return leaf, lambda: site.call.function(*args, **kwargs)

    def run() -> Any:
        with converted(module, dtype, {id(started): leaf}):
            return module(*args, **kwargs)

    return leaf, run
