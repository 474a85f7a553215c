"""What the page's questions are answered with; `application.py` has their addresses."""

import copy
import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from convscope.errors import ArgumentError, ConvscopeError
from convscope.serve.cards import cards_of
from convscope.serve.edits import Change, changed, kernels, named_filters, text_of
from convscope.serve.encoding import encoded
from convscope.serve.examples import KINDS, Examples
from convscope.serve.explaining import METHODS, decision, explanation
from convscope.serve.fields import fields_of
from convscope.serve.forward import Forward, Values, parts_of, wanted_of
from convscope.serve.inputs import Placing, network_input
from convscope.serve.security import MOST_HEAVY
from convscope.serve.sessions import Session, Sessions
from convscope.serve.subject import Subject
from convscope.train.run import Run
from convscope.viz import palette

CAN = ("values", "fields", "explain", "filters", "why", "edit", "keep", "examples")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Page:
    """A subject's page: what it shows, and what open pages ask of it.

    Args:
        subject: What it is about.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.cards = cards_of(subject)
        self.forward = Forward(subject, self.cards)
        self.examples = Examples(subject)
        self.sessions = Sessions()
        self._fields: dict[int, dict[str, Any]] = {}
        self._heavy = threading.BoundedSemaphore(MOST_HEAVY)

    def describe(self) -> dict[str, Any]:
        """What the page is told first."""
        subject = self.subject
        can = [
            name
            for name in CAN
            if (name != "keep" or (subject.run and subject.run.folder))
            and (name != "examples" or subject.has_data)
        ]
        return {
            "title": subject.title,
            "network": self.cards.graph.name,
            "figure": subject.figure,
            "classes": list(subject.classes),
            "input": {
                "kind": "drawing" if subject.is_drawn else "image",
                "shape": list(subject.input_shape),
                "centering": subject.preprocessing.centering != "none",
            },
            "cards": [card.to_dict() for card in self.cards.cards],
            "palettes": {
                name: np.rint(colors * 255).astype(int).tolist()
                for name, colors in (
                    ("sequential", palette.sequential()),
                    ("diverging", palette.diverging()),
                    ("diverging_dark", palette.diverging("dark")),
                )
            },
            "named_filters": named_filters(),
            "methods": [{"name": n, "label": text} for n, text in METHODS.items()],
            "remembers": [{"name": n, "label": text} for n, text in KINDS.items()],
            "can": can,
            "notes": [
                *self.cards.graph.notes,
                *self.forward.notes,
                *subject.notes,
            ],
        }

    def run(
        self,
        page: Session,
        pixels: npt.NDArray[np.generic],
        placing: Placing,
        wanted: str,
        sequence: int,
    ) -> bytes | None:
        """Guesses and maps for an input; None if a newer one has been answered."""
        began = time.perf_counter()
        channels = wanted_of(wanted, self.cards)
        with page.lock:
            if sequence < page.sequence:
                return None
            x, seen = network_input(self.subject, pixels, placing)
            page.x, page.sequence, page.values = x, sequence, None
            values = self._values(page)
            arrays, facts = parts_of(values, channels)
        rows = values.probabilities
        order = np.argsort(-rows, kind="stable")
        header = {
            "sequence": sequence,
            "guesses": [
                {"class": int(k), "probability": float(rows[k])} for k in order
            ],
            "by": values.by,
            "milliseconds": 1000 * (time.perf_counter() - began),
            "ranges": facts,
        }
        whole = seen.astype(np.float32) * (
            255 / 65535 if seen.dtype == np.uint16 else 1
        )
        return encoded(
            header,
            {**arrays, "probabilities": rows, "seen": whole},
            exact=frozenset({"probabilities"}),
        )

    def values(self, page: Session, wanted: str) -> bytes:
        """More maps of the last input."""
        channels = wanted_of(wanted, self.cards)
        with page.lock:
            arrays, facts = parts_of(self._values(page), channels)
        return encoded({"ranges": facts}, arrays)

    def fields(self, number: int) -> dict[str, Any]:
        """Tables of what units see; made once for each card."""
        self._card(number)
        if number not in self._fields:
            self._fields[number] = fields_of(self.cards, number)
        return self._fields[number]

    def explain(
        self, page: Session, number: int, channel: int, position: tuple[int, ...]
    ) -> dict[str, Any]:
        """Why a unit has its value."""
        card = self._card(number)
        with page.lock:
            x = self._input(page)
            net, temperature = self._net(page), self.subject.temperature
            return explanation(net, x, card, channel, position, temperature)

    def filters(self, page: Session, number: int, channel: int) -> bytes:
        """The kernels of a channel, as they are now."""
        weight, bias = kernels(self._net(page), self._card(number), channel)
        arrays = {"weight": weight.float().numpy()}
        if bias is not None:
            arrays["bias"] = bias.float().numpy()
        return encoded({}, arrays, exact=frozenset(arrays))

    def why(self, page: Session, method: str, target: int) -> bytes:
        """What in the last input speaks for a class, and how far to believe it."""
        if not self._heavy.acquire(timeout=30):
            raise ArgumentError("play: the server is busy with other explanations. "
                                "Ask again in a moment.")  # fmt: skip
        try:
            with page.lock:
                x, net = self._input(page), self._net(page)
            count = len(self.subject.classes)
            told, found = decision(net, x, method, target, count)
        finally:
            self._heavy.release()
        return encoded(told, {"map": found})

    def edit(self, page: Session, change: Change) -> dict[str, Any]:
        """Changes the page's own copy of the network."""
        with page.lock:
            kept = [one for one in page.changes if not _undone(one, change)]
            if not (change.kind == "channel" and not change.off):
                kept.append(change)
            return self._change(page, tuple(kept))

    def restore(self, page: Session, index: int | None) -> dict[str, Any]:
        """Takes one change back, or all."""
        with page.lock:
            kept = list(page.changes) if index is not None else []
            if index is not None:
                if not 0 <= index < len(kept):
                    raise ArgumentError(f"play: there is no change {index} to restore.")
                del kept[index]
            return self._change(page, tuple(kept))

    def keep(self, page: Session, name: str) -> dict[str, Any]:
        """Writes the changed network as a run beside the one that is shown."""
        own = self.subject.run
        if own is None or own.folder is None:
            raise ArgumentError(
                "play: this network lies in no run folder, so there is no place beside "
                "it."
            )
        if not _NAME.fullmatch(name) or ".." in name:
            raise ArgumentError(
                f"play: name={name[:70]!r} is no name for a run. Use letters, digits, "
                "'.', '_' and '-', 64 at most."
            )
        place = Path(own.folder).resolve().parent / name
        if place.exists():
            raise ArgumentError(f"play: {name} is there already. Choose another name.")
        with page.lock:
            if page.net is None:
                raise ArgumentError("play: nothing was changed, so there is nothing to "
                                    "keep.")  # fmt: skip
            net, source = copy.deepcopy(own.net), page.net
            if own.classifier is not own.net:
                source = next(m for m in page.net.children())
            net.load_state_dict(source.state_dict())
            Run(net, own.spec, own.history, own.set_aside).save(place)
        return {"run": place.name}

    def _change(self, page: Session, changes: tuple[Change, ...]) -> dict[str, Any]:
        net = changed(self.subject.net, self.cards, changes) if changes else None
        page.changes, page.net, page.values = changes, net, None
        return {
            "edits": [
                {"text": text_of(one, self.cards), "card": one.card,
                 "channel": one.channel}
                for one in changes
            ]
        }  # fmt: skip

    def _net(self, page: Session) -> nn.Module:
        return self.subject.net if page.net is None else page.net

    def _input(self, page: Session) -> Tensor:
        """The page's last input."""
        if page.x is None:
            raise ArgumentError("play: nothing was drawn or chosen yet.")
        return page.x

    def _values(self, page: Session) -> Values:
        """What the page's network gives for its last input."""
        if page.values is None:
            x = self._input(page)
            page.values = self.forward.values(self._net(page), x)
            self.sessions.trim(page)
        return page.values

    def _card(self, number: int) -> Any:
        if not 0 <= number < len(self.cards):
            raise ArgumentError(
                f"play: there is no card {number}; there are {len(self.cards)}."
            )
        return self.cards[number]


def _undone(old: Change, new: Change) -> bool:
    """Whether a change takes the place of an earlier one."""
    if (old.kind, old.card, old.channel) != (new.kind, new.card, new.channel):
        return False
    return getattr(old, "input", None) == getattr(new, "input", None) and getattr(
        old, "at", None
    ) == getattr(new, "at", None)


def remedies_of(error: ConvscopeError) -> dict[str, Any]:
    """An error as the page reads it."""
    remedies = []
    if "centering" in str(error):
        change = {"kind": "input", "centering": False}
        remedies.append({"label": "Without centering", "change": change})
    return {"error": {"message": str(error), "remedies": remedies}}
