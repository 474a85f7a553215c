"""A network's last layer fitted to features by itself: seconds, not epochs."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from torch import nn

from convscope.errors import DataError, ShapeError

# Inverse strengths of the penalty to choose among, for features of unit variance.
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FOLDS = 5
MOST = 5_000  # images that the strength is chosen with
STEPS = 300  # of L-BFGS
SCALES = (-7.0, 14.0)  # natural logarithms of the least and the largest


@dataclass(frozen=True)
class LinearHead:
    """A linear layer from features to classes, and how well it did in folds.

    Attributes:
        weight: (K, F) float32.
        bias: (K,) float32.
        strength: Inverse strength of the penalty that was chosen.
        scale: What outputs were multiplied by, so that probabilities are as high as
            images that were left out are right; 1 where nothing can be left out, or
            nobody asked for it.
        accuracy: Mean over folds of the accuracy on images that were left out; None
            where a class has a single image, so that nothing can be left out.
    """

    weight: np.ndarray
    bias: np.ndarray
    strength: float
    scale: float
    accuracy: float | None

    def copy_into(self, layer: nn.Linear) -> None:
        """Gives a layer this weight and bias.

        Raises:
            ShapeError: The layer is for other features or classes.
        """
        theirs = (layer.out_features, layer.in_features)
        if theirs != self.weight.shape or layer.bias is None:
            raise ShapeError(
                f"linear head: the layer has a weight of {theirs}, the fit one of "
                f"{self.weight.shape}. Give the last layer of the network that made "
                "the features, with a bias and one output for each class."
            )
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(self.weight))
            layer.bias.copy_(torch.from_numpy(self.bias))


def fit_linear_head(
    features: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    seed: int = 0,
    calibrate: bool = True,
) -> LinearHead:
    """Multinomial logistic regression; its penalty is chosen by cross-validation.

    Features are brought to mean 0 and variance 1 for the fit, which the answer takes
    back, so that it takes features as they are. The penalty that is right most often
    may leave all probabilities alike: a scale, of the same folds, mends that and
    changes no class.

    Args:
        features: One row for each image.
        labels: Class of each image, 0 to ``num_classes - 1``.
        num_classes: Outputs; a class without an image never wins.
        seed: Of the folds.
        calibrate: Whether to find the scale. Training of all layers rather begins
            with the smaller outputs: with the scale its cross-entropy on test images
            was higher (CIFAR-10, 20 images of each class).

    Shape:
        features: (N, F)
        labels:   (N,)

    Raises:
        DataError: Fewer than two classes have images, or features are not finite.

    Source:
        The scale: Guo et al. 2017, On calibration of modern neural networks, section
        4.2, against the targets of Platt 1999, Probabilistic outputs for support vector
        machines, section 2.2, here for more than two classes: images that are all
        right do not make it infinite.

    >>> x = np.array([[0.0], [0.1], [1.0], [1.1]], np.float32)
    >>> fit_linear_head(x, np.array([0, 0, 1, 1]), 2).accuracy
    1.0
    """
    present, counts = np.unique(labels, return_counts=True)
    if len(present) < 2:
        raise DataError(
            f"linear head: images of {len(present)} class; two are needed to tell "
            "apart. Add images of another class."
        )
    if not np.isfinite(features).all():
        raise DataError(
            "linear head: features are not finite. The network's weights are damaged, "
            "or its inputs are."
        )
    mean, scale = features.mean(0), features.std(0)
    scale[scale < 1e-6 * max(1e-12, float(scale.max()))] = 1.0  # a constant feature
    x = (features - mean) / scale
    strength, scale_up, accuracy = _chosen(x, labels, int(counts.min()), seed)
    scale_up = scale_up if calibrate else 1.0
    own, intercept = _rows(_fitted(x, labels, strength))
    own, intercept = own * scale_up, intercept * scale_up
    weight = np.zeros((num_classes, x.shape[1]), np.float32)
    bias = np.full(num_classes, -1e4, np.float32)
    weight[present] = own / scale
    bias[present] = intercept - (own * (mean / scale)).sum(1)
    return LinearHead(weight, bias, strength, scale_up, accuracy)


def _chosen(
    x: np.ndarray, labels: np.ndarray, fewest: int, seed: int
) -> tuple[float, float, float | None]:
    """The strength whose folds are best, the scale that suits them, their accuracy."""
    if fewest < 2:
        return STRENGTHS[len(STRENGTHS) // 2], 1.0, None
    if len(x) > MOST:
        some = np.random.default_rng(seed).permutation(len(x))[:MOST]
        x, labels = x[some], labels[some]
        fewest = int(np.unique(labels, return_counts=True)[1].min())
    folds = StratifiedKFold(max(2, min(FOLDS, fewest)), shuffle=True, random_state=seed)
    parts = list(folds.split(x, labels))
    classes, places = np.unique(labels, return_inverse=True)
    best, most, kept = STRENGTHS[0], -1.0, np.empty((0, 0))
    for strength in STRENGTHS:  # of equal ones the first, whose penalty is strongest
        scores = np.empty((len(x), len(classes)))
        for rest, out in parts:
            scores[out] = _scores(
                _fitted(x[rest], labels[rest], strength), x[out], classes
            )
        right = scores.argmax(1) == places
        accuracy = float(np.mean([right[out].mean() for _, out in parts]))
        if accuracy > most:
            best, most, kept = strength, accuracy, scores
    return best, _scale(kept, places), most


def _rows(fitted: LogisticRegression) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias with one row for each class, also where there are two."""
    if len(fitted.classes_) > 2:
        return fitted.coef_, fitted.intercept_
    weight = np.concatenate([np.zeros_like(fitted.coef_), fitted.coef_])
    return weight, np.array([0.0, fitted.intercept_[0]])


def _scores(
    fitted: LogisticRegression, x: np.ndarray, classes: np.ndarray
) -> np.ndarray:
    """Outputs for each of ``classes``; those that were not fitted come last."""
    weight, bias = _rows(fitted)
    found = x @ weight.T + bias
    scores = np.repeat(found.min(1, keepdims=True), len(classes), axis=1)
    scores[:, np.searchsorted(classes, fitted.classes_)] = found
    return scores


def _scale(scores: np.ndarray, places: np.ndarray) -> float:
    """What outputs are multiplied by for the least cross-entropy."""
    count, classes = scores.shape
    targets = np.full(scores.shape, 1 / (count + classes))
    targets[np.arange(count), places] = (count + 1) / (count + classes)

    def loss(log_scale: float) -> float:
        own = np.exp(log_scale) * scores
        return float((logsumexp(own, axis=1) - (targets * own).sum(1)).mean())

    found = minimize_scalar(loss, bounds=SCALES, method="bounded")
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0


def _fitted(x: np.ndarray, labels: np.ndarray, strength: float) -> LogisticRegression:
    with warnings.catch_warnings():
        # A weak penalty may not be through after so many steps: good enough to compare.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=STEPS).fit(x, labels)
