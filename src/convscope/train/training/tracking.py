"""Listeners that hand each epoch to TensorBoard or MLflow, by their own libraries."""

import abc
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

from convscope.errors import MissingExtraError, TrainingError
from convscope.train.recipe import Recipe
from convscope.train.training.events import (
    EpochEnded,
    Event,
    Finished,
    FoldJudged,
    FoldStarted,
    Started,
    Stopped,
)

_SCALARS = (
    "train_loss",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "images_per_second",
)


def scalars(event: EpochEnded) -> dict[str, float]:
    """What is tracked of one epoch; what was not measured is left out.

    >>> sorted(scalars(EpochEnded(1, 9, 0.5, None, None, 0.1, 100.0, 2.0, 0.0)))
    ['images_per_second', 'learning_rate', 'train_loss']
    """
    values = asdict(event)
    return {name: values[name] for name in _SCALARS if values[name] is not None}


class _Tracker(abc.ABC):
    """A listener whose failure is a warning: a lost log must not cost a training.

    Of a cross-validation it tracks the network that is kept.
    """

    _has_failed = False
    _is_in_fold = False

    def __call__(self, event: Event) -> None:
        """Hands the event on."""
        if isinstance(event, FoldStarted | FoldJudged):
            self._is_in_fold = isinstance(event, FoldStarted)
        if self._has_failed or self._is_in_fold:
            return
        try:
            self._take(event)
        except Exception as error:  # whatever a library, a disk or a network raises
            self._has_failed = True
            warnings.warn(
                f"{type(self).__name__} failed ({error}); training goes on without it",
                RuntimeWarning,
                stacklevel=2,
            )

    @abc.abstractmethod
    def _take(self, event: Event) -> None:
        """Logs what the event says."""


class TensorBoard(_Tracker):
    """Writes event files for ``tensorboard --logdir``.

    Args:
        folder: Where the event files go; made when training starts.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtraError("tensorboard", "tracking") from None
        self._open: Any = SummaryWriter
        self._writer: Any = None
        self._folder = str(folder)

    def _take(self, event: Event) -> None:
        match event:
            case Started():  # what a killed process wrote of this epoch is dropped
                self._writer = self._open(self._folder, purge_step=event.epoch)
            case EpochEnded():
                for name, value in scalars(event).items():
                    self._writer.add_scalar(name, value, event.epoch)
                self._writer.flush()
            case Finished() | Stopped() if self._writer is not None:
                self._writer.close()


class MLflow(_Tracker):
    """Logs to MLflow: to ``MLFLOW_TRACKING_URI`` if set, else where MLflow decides.

    Args:
        name: Name of the MLflow run.
        recipe: Logged as the run's parameters.

    Raises:
        MissingExtraError: mlflow is not installed.
        TrainingError: It cannot log to that place.
    """

    def __init__(self, name: str, recipe: Recipe) -> None:
        try:
            import mlflow
        except ImportError:
            raise MissingExtraError("mlflow", "tracking") from None
        try:
            mlflow.MlflowClient()
        except mlflow.MlflowException as error:
            place, reason = mlflow.get_tracking_uri(), str(error).strip().split(". ")[0]
            raise TrainingError(
                f"MLflow cannot log to {place}: {reason}. Set MLFLOW_TRACKING_URI to "
                "a server, or install all of mlflow to log to a file."
            ) from None
        self._mlflow: Any = mlflow
        self._name, self._recipe = name, recipe
        self._run_id: str | None = None

    def _take(self, event: Event) -> None:
        match event:
            case Started():
                self._start()
            case EpochEnded():
                self._mlflow.log_metrics(
                    scalars(event), step=event.epoch, run_id=self._run_id
                )
            case Finished():
                self._end("FINISHED")
            case Stopped():
                self._end("KILLED" if event.interrupted else "FAILED")

    def _start(self) -> None:
        self._run_id = self._mlflow.start_run(run_name=self._name).info.run_id
        values = self._recipe.model_dump(exclude={"augmentation"})
        values |= self._recipe.augmentation.model_dump()
        self._mlflow.log_params(values)

    def _end(self, status: str) -> None:
        if self._run_id is not None:
            self._run_id = None
            self._mlflow.end_run(status)
