"""How far numbers can be trusted: the interval of a rate, the calibration of a net."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from convscope.errors import ArgumentError

BINS = 15  # of the calibration error, as in the paper


@dataclass(frozen=True)
class CalibrationBin:
    """The images whose highest probability lies in ``(low, high]``.

    ``confidence`` is the mean of that probability, ``accuracy`` the fraction correct;
    both None where there is no image.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


def wilson(
    successes: float, trials: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval that holds the true rate in ``confidence`` of all experiments.

    Args:
        successes: How often it went well, 0 to ``trials``; a mean over repetitions
            need not be whole.
        trials: How often it was tried, at least 1.
        confidence: Between 0 and 1, both excluded.

    Raises:
        ArgumentError: A value is outside its range.

    Source:
        Wilson 1927, Probable inference, the law of succession, and statistical
        inference, JASA 22; without continuity correction.

    >>> low, high = wilson(355, 360)
    >>> f"{low:.3f} {high:.3f}"
    '0.968 0.994'
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ArgumentError(
            f"wilson: successes={successes} of trials={trials} is not a rate. "
            "Give at least one trial, and no more successes than trials."
        )
    if not 0 < confidence < 1:
        raise ArgumentError(
            f"wilson: confidence={confidence} is not between 0 and 1. Try 0.95."
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, weight = successes / trials, z * z / trials
    middle = rate + weight / 2
    half = z * math.sqrt(rate * (1 - rate) / trials + weight / (4 * trials))
    low, high = (middle - half) / (1 + weight), (middle + half) / (1 + weight)
    # At the ends the formula is exact; rounding is not.
    return (0.0 if successes == 0 else low), (1.0 if successes == trials else high)


def corrected_interval(
    accuracies: Sequence[float],
    trained_on: Sequence[int],
    judged: Sequence[int],
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Interval of the mean over folds, which share most of their training images.

    Student's t with the variance of the folds times ``1 / J + judged / trained_on``
    instead of ``1 / J``, which would take J folds for independent. Cut off at 0 and 1.

    Args:
        accuracies: Of each of J >= 2 folds, all repeats together.
        trained_on: Images that each fold's network was trained on.
        judged: Images that it was judged by.
        confidence: Between 0 and 1, both excluded.

    Raises:
        ArgumentError: Fewer than two folds, or not as many counts.

    Source:
        Nadeau and Bengio 2003, Inference for the generalization error, Machine
        Learning 52, section 3.2; for cross-validation as Bouckaert and Frank 2004.

    >>> low, high = corrected_interval([0.7, 0.8, 0.9], [80] * 3, [40] * 3)
    >>> f"{low:.3f} {high:.3f}"
    '0.407 1.000'
    """
    from scipy import stats  # takes a moment to import

    folds = len(accuracies)
    if folds < 2 or not len(trained_on) == len(judged) == folds:
        raise ArgumentError(
            f"corrected_interval: {folds} accuracies, {len(trained_on)} and "
            f"{len(judged)} counts. Give two folds at least, and one count for each."
        )
    share = sum(judged) / sum(trained_on)
    variance = float(np.var(accuracies, ddof=1)) * (1 / folds + share)
    half = float(stats.t.ppf((1 + confidence) / 2, folds - 1)) * math.sqrt(variance)
    mean = float(np.mean(accuracies))
    return max(0.0, mean - half), min(1.0, mean + half)


def calibration_bins(
    confidence: npt.NDArray[np.float64], hits: npt.NDArray[np.bool_]
) -> Iterator[CalibrationBin]:
    """Equal-width bins; a confidence on an edge belongs to the bin below it."""
    edges = np.linspace(0.0, 1.0, BINS + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, BINS - 1)
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = place == i
        count = int(inside.sum())
        yield CalibrationBin(
            float(low),
            float(high),
            count,
            float(confidence[inside].mean()) if count else None,
            float(hits[inside].mean()) if count else None,
        )


def calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Mean over images of the gap between accuracy and confidence in their bin.

    Source:
        Guo et al. 2017, On calibration of modern neural networks, equation 3.

    >>> sure, right = np.array([0.9, 0.9]), np.array([True, False])
    >>> round(calibration_error(list(calibration_bins(sure, right))), 6)
    0.4
    """
    gaps = [
        each.count * abs(each.accuracy - each.confidence)
        for each in bins
        if each.accuracy is not None and each.confidence is not None
    ]
    return sum(gaps) / sum(each.count for each in bins)
