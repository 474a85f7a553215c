"""The networks of Nielsen's book, from one hidden layer to two thousand units."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from convscope.arithmetic import PaddingMode, Window
from convscope.errors import ArgumentError, UnknownNameError
from convscope.layers import Conv2d, MaxPool2d
from convscope.models.card import ModelCard, register
from convscope.models.initialization import convolutions_and_linears
from convscope.models.space import elements_left

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}


@dataclass(frozen=True)
class Configuration:
    """Maps of each convolution, units of each hidden layer, and what goes between."""

    maps: tuple[int, ...]
    hidden: tuple[int, ...]
    activation: str
    dropout: float = 0.0


CONFIGURATIONS = {
    "fc100": Configuration((), (100,), "sigmoid"),
    "conv": Configuration((20,), (100,), "sigmoid"),
    "conv_only": Configuration((20,), (), "sigmoid"),
    "two_conv": Configuration((20, 40), (100,), "sigmoid"),
    "two_conv_tanh": Configuration((20, 40), (100,), "tanh"),
    "relu": Configuration((20, 40), (100,), "relu"),
    "relu_300": Configuration((20, 40), (300,), "relu"),
    "relu_1000": Configuration((20, 40), (1000,), "relu"),
    "two_fc_100": Configuration((20, 40), (100, 100), "relu"),
    "two_fc_300": Configuration((20, 40), (300, 300), "relu"),
    "two_fc_1000": Configuration((20, 40), (1000, 1000), "relu"),
    "dropout": Configuration((20, 40), (1000, 1000), "relu", 0.5),
}


@register(
    ModelCard(
        name="nielsen",
        summary="the networks of Nielsen's book, twelve configurations",
        source="Nielsen 2015, Neural Networks and Deep Learning, chapter 6, and its "
        "network3.py",
        differs=(
            "dropout scales up what it keeps in training, there down in testing",
            "the shifted digits of some experiments are left to the augmentation",
        ),
        input_shape=(1, 28, 28),
        num_classes=10,
        parameters=1_672_570,
        multiply_adds=3_218_000,
        min_size=16,
    )
)
def nielsen(
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, ...],
    configuration: str = "dropout",
    maps: Sequence[int] | None = None,
    hidden: Sequence[int] | None = None,
    activation: Literal["sigmoid", "tanh", "relu"] | None = None,
    dropout: float | None = None,
    padding: int = 0,
    padding_mode: PaddingMode = "zeros",
) -> nn.Sequential:
    """5x5 convolutions with 2x2 max pooling, then hidden layers.

    ``configuration`` is one of ``CONFIGURATIONS``; what is given besides replaces
    a part of it: ``maps`` of each convolution, units of each ``hidden`` layer,
    ``activation``, and ``dropout`` before each linear layer. ``padding`` is of each
    convolution, in pixels; the book has none. Weights begin as
    published: normal with variance 1 / fan_out, biases normal with 1, the last layer 0.

    >>> import torch
    >>> net = nielsen(10, 1, (28, 28), "conv_only")
    >>> net(torch.zeros(1, 1, 28, 28)).shape
    torch.Size([1, 10])
    """
    if configuration not in CONFIGURATIONS:
        raise UnknownNameError(
            "configuration of nielsen", configuration, CONFIGURATIONS
        )
    named = CONFIGURATIONS[configuration]
    chosen = Configuration(
        named.maps if maps is None else tuple(maps),
        named.hidden if hidden is None else tuple(hidden),
        activation or named.activation,
        named.dropout if dropout is None else dropout,
    )
    _require(chosen)
    act = ACTIVATIONS[chosen.activation]
    layers: list[nn.Module] = []
    channels = in_channels
    for width in chosen.maps:
        conv = Conv2d(channels, width, 5, padding=padding, padding_mode=padding_mode)
        layers += [conv, MaxPool2d(2), act()]
        channels = width
    layers.append(nn.Flatten())
    stage = [Window(5, padding=(padding, padding)), Window(2, stride=2)]
    units = channels * elements_left(input_size, stage * len(chosen.maps))
    for width in (*chosen.hidden, num_classes):
        layers += [nn.Dropout(chosen.dropout)] if chosen.dropout else []
        layers += [nn.Linear(units, width), act()]
        units = width
    net = nn.Sequential(*layers[:-1])  # no activation after the last
    _draw(net)
    return net


def _require(chosen: Configuration) -> None:
    if chosen.activation not in ACTIVATIONS:
        raise UnknownNameError("activation", chosen.activation, ACTIVATIONS)
    if len(chosen.maps) > 2 or min(chosen.maps + chosen.hidden, default=1) < 1:
        raise ArgumentError(
            f"nielsen: maps={chosen.maps} and hidden={chosen.hidden} must be at least "
            "1 each, of two convolutions at most."
        )
    if not 0 <= chosen.dropout < 1:
        raise ArgumentError(f"nielsen: dropout={chosen.dropout} must be in [0, 1).")


def _draw(net: nn.Sequential) -> None:
    """Deviation 1 / sqrt(fan_out), where a convolution's is of what pooling leaves."""
    kernels, matrices = convolutions_and_linears(net)
    for layer in (*kernels, *matrices[:-1]):
        weight, bias = layer.parameters()
        fan_out = len(weight) * (25 / 4 if weight.ndim > 2 else 1)
        nn.init.normal_(weight, 0.0, fan_out**-0.5)
        nn.init.normal_(bias, 0.0, 1.0)
    for parameter in matrices[-1].parameters():
        nn.init.zeros_(parameter)
