"""Listeners that hand each epoch to TensorBoard or MLflow, by their own libraries."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from convscope.errors import MissingExtraError
from convscope.train.events import EpochEnded, Event, Finished
from convscope.train.recipe import Recipe

_SCALARS = (
    "train_loss",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "images_per_second",
)


def scalars(event: EpochEnded) -> dict[str, float]:
    """What is tracked of one epoch; what was not measured is left out."""
    values = asdict(event)
    return {name: values[name] for name in _SCALARS if values[name] is not None}


class TensorBoard:
    """Writes event files for ``tensorboard --logdir``.

    Args:
        folder: Where the event files go.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtraError("tensorboard", "tracking") from None
        self._writer: Any = SummaryWriter(str(folder))

    def __call__(self, event: Event) -> None:
        """Writes the scalars of an epoch."""
        match event:
            case EpochEnded():
                for name, value in scalars(event).items():
                    self._writer.add_scalar(name, value, event.epoch)
            case Finished():
                self._writer.close()


class MLflow:
    """Logs to MLflow: to ``MLFLOW_TRACKING_URI`` if set, else where MLflow decides.

    Args:
        name: Name of the MLflow run.
        recipe: Logged as the run's parameters.

    Raises:
        MissingExtraError: mlflow is not installed.
    """

    def __init__(self, name: str, recipe: Recipe) -> None:
        try:
            import mlflow
        except ImportError:
            raise MissingExtraError("mlflow", "tracking") from None
        self._mlflow = mlflow
        self._run = mlflow.start_run(run_name=name)
        values = recipe.model_dump(exclude={"augmentation"})
        mlflow.log_params({**values, **recipe.augmentation.model_dump()})

    def __call__(self, event: Event) -> None:
        """Logs the metrics of an epoch."""
        match event:
            case EpochEnded():
                self._mlflow.log_metrics(
                    scalars(event), step=event.epoch, run_id=self._run.info.run_id
                )
            case Finished():
                self._mlflow.end_run()
