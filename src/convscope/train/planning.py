"""``plan``: what a training will do, decided before anything is trained, and why."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from convscope import models
from convscope.data import Dataset, load
from convscope.data.batching.augmentation import Augmentation
from convscope.data.progress import Progress
from convscope.data.resizing import resized
from convscope.errors import ArgumentError, UnknownNameError
from convscope.execution import choose_device
from convscope.models import BuiltFrom, LoadedWeights
from convscope.train import recipes
from convscope.train.choosing.augmentation_choice import with_measured_augmentation
from convscope.train.choosing.start_choice import StartChoice, choose_start
from convscope.train.recipe import Recipe
from convscope.train.starting_weights import (
    Start,
    begin_with,
    find_start,
    loaded_for,
)


@dataclass(frozen=True)
class Plan:
    """What will be trained, on what and how.

    Attributes:
        data: At the size that the network takes.
        recipe: With the model's name and options, and every change that was asked for.
        model: The model's name, or the class of a network that the user built.
        options: Of the model.
        start: The weights that training begins with, if they are not random.
        why: The model in words, with the reason if it was chosen: ``"lenet5, because
            28 x 28 gray images are what it was made for"``.
        notes: Sentences a person should read, such as that images were enlarged.
        net: The network, if the user built it.
        unmeasured: The random changes before it was measured which of them the images
            bear; None where nothing was measured.

    >>> made = plan("digits", epochs=2)
    >>> made.why
    'resnet9 width=12'
    >>> type(made.network()).__name__
    'Sequential'
    """

    data: Dataset
    recipe: Recipe
    model: str
    options: Mapping[str, Any]
    why: str
    notes: tuple[str, ...] = ()
    net: nn.Module | None = None
    start: Start | None = None
    unmeasured: Augmentation | None = None

    def network(self, tell: Callable[[LoadedWeights], None] | None = None) -> nn.Module:
        """The network to train: the user's, or a new one with the recipe's seed.

        It has the weights that the recipe starts from, if there are any.

        Args:
            tell: Hears what was loaded from them, and what was not.
        """
        if self.net is not None and self.start is None:
            return self.net
        net = self.net
        if net is None:
            net = new_network(self.model, self.data, self.recipe.seed, self.options)
        if self.start is not None:
            loaded = begin_with(net, self.start)
            if tell is not None:
                tell(loaded)
        return net


def plan(
    data: Dataset | str | Path | tuple[Any, Any],
    model: str | nn.Module | None = None,
    recipe: Recipe | str | Path | None = None,
    *,
    model_options: Mapping[str, Any] | None = None,
    size: int | None = None,
    validation: float | None = None,
    test: float | None = None,
    strict: bool = False,
    layout: Literal["auto", "classes"] = "auto",
    progress: Progress | None = None,
    **changes: Any,
) -> Plan:
    """Decides what ``fit`` and ``convscope train`` do; nothing is trained.

    Names, options and values are refused before data are read or downloaded.

    Args:
        data: A data set, what ``data.load`` takes, or a pair (images, labels) as
            ``data.from_arrays`` takes it.
        model: A name, or a network; by default the recipe's, else what suits the
            images.
        recipe: A recipe, the name of one, or a TOML file; by default what suits the
            data and the model.
        model_options: Such as ``{"width": 16}``; added to the recipe's for this model.
        size: Height and width in pixels; by default that of the images, enlarged if
            the model takes no such small ones.
        validation: As ``data.load`` takes it.
        test: As ``data.load`` takes it.
        strict: As ``data.load`` takes it.
        layout: As ``data.load`` takes it.
        progress: Called with steps done, steps in all, and what is being done.
        changes: Fields of the recipe to change: ``epochs=3``.

    Raises:
        UnknownNameError: No data, model, option, recipe or field has that name; names
            the nearest.
        ArgumentError: A value is not allowed, or how to load is said of data that
            are loaded already.

    >>> made = plan("digits", "mlp", epochs=3)
    >>> made.model, made.recipe.epochs, made.data.input_shape
    ('mlp', 3, (1, 8, 8))
    >>> plan("digits", "lenet5").notes[0][:38]
    '8 x 8 images are enlarged to 32 x 32: '
    """
    named = recipes.read(recipe) if isinstance(recipe, str | Path) else recipe
    given = dict(model_options or {})
    refuse_unknown(model, named, given, changes)
    loading: dict[str, Any] = {"size": size, "validation": validation, "test": test}
    wanted = {key: value for key, value in loading.items() if value is not None}
    if strict:
        wanted["strict"] = True
    if layout != "auto":
        wanted["layout"] = layout
    data, wanted = _taken(data, wanted)
    loaded = _loaded(data, wanted, progress)
    if isinstance(model, nn.Module):
        return _for_network(model, loaded, named, changes)
    begun = choose_start(
        loaded, model, named, changes, size=size, options=given, progress=progress
    )
    if begun.start is not None:
        data = loaded_for(
            begun.start, loaded, size=begun.size, wanted=wanted, progress=progress
        )
        return _from_weights(begun, begun.start, data, loaded, named, given, changes)
    if isinstance(data, Dataset) and size is not None:
        loaded = resized(loaded, (size, size), progress)
    chosen = named or recipes.suited(loaded, model)
    name, options, why = _chosen(model, chosen, loaded, given)
    notes: tuple[str, ...] = ()
    if size is None:
        before = loaded.input_shape
        loaded = _large_enough(name, data, loaded, wanted, progress)
        if loaded.input_shape != before:
            notes = (_enlarged(name, before, loaded.input_shape),)
    unmeasured = None
    if named is None:
        chosen, loaded, unmeasured = _measured(chosen, loaded, changes)
    loaded = _noted(loaded, begun.note)
    chosen = chosen.with_changes({"model": name, "model_options": options, **changes})
    return Plan(loaded, chosen, name, options, why, notes, unmeasured=unmeasured)


def _from_weights(
    begun: StartChoice,
    start: Start,
    data: Dataset,
    as_loaded: Dataset,
    recipe: Recipe | None,
    given: Mapping[str, Any],
    changes: Mapping[str, Any],
) -> Plan:
    """The plan of a training that begins with weights."""
    before = as_loaded.input_shape[1:]
    options = {**start.options, **given}
    decided = {"model": start.model, "model_options": options, "start": start.name}
    side, count = min(data.input_shape[1:]), len(data.train)
    chosen = recipe or recipes.from_weights(side, count, changes)
    chosen = chosen.with_changes({**changes, **decided})
    unmeasured = None
    if recipe is None:
        chosen, measured, unmeasured = _measured(chosen, as_loaded, changes)
        found = measured.notes[len(as_loaded.notes) :]  # the rest is of another size
        data = data.replace(notes=(*data.notes, *found))
    now = data.input_shape[1:]
    instead = "" if now == before else f" (not {before[0]} x {before[1]})"
    if data.preprocessing.bits < as_loaded.preprocessing.bits:
        instead += " with 8 bits (not 16)"
    note = (
        f"pictures are read at {now[0]} x {now[1]}{instead}, scaled as for "
        f"{start.source}"
    )
    data = _noted(data, begun.note)
    return Plan(
        data,
        chosen,
        start.model,
        options,
        begun.why,
        (note,),
        start=start,
        unmeasured=unmeasured,
    )


def _noted(data: Dataset, note: str) -> Dataset:
    return data.replace(notes=(*data.notes, note)) if note else data


def refuse_unknown(
    model: str | nn.Module | None,
    recipe: Recipe | None,
    options: Mapping[str, Any],
    changes: Mapping[str, Any],
) -> None:
    """Refuses what can be refused without data.

    Raises:
        UnknownNameError: A name that is not known; names the nearest.
        ArgumentError: A value or a device that cannot be had.
    """
    changed = (recipe or Recipe()).with_changes(dict(changes))
    choose_device(changed.device)
    name = changed.model if model is None else model
    if isinstance(name, nn.Module):
        if options:
            raise ArgumentError(
                f"plan: model_options={dict(options)} are for models by name. "
                "Build the network with them."
            )
        return
    if name is None:
        return
    require_classifier(name)
    own = changed.model_options if name == changed.model else {}
    known = models.options(name)
    for option in (*own, *options):
        if option not in known:
            raise UnknownNameError(f"option of model {name}", option, known)


def require_classifier(name: str) -> None:
    """Refuses a model that gives something else than one class for each image.

    Raises:
        ArgumentError: The model gives classes for each pixel.
        UnknownNameError: There is no such model; names the nearest.

    >>> require_classifier("lenet5")
    """
    if models.find(name).task == "segmentation":
        raise ArgumentError(
            f"train: {name} gives classes for each pixel, and training takes images "
            "with one label each. Take a model whose `convscope models MODEL` says "
            "that it gives classification."
        )


def new_network(
    name: str, data: Dataset, seed: int, options: Mapping[str, Any] | None = None
) -> nn.Module:
    """The model ``name`` for this data, its first weights drawn from ``seed``.

    >>> from convscope.data import load
    >>> sum(p.numel() for p in new_network("mlp", load("digits"), 0).parameters())
    85002
    """
    channels, height, width = data.input_shape
    with own_random_state():
        torch.manual_seed(seed)
        return models.build(
            name,
            num_classes=len(data.classes),
            in_channels=channels,
            input_size=(height, width),
            **(options or {}),
        )


def built_from(net: nn.Module) -> BuiltFrom | None:
    """What ``models.build`` was asked for, if it made ``net``."""
    return getattr(net, "built_from", None)


@contextlib.contextmanager
def own_random_state() -> Iterator[None]:
    """Training seeds torch's generator for itself; the caller's is put back."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield


def _taken(
    data: Any, wanted: dict[str, Any]
) -> tuple[Dataset | str | Path, dict[str, Any]]:
    """What was given, a data set where it was arrays or a loader; what is left to do.

    Raises:
        ArgumentError: It is nothing that training takes.
    """
    if isinstance(data, Dataset | str | Path):
        return data, wanted
    shares = {k: v for k, v in wanted.items() if k in ("validation", "test")}
    rest = {k: v for k, v in wanted.items() if k not in shares}
    return load(data, **shares), rest


def _loaded(
    data: Dataset | str | Path, wanted: dict[str, Any], progress: Progress | None
) -> Dataset:
    if not isinstance(data, Dataset):
        return load(data, **wanted, progress=progress)
    reading = {key: value for key, value in wanted.items() if key != "size"}
    if reading:
        said = ", ".join(f"{key}={value}" for key, value in reading.items())
        raise ArgumentError(
            f"plan: {said}: the data are loaded already. Give that to data.load."
        )
    return data


def _chosen(
    model: str | None, recipe: Recipe, data: Dataset, given: dict[str, Any]
) -> tuple[str, dict[str, Any], str]:
    """The model asked for, else the recipe's, else what suits: name, options, why."""
    if model is None and recipe.model is None:
        choice = models.choose(data.input_shape)
        return choice.name, {**choice.options, **given}, choice.why
    name = model or str(recipe.model)
    options = {**(recipe.model_options if name == recipe.model else {}), **given}
    shown = "".join(f" {key}={value}" for key, value in options.items())
    return name, options, f"{name}{shown}"


def _large_enough(
    name: str,
    source: Dataset | str | Path,
    data: Dataset,
    wanted: dict[str, Any],
    progress: Progress | None,
) -> Dataset:
    """The data, enlarged to what the model is made for if it takes none so small."""
    card = models.find(name)
    if min(data.input_shape[1:]) >= card.min_size:
        return data
    size = card.size_for_small
    if not isinstance(source, str | Path):
        return resized(data, (size, size), progress)
    return load(source, **wanted, size=size, progress=progress)


def _enlarged(name: str, before: tuple[int, ...], after: tuple[int, ...]) -> str:
    least = models.find(name).min_size
    return (
        f"{before[1]} x {before[2]} images are enlarged to {after[1]} x {after[2]}: "
        f"{name} takes no less than {least} x {least}"
    )


def _measured(
    recipe: Recipe, data: Dataset, changes: Mapping[str, Any]
) -> tuple[Recipe, Dataset, Augmentation | None]:
    """The recipe with the augmentation that the images bear; the data, which say why.

    Nothing is measured where it is known or said whether images are mirrored, or where
    images are not changed at all. Else the augmentation before that is given, too.
    """
    said = {"flip", "alternate", "augmentation"} & {*changes}
    asked = recipe.with_changes(dict(changes))
    if said or data.source in recipes.RECIPES or asked.head_only:
        return recipe, data, None
    chosen, why = with_measured_augmentation(data, asked)
    return chosen, data.replace(notes=(*data.notes, why)), asked.augmentation


def _for_network(
    net: nn.Module, data: Dataset, recipe: Recipe | None, changes: dict[str, Any]
) -> Plan:
    """The plan for a network that is there already."""
    built = built_from(net)
    name = built.name if built else type(net).__name__
    chosen = recipe or recipes.suited(data, name)
    unmeasured = None
    if recipe is None:
        chosen, data, unmeasured = _measured(chosen, data, changes)
    chosen = chosen.with_changes(changes)
    data, note = _as_built_for(built, data)
    options = built.options if built else {}
    start = None
    if chosen.start is not None:
        start = find_start(chosen.start, name, options)
    notes = (note,) if note else ()
    return Plan(data, chosen, name, options, name, notes, net, start, unmeasured)


def _as_built_for(built: BuiltFrom | None, data: Dataset) -> tuple[Dataset, str]:
    """The data at the size that one of our models was built for, and what was done."""
    if built is None or built.input_shape == data.input_shape:
        return data, ""
    if built.input_shape[0] != data.input_shape[0] or len(built.input_shape) != 3:
        return data, ""  # the check that follows names the layer
    (height, width), size = data.input_shape[1:], built.input_shape[1:]
    return resized(data, (size[0], size[1])), (
        f"{data.name}: images of {height} x {width} are resized to {size[0]} x "
        f"{size[1]}, the size that {built.name} was built for."
    )
