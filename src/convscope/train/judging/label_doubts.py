"""Labels that are probably wrong, by what a network says of images it never saw."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convscope.data.confident_learning import confident_class

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

    ``data.confident_learning`` says when it is confident. Of images that it was trained
    on it has learned the wrong labels too: give probabilities of other images, or of
    folds.

    Args:
        probabilities: What the network gave; rows sum to 1.
        labels: Classes as they are given.

    Shape:
        probabilities: (N, K)
        labels:        (N,)

    Source:
        Northcutt, Jiang and Chuang 2021, Confident learning: estimating uncertainty
        in dataset labels, JAIR 70: what lies off the diagonal of the confident joint,
        ranked by the margin.

    >>> sure = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.95, 0.05]])
    >>> [(d.index, d.given, d.suggested) for d in doubtful_labels(sure, np.array(
    ...     [0, 0, 1, 1]))]
    [(3, 1, 0)]
    """
    p = np.asarray(probabilities, dtype=np.float64)
    own = p[np.arange(len(p)), labels]
    suggested = confident_class(p, labels, slack=1e-6)
    off = (suggested >= 0) & (suggested != labels)
    doubts = [
        LabelDoubt(int(i), int(labels[i]), int(suggested[i]),
                   float(p[i, suggested[i]] - own[i]))
        for i in np.flatnonzero(off)
    ]  # fmt: skip
    likely = [doubt for doubt in doubts if doubt.margin > 0]
    return sorted(likely, key=lambda doubt: (-doubt.margin, doubt.index))
