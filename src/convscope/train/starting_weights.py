"""Weights of others that training begins with, and when they are worth it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from convscope import models
from convscope.data import Dataset, load
from convscope.data.preprocessing import Preprocessing
from convscope.data.progress import Progress
from convscope.data.resizing import converted
from convscope.errors import ArgumentError, DataError, Remedy
from convscope.models import LoadedWeights, load_weights, read_weights
from convscope.models.efficientnet_lite import ORIGIN
from convscope.models.published_weights import PRETRAINED
from convscope.models.weight_misfits import best_model
from convscope.train.run_folder import WEIGHTS, RunFolder, is_run

MODEL = "efficientnet_lite0"  # what begins from weights when nobody names a model
# What torchvision and timm scale inputs by, for files of the other models.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Start:
    """Weights that a training may begin with.

    Attributes:
        name: What they were asked for by; the recipe keeps it.
        model: The model that they are of.
        options: Of the model.
        path: The file.
        size: Height and width of the images that they were trained on, in pixels.
        mean: Per channel, on the scale 0 to 1.
        std: Per channel, on the scale 0 to 1.
        interpolation: Resampling filter.
        source: What a person calls them: "ImageNet weights", "weights of runs/a".
    """

    name: str
    model: str
    options: dict[str, int | float | str]
    path: Path
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    source: str

    def preprocessing(self, channels: int, size: int | None) -> Preprocessing:
        """How pictures become inputs for these weights.

        Args:
            channels: 1 or 3; gray takes the mean over colors.
            size: Height and width in pixels, if not those of the weights' training.
        """
        mean, std = self.mean, self.std
        if channels == 1 and len(mean) == 3:
            mean, std = (sum(mean) / 3,), (sum(std) / 3,)
        elif channels == 3 and len(mean) == 1:
            mean, std = 3 * mean, 3 * std
        return Preprocessing.model_validate(
            {
                "channels": channels,
                "size": self.size if size is None else (size, size),
                "interpolation": self.interpolation,
                "mean": mean,
                "std": std,
            }
        )


def find_start(
    start: str, model: str | None, options: Mapping[str, Any] | None = None
) -> Start:
    """What ``start`` names: published weights, a weights file, or a run folder.

    Args:
        start: ``"imagenet"``, a path to a file, or a run folder.
        model: The model that is asked for, if one is.
        options: Of the model, if any are asked for.

    Raises:
        UnknownNameError: The model has no weights of that name; names the nearest.
        DataError: The package that carries them is not installed, or the file is not
            there or cannot be read.
        ArgumentError: A file without a model, or a run of another model.

    >>> find_start("weights.pth", None)
    Traceback (most recent call last):
    convscope.errors.DataError: start='weights.pth' is not there. Give a weights file, \
a run folder, or the name of published weights, imagenet.
    """
    names = {each.name for each in PRETRAINED.values()}
    place = Path(start)
    if start not in names and place.is_dir():
        return _of_run(place, model)
    if start not in names and (
        place.suffix or place.exists() or place.name != start  # a path
    ):
        if model is None:
            _require_there(place)
            best = best_model(read_weights(place))
            fits = f" Its names are those of {best}." if best else ""
            raise ArgumentError(
                f"start={start!r} is a file, which does not say what network it is "
                f"for.{fits}",
                remedies=[Remedy("name the model too", "model", best or None)],
            )
        return _of_file(place, model, options or {})
    name = model or MODEL
    known = models.pretrained(name, start)
    return Start(
        start, name, {}, known.path(), (known.size, known.size), known.mean, known.std,
        known.interpolation, "ImageNet weights",
    )  # fmt: skip


def _of_file(path: Path, model: str, options: Mapping[str, Any]) -> Start:
    _require_there(path)
    card = models.find(model)
    known = PRETRAINED.get(model)
    height, width = card.input_shape[1:]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    if known is not None and options.get("origin", ORIGIN) == ORIGIN:
        mean, std = known.mean, known.std
    filter_ = "bilinear" if known is None else known.interpolation
    return Start(
        str(path), model, {}, path, (height, width), mean, std, filter_,
        f"weights of {path.name}",
    )  # fmt: skip


def _require_there(path: Path) -> None:
    if not path.exists():
        raise DataError(
            f"start={str(path)!r} is not there. Give a weights file, a run folder, or "
            "the name of published weights, imagenet."
        )


def _of_run(place: Path, model: str | None) -> Start:
    run = RunFolder.open(place)
    spec = run.spec
    if spec.model.name is None or model not in (None, spec.model.name):
        raise ArgumentError(
            f"start={str(place)!r} is a run of "
            f"{spec.model.name or 'a network of its own'}, not of "
            f"{model or 'one of our models'}. Leave the model out, or begin with a run "
            "of the same model."
        )
    own = spec.preprocessing
    return Start(
        str(place), spec.model.name, dict(spec.model.options), run.path / WEIGHTS,
        own.size, own.mean, own.std, own.interpolation, f"weights of {place}",
    )  # fmt: skip


def begin_with(net: nn.Module, start: Start) -> LoadedWeights:
    """Copies the weights into ``net``; its last layer is fitted anew by training.

    Raises:
        DataError: The file cannot be read, or its numbers are not finite.
        ArgumentError: It is for another network; names the model that it fits.
        ShapeError: A tensor has another shape.
    """
    loaded = load_weights(net, start.path)
    own = start.path.name == WEIGHTS and is_run(start.path.parent)
    # Of a run it is known what network it has: there is nothing to be in doubt of.
    return replace(loaded, classes=None, notes=() if own else loaded.notes)


def loaded_for(
    start: Start,
    data: Dataset,
    *,
    size: int | None,
    wanted: Mapping[str, Any],
    progress: Progress | None = None,
) -> Dataset:
    """The data as these weights take them, read again from where they lie.

    Args:
        start: The weights.
        data: The data as they were loaded.
        size: Height and width in pixels, if they are asked for.
        wanted: What ``data.load`` was asked for besides.
        progress: As ``data.load`` takes it.
    """
    declared = start.preprocessing(data.preprocessing.channels, size)
    if data.source:
        options: dict[str, Any] = {k: v for k, v in wanted.items() if k != "size"}
        again = load(data.source, preprocessing=declared, progress=progress, **options)
        return again.replace(preprocessing=declared)
    train, val, test = (
        converted(part, declared, data.name, progress) for part in data.parts.values()
    )
    return data.replace(train=train, val=val, test=test, preprocessing=declared)
