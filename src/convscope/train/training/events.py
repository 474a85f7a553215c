"""What training says while it works; progress bars and logs listen."""

import abc
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from convscope.data import Dataset


@dataclass(frozen=True)
class Started:
    """Training begins, or goes on."""

    train_images: int
    val_images: int
    parameters: int
    steps_per_epoch: int
    epochs: int | None  # None with a time budget
    minutes: float | None
    setting: str  # "cpu, float32"
    epoch: int  # the epoch that begins, from 1
    batch: int  # batches of it that are done already


@dataclass(frozen=True)
class Stepped:
    """One step of the optimizer is done."""

    epoch: int  # from 1
    batch: int  # batches of this epoch done
    step: int  # steps done since the beginning
    loss: float  # mean of this epoch so far
    learning_rate: float
    progress: float  # of the whole training, 0 to 1
    images_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class EpochEnded:
    """One pass over the training images is done; one row of ``metrics.jsonl``."""

    epoch: int  # from 1
    step: int
    train_loss: float
    val_loss: float | None  # None without validation images
    val_accuracy: float | None
    learning_rate: float
    images_per_second: float
    seconds: float  # since the beginning, pauses between resumed runs left out
    seconds_left: float


@dataclass(frozen=True)
class FoldStarted:
    """A fold is left out, and the others are trained on."""

    repeat: int  # from 1
    repeats: int
    fold: int  # from 1
    folds: int
    train_images: int
    left_out: int  # images


@dataclass(frozen=True)
class FoldJudged:
    """The images of a fold are judged by a network that has not seen them."""

    repeat: int
    repeats: int
    fold: int
    folds: int
    correct: int
    images: int
    seconds: float  # for this fold
    seconds_left: float  # for the other folds and the final network


@dataclass(frozen=True)
class FinalStarted:
    """All folds are judged; what follows is the network that the run keeps.

    >>> FinalStarted(200).train_images
    200
    """

    train_images: int


@dataclass(frozen=True)
class Saved:
    """A checkpoint is on disk."""

    epoch: int
    batch: int
    path: str


@dataclass(frozen=True)
class Warned:
    """Something a person should know; training goes on.

    >>> Warned("the disk is nearly full").text
    'the disk is nearly full'
    """

    text: str


@dataclass(frozen=True)
class Finished:
    """Training is over.

    >>> Finished("all 2 epochs are done", 2, 40, 1.5, None).steps
    40
    """

    reason: str  # "all 20 epochs done"
    epochs: int
    steps: int
    seconds: float
    chosen_epoch: int | None  # whose weights were kept, if not the last one's


@dataclass(frozen=True)
class Stopped:
    """Training ended before it was through."""

    reason: str  # "interrupted", or what went wrong
    interrupted: bool  # by Ctrl-C or SIGTERM, not by an error


Event = (
    Started
    | Stepped
    | EpochEnded
    | FoldStarted
    | FoldJudged
    | FinalStarted
    | Saved
    | Warned
    | Finished
    | Stopped
)
Listener = Callable[[Event], None]


class NetworkListener(abc.ABC):
    """A listener that looks at the network itself, which it must leave as it is."""

    @abc.abstractmethod
    def watch(self, net: nn.Module, data: Dataset) -> None:
        """Is told, before any event, what is trained on what."""

    @abc.abstractmethod
    def __call__(self, event: Event) -> None:
        """Hears an event."""
