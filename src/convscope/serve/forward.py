"""What every card shows for an input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from convscope.analysis.capturing.capture import capture
from convscope.errors import ArgumentError
from convscope.serve.cards import Cards
from convscope.serve.subject import Subject

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Values:
    """What a network gave for one input.

    Attributes:
        maps: Of each card, by its number, without the batch axis.
        probabilities: (K,) after the temperature.
    """

    maps: Mapping[int, Array]
    probabilities: Array

    @property
    def bytes(self) -> int:
        """That they take."""
        return sum(array.nbytes for array in self.maps.values())


@dataclass(frozen=True)
class Wanted:
    """Channels of a card that are on the screen: from the first, up to the last."""

    card: int
    first: int
    last: int


def values_of(subject: Subject, net: nn.Module, cards: Cards, x: Tensor) -> Values:
    """Values of all cards, from one forward pass."""
    labels = [card.label for card in cards.cards[1:] if card.label]
    with torch.no_grad():
        found = capture(net, x, labels)
    maps = {0: x[0].numpy()}
    for card in cards.cards[1:]:
        if card.label:
            maps[card.id] = found[card.label].outputs[0][0].float().numpy()
    logits: Tensor = found.output
    rows = torch.softmax(logits[0].double() / subject.temperature, 0).float().numpy()
    maps.setdefault(len(cards) - 1, rows)
    return Values(maps, rows)


def wanted_of(text: str, cards: Cards) -> list[Wanted]:
    """Cards and channels, as the page asks for them: ``3:0-16,4:0-8``.

    Raises:
        ArgumentError: It is something else, or there is no such card.
    """
    found = []
    for part in text.split(",") if text else ():
        card, _, span = part.partition(":")
        first, _, last = span.partition("-")
        if (
            not (card.isdigit() and first.isdigit() and last.isdigit())
            or len(part) > 40
        ):
            raise ArgumentError(
                f"play: wanted={part[:40]!r} is no card with channels. Write 3:0-16."
            )
        found.append(Wanted(int(card), int(first), int(last)))
        if found[-1].card >= len(cards):
            raise ArgumentError(
                f"play: there is no card {card[:20]}; there are {len(cards)}."
            )
    return found


def parts_of(
    values: Values, wanted: Sequence[Wanted]
) -> tuple[dict[str, Array], dict[str, dict[str, float]]]:
    """The wanted channels of each card, with the range of all of the card's values."""
    arrays, facts = {}, {}
    for one in wanted:
        whole = values.maps[one.card]
        first = min(one.first, whole.shape[0])
        arrays[str(one.card)] = whole[first : one.last]
        low, high = (float(whole.min()), float(whole.max())) if whole.size else (0, 0)
        facts[str(one.card)] = {"from": first, "low": low, "high": high}
    return arrays, facts
