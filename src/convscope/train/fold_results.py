"""What cross-validation found: predictions for images that a network has not seen.

One file for each fold, so that what is done is not done again.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convscope.errors import CheckpointError, Remedy, RunError, WriteError
from convscope.train.checkpoint import Checkpoint, read_tensors, write_tensors

FOLDS = "folds"  # the folder within a run's
TEST = "test"
_NAME = re.compile(rf"{FOLDS}/(?:[1-9]\d*-[1-9]\d*|{TEST})\.safetensors")
_TRAIN_AGAIN = Remedy("train again", "force", True)


@dataclass(frozen=True)
class FoldResult:
    """What one network said of the images that were left out of its training.

    Attributes:
        repeat: From 1; 0 for the test part, which the final network judges.
        fold: From 1; 0 likewise.
        trained_on: Images that the network was trained on.
        seconds: That training and judging took.
        names: Of the images that were left out.
        labels: (n,) int64, their classes.
        probabilities: (n, K) float32, what the network said.

    >>> p = torch.tensor([[0.9, 0.1], [0.8, 0.2]])
    >>> FoldResult(1, 1, 8, 0.5, ("a", "b"), torch.tensor([0, 1]), p).correct
    1
    """

    repeat: int
    fold: int
    trained_on: int
    seconds: float
    names: tuple[str, ...]
    labels: Tensor
    probabilities: Tensor

    @property
    def correct(self) -> int:
        """Images whose most probable class is the true one."""
        return int((self.probabilities.argmax(1) == self.labels).sum())

    @property
    def file(self) -> str:
        """Its name within the run folder."""
        own = f"{self.repeat}-{self.fold}" if self.fold else TEST
        return f"{FOLDS}/{own}.safetensors"


def is_result(name: str) -> bool:
    """Whether a run may hold a file of that name.

    >>> is_result("folds/1-3.safetensors"), is_result("folds/../1-3.safetensors")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None


def write_result(run: Path, result: FoldResult) -> None:
    """Keeps one result in a run folder."""
    path = run / result.file
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise WriteError(
            f"cannot write in {run}: {error.strerror or error}."
        ) from error
    values = {
        "repeat": result.repeat,
        "fold": result.fold,
        "trained_on": result.trained_on,
        "seconds": result.seconds,
        "names": list(result.names),
    }
    tensors = {"labels": result.labels, "probabilities": result.probabilities}
    write_tensors(path, tensors, values)


def read_results(run: Path, num_classes: int) -> list[FoldResult]:
    """All results in a run folder, in order; first that of the test part, if any.

    Raises:
        RunError: One cannot be read, or holds something else.
    """
    found = []
    for path in (run / FOLDS).glob("*.safetensors"):
        if not is_result(f"{FOLDS}/{path.name}"):
            continue
        try:
            result = _of_file(read_tensors(path), num_classes)
        except CheckpointError as error:
            raise RunError(error.what, remedies=[_TRAIN_AGAIN]) from error
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{path} is no result of a fold: {error}.", remedies=[_TRAIN_AGAIN]
            ) from error
        if path.name != Path(result.file).name:
            raise RunError(
                f"{path} holds the result of {result.file}.", remedies=[_TRAIN_AGAIN]
            )
        found.append(result)
    return sorted(found, key=lambda each: (each.repeat, each.fold))


def _of_file(state: Checkpoint, num_classes: int) -> FoldResult:
    """The result in a file that anybody may have written."""
    values: dict[str, Any] = state.values
    labels, probabilities = state.tensors["labels"], state.tensors["probabilities"]
    names = values["names"]
    repeat, fold, trained_on = whole = [
        values[name] for name in ("repeat", "fold", "trained_on")
    ]
    seconds = values["seconds"]
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise ValueError("its names are no list of texts")
    if not all(type(number) is int and number >= 0 for number in whole):
        raise ValueError("a number in it is no count")
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        raise ValueError("its seconds are no number")
    if labels.dtype != torch.int64 or labels.shape != (len(names),) or not names:
        raise ValueError("it has not one label for each name")
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise ValueError("a label is not one of the classes")
    wanted = (len(names), num_classes)
    if probabilities.dtype != torch.float32 or probabilities.shape != wanted:
        raise ValueError("its probabilities do not fit its labels and classes")
    sums = probabilities.sum(1)
    if not bool(((probabilities >= 0).all(1) & ((sums - 1).abs() < 1e-3)).all()):
        raise ValueError("its rows are no probabilities")
    return FoldResult(
        repeat, fold, trained_on, float(seconds), tuple(names), labels, probabilities
    )


def require_complete(
    results: Sequence[FoldResult], folds: int, repeats: int, run: str | Path
) -> None:
    """Refuses a run that has not one result for each fold of each repeat.

    Raises:
        RunError: Says how many there are, and how many should be.
    """
    there = {(each.repeat, each.fold) for each in results if each.fold}
    wanted = (range(1, repeats + 1), range(1, folds + 1))
    fitting = [r in wanted[0] and f in wanted[1] for r, f in there]
    if not all(fitting) or len(fitting) != folds * repeats:
        raise RunError(
            f"run {run} has results of {sum(fitting)} of {folds * repeats} folds.",
            remedies=[Remedy("put the originals back"), _TRAIN_AGAIN],
        )
