"""One training: checked, described, carried out, and gone on with after a stop."""

import datetime
import platform
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version

import numpy as np
import torch
from torch import nn

from convscope.analysis import check
from convscope.data import Dataset
from convscope.errors import CheckpointError, Remedy, ShapeError
from convscope.train.checkpoint import Checkpoint
from convscope.train.classification import Heads
from convscope.train.fastest_setting import same_setting, training_setting
from convscope.train.planning import built_from, require_classifier
from convscope.train.recipe import Recipe
from convscope.train.run import Run
from convscope.train.run_folder import RunFolder
from convscope.train.spec import DataSpec, ModelSpec, RunSpec
from convscope.train.starting_weights import begin_with, find_start
from convscope.train.training.checkpointing import CheckpointWriter, deferred_signals
from convscope.train.training.events import (
    Event,
    Listener,
    NetworkListener,
    Stopped,
)
from convscope.train.training.loop import Training
from convscope.train.training.trainable import require_trainable

CHECKPOINT_SECONDS = 60.0


def require_fit(net: nn.Module, data: Dataset, heads: Heads | None = None) -> None:
    """Refuses a network that these images do not fit, before anything is trained.

    Raises:
        ArgumentError: It cannot be trained at all, as a scripted or a quantized one.
        ShapeError: A layer cannot take what reaches it, or the output is not
            (N, number of classes).

    >>> from convscope.data import load
    >>> require_fit(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), load("digits"))
    """
    built = built_from(net)
    if built is not None:
        require_classifier(built.name)
    require_trainable(net)
    check(net, data.input_shape)
    place = next((p.device for p in net.parameters()), torch.device("cpu"))
    flags = [(module, module.training) for module in net.modules()]
    try:
        with torch.no_grad():
            images = torch.zeros(2, *data.input_shape, device=place)
            out = (heads or Heads()).main(net.eval()(images))
    finally:
        for module, flag in flags:
            module.training = flag
    wanted, found = (2, len(data.classes)), tuple(out.shape)
    if found != wanted:
        raise ShapeError(
            f"fit: the network gives {found[1:]} numbers for each image, but "
            f"{data.name} has {len(data.classes)} classes. Its last layer needs "
            f"out_features={len(data.classes)}."
        )


def describe(
    net: nn.Module, data: Dataset, recipe: Recipe, heads: Heads | None = None
) -> RunSpec:
    """The spec of a run that is about to begin."""
    built = built_from(net)
    return RunSpec(
        convscope=version("convscope"),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        model=ModelSpec(
            name=built.name if built else None,
            options=built.options if built else {},
            input_shape=data.input_shape,
            parameters=sum(p.numel() for p in net.parameters()),
            output=None if heads is None else heads.output,
            auxiliary={} if heads is None else dict(heads.auxiliary),
        ),
        data=DataSpec(
            name=data.name,
            source=data.source,
            fingerprint=data.fingerprint(),
            train=len(data.train),
            val=len(data.val),
            test=len(data.test),
            notes=data.notes,
            options=dict(data.options),
        ),
        classes=data.classes,
        preprocessing=data.preprocessing,
        recipe=recipe,
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    )


def begun(net: nn.Module, data: Dataset, spec: RunSpec) -> Training:
    """Training at its first step; what the run starts from is copied into ``net``."""
    recipe = spec.recipe
    if recipe.start is not None:
        begin_with(net, find_start(recipe.start, spec.model.name))
    setting = training_setting(net, data.input_shape, recipe)
    return Training(net, data, recipe, setting, spec.heads)


def continued(
    net: nn.Module, data: Dataset, place: RunFolder
) -> tuple[Training, list[str]]:
    """Training at its last checkpoint, if any, and what a person should know.

    Args:
        net: As it was before training; what the run starts from is copied into it.
        data: What the run is trained on.
        place: Of the run; holds its spec, and checkpoints if it was begun.

    Raises:
        CheckpointError: The checkpoint does not fit the spec.
    """
    recipe, heads = place.spec.recipe, place.spec.heads
    if not place.has_checkpoint:
        return begun(net, data, place.spec), []
    state, warning = place.load_checkpoint()
    setting = same_setting(
        state.values.get("setting"),
        lambda: training_setting(net, data.input_shape, recipe),
    )
    training = Training(net, data, recipe, setting, heads)
    return training, [
        *([warning] if warning else []),
        *_restore(training, state, place),
    ]


def _restore(training: Training, state: Checkpoint, place: RunFolder) -> Iterator[str]:
    """Puts training back to its checkpoint; gives what a person should know."""
    try:
        training.restore(state)
    except Exception as error:  # of any kind: the file may hold anything
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"the checkpoint in {place.path} does not fit its spec.json: {first}.",
            remedies=[
                Remedy("put the original spec.json back"),
                Remedy("start again", "force", True),
            ],
        ) from error
    before, now = state.values.get("threads"), torch.get_num_threads()
    if before != now:
        yield (
            f"training began with {before} threads and goes on with {now}: "
            "the last bits of the weights may differ"
        )


def carry_out(
    training: Training,
    spec: RunSpec,
    place: RunFolder | None,
    listeners: Sequence[Listener],
    checkpoint_seconds: float,
    *,
    before_kept: Callable[[Run], None] | None = None,
) -> Run:
    """Trains to the end, with checkpoints, and keeps what came out.

    Args:
        training: New, or put back to a checkpoint.
        spec: Of the run.
        place: Where to keep it; None: nowhere.
        listeners: Get every event; what they raise stops training.
        checkpoint_seconds: Shortest time between two checkpoints.
        before_kept: Called with the trained run before its files are sealed.

    Raises:
        KeyboardInterrupt: It was stopped, between two steps; a checkpoint is kept.
    """
    checkpoints = CheckpointWriter(training, place, checkpoint_seconds)
    path = None if place is None else place.path
    data = training.data
    for listener in listeners:
        if isinstance(listener, NetworkListener):
            listener.watch(training.net, data)
    try:
        with deferred_signals() as stop:
            for event in training.run():
                tell(listeners, event, *checkpoints.after(event))
                if stop.wanted:
                    tell(listeners, *checkpoints.save())
                    raise KeyboardInterrupt
            history = training.position.history
            training.net.eval()
            run = Run(training.net, spec, history, data.set_aside, path, data)
            if before_kept is not None:
                before_kept(run)
            if place is not None:
                place.write_history(history)
                place.finish(dict(training.net.state_dict()), training.kept_epoch)
                run.spec = place.spec
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        reason = "interrupted" if interrupted else str(error)
        tell(listeners, Stopped(reason, interrupted))
        raise
    return run


def tell(listeners: Sequence[Listener], *events: Event) -> None:
    """Tells every listener of every event."""
    for event in events:
        for listener in listeners:
            listener(event)
