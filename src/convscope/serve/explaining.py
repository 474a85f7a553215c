"""One unit, one decision: the library's records, as the page gets them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from convscope.analysis.attribution.attribute import Method, attribute
from convscope.analysis.explaining.explain_unit import explain_unit
from convscope.errors import ArgumentError
from convscope.serve.cards import Card

METHODS: dict[Method, str] = {
    "grad_cam": "Grad-CAM",
    "occlusion": "Occlusion",
    "saliency": "Saliency",
}


def explanation(
    net: nn.Module,
    x: Tensor,
    card: Card,
    channel: int,
    position: tuple[int, ...],
    temperature: float = 1.0,
) -> dict[str, Any]:
    """Why a unit has its value: `explain_unit`'s record.

    Args:
        net: The network, without the softmax that makes probabilities.
        x: Its input.
        card: Whose unit; the last card's units are probabilities.
        channel: Which.
        position: Where in its map.
        temperature: What logits are divided by before that softmax.

    Raises:
        ArgumentError: The card is the input.
    """
    if card.kind == "input":
        raise ArgumentError(
            "play: the input is not computed, so nothing explains it. Choose a layer's "
            "unit."
        )
    if not card.label:
        return _probability(net, x, channel, temperature)
    place = position if len(card.shape) > 1 else ()
    return explain_unit(net, x, card.label, channel, place).to_dict()


class _Calibrated(nn.Module):
    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, logits: Tensor) -> Tensor:
        if self.temperature != 1:
            logits = logits / self.temperature
        return torch.softmax(logits, -1)


def _probability(
    net: nn.Module, x: Tensor, channel: int, temperature: float
) -> dict[str, Any]:
    whole = nn.Sequential(net, _Calibrated(temperature)).eval()
    record = explain_unit(whole, x, "1", channel, ()).to_dict()
    for step in record["steps"]:  # named as the page names them
        label = step["label"]
        own = "softmax" if label.startswith("1") else label.removeprefix("0.")
        if step["kind"].startswith("div"):
            own = "temperature"
        step["label"] = own
        record["lines"] = [
            line.replace(label, own, 1) if line.startswith(f"{label} = ") else line
            for line in record["lines"]
        ]
    return record


def decision(
    net: nn.Module, x: Tensor, method: str, target: int, classes: int
) -> tuple[dict[str, Any], npt.NDArray[Any]]:
    """What in the input speaks for a class: the trust in it, and the map.

    Raises:
        ArgumentError: No such method or class.
    """
    chosen = next((name for name in METHODS if name == method), None)
    if chosen is None:
        raise ArgumentError(
            f"play: method={method[:20]!r} is not one of {', '.join(METHODS)}."
        )
    if not 0 <= target < classes:
        raise ArgumentError(f"play: target={target} is not one of {classes} classes.")
    found = attribute(net, x, target, method=chosen, trust=True)
    trust = found.trust[0] if found.trust else None
    told = trust and {
        "grade": trust.grade, "verdict": trust.verdict, "figures": trust.figures,
    }  # fmt: skip
    return {"trust": told, "layer": found.layer}, np.asarray(found.maps[0], np.float32)
