"""``cross_validate``: every image is judged by a network that has not seen it.

One network is trained for each fold, which is left out of its training, and then the
network that the run keeps, on all images. Nothing that looks at an image of a fold goes
into the network that judges it: statistics, random changes, the penalty of a last layer
fitted by itself are found anew for each fold. Model, image size and recipe are decided
once, as ``plan`` does it.
"""

import contextlib
import copy
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.data import Dataset
from convscope.data.folds import (
    USUAL,
    assign_folds,
    is_measured,
    pooled,
    require_foldable,
    with_validation,
    without,
)
from convscope.data.splits import content_hashes
from convscope.errors import ArgumentError
from convscope.train.checkpoint import read_tensors, write_tensors
from convscope.train.choosing.augmentation_choice import with_measured_augmentation
from convscope.train.classification import heads_of
from convscope.train.fold_results import FOLDS, FoldResult, read_results, write_result
from convscope.train.judging.feature_layer import before_last_linear
from convscope.train.judging.features import features
from convscope.train.judging.inference import probabilities
from convscope.train.planning import Plan, new_network, own_random_state, plan
from convscope.train.recipe import Recipe
from convscope.train.run import Run
from convscope.train.run_folder import RunFolder, check_free, is_run
from convscope.train.spec import FoldsSpec, RunSpec
from convscope.train.training.events import (
    FinalStarted,
    FoldJudged,
    FoldStarted,
    Listener,
    Warned,
)
from convscope.train.training.held_layers import require_something_to_train
from convscope.train.training.linear_head import LinearHead, fit_linear_head
from convscope.train.training.progress_bars import default_listeners
from convscope.train.training.running import (
    CHECKPOINT_SECONDS,
    begun,
    carry_out,
    continued,
    describe,
    require_fit,
    tell,
)

WATCHED = 0.15  # share that a training watches if its recipe needs one to
START = f"{FOLDS}/start.safetensors"  # what a network of the user's own begins with
PROBED = 4  # images, to see that a last layer is the last thing that happens
CLOSE = 1e-3  # of probabilities, for settings in bfloat16


def cross_validate(
    data: Dataset | str | Path | tuple[Any, Any] | Plan,
    model: str | nn.Module | None = None,
    recipe: Recipe | str | Path | None = None,
    *,
    folds: int = USUAL,
    repeats: int = 1,
    validation: float | None = None,
    folder: str | Path | None = None,
    force: bool = False,
    listeners: Sequence[Listener] | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    output: str | int | None = None,
    auxiliary: Mapping[Any, float] | None = None,
    **changes: Any,
) -> Run:
    """Judges a way of training by folds, then trains on all images.

    Training, validation and test images are one pool, unless the source names its test
    part (a folder ``test``, a published test set): that one is judged once, by the
    final network. Images are dealt to ``folds`` parts class by class, equal ones to the
    same part. For each part a network is trained on the others and judged by it. The
    run's figures (``evaluate``) are those of all parts together; its network is then
    trained on the whole pool.

    Args:
        data: As ``plan`` takes it; or a plan, in which the rest is decided.
        model: As ``plan`` takes it; a network is copied for each fold, and changed in
            place at the end.
        recipe: As ``plan`` takes it. Every training follows it: ``minutes`` are for
            each of them, and each repeat has a seed of its own.
        folds: Parts, from 2 to the images of the smallest class (copies not counted).
        repeats: How often the pool is parted anew; the more, the less chance.
        validation: Share that each training sets aside to watch; by default none, or
            0.15 where the recipe has ``patience`` or ``keep="best"``.
        folder: Where to keep the run; folds that are judged are not trained again
            (``resume``).
        force: As for ``fit``.
        listeners: As for ``fit``.
        checkpoint_seconds: As for ``fit``.
        output: As for ``fit``.
        auxiliary: As for ``fit``.
        changes: As for ``fit``.

    Raises:
        ArgumentError: Fewer than 2 folds, more than a class has images, or weights to
            start from that were trained on these very images.
        DataError: A class with one image.

    >>> run = cross_validate("digits", "softmax_regression", folds=3, epochs=2,
    ...                      listeners=())
    >>> found = run.evaluate()
    >>> found.samples, len(found.folds.scores), run.spec.data.train
    (1797, 3, 1797)
    """
    _require_sense(data, folds, repeats, changes)
    if folder is not None:
        check_free(Path(folder), force=force)
    with own_random_state():
        made = data
        if not isinstance(made, Plan):
            made = plan(made, model, recipe, **changes)
        pool = pooled(made.data)
        require_foldable(pool, folds)
        _require_new_to(made, pool)
        net, heads = made.net, heads_of(output, auxiliary)
        if net is None:
            net = new_network(made.model, pool, made.recipe.seed, made.options)
        require_fit(net, pool, heads)
        require_something_to_train(net, made.recipe)
        if validation is None:
            needs = made.recipe.patience is not None or made.recipe.keep == "best"
            validation = WATCHED if needs else 0.0
        how = FoldsSpec(
            folds=folds,
            repeats=repeats,
            validation=validation,
            unmeasured=made.unmeasured,
        )
        final = with_validation(pool, validation)
        spec = describe(net, final, made.recipe, heads)
        spec = spec.model_copy(update={"folds": how})
        place = None
        if folder is not None:
            place = RunFolder.create(folder, spec, pool.set_aside, force=force)
        listeners = default_listeners() if listeners is None else listeners
        if made is not data:  # else who made the plan knows
            tell(listeners, *map(Warned, made.notes))
        own = None if made.net is None else copy.deepcopy(dict(net.state_dict()))
        if place is not None and own is not None:
            _keep_start(place, own)
        work = CrossValidation(
            spec, pool, net, own, place, listeners, checkpoint_seconds
        )
        with contextlib.nullcontext() if place is None else place.locked():
            return work.run()


class CrossValidation:
    """A cross-validation at work, new or gone on with.

    Args:
        spec: Of the run that keeps it.
        data: In any parts; they are pooled.
        net: Becomes the run's network.
        own_start: What every training begins with, if the user built the network.
        place: Where to keep it; None: nowhere.
        listeners: Get every event.
        checkpoint_seconds: Shortest time between two checkpoints of a training.
    """

    def __init__(
        self,
        spec: RunSpec,
        data: Dataset,
        net: nn.Module,
        own_start: dict[str, Tensor] | None,
        place: RunFolder | None,
        listeners: Sequence[Listener],
        checkpoint_seconds: float,
    ) -> None:
        if spec.folds is None:
            raise ArgumentError("cross_validate: the run is not one of folds.")
        self.spec, self.how, self.net, self.place = spec, spec.folds, net, place
        self.listeners, self.checkpoint_seconds = listeners, checkpoint_seconds
        self.pool = pooled(data)
        self._own_start = own_start
        self._hashes = content_hashes(self.pool.train.pixels)
        self._features: np.ndarray | None = None
        self._results: list[FoldResult] = []

    def run(self) -> Run:
        """Judges what is not judged yet, then trains the network that is kept."""
        repeats, folds = self.how.repeats, self.how.folds
        if self.place is not None:
            self._results = read_results(self.place.path, len(self.spec.classes))
        done = {(each.repeat, each.fold) for each in self._results}
        left = [
            (repeat, fold)
            for repeat in range(1, repeats + 1)
            for fold in range(1, folds + 1)
            if (repeat, fold) not in done
        ]
        self._features = self._shared_features()
        began = time.monotonic()
        for number, (repeat, fold) in enumerate(left, start=1):
            result = self._judged(repeat, fold)
            self._results.append(result)
            if self.place is not None:
                write_result(self.place.path, result)
            each = (time.monotonic() - began) / number
            told = FoldJudged(
                repeat, repeats, fold, folds, result.correct, len(result.labels),
                result.seconds, each * (len(left) - number + folds / (folds - 1)),
            )  # fmt: skip
            tell(self.listeners, told)
        return self._final()

    def _judged(self, repeat: int, fold: int) -> FoldResult:
        """What a network that has not seen the images of a fold says of them."""
        began, how, train = time.monotonic(), self.how, self.pool.train
        labels = train.labels.numpy()
        seed = self.spec.recipe.seed
        own = assign_folds(self._hashes, labels, how.folds, seed=seed, repeat=repeat)
        left_out = own == fold - 1
        rest, judged = np.flatnonzero(~left_out), np.flatnonzero(left_out)
        numbers = (repeat, how.repeats, fold, how.folds, len(rest), len(judged))
        tell(self.listeners, FoldStarted(*numbers))
        recipe = self.spec.recipe.with_changes({"seed": (seed + repeat - 1) % 2**32})
        if self._features is None:
            found = self._trained(repeat, fold, left_out, recipe)
        else:
            known, classes = self._features, len(self.spec.classes)
            head = fit_linear_head(known[rest], labels[rest], classes, seed=recipe.seed)
            found = _said_by(head, known[judged])
        return FoldResult(
            repeat,
            fold,
            len(rest),
            time.monotonic() - began,
            tuple(train.names[i] for i in judged.tolist()),
            train.labels[torch.from_numpy(judged)],
            found,
        )

    def _trained(
        self, repeat: int, fold: int, left_out: np.ndarray, recipe: Recipe
    ) -> Tensor:
        """Trains a network without a fold, and what it says of it."""
        data = without(self.pool, left_out)
        if self.how.unmeasured is not None:
            before = recipe.with_changes({"augmentation": self.how.unmeasured})
            recipe, _ = with_measured_augmentation(data, before)
        data = with_validation(data, self.how.validation)
        net = self._network(recipe)
        spec = describe(net, data, recipe, self.spec.heads)
        place = None
        if self.place is not None:
            path = self.place.path / FOLDS / f"{repeat}-{fold}"
            place = _begun(path) or RunFolder.create(path, spec, force=True)
        run = self._carried_out(net, data, spec, place)
        found = run.probabilities(self.pool.train.subset(np.flatnonzero(left_out)))
        if place is not None:
            shutil.rmtree(place.path, ignore_errors=True)
        return found

    def _carried_out(
        self, net: nn.Module, data: Dataset, spec: RunSpec, place: RunFolder | None
    ) -> Run:
        if place is None:
            training = begun(net, data, spec)
            warnings: list[str] = []
        else:
            training, warnings = continued(net, data, place)
            spec = place.spec
        tell(self.listeners, *map(Warned, warnings))
        seconds = self.checkpoint_seconds
        return carry_out(training, spec, place, self.listeners, seconds)

    def _network(self, recipe: Recipe) -> nn.Module:
        """A network as it is before training."""
        if self._own_start is not None:
            net = copy.deepcopy(self.net)
            net.load_state_dict(self._own_start)
            return net
        model = self.spec.model
        return new_network(str(model.name), self.pool, recipe.seed, model.options)

    def _final(self) -> Run:
        """The network that the run keeps, trained on all images."""
        final = with_validation(self.pool, self.how.validation)
        tell(self.listeners, FinalStarted(len(final.train)))
        if self._own_start is not None:
            self.net.load_state_dict(self._own_start)
        if self.place is None:
            training = begun(self.net, final, self.spec)
        else:
            training, warnings = continued(self.net, final, self.place)
            tell(self.listeners, *map(Warned, warnings))
        if len(final.train) == len(self.pool.train):
            training.known_features = self._features
        return carry_out(
            training,
            self.spec,
            self.place,
            self.listeners,
            self.checkpoint_seconds,
            before_kept=self._add_results,
        )

    def _add_results(self, run: Run) -> None:
        """Gives the run its figures, those of the source's own test part included."""
        results = [each for each in self._results if each.fold]
        test = self.pool.test
        if len(test):
            began = time.monotonic()
            said, trained_on = run.probabilities(test), len(run.data().train)
            seconds = time.monotonic() - began
            names = tuple(test.names)
            results.append(
                FoldResult(0, 0, trained_on, seconds, names, test.labels, said)
            )
        run.fold_results = tuple(results)
        if self.place is not None:
            run.write_folds(self.place)
            (self.place.path / START).unlink(missing_ok=True)

    def _shared_features(self) -> np.ndarray | None:
        """Features of all images, where only the last layer differs between folds."""
        recipe = self.spec.recipe
        if not recipe.head_only or recipe.start is None or recipe.tta != "none":
            return None
        net = self._network(recipe)
        if is_measured(self.pool) or any(
            hasattr(module, "initialize_from_images") for module in net.modules()
        ):
            return None
        training = begun(net, self.pool, self.spec)
        place, declared = before_last_linear(net), self.pool.preprocessing
        head: Any = net.get_submodule(place.name)
        if head.bias is None or not head.weight.requires_grad:
            return None
        setting, train = training.setting, self.pool.train
        first = train.subset(range(min(PROBED, len(train))))
        at_first = features(net, first, declared, setting, layer=place)
        said = probabilities(net, first, declared, setting)
        with torch.no_grad():
            by_head = head(torch.from_numpy(at_first).to(head.weight)).softmax(1).cpu()
        if said.shape != by_head.shape or (said - by_head).abs().max() > CLOSE:
            return None  # something follows the last layer
        return features(net, train, declared, setting, layer=place)


def go_on(
    place: RunFolder,
    data: Dataset,
    net: nn.Module,
    listeners: Sequence[Listener],
    checkpoint_seconds: float,
) -> Run:
    """Goes on with a cross-validation that was stopped.

    Args:
        place: Of the run.
        data: The same as before, in any parts.
        net: As the spec says.
        listeners: As for ``cross_validate``.
        checkpoint_seconds: As for ``cross_validate``.
    """
    own = None
    if (place.path / START).exists():
        own = read_tensors(place.path / START).tensors
    return CrossValidation(
        place.spec, data, net, own, place, listeners, checkpoint_seconds
    ).run()


def _said_by(head: LinearHead, features: np.ndarray) -> Tensor:
    logits = features.astype(np.float64) @ head.weight.T.astype(np.float64) + head.bias
    return torch.from_numpy(logits).softmax(1).float()


def _begun(path: Path) -> RunFolder | None:
    """The training of a fold that was stopped, if there is one."""
    return RunFolder(path) if is_run(path) else None


def _keep_start(place: RunFolder, weights: dict[str, Tensor]) -> None:
    """Keeps what every training begins with, for a process that goes on."""
    (place.path / FOLDS).mkdir(exist_ok=True)
    write_tensors(place.path / START, weights)


def _require_sense(
    data: object, folds: object, repeats: object, changes: Mapping[str, Any]
) -> None:
    """Refuses what can be refused without data."""
    if isinstance(data, nn.Module):
        raise ArgumentError(
            "cross_validate: data is a network. The data come first: "
            "cross_validate(data, net)."
        )
    for name, value, least in (("folds", folds, 2), ("repeats", repeats, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ArgumentError(
                f"cross_validate: {name}={value!r} must be a whole number, at least "
                f"{least}."
            )
    if changes.get("test") is not None:
        raise ArgumentError(
            f"cross_validate: test={changes['test']} has no meaning where every image "
            "is judged in its fold. Leave it out, or put the images that are to be "
            "kept apart into a folder test."
        )


def _require_new_to(made: Plan, pool: Dataset) -> None:
    """Refuses to begin with a run that has learned from these images.

    Raises:
        ArgumentError: It has, so that no fold could be judged by it.
    """
    if made.start is None:
        return
    place = Path(made.start.name)
    place = place if place.is_dir() else place.parent
    if not is_run(place):
        return
    theirs = RunFolder(place).spec.data
    same = bool(pool.source) and theirs.source == pool.source
    known = (made.data.fingerprint(), pool.fingerprint())
    if same or theirs.fingerprint in known:
        raise ArgumentError(
            f"cross_validate: start={made.start.name!r} was trained on images of "
            f"{pool.name}, so it has seen images that the folds judge by. Begin with "
            "other weights."
        )
