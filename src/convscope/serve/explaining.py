"""One unit, one decision: the library's records, as the page gets them."""

from typing import Any

import numpy as np
import numpy.typing as npt
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
    net: nn.Module, x: Tensor, card: Card, channel: int, position: tuple[int, ...]
) -> dict[str, Any]:
    """Why a unit has its value: `explain_unit`'s record.

    Raises:
        ArgumentError: The card is the input, or the probabilities.
    """
    if not card.label or card.kind == "input":
        what = "the input" if card.kind == "input" else "probabilities"
        raise ArgumentError(
            f"play: {what} cannot be explained as a unit. Choose a layer's unit."
        )
    place = position if len(card.shape) > 1 else ()
    return explain_unit(net, x, card.label, channel, place).to_dict()


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
