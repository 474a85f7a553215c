"""Decides when a checkpoint is taken, and stops only between two steps."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

import torch

from convscope.train.checkpoint import Checkpoint
from convscope.train.run_folder import RunFolder
from convscope.train.training.events import EpochEnded, Event, Saved, Started, Stepped
from convscope.train.training.loop import Training


class CheckpointWriter:
    """Writes checkpoints and the history while a training goes on.

    Args:
        training: What to keep.
        place: Where; with None nothing is kept.
        seconds: Shortest time between two checkpoints.
    """

    def __init__(
        self, training: Training, place: RunFolder | None, seconds: float
    ) -> None:
        self.training, self.place, self.seconds = training, place, seconds
        self._last = time.monotonic()

    def after(self, event: Event) -> tuple[Event, ...]:
        """What is to be said besides ``event``: a checkpoint, if one was due."""
        if self.place is None:
            return ()
        if isinstance(event, EpochEnded):
            self.place.write_history(self.training.position.history)
        return self.save() if self._is_due(event, self.place) else ()

    def save(self) -> tuple[Event, ...]:
        """Takes a checkpoint now, and gives what is to be said of it."""
        state = self.training.checkpoint()
        if self.place is None or not is_finite(state):
            return ()  # spoiled weights: the one before is the last good one
        path = self.place.save_checkpoint(state)
        self._last = time.monotonic()
        position = self.training.position
        return (Saved(position.epoch + 1, position.batch, str(path)),)

    def _is_due(self, event: Event, place: RunFolder) -> bool:
        if isinstance(event, Started):  # a full disk shows now, not after an hour
            return not place.has_checkpoint
        between_steps = isinstance(event, Stepped | EpochEnded)
        return between_steps and time.monotonic() - self._last >= self.seconds


def is_finite(state: Checkpoint) -> bool:
    """Whether the weights in a checkpoint are all finite.

    >>> is_finite(Checkpoint({"net/bias": torch.tensor([float("nan")])}, {}))
    False
    """
    return all(
        bool(torch.isfinite(tensor).all())
        for tensor in state.part("net").values()
        if tensor.is_floating_point()
    )


@dataclass
class Stop:
    """Whether somebody asked training to stop."""

    wanted: bool = False


@contextlib.contextmanager
def deferred_signals() -> Iterator[Stop]:
    """Inside, Ctrl-C and SIGTERM only set a flag; a second Ctrl-C stops at once.

    Stopping in the middle of a step would leave weights of which some have taken it
    and some have not. Outside the main thread, where Python has no signals, nothing
    changes.

    >>> with deferred_signals() as stop:
    ...     stop.wanted
    False
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        if stop.wanted and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.wanted = True

    before = {n: signal.signal(n, ask) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
