"""Which class a classifier is confident of, for labels that may be wrong."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def confident_class(
    probabilities: Array, labels: npt.NDArray[np.int64], *, slack: float = 0.0
) -> npt.NDArray[np.int64]:
    """The most probable class among those that are as probable as usual; -1 for none.

    What is usual of a class is its mean probability over the images labeled so; then a
    class that the classifier is often sure of has to be more probable than one that it
    is seldom sure of. A class that is the label of no image is never chosen.

    Args:
        probabilities: Of images that the classifier has not learned from.
        labels: Classes as they are given.
        slack: How far below the usual counts as reaching it.

    Shape:
        probabilities: (N, K)
        labels:        (N,)
        return:        (N,)

    Source:
        Northcutt, Jiang and Chuang 2021, Confident learning: estimating uncertainty in
        dataset labels, JAIR 70, equations 1 and 2 (the confident joint).

    >>> sure = np.array([[0.9, 0.1], [0.7, 0.3], [0.1, 0.9]])
    >>> confident_class(sure, np.array([0, 0, 1])).tolist()
    [0, -1, 1]
    """
    usual = np.full(probabilities.shape[1], np.inf)
    for label in np.unique(labels):
        usual[label] = probabilities[labels == label, label].mean()
    reached = np.where(probabilities >= usual - slack, probabilities, -1.0)
    chosen: npt.NDArray[np.int64] = reached.argmax(axis=1)
    return np.where(reached.max(axis=1) >= 0, chosen, -1)
