"""What every card shows for an input, by the fastest way that is right."""

import copy
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from convscope.analysis.capturing.capture import capture
from convscope.analysis.capturing.watching import Watched
from convscope.errors import ArgumentError
from convscope.serve import onnx_program
from convscope.serve.cards import Cards
from convscope.serve.subject import Subject

TOLERANCE = 1e-4  # of a layer's largest value, between PyTorch and ONNX Runtime
TRIALS = 2  # inputs on which ways are compared
PYTORCH, ONNX = "PyTorch", "ONNX Runtime"

Array = npt.NDArray[np.float32]
Found = tuple[Mapping[str, Array], Array]


@dataclass(frozen=True, eq=False)
class Values:
    """What a network gave for one input.

    Attributes:
        maps: Of each card, by its number, without the batch axis.
        probabilities: (K,) after the temperature.
        by: Which program computed them.
    """

    maps: Mapping[int, Array]
    probabilities: Array
    by: str

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


class Forward:
    """Passes through a subject's network, and through changed copies of it.

    Values are those of `capture`: hooks that are set once give the same, or `capture`
    itself is used. After `prepare`, those of the unchanged network come from ONNX
    Runtime, if it is installed and gives the same within ``TOLERANCE``.

    Args:
        subject: Whose network.
        cards: Whose values are wanted.
    """

    def __init__(self, subject: Subject, cards: Cards) -> None:
        self.subject, self.cards = subject, cards
        self.notes: tuple[str, ...] = ()
        self._labels = [card.label for card in cards.cards[1:] if card.label]
        self._program: onnx_program.Program | None = None
        self._watched: WeakKeyDictionary[nn.Module, Watched] = WeakKeyDictionary()
        self._turn = threading.Lock()
        self._trials = [_trial(subject, seed) for seed in range(TRIALS)]
        self._copy = self._copied()
        self._can_watch = True
        self._can_watch = self._is_watched_well()

    def prepare(self) -> None:
        """Looks for the fast path, in some seconds; `notes` say why there is none."""
        net, self._copy = self._copy, None
        if net is None:
            return
        try:
            made = onnx_program.Program(net, self._labels, self._trials[0])
            fault = self._fault(made)
        except Exception as error:
            fault = f"the network could not be written for it ({type(error).__name__})"
        if fault:
            self._say(fault)
        else:
            self._program = made

    def _copied(self) -> nn.Module | None:
        """What is exported; the network itself is in use, and export writes into it.

        None where nothing is to be prepared.
        """
        net = self.subject.net
        size = sum(p.numel() * p.element_size() for p in net.parameters())
        if not onnx_program.is_installed() or size > onnx_program.MOST_BYTES:
            return None
        try:
            return copy.deepcopy(net)
        except Exception as error:
            self._say(f"the network cannot be copied ({type(error).__name__})")
            return None

    def values(self, net: nn.Module, x: Tensor) -> Values:
        """Values of all cards for one input, (1, C, H, W)."""
        made = self._program if net is self.subject.net else None
        if made is not None:
            try:
                return self._values(made(x), x, ONNX)
            except Exception as error:
                self._program = None
                self._say(f"it failed ({type(error).__name__})")
        return self._values(self._by_module(net, x), x, PYTORCH)

    def _values(self, found: Found, x: Tensor, by: str) -> Values:
        outputs, logits = found
        maps: dict[int, Array] = {0: x[0].numpy()}
        for card in self.cards.cards[1:]:
            if card.label:
                maps[card.id] = outputs[card.label][0]
        scaled = logits[0].astype(np.float64) / self.subject.temperature
        rows = np.exp(scaled - scaled.max())
        rows = (rows / rows.sum()).astype(np.float32)
        maps.setdefault(len(self.cards) - 1, rows)
        return Values(maps, rows, by)

    def _by_module(self, net: nn.Module, x: Tensor) -> Found:
        if not self._can_watch:
            return self._captured(net, x)
        with self._turn:
            if net not in self._watched:
                self._watched[net] = Watched(net, self._labels)
            values, output = self._watched[net](x)
        return {label: _array(values[label]) for label in self._labels}, _array(output)

    def _captured(self, net: nn.Module, x: Tensor) -> Found:
        found = capture(net, x, self._labels)
        arrays = {label: _array(found[label].outputs[0]) for label in self._labels}
        return arrays, _array(found.output)

    def _is_watched_well(self) -> bool:
        """Whether hooks give what `capture` gives, also in the second pass."""
        for x in self._trials:
            wanted, _ = self._captured(self.subject.net, x)
            try:
                ours, _ = self._by_module(self.subject.net, x)
            except Exception:  # of a network that needs all that `capture` does
                return False
            if any(
                not np.array_equal(ours[label], wanted[label], equal_nan=True)
                for label in self._labels
            ):
                return False
        return True

    def _fault(self, made: onnx_program.Program) -> str:
        """Where a program gives other values; empty if nowhere."""
        for x in self._trials:
            wanted, logits = self._by_module(self.subject.net, x)
            found, output = made(x)
            pairs = [(label, found[label], wanted[label]) for label in self._labels]
            for label, ours, theirs in [*pairs, ("its output", output, logits)]:
                if ours.shape != theirs.shape:
                    return f"it gives {ours.shape} at {label}, not {theirs.shape}"
                largest = float(np.abs(theirs).max(initial=0.0))
                apart = float(np.abs(ours - theirs).max(initial=0.0))
                if not apart <= TOLERANCE * largest + 1e-7:
                    return f"it differs from PyTorch by {apart:.1e} at {label}"
        return ""

    def _say(self, fault: str) -> None:
        self.notes = (f"ONNX Runtime is not used: {fault}. Values come from PyTorch.",)


def _trial(subject: Subject, seed: int) -> Tensor:
    """An input of any values: noise around those of pictures."""
    noise = torch.Generator().manual_seed(seed)
    return torch.randn(1, *subject.input_shape, generator=noise)


def _array(value: Any) -> Array:
    found: Array = value.float().numpy()
    return found


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
