"""What every card shows for an input."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from convscope.analysis.capturing.capture import capture
from convscope.serve.cards import Card
from convscope.serve.subject import Subject

Array = npt.NDArray[np.float32]


def values_of(
    subject: Subject, net: nn.Module, cards: tuple[Card, ...], x: Tensor
) -> tuple[dict[int, Array], Array]:
    """Values of the cards by their numbers, without the batch axis; probabilities."""
    found = capture(net, x, [card.label for card in cards if card.label])
    values = {0: x[0].numpy()}
    for card in cards:
        if card.label:
            values[card.id] = found[card.label].outputs[0][0].numpy()
    logits: Tensor = found.output
    rows = torch.softmax(logits[0].double() / subject.temperature, 0)
    return values, rows.float().numpy()
