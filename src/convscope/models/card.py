"""What is known about each model before it is built, and how it is built by name."""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from convscope.errors import ArgumentError, Remedy, ShapeError, UnknownNameError

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
        axes: Numbers of spatial axes that it can be built with: 1 for signals, 2 for
            images, 3 for volumes.
        task: Whether it gives (N, classes), or classes for each pixel (N, classes,
            H, W).

    >>> find("lenet5").input_shape
    (1, 32, 32)
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
    axes: tuple[int, ...] = (2,)
    task: Literal["classification", "segmentation"] = "classification"

    @property
    def size_for_small(self) -> int:
        """Height and width to which images are enlarged that are too small for it.

        What it was made for if that is small, else as little as it takes: a digit of
        8 pixels shows no more on 224 than on 32, and costs 49 times as much.
        """
        return min(self.input_shape[1], max(self.min_size, 32))


@dataclass(frozen=True)
class BuiltFrom:
    """What ``build`` was asked for; a network carries it as ``net.built_from``.

    >>> build_untrained("mlp", input_size=(8, 8)).built_from.input_shape
    (1, 8, 8)
    """

    name: str
    input_shape: tuple[int, ...]
    num_classes: int
    options: dict[str, Any]


_CARDS: dict[str, ModelCard] = {}
_BUILDERS: dict[str, Builder] = {}


def register(card: ModelCard) -> Callable[[Builder], Builder]:
    """Decorator: makes a builder known under the name on its card.

    Args:
        card: What is known about the network. The builder takes ``num_classes``,
            ``in_channels``, ``input_size``, and then its own options.

    >>> from dataclasses import replace
    >>> from convscope.models import softmax_regression
    >>> linear = replace(find("softmax_regression"), name="linear")
    >>> builder = register(linear)(softmax_regression)
    >>> build_untrained("linear", input_size=(8, 8))[1]
    Linear(in_features=64, out_features=10, bias=True)
    >>> del _CARDS["linear"], _BUILDERS["linear"]  # so that others do not see it
    """

    def keep(builder: Builder) -> Builder:
        _CARDS[card.name] = card
        _BUILDERS[card.name] = builder
        return builder

    return keep


def cards() -> dict[str, ModelCard]:
    """Every model's card by name, in alphabetical order; numbers in names count.

    >>> [name for name in cards() if name.startswith("lenet")]
    ['lenet5', 'lenet5_1998', 'lenet_page']
    """
    return {name: _CARDS[name] for name in sorted(_CARDS, key=_with_numbers)}


def _with_numbers(name: str) -> list[tuple[int, str]]:
    """Sorts ``resnet9`` before ``resnet18``."""
    parts = re.findall(r"\d+|\D+", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def find(name: str) -> ModelCard:
    """The card of the model of that name.

    Raises:
        UnknownNameError: There is no such model; names the nearest.

    >>> find("lenet5").parameters
    61706
    """
    if name not in _CARDS:
        raise UnknownNameError("model", name, _CARDS)
    return _CARDS[name]


def options(name: str) -> dict[str, Any]:
    """What a model takes besides classes, channels and size, with what it has then.

    Raises:
        UnknownNameError: There is no such model; names the nearest.

    >>> options("resnet9")["width"]
    32
    """
    find(name)
    return _options(name)


def build_untrained(
    name: str,
    *,
    num_classes: int = 10,
    in_channels: int | None = None,
    input_size: Sequence[int] | None = None,
    axes: int | None = None,
    **options: Any,
) -> nn.Module:
    """A new network of the model ``name``, with fresh random weights.

    Args:
        name: One of ``cards()``.
        num_classes: Outputs.
        in_channels: Channels of the input; the card's if not given.
        input_size: Height and width of the input, or the length of a signal, or
            depth, height and width of a volume; the card's if not given.
        axes: How many numbers ``input_size`` has, 1, 2 or 3, if it is not given: the
            network is then for the card's size along each of them.
        options: What this model takes besides, such as ``width`` of ``resnet9``.

    Raises:
        UnknownNameError: No model, or no option of this model, has that name.
        ShapeError: The input is smaller than the model's smallest, or the model
            cannot be built with that many axes.
        ArgumentError: ``num_classes`` or ``in_channels`` is below 1, or an option
            has a value that the model does not take.

    >>> sum(p.numel() for p in build_untrained("lenet5").parameters())
    61706
    >>> build_untrained("resnet18", input_size=(1000,)).conv1
    Conv1d(3, 64, kernel_size=(7,), stride=(2,), padding=(3,), bias=False)
    """
    card = find(name)
    channels = card.input_shape[0] if in_channels is None else in_channels
    size = _size(card, input_size, axes)
    for argument, value in (("num_classes", num_classes), ("in_channels", channels)):
        if value < 1:
            raise ArgumentError(f"{name}: {argument}={value} must be at least 1.")
    known = _options(name)
    for option in options:
        if option not in known:
            raise UnknownNameError(f"option of model {name}", option, known)
    try:
        net = _BUILDERS[name](num_classes, channels, size, **options)
    except TypeError as error:
        raise ArgumentError(f"{name}: options={options} do not fit: {error}.") from None
    net.built_from = BuiltFrom(  # type: ignore[assignment]  # a note, not a module
        name, (channels, *size), num_classes, options
    )
    return net


def _size(
    card: ModelCard, input_size: Sequence[int] | None, axes: int | None
) -> tuple[int, ...]:
    """The input's size, of a number of axes that the model takes, not too small."""
    if input_size is None:
        own = card.input_shape[1:]
        size = own if axes in (None, len(own)) else (own[0],) * (axes or 0)
    else:
        size = tuple(input_size)
        if axes is not None and axes != len(size):
            raise ShapeError(
                f"{card.name}: axes={axes} and input_size={size}, which has "
                f"{len(size)}, contradict each other. Leave one of them out."
            )
    if len(size) not in card.axes:
        can = " or ".join(map(str, card.axes))
        numbers = "number" if len(size) == 1 else "numbers"
        raise ShapeError(
            f"{card.name}: input_size={size} has {len(size)} {numbers}; this model "
            f"takes {can}, one for each spatial axis. Give as many, or take another "
            "model."
        )
    if min(size) < card.min_size:
        raise _too_small(card, size)
    return size


def _too_small(card: ModelCard, size: tuple[int, ...]) -> ShapeError:
    least = " x ".join([str(card.min_size)] * len(size))
    said = f"{card.name}: input_size={size} is too small; this model takes "
    if len(size) != 2:
        return ShapeError(said + f"inputs from {least} elements. Give longer ones.")
    better = card.size_for_small
    return ShapeError(
        said + f"images from {least} pixels.",
        remedies=[
            Remedy(f"resize the images to {better} x {better}", "size", better),
            Remedy("take another model"),
        ],
    )


def _options(name: str) -> dict[str, Any]:
    parameters = list(inspect.signature(_BUILDERS[name]).parameters.values())[3:]
    return {parameter.name: parameter.default for parameter in parameters}
