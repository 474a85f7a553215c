"""Labels that are probably wrong, by what a network says of images it never saw."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelDoubt:
    """One image whose label is probably another.

    Attributes:
        index: Position of the image.
        given: Class that it is labeled as.
        suggested: Class that the network takes it for.
        margin: Probability of the suggested class less that of the given one.
    """

    index: int
    given: int
    suggested: int
    margin: float


def doubtful_labels(
    probabilities: Array, labels: npt.NDArray[np.int64]
) -> list[LabelDoubt]:
    """Images that a network confidently takes for another class, the surest first.

    It is confident of a class where its probability is no less than its mean over the
    images that are labeled so; then a class that it is often sure of has to be more
    probable than one that it is seldom sure of. Of images that it was trained on it
    has learned the wrong labels too: give probabilities of other images, or of folds.

    Args:
        probabilities: What the network gave; rows sum to 1.
        labels: Classes as they are given.

    Shape:
        probabilities: (N, K)
        labels:        (N,)

    Source:
        Northcutt, Jiang and Chuang 2021, Confident learning: estimating uncertainty
        in dataset labels, JAIR 70, equations 1 and 2 (the confident joint); what lies
        off its diagonal, ranked by the margin.

    >>> sure = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.95, 0.05]])
    >>> [(d.index, d.given, d.suggested) for d in doubtful_labels(sure, np.array(
    ...     [0, 0, 1, 1]))]
    [(3, 1, 0)]
    """
    p = np.asarray(probabilities, dtype=np.float64)
    rows = np.arange(len(p))
    own = p[rows, labels]
    thresholds = np.full(p.shape[1], np.inf)
    for label in np.unique(labels):
        thresholds[label] = own[labels == label].mean()
    confident = np.where(p >= thresholds - 1e-6, p, -1.0)
    suggested = confident.argmax(axis=1)
    off = (confident.max(axis=1) >= 0) & (suggested != labels)
    doubts = [
        LabelDoubt(int(i), int(labels[i]), int(suggested[i]),
                   float(p[i, suggested[i]] - own[i]))
        for i in np.flatnonzero(off)
    ]  # fmt: skip
    likely = [doubt for doubt in doubts if doubt.margin > 0]
    return sorted(likely, key=lambda doubt: (-doubt.margin, doubt.index))
