"""Pictures that stand out among the features of others: pure arrays in, indices out.

Every rule compares a picture with what is usual in this set, so that no threshold
depends on which network made the features, or on what the pictures show.
"""

from dataclasses import dataclass

import numpy as np

from convscope.data.confident_learning import confident_class

BLOCK = 1024  # rows of the table of distances made at a time
NEIGHBORS = 10  # whose distance is what is usual around a picture
ALIKE = 0.5  # of that distance: nearer ones are look-alikes
ALIKE_IN_PIXELS = 0.95  # the same where the thumbnails correlate, too
CORRELATED = 0.9
ROUNDING = 2e-3  # distances of float32 numbers below it are noise
MARGIN = 0.5  # of probability, by which another class must lead
PENALTIES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)  # per image, for features of variance 1
SCALES = (1, 2, 3, 5, 7, 10, 14, 20, 30)  # of outputs, before their softmax
SPREAD_PENALTY = 1e-2
OUTLYING = 3.5  # robust standard deviations: Iglewicz and Hoaglin 1993, section 3.3
FEWEST = 5  # images of a class, below which nothing is said about it


@dataclass(frozen=True)
class Neighbors:
    """The nearest pictures of each, nearest first, and how far they are.

    Attributes:
        indices: (N, K).
        distances: (N, K) between directions of features: 0 the same, 2 opposite.
    """

    indices: np.ndarray
    distances: np.ndarray

    @property
    def usual(self) -> np.ndarray:
        """(N,): the distance to the last of them."""
        last: np.ndarray = self.distances[:, -1]
        return last


def nearest(features: np.ndarray, count: int = NEIGHBORS) -> Neighbors:
    """The nearest pictures by the angle between features, their mean taken off first.

    Args:
        features: One row for each picture, at least two rows.
        count: How many; at most half of the others.

    Shape:
        features: (N, F)

    >>> x = np.array([[0, 1], [0, 1.1], [5, 0], [5, 0.1], [3, 3]])
    >>> nearest(x, 1).indices[:4, 0].tolist()
    [1, 0, 3, 2]
    """
    rows = features.astype(np.float32)
    rows = _unit(rows - rows.mean(axis=0))
    count = max(1, min(count, (len(rows) - 1) // 2))
    indices = np.empty((len(rows), count), np.int64)
    distances = np.empty((len(rows), count), np.float32)
    for start in range(0, len(rows), BLOCK):
        cosines = rows[start : start + BLOCK] @ rows.T
        here = np.arange(len(cosines))
        cosines[here, start + here] = -np.inf  # not its own neighbor
        found = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(cosines, found, 1)
        order = np.argsort(-values, axis=1, kind="stable")
        indices[start : start + BLOCK] = np.take_along_axis(found, order, 1)
        values = np.take_along_axis(values, order, 1)
        distances[start : start + BLOCK] = np.sqrt(np.maximum(0, 2 - 2 * values))
    return Neighbors(indices, distances)


@dataclass(frozen=True)
class LookAlike:
    """Two pictures much nearer to each other than to the rest.

    Attributes:
        first: Index of one.
        second: Index of the other, the larger.
        score: 1 for the same features, 0 for a distance that is usual here.
        correlation: Of their thumbnails.
    """

    first: int
    second: int
    score: float
    correlation: float


def look_alikes(near: Neighbors, thumbnails: np.ndarray) -> list[LookAlike]:
    """Pairs of pictures that may be one picture twice, the most alike first.

    Two are alike if they are at most ``ALIKE`` times as far apart as either is from its
    ``NEIGHBORS``-th neighbor, whichever is less; ``ALIKE_IN_PIXELS`` times is enough
    where their thumbnails correlate to ``CORRELATED``. A group of more copies than
    ``NEIGHBORS`` is what is usual there, and is not found.

    Shape:
        thumbnails: (N, S, S) uint8
    """
    small = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    small = _unit(small - small.mean(axis=1, keepdims=True))
    first = np.repeat(np.arange(len(near.indices)), near.indices.shape[1])
    second = near.indices.ravel()
    usual = np.minimum(near.usual[first], near.usual[second])
    told = usual > ROUNDING  # where ten are at one place, that is what is usual
    ratio = np.where(told, near.distances.ravel() / np.where(told, usual, 1), np.inf)
    correlation = np.concatenate(
        [
            (small[first[i : i + BLOCK]] * small[second[i : i + BLOCK]]).sum(axis=1)
            for i in range(0, len(first), BLOCK)
        ]
    )
    limit = np.where(correlation >= CORRELATED, ALIKE_IN_PIXELS, ALIKE)
    found: dict[tuple[int, int], LookAlike] = {}
    for i in np.flatnonzero(ratio <= limit).tolist():
        pair = (int(min(first[i], second[i])), int(max(first[i], second[i])))
        score = 1 - float(ratio[i])
        found[pair] = LookAlike(*pair, score, float(correlation[i]))
    return sorted(found.values(), key=lambda each: -each.score)


@dataclass(frozen=True)
class Doubt:
    """A picture whose label may be wrong.

    Attributes:
        index: Of the picture.
        instead: The class that it may be of.
        score: How far that class's probability is above the label's, up to 1.
        witness: Index of its nearest neighbor in that class.
    """

    index: int
    instead: int
    score: float
    witness: int


def doubtful_labels(
    features: np.ndarray, labels: np.ndarray, near: Neighbors
) -> list[Doubt]:
    """Pictures that a linear layer and their neighbors put into another class.

    The layer is fitted by ridge regression, and judges each picture as if it had been
    fitted without it. A picture is in doubt if (1) another class reaches the mean
    probability that it has among its own pictures, and leads those that do; (2) it is
    ``MARGIN`` more probable than the label; (3) more than twice as many of the
    neighbors have it as have the label.

    Args:
        features: One row for each picture.
        labels: Class of each, from 0. Classes of fewer than ``FEWEST`` pictures are
            left out.
        near: Of the same features.

    Shape:
        features: (N, F)
        labels:   (N,)

    Returns:
        The most certain first.

    Source:
        (1) is the rule of Northcutt, Jiang and Chuang 2021, Confident Learning:
        Estimating Uncertainty in Dataset Labels, section 3.1. There the probabilities
        are of folds; here each picture is left out by itself, in closed form (Allen
        1974, The Relationship Between Variable Selection and Data Augmentation and a
        Method for Prediction). (2) and (3) are ours.
    """
    chosen = _of_large_classes(labels)
    names = np.unique(labels[chosen])
    if len(names) < 2:
        return []
    own = np.searchsorted(names, labels[chosen])
    probable = _left_out(features[chosen], own, len(names))
    here = np.arange(len(own))
    instead = confident_class(probable, own)
    score = probable[here, instead] - probable[here, own]
    votes = labels[near.indices[chosen]]
    for_label = (votes == names[own][:, None]).sum(axis=1)
    for_other = (votes == names[instead][:, None]).sum(axis=1)
    doubted = (
        (instead >= 0)
        & (instead != own)
        & (score >= MARGIN)
        & (for_other > 2 * for_label)
    )
    found = []
    for i in np.flatnonzero(doubted).tolist():
        others = near.indices[chosen[i]]
        witness = others[labels[others] == names[instead[i]]][0]
        found.append(
            Doubt(int(chosen[i]), int(names[instead[i]]), float(score[i]), int(witness))
        )
    return sorted(found, key=lambda each: -each.score)


@dataclass(frozen=True)
class Outlier:
    """A picture unlike those of its class.

    Attributes:
        index: Of the picture.
        score: Robust standard deviations above what is usual in its class.
    """

    index: int
    score: float


def outliers(features: np.ndarray, labels: np.ndarray) -> list[Outlier]:
    """Pictures far from their class for how pictures vary within classes.

    The distance is Mahalanobis's with one covariance for all classes, and each picture
    is left out of it: the logarithm of ``1 / (1 - leverage)`` in ridge regression. It
    is compared with the median of the class, in units of 1.4826 times the median
    deviation of all; from ``OUTLYING`` on it counts.

    Args:
        features: One row for each picture.
        labels: Class of each, from 0. Classes of fewer than ``FEWEST`` pictures are
            left out.

    Shape:
        features: (N, F)
        labels:   (N,)

    Returns:
        The farthest first.

    Source:
        Lee et al. 2018, A Simple Unified Framework for Detecting Out-of-Distribution
        Samples, equation 2; there pictures are not left out, and nothing is compared
        with its class. The limit is that of Iglewicz and Hoaglin 1993, How to Detect
        and Handle Outliers.
    """
    chosen = _of_large_classes(labels)
    if not len(chosen):
        return []
    rows = _unit(features[chosen].astype(np.float64))
    names, own, counts = np.unique(
        labels[chosen], return_inverse=True, return_counts=True
    )
    for k, count in enumerate(counts.tolist()):
        inside = own == k  # each from the mean of the others
        rows[inside] = (rows[inside] - rows[inside].mean(axis=0)) * count / (count - 1)
    basis, energy = _principal(rows)
    kept = energy / (energy + SPREAD_PENALTY * len(rows))
    leverage = (basis**2 * kept).sum(axis=1)
    far = -np.log(np.maximum(1 - leverage, 1e-12))
    for k in range(len(names)):
        far[own == k] -= np.median(far[own == k])
    spread = 1.4826 * float(np.median(np.abs(far)))
    if spread <= 1e-9:  # all are alike
        return []
    scores = far / spread
    found = [
        Outlier(int(chosen[i]), float(scores[i]))
        for i in np.flatnonzero(scores >= OUTLYING).tolist()
    ]
    return sorted(found, key=lambda each: -each.score)


def _of_large_classes(labels: np.ndarray) -> np.ndarray:
    """Indices of the pictures whose class has enough of them."""
    return np.flatnonzero(np.bincount(labels)[labels] >= FEWEST)


def _left_out(features: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """(N, K) probabilities of each picture by a layer that was fitted without it.

    Penalty and scale are those of the greatest likelihood of the labels.
    """
    rows = _unit(features.astype(np.float64))
    targets = np.eye(classes)[labels]
    targets -= targets.mean(axis=0)
    basis, energy = _principal(rows - rows.mean(axis=0))
    inner = basis.T @ targets
    here = np.arange(len(labels))
    best, found = -np.inf, np.asarray(targets)
    for penalty in PENALTIES:
        kept = energy / (energy + penalty * len(rows))
        leverage = (basis**2 * kept).sum(axis=1, keepdims=True)
        missed = targets - basis @ (kept[:, None] * inner)
        outputs = targets - missed / np.maximum(1 - leverage, 1e-12)
        for scale in SCALES:
            raised = np.exp(scale * (outputs - outputs.max(axis=1, keepdims=True)))
            probable = raised / raised.sum(axis=1, keepdims=True)
            likelihood = float(np.log(probable[here, labels] + 1e-12).mean())
            if likelihood > best:
                best, found = likelihood, probable
    return found


def _principal(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left singular vectors and squared singular values, for rows of mean square 1.

    Found from the smaller of the two tables of products.
    """
    size = np.sqrt((rows**2).sum(axis=1).mean())
    rows = rows / max(float(size), 1e-12)
    if len(rows) <= rows.shape[1]:
        energy, basis = np.linalg.eigh(rows @ rows.T)
        energy = np.maximum(energy, 0)
        return basis, energy
    energy, axes = np.linalg.eigh(rows.T @ rows)
    present = energy > 1e-10 * max(float(energy[-1]), 1e-12)
    energy, axes = energy[present], axes[:, present]
    basis = np.divide(rows @ axes, np.sqrt(energy))
    return basis, energy


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; those of length 0 stay."""
    length = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    scaled: np.ndarray = np.divide(rows, np.maximum(length, 1e-12))
    return scaled
