"""``cs.optimize``: a network in, the same network faster out."""

import contextlib
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from convscope.errors import ArgumentError
from convscope.execution.compare import USUAL_BATCH, choose
from convscope.execution.optimized import (
    Optimized,
    plain_network,
    require_shareable,
)
from convscope.execution.sample_inputs import (
    Shape,
    given_inputs,
    random_inputs,
    require_shape,
)


def optimize(
    net: nn.Module,
    input_shape: Shape | None = None,
    training: bool = True,
    *,
    batch_size: int = USUAL_BATCH,
    device: str = "cpu",
    precision: str = "float32",
    example_inputs: Any = None,
) -> Optimized:
    """The same network, called in the way that is fastest for it here.

    Layers, parameters, hooks and every attribute are those of ``net``: what is done to
    one is done to both, and what was changed is noticed at the next call. Weights stay
    in their layout. Outputs have the structure, number format and layout that ``net``
    gives. Layers that nothing is known about run as they are.

    An outer ``torch.autocast`` is respected, and so is everything that looks at single
    layers: hooks, transforms of ``torch.func``, compilers and exporters get torch's own
    operations. Dropout in a loop of your own draws its masks in the order of memory, as
    torch does, so that one seed gives other masks in another memory format; ``fit``
    draws them in the order of elements.

    Args:
        net: Any network but a scripted one.
        input_shape: (C, *space) of one image, or one such shape for each input.
        training: Whether it is to be trained; else only forward passes are measured.
            In a group of processes (``torch.distributed``) every one has to call this
            then, and all take what the first one finds.
        batch_size: Images in a step.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; the network is moved
            there.
        precision: ``float32``; ``bfloat16``; or ``auto``, which takes bfloat16 where it
            is 1.2 times faster and outputs stay within a tenth.
        example_inputs: Instead of a shape, a batch to measure with: a tuple of inputs;
            ``Inputs(positional, named)``; or the one input, of any structure.

    Raises:
        ArgumentError: The device is not there; neither a shape nor inputs are given,
            the shape is none (a tensor, a string) or holds a batch size; or the network
            cannot be shared, as a scripted one.

    >>> net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    >>> fast = optimize(net, (1, 8, 8), batch_size=2)
    >>> fast[0] is net[0], list(fast.state_dict()) == list(net.state_dict())
    (True, True)
    """
    if input_shape is None and example_inputs is None:
        raise ArgumentError(
            "optimize: there is neither input_shape nor example_inputs to measure "
            "with. Give input_shape=(C, H, W) of one image."
        )
    if input_shape is not None:
        require_shape(net, input_shape, "optimize")
    _initialize(net, input_shape, example_inputs)
    require_shareable(net)
    setting = choose(
        net,
        input_shape,
        device=device,
        precision=precision,
        batch_size=batch_size,
        training=training,
        example_inputs=example_inputs,
    )
    fast: Optimized = Optimized(plain_network(net).to(setting.device), setting)
    return fast


def _initialize(net: nn.Module, shape: Shape | None, examples: Any) -> None:
    """Gives lazy layers their sizes, as the first call would."""
    if not any(is_lazy(p) for p in (*net.parameters(), *net.buffers())):
        return
    given = examples is not None
    inputs = given_inputs(examples) if given else random_inputs(net, shape or (), 2)
    flags = {module: module.training for module in net.modules()}
    net.eval()
    try:
        with torch.no_grad(), contextlib.suppress(RuntimeError):
            positional, named = inputs.copied()
            net(*positional, **named)
    finally:
        for module, mode in flags.items():
            module.training = mode
