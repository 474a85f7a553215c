"""A network changed by hand: kernels, biases, channels switched off; and undone."""

import copy
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from convscope.errors import ArgumentError
from convscope.functional.filters import FILTERS, filter_kernel
from convscope.serve.cards import Card, Cards

MOST = 500  # changes at once
Index = Annotated[int, Field(ge=0, le=1_000_000)]
Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


class _Change(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    card: Index
    channel: Index


class Tap(_Change):
    """One number of a kernel."""

    kind: Literal["tap"]
    input: Index
    at: tuple[Index, ...]
    value: Number


class Bias(_Change):
    """What is added to a channel."""

    kind: Literal["bias"]
    value: Number


class NamedFilter(_Change):
    """A whole kernel, by its name."""

    kind: Literal["filter"]
    input: Index
    name: str = Field(max_length=40)


class Channel(_Change):
    """A channel switched off, or on again."""

    kind: Literal["channel"]
    off: bool


Change = Annotated[Tap | Bias | NamedFilter | Channel, Field(discriminator="kind")]


def named_filters() -> list[str]:
    """Filters that fit into a kernel of 3 by 3 or larger."""
    return [name for name in FILTERS if max(filter_kernel(name).shape) <= 5]


def changed(net: nn.Module, cards: Cards, changes: Sequence[Change]) -> nn.Module:
    """A copy of the network with changes; numbers that stay are shared with it.

    Raises:
        ArgumentError: A change does not fit its layer.
    """
    if len(changes) > MOST:
        raise ArgumentError(f"play: more than {MOST} changes. Restore some first.")
    shared = {id(t): t for t in (*net.parameters(), *net.buffers())}
    made = copy.deepcopy(net, dict(shared))
    modules = dict(made.named_modules())
    own: set[str] = set()
    for change in changes:
        card = _card(cards, change)
        path = card.label.partition(":")[0]
        module = modules[path]
        if path not in own:
            own.add(path)
            for name in ("weight", "bias"):
                value = getattr(module, name, None)
                if value is not None:
                    kept = nn.Parameter(value.detach().clone(), requires_grad=False)
                    setattr(module, name, kept)
        with torch.no_grad():
            _apply(module, card, change)
    return made.eval()


def text_of(change: Change, cards: Cards) -> str:
    """What was changed, in words."""
    card = cards[change.card]
    where = f"{card.label}, channel {change.channel}"
    if isinstance(change, Tap):
        at = ", ".join(map(str, change.at))
        return f"{where}: kernel on input {change.input} at ({at}) = {change.value:g}"
    if isinstance(change, Bias):
        return f"{where}: bias = {change.value:g}"
    if isinstance(change, NamedFilter):
        return f"{where}: kernel on input {change.input} is {change.name}"
    return f"{where}: switched off"


def kernels(net: nn.Module, card: Card, channel: int) -> tuple[Tensor, Tensor | None]:
    """The kernels of a channel, (inputs, *taps), and its bias, (1,).

    Raises:
        ArgumentError: The layer has none, or no such channel.
    """
    if not card.has_filters:
        raise ArgumentError(f"play: {card.label or card.kind} has no kernels to show.")
    module: Any = net.get_submodule(card.label.partition(":")[0])
    kernel = _kernel(module, card, channel)
    bias = None if module.bias is None else module.bias.detach()[channel : channel + 1]
    return kernel, bias


def _rows(module: Any) -> Tensor:
    """Weights with the output channel first; a view of the module's own."""
    weight: Tensor = module.weight.detach()
    if not getattr(module, "transposed", False):
        return weight
    if module.groups != 1:
        raise ArgumentError(
            "play: kernels of a transposed convolution in groups cannot be shown."
        )
    return weight.transpose(0, 1)


def _card(cards: Cards, change: Change) -> Card:
    if change.card >= len(cards) or not cards[change.card].has_filters:
        raise ArgumentError(
            f"play: card {change.card} has no kernels. Choose a convolution."
        )
    return cards[change.card]


def _apply(module: Any, card: Card, change: Change) -> None:
    kernel = _kernel(module, card, change.channel)
    if isinstance(change, Channel):
        if change.off:
            kernel.zero_()
            if module.bias is not None:
                module.bias[change.channel] = 0.0
        return
    if isinstance(change, Bias):
        if module.bias is None:
            raise ArgumentError(f"play: {card.label} has no bias to change.")
        module.bias[change.channel] = change.value
        return
    if change.input >= len(kernel):
        raise ArgumentError(
            f"play: {card.label} takes {len(kernel)} channels; there is no "
            f"{change.input}."
        )
    taps = kernel[change.input]
    if isinstance(change, Tap):
        at = change.at[-taps.ndim :] if taps.ndim < len(change.at) else change.at
        if len(at) != taps.ndim or any(
            i >= n for i, n in zip(at, taps.shape, strict=True)
        ):
            raise ArgumentError(
                f"play: kernels of {card.label} are {tuple(taps.shape)}; there is no "
                f"tap at {change.at}."
            )
        taps[at] = change.value
        return
    taps.copy_(_fitted(change.name, taps))


def _kernel(module: Any, card: Card, channel: int) -> Tensor:
    """The kernels of a module's channel, (inputs, *taps), as a view."""
    rows = _rows(module)
    if channel >= len(rows):
        raise ArgumentError(
            f"play: {card.label} has {len(rows)} channels; there is no {channel}."
        )
    return rows[channel]


def _fitted(name: str, taps: Tensor) -> Tensor:
    """A named filter in the middle of a kernel, zeros around it.

    Raises:
        ArgumentError: It is larger than the kernel.
    """
    own = filter_kernel(name, axes=taps.ndim)
    if any(a > b for a, b in zip(own.shape, taps.shape, strict=True)):
        raise ArgumentError(
            f"play: {name} is {tuple(own.shape)}, the kernel {tuple(taps.shape)}. "
            "Choose a smaller filter."
        )
    made = torch.zeros_like(taps)
    place = tuple(
        slice((b - a) // 2, (b - a) // 2 + a)
        for a, b in zip(own.shape, taps.shape, strict=True)
    )
    made[place] = own.to(taps)
    return made
