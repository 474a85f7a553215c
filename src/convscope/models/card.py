"""What is known about each model before it is built, and how it is built by name."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from convscope.errors import ArgumentError, ShapeError, UnknownNameError

Builder = Callable[..., nn.Module]


@dataclass(frozen=True)
class ModelCard:
    """Facts about a model; a test recounts every number.

    Attributes:
        name: What to pass to ``build``.
        summary: One line for tables.
        source: Where it was published.
        differs: How ours differs from the source, one phrase each.
        input_shape: (C, H, W) that the counts below are for.
        num_classes: Outputs that the counts below are for.
        parameters: Learnable scalars.
        multiply_adds: For one image, weights only.
        min_size: Smallest height and width that it takes.
    """

    name: str
    summary: str
    source: str
    differs: tuple[str, ...]
    input_shape: tuple[int, int, int]
    num_classes: int
    parameters: int
    multiply_adds: int
    min_size: int


@dataclass(frozen=True)
class BuiltFrom:
    """What ``build`` was asked for; a network carries it as ``net.built_from``."""

    name: str
    input_shape: tuple[int, int, int]
    num_classes: int
    options: dict[str, Any]


_CARDS: dict[str, ModelCard] = {}
_BUILDERS: dict[str, Builder] = {}


def register(card: ModelCard) -> Callable[[Builder], Builder]:
    """Decorator: makes a builder known under the name on its card."""

    def keep(builder: Builder) -> Builder:
        _CARDS[card.name] = card
        _BUILDERS[card.name] = builder
        return builder

    return keep


def cards() -> dict[str, ModelCard]:
    """Every model's card by name, in alphabetical order."""
    return dict(sorted(_CARDS.items()))


def find(name: str) -> ModelCard:
    """The card of the model of that name.

    Raises:
        UnknownNameError: There is no such model; names the nearest.
    """
    if name not in _CARDS:
        raise UnknownNameError("model", name, _CARDS)
    return _CARDS[name]


def build(
    name: str,
    *,
    num_classes: int = 10,
    in_channels: int | None = None,
    input_size: tuple[int, int] | None = None,
    **options: Any,
) -> nn.Module:
    """A new network of the model ``name``, with fresh random weights.

    Args:
        name: One of ``cards()``.
        num_classes: Outputs.
        in_channels: Channels of the input; the card's if not given.
        input_size: Height and width of the input; the card's if not given.
        options: What this model takes besides, such as ``width`` of ``resnet9``.

    Raises:
        UnknownNameError: No model, or no option of this model, has that name.
        ShapeError: The input is smaller than the model's smallest.
        ArgumentError: ``num_classes`` or ``in_channels`` is below 1, or an option
            has a value that the model does not take.

    >>> sum(p.numel() for p in build("lenet5").parameters())
    61706
    """
    card = find(name)
    channels = card.input_shape[0] if in_channels is None else in_channels
    size = card.input_shape[1:] if input_size is None else tuple(input_size)
    for argument, value in (("num_classes", num_classes), ("in_channels", channels)):
        if value < 1:
            raise ArgumentError(f"{name}: {argument}={value} must be at least 1.")
    if min(size) < card.min_size:
        raise ShapeError(
            f"{name}: input_size={size} is too small; this model takes images from "
            f"{card.min_size} x {card.min_size} pixels. Resize the images to "
            f"{card.input_shape[1]} x {card.input_shape[2]} (--size "
            f"{card.input_shape[1]}), or take another model."
        )
    known = list(inspect.signature(_BUILDERS[name]).parameters)[3:]
    for option in options:
        if option not in known:
            raise UnknownNameError(f"option of model {name}", option, known)
    try:
        net = _BUILDERS[name](num_classes, channels, size, **options)
    except TypeError as error:
        raise ArgumentError(f"{name}: options={options} do not fit: {error}.") from None
    net.built_from = BuiltFrom(  # type: ignore[assignment]  # a note, not a module
        name, (channels, size[0], size[1]), num_classes, options
    )
    return net
