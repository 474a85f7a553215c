"""Judges a run and finds out what a report says of it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from convscope.analysis import (
    Attribution,
    Filters,
    Health,
    attribute,
    filters,
    summary,
    templates,
)
from convscope.analysis import health as measure_health
from convscope.analysis.render import Summary
from convscope.data import AuditReport, Dataset, audit
from convscope.data.dataset import Samples
from convscope.data.progress import Progress
from convscope.errors import ArgumentError, ConvscopeError
from convscope.train.judging.answers import Answers
from convscope.train.judging.baselines import Baseline, baselines
from convscope.train.judging.calibration import Temperature, fit_temperature
from convscope.train.judging.label_doubts import LabelDoubt, doubtful_labels
from convscope.train.judging.near_duplicates import NearDuplicates, near_duplicates
from convscope.train.judging.slices import confused_pairs, measured, slices
from convscope.train.reporting.record import RunRecord, RunReport
from convscope.train.run import FoundData, Run

DOUBTS = 200  # labels in question that are kept
EXPLAINED = 24  # of the worst mistakes
LOOKED_AT = 256  # images over which the health of layers is measured, at most
WORK = 4e11  # multiply-adds that this may take; of one image it takes nine passes
UNKNOWN = 1_000_000_000  # multiply-adds of a network that cannot be traced
Found = TypeVar("Found")


def report(
    run: Run,
    data: Dataset | str | Path | None = None,
    part: str | None = None,
    *,
    progress: Progress | None = None,
) -> RunReport:
    """Judges a run and finds out what a report says of it.

    Args:
        run: A trained network.
        data: What to judge it on; by default what it was trained on.
        part: As ``Run.evaluate`` takes it; by default the first of ``test``, ``val``
            and ``train`` that holds images.
        progress: Called with (done, in all, what) while images are judged.

    Raises:
        DataError: The part is empty, or none of its images has a label.
        ArgumentError: The run's data were arrays, and none are given.

    >>> from convscope.train import fit
    >>> run = fit("softmax_regression", "digits", epochs=3, listeners=())
    >>> found = report(run)
    >>> found.evaluation.samples, [each.name for each in found.baselines]
    (359, ['majority class', 'nearest neighbor', 'linear on pixels'])
    """
    began = time.perf_counter()
    on = run.find_data(data, progress=progress)
    data, own = on.data, on.is_own
    in_folds = on.is_same and bool(run.fold_results) and part in (None, "folds")
    if part is None and own and not in_folds:
        part = data.part_to_judge
    answers = run.answers(on, part, progress=progress).labeled()
    evaluation = answers.evaluation()
    missing: dict[str, str] = {}
    on_own = own and tuple(data.classes) == answers.classes
    if not own:
        missing["baselines"] = (
            "Simple methods beside it: they would have to learn from this run's own "
            "training images, and it was judged on other data."
        )
    elif in_folds:
        missing["baselines"] = (
            "Simple methods beside it: they would have to be trained for each fold."
        )
    simple: list[Baseline] = []
    if on_own and not in_folds:
        simple = baselines(data.train, answers.samples, seed=run.spec.recipe.seed)
    if in_folds and evaluation.folds is not None and evaluation.folds.repeats > 1:
        missing["repeats"] = (
            "Images as later repeats judged them; the figures are of all."
        )
    if own and not in_folds and answers.part != "test" and not len(data.test):
        missing["part"] = (
            f"Figures of test images: the data have none, so these are of its "
            f"{_PARTS.get(answers.part, answers.part)}, on which choices were made too."
        )
    doubts: list[LabelDoubt] = []
    if answers.trained_on:
        missing["labels"] = (
            "Labels that are probably wrong: the network was trained on these very "
            "images and has learned their labels, wrong ones too."
        )
    else:
        doubts = doubtful_labels(answers.probabilities, answers.labels)[:DOUBTS]
    temperature, why = _temperature(run, on, answers)
    if why:
        missing["temperature"] = why
    own_record = record(run, missing)
    quantities = measured(answers.samples)
    sizes = _sizes(answers.samples)
    if sizes is not None:
        quantities["size"] = sizes
    return RunReport(
        **vars(own_record),
        evaluation=evaluation,
        answers=answers,
        baselines=tuple(simple),
        temperature=temperature,
        doubts=tuple(doubts),
        slices=tuple(slices(quantities, answers.hits)),
        pairs=tuple(confused_pairs(evaluation.confusion)),
        near_duplicates=_near(data, answers, missing, own=own and not in_folds),
        reasons=_found(
            missing, "reasons", "What in the worst mistakes spoke for the wrong class",
            lambda: _reasons(run, answers),
        ),
        health=_found(
            missing, "health", "Whether its layers work",
            lambda: _health(run, answers, own_record.layers),
        ),
        data=data,
        audit=_audit(data),
        seconds=time.perf_counter() - began,
    )  # fmt: skip


_PARTS = {"val": "validation images", "train": "training images"}


def record(run: Run, missing: dict[str, str] | None = None) -> RunRecord:
    """What a run says of itself, without any data.

    Args:
        run: A trained network.
        missing: What is known to be missing, by name; what is found to be is added.

    >>> from convscope.train import fit
    >>> run = fit("softmax_regression", "digits", epochs=1, listeners=())
    >>> record(run).filters.is_template
    True
    """
    missing = {} if missing is None else missing
    return RunRecord(
        title=_title(run),
        spec=run.spec,
        history=tuple(run.history),
        layers=_found(missing, "layers", "The table of its layers",
                      lambda: _layers(run)),
        filters=_found(missing, "filters", "The filters of its first layer",
                       lambda: _filters(run)),
        missing=missing,
    )  # fmt: skip


def missing_data(run: Run) -> str:
    """Why the run's own data cannot be had, and what a report lacks then.

    Empty where they can be had.
    """
    try:
        run.data()
    except ConvscopeError as error:
        return (
            "Figures, mistakes, labels and data are missing, for the images are: "
            f"{error} Until then: curves, layers and recipe."
        )
    return ""


def _found(
    missing: dict[str, str], name: str, what: str, find: Callable[[], Found | None]
) -> Found | None:
    """What ``find`` gives; where it refuses, why is kept."""
    try:
        return find()
    except ConvscopeError as error:
        missing[name] = f"{what}: {error}"
        return None


def mistakes_csv(answers: Answers) -> str:
    """A line for each image that was called by another name, the surest first.

    >>> import torch
    >>> two = Samples(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), ["a", "b"])
    >>> found = Answers(two, np.array([[0.9, 0.1], [0.8, 0.2]]), ("cat", "dog"))
    >>> print(mistakes_csv(found), end="")
    image,true,predicted,probability,probability_of_true
    b,dog,cat,0.800000,0.200000
    """
    import csv
    import io

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("image", "true", "predicted", "probability", "probability_of_true"))
    p, labels, predicted = answers.probabilities, answers.labels, answers.predicted
    for i in answers.wrong:
        table.writerow(
            (
                answers.samples.names[i],
                answers.classes[labels[i]],
                answers.classes[predicted[i]],
                f"{p[i, predicted[i]]:.6f}",
                f"{p[i, labels[i]]:.6f}",
            )
        )
    return text.getvalue()


def _title(run: Run) -> str:
    if run.folder is not None:
        return Path(run.folder).resolve().name
    return f"{run.spec.model.name or type(run.net).__name__} on {run.spec.data.name}"


def _temperature(
    run: Run, on: FoundData, answers: Answers
) -> tuple[Temperature | None, str]:
    """What validation images ask for, and why it is not known where it is not."""
    if run.spec.temperature != 1.0:
        return None, ""
    if not on.is_own or not len(on.data.val):
        return None, (
            "The temperature that would mend its calibration: it is fit to validation "
            "images, and there are none here."
        )
    val = answers if answers.part == "val" else run.answers(on, "val").labeled()
    try:
        return fit_temperature(val.probabilities, val.labels), ""
    except ConvscopeError as error:
        return None, f"The temperature that would mend its calibration: {error}"


def _reasons(run: Run, answers: Answers) -> Attribution | None:
    """What in the worst mistakes spoke for the wrong class."""
    worst = answers.wrong[:EXPLAINED]
    if not len(worst):
        return None
    called = torch.from_numpy(answers.predicted[worst])
    return attribute(run.classifier, _inputs(run, answers.samples, worst), called)


def _inputs(run: Run, samples: Samples, which: npt.NDArray[np.intp]) -> Tensor:
    """Some images as the network gets them, where it is."""
    place = next(run.net.parameters()).device
    pixels = samples.subset(which).pixels.to(place)
    return run.spec.preprocessing.normalize(pixels)


def _layers(run: Run) -> Summary:
    return summary(run.net, run.spec.input_shape)


def _filters(run: Run) -> Filters:
    try:
        return filters(run.net)
    except ArgumentError:  # without a convolution
        return templates(run.net, run.spec.input_shape)


def _health(run: Run, answers: Answers, layers: Summary | None) -> Health:
    each = max(1, layers.multiply_adds if layers is not None else UNKNOWN)
    most = int(min(LOOKED_AT, max(16, WORK / (9 * each)), len(answers)))
    chosen = np.linspace(0, len(answers) - 1, most).round().astype(np.intp)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        labels = answers.samples.labels[torch.from_numpy(chosen)]
        yield _inputs(run, answers.samples, chosen), labels

    return measure_health(run.classifier, batches(), most=most)


def _near(
    data: Dataset, answers: Answers, missing: dict[str, str], *, own: bool
) -> NearDuplicates | None:
    """What looks alike among the judged images, and between them and the others."""
    parts = {answers.part: answers.samples}
    if own and answers.part in data.parts:
        parts |= {k: part for k, part in data.parts.items() if k != answers.part}
    found = near_duplicates(parts, answers.part)
    if found is None:
        count = sum(map(len, parts.values()))
        missing["near_duplicates"] = (
            f"Near duplicates: {count:,} images are too many to compare here."
        )
    return found


def _audit(data: Dataset) -> AuditReport | None:
    """What an audit of its folder finds; what reading it has taught is kept."""
    if not data.source or not Path(data.source).is_dir():
        return None
    try:
        return audit(data.source, layout=data.options.get("layout", "auto"))
    except ConvscopeError:
        return None  # it has changed since


def _sizes(samples: Samples) -> npt.NDArray[np.float64] | None:
    """The larger side of each picture's file in pixels, where all are files."""
    found = []
    for name in samples.names:
        try:
            with Image.open(name) as picture:  # reads the header only
                found.append(float(max(picture.size)))
        except (OSError, ValueError):
            return None
    return np.array(found)
