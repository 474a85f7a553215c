"""A film of filters and maps through the epochs of a training."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from PIL import Image

from convscope.analysis import FeatureMaps, Filters
from convscope.errors import ArgumentError, UnknownNameError
from convscope.train.film import EpochLook, TrainingFilm
from convscope.viz.film import Film, Frame
from convscope.viz.filters import filters
from convscope.viz.maps import feature_maps
from convscope.viz.palette import ThemeName, theme_named
from convscope.viz.picture import Picture, require_record

MOST = 40  # frames


def training_film(
    found: TrainingFilm,
    layer: str | None = None,
    *,
    name: str = "",
    seconds: float = 0.6,
) -> Film[TrainingFilm]:
    """A film of a layer's filters, and of the maps of one picture, epoch by epoch.

    All frames have one scale for the filters, and one for each layer's maps, so that
    what grows is seen to grow.

    Args:
        found: From ``Run.film``.
        layer: Whose filters; by default the first convolution's.
        name: Of the run.
        seconds: Between two frames.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: The film is empty.
        UnknownNameError: Filters of that layer were not kept; names those that were.
    """
    require_record(found, TrainingFilm, "training_film", "cs.Run.film")
    if not found.looks:
        raise ArgumentError("training_film: found holds no epoch. Train with film.")
    looks = _some(found.looks)
    paths = [each.path for each in looks[0].filters]
    if layer is not None and layer not in paths:
        raise UnknownNameError("layer in the film", layer, paths)
    chosen = 0 if layer is None else paths.index(layer)
    end = max((f.largest for look in looks for f in look.filters[chosen : chosen + 1]),
              default=0.0)  # fmt: skip
    ranges = _ranges(looks)
    frames = [
        _frame(look, chosen, end, ranges, name, looks[-1].epoch) for look in looks
    ]
    return Film(frames, found, name=f"{name or 'a network'} learns", seconds=seconds)


def _some(looks: Sequence[EpochLook]) -> list[EpochLook]:
    if len(looks) <= MOST:
        return list(looks)
    places = np.linspace(0, len(looks) - 1, MOST).round().astype(int)
    return [looks[place] for place in places]


def _ranges(looks: Sequence[EpochLook]) -> dict[str, tuple[float, float]]:
    """Least and largest value of each layer's maps in all epochs."""
    found: dict[str, tuple[float, float]] = {}
    for look in looks:
        for each in look.maps.layers if look.maps is not None else ():
            low, high = found.get(each.label, (each.smallest, each.largest))
            found[each.label] = min(low, each.smallest), max(high, each.largest)
    return found


def _frame(
    look: EpochLook,
    chosen: int,
    end: float,
    ranges: dict[str, tuple[float, float]],
    name: str,
    last: int,
) -> Frame:
    when = "before training" if look.epoch == 0 else f"after epoch {look.epoch}"
    pictures: list[Picture[Any]] = []
    if look.filters:
        # Of one width, so that titles take as many lines in each frame.
        said = f"epoch {look.epoch:>{len(str(last))}}"
        record: Filters = replace(look.filters[chosen], network=said)
        pictures.append(filters(record, limit=end or 1.0))
    if look.maps is not None:
        layers = tuple(
            replace(each, smallest=ranges[each.label][0], largest=ranges[each.label][1])
            for each in look.maps.layers
        )
        maps: FeatureMaps = replace(look.maps, layers=layers, network=name or "network")
        pictures.append(feature_maps(maps))
    if not pictures:
        raise ArgumentError(
            "training_film: this network has neither filters nor maps. There is "
            "nothing to draw."
        )
    return Frame(when, _Stacked(tuple(pictures)))


@dataclass(frozen=True)
class _Stacked:
    """Pictures one below the other."""

    pictures: tuple[Picture[Any], ...]

    def themed(self, theme: ThemeName) -> Self:
        """The same in a theme."""
        return type(self)(tuple(each.themed(theme) for each in self.pictures))

    def png(self) -> bytes:
        """As PNG."""
        files = [io.BytesIO(each.png()) for each in self.pictures]
        parts = [Image.open(file).convert("RGB") for file in files]
        size = max(part.width for part in parts), sum(part.height for part in parts)
        whole = Image.new("RGB", size, theme_named(self.pictures[0].theme).paper)
        top = 0
        for part in parts:
            whole.paste(part, ((size[0] - part.width) // 2, top))
            top += part.height
        made = io.BytesIO()
        whole.save(made, "PNG", optimize=True)
        return made.getvalue()

    def svg(self) -> str:
        """Of the first."""
        return self.pictures[0].svg()
