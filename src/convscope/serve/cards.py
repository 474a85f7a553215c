"""The network as the page shows it: a card for every layer, from left to right."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from convscope.analysis.capturing.capture import capture
from convscope.serve.subject import Subject

Palette = Literal["sequential", "diverging", "picture"]


@dataclass(frozen=True)
class Card:
    """One layer.

    Attributes:
        id: Its number, from left to right; 0 is the input.
        label: As `capture` names it; empty for the input.
        kind: Family: ``input``, ``convolution``, ``activation``, ``pooling``,
            ``normalization``, ``linear``, ``softmax``, ``add``, ``concatenate``,
            ``flatten``, ``other``.
        text: As one would write it.
        shape: Of what it gives for one input, without the batch axis.
        inputs: Cards whose values it takes.
        palette: How its values are colored.
        parameters: Numbers that it learned.
        has_filters: Whether its kernels can be shown and changed.
    """

    id: int
    label: str
    kind: str
    text: str
    shape: tuple[int, ...]
    inputs: tuple[int, ...]
    palette: Palette
    parameters: int = 0
    has_filters: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As the page reads it."""
        return {
            "id": self.id,
            "label": self.label,
            "kind": self.kind,
            "text": self.text,
            "shape": list(self.shape),
            "inputs": list(self.inputs),
            "palette": self.palette,
            "parameters": self.parameters,
            "has_filters": self.has_filters,
        }


def cards_of(subject: Subject) -> tuple[Card, ...]:
    """The cards of a network, in the order of its calls."""
    found = capture(subject.net, torch.zeros(1, *subject.input_shape))
    cards = [Card(0, "", "input", "input", subject.input_shape, (), "picture")]
    modules = dict(subject.net.named_modules())
    for label, one in found.items():
        module = modules.get(one.path) if one.path in modules else None
        weight = getattr(module, "weight", None)
        filters = isinstance(weight, torch.Tensor) and weight.ndim > 2
        cards.append(
            Card(
                len(cards), label, _kind(module), one.kind, one.shape[1:],
                (len(cards) - 1,), "diverging", 0, filters,
            )
        )  # fmt: skip
    return tuple(cards)


def _kind(module: nn.Module | None) -> str:
    name = type(module).__name__.lower()
    for kind, words in {
        "convolution": ("conv",), "pooling": ("pool",), "normalization": ("norm",),
        "linear": ("linear",), "activation": ("relu", "tanh", "sigmoid", "elu", "silu"),
        "flatten": ("flatten",), "softmax": ("softmax",),
    }.items():  # fmt: skip
        if any(word in name for word in words):
            return kind
    return "other"
