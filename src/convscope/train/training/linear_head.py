"""A network's last layer fitted to features by itself: seconds, not epochs."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
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


@dataclass(frozen=True)
class LinearHead:
    """A linear layer from features to classes, and how well it did in folds.

    Attributes:
        weight: (K, F) float32.
        bias: (K,) float32.
        strength: Inverse strength of the penalty that was chosen.
        accuracy: Mean over folds of the accuracy on images that were left out; None
            where a class has a single image, so that nothing can be left out.
    """

    weight: np.ndarray
    bias: np.ndarray
    strength: float
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
    features: np.ndarray, labels: np.ndarray, num_classes: int, *, seed: int = 0
) -> LinearHead:
    """Multinomial logistic regression; its penalty is chosen by cross-validation.

    Features are brought to mean 0 and variance 1 for the fit, which the answer takes
    back, so that it takes features as they are.

    Args:
        features: One row for each image.
        labels: Class of each image, 0 to ``num_classes - 1``.
        num_classes: Outputs; a class without an image never wins.
        seed: Of the folds.

    Shape:
        features: (N, F)
        labels:   (N,)

    Raises:
        DataError: Fewer than two classes have images, or features are not finite.

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
    strength, accuracy = _strength(x, labels, int(counts.min()), seed)
    fitted = _fitted(x, labels, strength)
    if len(present) == 2:  # one row for two classes
        own = np.concatenate([np.zeros_like(fitted.coef_), fitted.coef_])
        intercept = np.array([0.0, fitted.intercept_[0]])
    else:
        own, intercept = fitted.coef_, fitted.intercept_
    weight = np.zeros((num_classes, x.shape[1]), np.float32)
    bias = np.full(num_classes, -1e4, np.float32)
    weight[present] = own / scale
    bias[present] = intercept - (own * (mean / scale)).sum(1)
    return LinearHead(weight, bias, strength, accuracy)


def _strength(
    x: np.ndarray, labels: np.ndarray, fewest: int, seed: int
) -> tuple[float, float | None]:
    """The strength whose folds are best, and their accuracy."""
    if fewest < 2:
        return STRENGTHS[len(STRENGTHS) // 2], None
    if len(x) > MOST:
        some = np.random.default_rng(seed).permutation(len(x))[:MOST]
        x, labels = x[some], labels[some]
        fewest = int(np.unique(labels, return_counts=True)[1].min())
    folds = StratifiedKFold(max(2, min(FOLDS, fewest)), shuffle=True, random_state=seed)
    parts = list(folds.split(x, labels))
    found = {
        strength: float(
            np.mean(
                [
                    _fitted(x[rest], labels[rest], strength).score(x[out], labels[out])
                    for rest, out in parts
                ]
            )
        )
        for strength in STRENGTHS
    }
    best = max(found, key=lambda strength: (found[strength], -strength))
    return best, found[best]


def _fitted(x: np.ndarray, labels: np.ndarray, strength: float) -> LogisticRegression:
    with warnings.catch_warnings():
        # A weak penalty may not be through after so many steps: good enough to compare.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=STEPS).fit(x, labels)
