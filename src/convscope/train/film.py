"""What a film through training is made of: filters and maps, epoch by epoch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from convscope.analysis import FeatureMaps, Filters, LayerMaps
from convscope.errors import CheckpointError, Remedy, RunError
from convscope.train.checkpoint import read_tensors, write_tensors
from convscope.train.run_folder import FILM


@dataclass(frozen=True, eq=False)
class EpochLook:
    """How a network looked after an epoch.

    Attributes:
        epoch: Epochs done; 0 before training.
        filters: Of some layers, the first among them.
        maps: What layers gave for one picture; None for a network without maps.
    """

    epoch: int
    filters: tuple[Filters, ...]
    maps: FeatureMaps | None


@dataclass(frozen=True, eq=False)
class TrainingFilm:
    """A network's filters and maps through its training.

    Attributes:
        looks: In the order of the epochs.
    """

    looks: tuple[EpochLook, ...]

    @property
    def epochs(self) -> tuple[int, ...]:
        """Epochs done at each look."""
        return tuple(look.epoch for look in self.looks)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON."""
        return {
            "epochs": list(self.epochs),
            "looks": [
                {
                    "epoch": look.epoch,
                    "filters": [each.to_dict() for each in look.filters],
                    "maps": look.maps and look.maps.to_dict(),
                }
                for look in self.looks
            ],
        }


def write_film(folder: Path, film: TrainingFilm) -> Path:
    """Writes a film into a run folder: half the digits, every value below 0.1 % off.

    Raises:
        WriteError: It cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    told: list[dict[str, Any]] = []
    for place, look in enumerate(film.looks):
        told.append(
            {
                "epoch": look.epoch,
                "filters": [
                    _put(tensors, f"{place}/filters/{number}", vars(each))
                    for number, each in enumerate(look.filters)
                ],
                "maps": None if look.maps is None else _put_maps(
                    tensors, f"{place}/maps", look.maps
                ),
            }
        )  # fmt: skip
    path = folder / FILM
    write_tensors(path, tensors, {"looks": told})
    return path


def read_film(folder: Path) -> TrainingFilm:
    """The film of a run.

    Raises:
        RunError: The run has none, or it cannot be read.
    """
    path = folder / FILM
    if not path.exists():
        raise RunError(
            f"run {folder} has no film: its training kept none.",
            remedies=[Remedy("train again and keep one", "film", True)],
        )
    try:
        found = read_tensors(path)
        return TrainingFilm(
            tuple(_look(each, found.tensors) for each in found.values["looks"])
        )
    except CheckpointError as error:
        raise RunError(error.what, remedies=error.remedies) from error
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RunError(f"{path} is no film of a run: {error!r}.") from error


def _put(
    tensors: dict[str, Tensor], key: str, values: Mapping[str, Any]
) -> dict[str, Any]:
    """What is no array; arrays go among the tensors."""
    told: dict[str, Any] = {"key": key}
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            tensors[f"{key}/{name}"] = _half(value)
        elif name != "layers":
            told[name] = list(value) if isinstance(value, tuple) else value
    return told


def _put_maps(
    tensors: dict[str, Tensor], key: str, maps: FeatureMaps
) -> dict[str, Any]:
    told = _put(tensors, key, vars(maps))
    told["layers"] = [
        _put(tensors, f"{key}/{number}", vars(layer))
        for number, layer in enumerate(maps.layers)
    ]
    return told


def _half(values: npt.NDArray[Any]) -> Tensor:
    found = torch.from_numpy(np.ascontiguousarray(values))
    return found if found.dtype == torch.bool else found.to(torch.float16)


def _taken(told: dict[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The values of a record, arrays among them."""
    key = told.pop("key")
    start = re.compile(rf"{re.escape(key)}/([a-z]+)$")
    for name, tensor in tensors.items():
        if match := start.match(name):
            kind = np.bool_ if tensor.dtype == torch.bool else np.float32
            told[match.group(1)] = tensor.float().numpy().astype(kind)
    return {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}


def _look(told: dict[str, Any], tensors: Mapping[str, Tensor]) -> EpochLook:
    filters = tuple(Filters(**_taken(each, tensors)) for each in told["filters"])
    maps = None
    if told["maps"] is not None:
        layers = tuple(
            LayerMaps(**_taken(each, tensors)) for each in told["maps"].pop("layers")
        )
        maps = FeatureMaps(**{**_taken(told["maps"], tensors), "layers": layers})
    return EpochLook(int(told["epoch"]), filters, maps)


def size_bytes(look: EpochLook) -> int:
    """What a look takes in the file, about."""
    arrays = [each.weight for each in look.filters]
    if look.maps is not None:
        arrays += [look.maps.input, *(layer.values for layer in look.maps.layers)]
        if look.maps.picture is not None:
            arrays.append(look.maps.picture.astype(np.float32))
    return sum(2 * array.size for array in arrays) + 2000
