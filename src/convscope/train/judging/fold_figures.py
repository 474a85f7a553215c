"""The figures of a cross-validation: every image judged by a network new to it."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from convscope.data import Dataset
from convscope.data.folds import assign_folds
from convscope.data.splits import content_hashes
from convscope.errors import DataError
from convscope.train.fold_results import FoldResult
from convscope.train.judging.answers import Answers
from convscope.train.judging.metrics import Evaluation, FoldFigures, FoldScore
from convscope.train.judging.uncertainty import corrected_interval, wilson

MISTAKES = 20


def judged_in_folds(
    results: Sequence[FoldResult],
    classes: Sequence[str],
    data: str = "",
    notes: tuple[str, ...] = (),
) -> Evaluation:
    """All predictions of a cross-validation, taken together.

    Every image counts once for each repeat, so that accuracy is the mean over repeats.
    The interval is Wilson's for as many images as there are: repeats add predictions,
    not images. How far other training images would move the figure is said beside it,
    by the folds (``corrected_interval``).

    Args:
        results: Of all folds of all repeats; one of the test part (fold 0) is judged
            by itself.
        classes: Class names in label order.
        data: Name of the data set.
        notes: Sentences a person should read.

    >>> p = torch.tensor([[0.9, 0.1], [0.8, 0.2]])
    >>> true = torch.tensor([0, 1])
    >>> halves = [FoldResult(1, n, 2, 0.1, ("a", "b"), true, p) for n in (1, 2)]
    >>> found = judged_in_folds(halves, ("cat", "dog"))
    >>> found.correct, found.samples, found.folds.spread
    (2, 4, 0.0)
    """
    of_test = [each for each in results if not each.fold]
    folds = [each for each in results if each.fold]
    scores = tuple(map(_score, folds))
    repeats = max(each.repeat for each in folds)
    pooled = Evaluation.from_probabilities(
        torch.cat([each.probabilities for each in folds]),
        torch.cat([each.labels for each in folds]),
        classes,
        [name for each in folds for name in each.names],
        mistakes=MISTAKES * repeats,
    )
    images = pooled.samples // repeats
    accuracies = [each.accuracy for each in scores]
    figures = FoldFigures(
        folds=max(each.fold for each in folds),
        repeats=repeats,
        images=images,
        scores=scores,
        spread=float(np.std(accuracies, ddof=1)),
        corrected_interval=corrected_interval(
            accuracies,
            [each.trained_on for each in scores],
            [each.images for each in scores],
        ),
        test=_of_test(of_test[0], classes, data) if of_test else None,
    )
    # The surest mistake of each image stands for those of other repeats.
    mistakes = {each.name: each for each in reversed(pooled.mistakes)}
    worst = sorted(mistakes.values(), key=lambda each: -each.probability)[:MISTAKES]
    return dataclasses.replace(
        pooled,
        interval=wilson(pooled.correct / repeats, images),
        mistakes=tuple(worst),
        data=data,
        part="folds",
        notes=notes,
        folds=figures,
    )


def answers_in_folds(
    results: Sequence[FoldResult],
    pool: Dataset,
    folds: int,
    seed: int,
    figures: Evaluation,
) -> Answers:
    """What the networks of the first repeat said, image by image.

    Args:
        results: Of all folds.
        pool: The images, as ``pooled`` makes them.
        folds: Parts that they were dealt to.
        seed: By which they were.
        figures: Of all repeats.

    Raises:
        DataError: These are not the images that were judged.
    """
    hashes = content_hashes(pool.train.pixels)
    own = assign_folds(hashes, pool.train.labels.numpy(), folds, seed=seed)
    first = [each for each in results if each.repeat == 1]
    rows = [np.flatnonzero(own == each.fold - 1) for each in first]
    samples = pool.train.subset(np.concatenate(rows))
    labels = torch.cat([each.labels for each in first])
    if not torch.equal(samples.labels, labels):
        raise DataError(
            f"evaluate: the images of {pool.name} are not those that the folds judged. "
            "Put them back, or train again."
        )
    return Answers(
        samples,
        torch.cat([each.probabilities for each in first]).double().numpy(),
        figures.classes,
        figures.data,
        figures.part,
        figures.notes,
        figures=figures,
    )


def _score(result: FoldResult) -> FoldScore:
    images = len(result.labels)
    return FoldScore(
        result.repeat,
        result.fold,
        result.trained_on,
        images,
        result.correct,
        result.correct / images,
        result.seconds,
    )


def _of_test(result: FoldResult, classes: Sequence[str], data: str) -> Evaluation:
    found = Evaluation.from_probabilities(
        result.probabilities, result.labels, classes, result.names
    )
    return dataclasses.replace(found, data=data, part="test")
