"""The networks of the races, and the plain ones as a list that any library can read."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from convscope import layers
from convscope.analysis import summary
from convscope.bench.job import Job
from convscope.errors import ArgumentError, UnknownNameError
from convscope.models import build as build_model
from convscope.models import cards

Layer = dict[str, Any]
_MAX_POOLS = (nn.MaxPool2d, layers.MaxPool2d)
_AVERAGE_POOLS = (nn.AvgPool2d, layers.AvgPool2d)


def build(
    name: str, shape: tuple[int, int, int], options: Mapping[str, Any] | None = None
) -> nn.Module:
    """The network of that name for images of ``shape`` (C, H, W), 10 classes.

    Raises:
        UnknownNameError: No model has that name.
    """
    if name not in cards():
        raise UnknownNameError("model", name, cards())
    channels, height, width = shape
    size = (height, width)
    return build_model(name, in_channels=channels, input_size=size, **(options or {}))


def plain_layers(net: nn.Module) -> list[Layer] | None:
    """The layers of a chain of convolutions, poolings and linear layers in turn.

    Returns:
        One dictionary a layer, ``kind`` and its numbers; ``weight`` is the prefix of
        its entries in the state dict. None where the network is made of more.
    """
    try:
        return list(_layers(net, ""))
    except ArgumentError:
        return None


def _layers(net: nn.Module, prefix: str) -> Iterator[Layer]:
    if isinstance(net, nn.Sequential):
        for name, child in net.named_children():
            yield from _layers(child, f"{prefix}{name}.")
    elif isinstance(net, nn.Conv2d):
        plain = net.groups == 1 and set(net.dilation) == {1} and net.bias is not None
        if not plain or isinstance(net.padding, str) or net.padding_mode != "zeros":
            raise ArgumentError(f"{prefix}: {net} is not plain.")
        pads = [list(pair) for pair in zip(net.padding, net.padding, strict=True)]
        yield {"kind": "conv", "weight": prefix, "stride": net.stride, "padding": pads}
    elif isinstance(net, _MAX_POOLS + _AVERAGE_POOLS) and not net.padding:
        kind = "max" if isinstance(net, _MAX_POOLS) else "average"
        yield {"kind": kind, "size": net.kernel_size, "stride": net.stride}
    elif isinstance(net, nn.Linear) and net.bias is not None:
        yield {"kind": "linear", "weight": prefix}
    elif isinstance(net, nn.ReLU | nn.Tanh | nn.Sigmoid | nn.Flatten):
        yield {"kind": type(net).__name__.lower()}
    else:
        raise ArgumentError(f"{prefix}: {type(net).__name__} has no plain form.")


def work(job: Job) -> tuple[int, int]:
    """Floating-point operations of one step, and the bytes that it must move.

    Operations are two for each product with a weight: forward, and in training again
    for the gradient of the weights and for that of the input, which the first layer
    does not need. Bytes are those of all weights and activations, once forward and in
    training twice more.
    """
    counted = summary(build(job.network, job.shape, job.options), job.shape)
    with_weights = [row for row in counted.rows if row.is_layer and row.multiply_adds]
    products, passes = counted.multiply_adds, 1
    if job.task == "train":
        products, passes = 3 * products - with_weights[0].multiply_adds, 3
    moved = counted.weight_bytes + counted.training_bytes * job.batch
    return 2 * products * job.batch, passes * moved
