"""``fit``: a network and data in, a trained run out; ``resume``: the rest of one."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convscope.data import Dataset
from convscope.errors import ArgumentError, Remedy, RunError
from convscope.train.classification import heads_of
from convscope.train.fastest_setting import training_setting
from convscope.train.planning import own_random_state, plan
from convscope.train.rebuilding import build_network
from convscope.train.recipe import Recipe
from convscope.train.run import Run
from convscope.train.run_folder import RunFolder, check_free, free_name
from convscope.train.spec import RunSpec
from convscope.train.training.cross_validation import go_on
from convscope.train.training.events import Listener, Warned
from convscope.train.training.loop import Training
from convscope.train.training.progress_bars import default_listeners
from convscope.train.training.running import (
    CHECKPOINT_SECONDS,
    carry_out,
    continued,
    describe,
    require_fit,
    tell,
)


def fit(
    net: nn.Module | str | None,
    data: Dataset | str | Path | tuple[Any, Any],
    recipe: Recipe | str | Path | None = None,
    *,
    folder: str | Path | None = None,
    force: bool = False,
    listeners: Sequence[Listener] | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    output: str | int | None = None,
    auxiliary: Mapping[Any, float] | None = None,
    **changes: Any,
) -> Run:
    """Trains ``net`` on ``data``, as ``plan`` decides.

    Data sets hold images, one for each label, so that there are no ``example_inputs``
    to give: what the network is checked with are the images themselves.

    Args:
        net: A network for images of ``data.input_shape`` with one output per class,
            changed in place; or the name of one of our models; or None for what suits.
        data: What to train on: a data set, what ``data.load`` takes, or a pair
            (images, labels) as ``data.from_arrays`` takes it.
        recipe: How: a recipe, its name, or a TOML file; by default the one that suits
            the data and the model.
        folder: Where to keep the run and its checkpoints; by default nowhere, then
            ``Run.save`` writes it when it is through.
        force: Replace a run that is in ``folder`` already.
        listeners: Get every event; by default a progress bar, or lines in a log.
            What they raise stops training.
        checkpoint_seconds: Shortest time between two checkpoints.
        output: Which of the network's outputs is for the classes, by key, field or
            position, where it gives several.
        auxiliary: Others to train with it, and what their losses count:
            ``{"aux": 0.3}``. They may be missing in evaluation.
        changes: Fields of the recipe to change: ``epochs=3``; and how to choose and
            load, as ``plan`` takes it: ``model_options``, ``size``, ``validation``,
            ``test``, ``strict``.

    Raises:
        ShapeError: The network does not take these images, or does not have one
            output for each class.
        RunExistsError: There is a run in ``folder`` already.
        NotFiniteError: The loss became NaN or infinite; the last checkpoint is kept.

    >>> fit("softmax_regression", "digits", epochs=1, listeners=()).spec.data.train > 0
    True
    """
    if folder is not None:
        check_free(Path(folder), force=force)
    with own_random_state():
        made = plan(data, net, recipe, **changes)
        net = made.network()
        heads = heads_of(output, auxiliary)
        require_fit(net, made.data, heads)
        spec = describe(net, made.data, made.recipe, heads)
        setting = training_setting(net, made.data.input_shape, made.recipe)
        training = Training(net, made.data, made.recipe, setting, heads)
        place = None
        if folder is not None:
            place = RunFolder.create(folder, spec, made.data.set_aside, force=force)
        listeners = default_listeners() if listeners is None else listeners
        tell(listeners, *map(Warned, made.notes))
        with contextlib.nullcontext() if place is None else place.locked():
            return carry_out(training, spec, place, listeners, checkpoint_seconds)


def resume(
    folder: str | Path,
    *,
    data: Dataset | str | Path | None = None,
    net: nn.Module | None = None,
    listeners: Sequence[Listener] | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Run:
    """Goes on with an interrupted run, to the same bits as if it had not stopped.

    Args:
        folder: The run's.
        data: What it was trained on, if it was made from arrays, or where it is now,
            if it moved; that it is the same is proven by its fingerprint.
        net: The network, if it is not one of our models.
        listeners: As for ``fit``.
        checkpoint_seconds: As for ``fit``.

    Raises:
        RunError: The run is finished, or the data are not the same any more.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp(), "run")
    >>> def stop(event):
    ...     if type(event).__name__ == "EpochEnded":
    ...         raise KeyboardInterrupt
    >>> try:
    ...     run = fit("mlp", "digits", folder=place, epochs=2, listeners=[stop])
    ... except KeyboardInterrupt:
    ...     run = resume(place, listeners=())
    >>> len(run.history)
    2
    """
    place = RunFolder.open(folder)
    spec = place.spec
    listeners = default_listeners() if listeners is None else listeners
    with place.locked(), own_random_state():
        if place.is_finished:
            raise RunError(
                f"run {place.path} is finished; there is nothing to go on with.",
                remedies=[
                    Remedy("evaluate it"),
                    Remedy("give it more epochs", "epochs"),
                    Remedy("train a new run"),
                ],
            )
        torch.manual_seed(spec.recipe.seed)
        if net is None:
            net = build_network(spec, place.checkpoint_shapes(), place.path)
        data, spec = _same_data(Run(net, spec, folder=place.path), data, place)
        if spec.folds is not None:
            return go_on(place, data, net, listeners, checkpoint_seconds)
        training, warnings = continued(net, data, place)
        for warning in warnings:
            tell(listeners, Warned(warning))
        return carry_out(training, spec, place, listeners, checkpoint_seconds)


def more_epochs(
    folder: str | Path,
    epochs: int,
    *,
    into: str | Path | None = None,
    data: Dataset | str | Path | None = None,
    net: nn.Module | None = None,
    listeners: Sequence[Listener] | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Run:
    """Trains the network of a finished run for more epochs, as a new run.

    It begins with the run's weights; optimizer and schedule begin anew, so the result
    is not that of a run which was that long from the beginning.

    Args:
        folder: The finished run; it stays as it is.
        epochs: In all, those of the finished run included.
        into: Where to keep the new run; by default beside the finished one.
        data: As for ``resume``.
        net: As for ``resume``.
        listeners: As for ``fit``.
        checkpoint_seconds: As for ``fit``.

    Raises:
        RunError: The run is not through, or the data are not the same any more.
        ArgumentError: ``epochs`` are no more than the run had, or the run was
            cross-validated.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp(), "run")
    >>> run = fit("mlp", "digits", folder=place, epochs=1, listeners=())
    >>> longer = more_epochs(place, 3, listeners=())
    >>> len(longer.history), longer.folder.name
    (2, 'run-longer-1')
    """
    place = RunFolder.open(folder)
    place.require_finished()
    run = Run.load(folder, net)
    if run.spec.folds is not None:
        raise ArgumentError(
            f"more_epochs: run {place.path} was cross-validated, and its figures would "
            "not be those of a longer training. Cross-validate anew with "
            f"epochs={epochs}."
        )
    done = len(run.history)
    if epochs <= done:
        raise ArgumentError(
            f"more_epochs: epochs={epochs} are no more than the {done} that run "
            f"{place.path} has had. Give more than {done}."
        )
    found, _ = _same_data(run, data, None)
    recipe = run.spec.recipe.with_changes({"epochs": epochs - done, "minutes": None})
    into = into or free_name(place.path.parent, f"{place.path.name}-longer")
    listeners = default_listeners() if listeners is None else listeners
    note = (
        f"{epochs - done} epochs more begin with the weights of {place.path}; the "
        f"optimizer and the schedule begin anew. The new run is {into}"
    )
    tell(listeners, Warned(note))
    return fit(
        run.net,
        found,
        recipe,
        folder=into,
        listeners=listeners,
        checkpoint_seconds=checkpoint_seconds,
        output=run.spec.model.output,
        auxiliary=run.spec.model.auxiliary,
    )


def _same_data(
    run: Run, data: Dataset | str | Path | None, place: RunFolder | None
) -> tuple[Dataset, RunSpec]:
    """The data that a run began with, and its spec, which knows where they are now."""
    spec = run.spec
    if data is None:
        data = run.data()
    elif not isinstance(data, Dataset):
        data = run.load_data(data, **spec.data.options)
    data, is_same = run.recognized(data)
    if not is_same:
        raise RunError(
            f"run {run.folder}: the data at {data.source or 'hand'} are not those that "
            "it began with.",
            remedies=[
                Remedy("put them back"),
                Remedy("say where they are", "data"),
                Remedy("train a new run"),
            ],
        )
    if data.source and data.source != spec.data.source:
        moved = spec.data.model_copy(update={"source": data.source})
        spec = spec.model_copy(update={"data": moved})
        if place is not None:
            place.write_spec(spec)
    return data, spec
