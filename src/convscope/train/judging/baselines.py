"""What can be had without a network: the figures that one has to beat."""

import time
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convscope.data.dataset import Samples
from convscope.train.judging.uncertainty import wilson

Array = npt.NDArray[np.float32]

SIDE = 16  # pixels; images are averaged down to it, for a distance wants few numbers
NEIGHBORS, LINEAR = 5_000, 2_000  # training images at most
JUDGED = 2_000  # images at most


@dataclass(frozen=True)
class Baseline:
    """A simple method on the same images.

    Attributes:
        name: ``majority class``, ``nearest neighbor``, ``linear on pixels``.
        accuracy: On the images that it judged.
        interval: 95% Wilson interval of that.
        images: How many it judged.
        trained_on: How many it learned from.
        seconds: How long it took.
    """

    name: str
    accuracy: float
    interval: tuple[float, float]
    images: int
    trained_on: int
    seconds: float


def baselines(train: Samples, judged: Samples, *, seed: int = 0) -> list[Baseline]:
    """Majority class, nearest neighbor and a linear classifier, by scikit-learn.

    The last two see pixels, averaged down to 16 x 16; they learn from at most 5,000
    and 2,000 training images and judge at most 2,000, so that it takes seconds.

    Args:
        train: What they learn from.
        judged: What they are judged on.
        seed: Of the choice where there are too many.

    >>> from convscope.data import load
    >>> digits = load("digits")
    >>> for each in baselines(digits.train, digits.test):
    ...     print(each.name, each.accuracy > 0.8)
    majority class False
    nearest neighbor True
    linear on pixels True
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(seed)
    train, judged = _labeled(train), _labeled(judged)
    if not len(train) or not len(judged):
        return []
    labels = train.labels.numpy()
    values, counts = np.unique(labels, return_counts=True)
    hits = int((judged.labels.numpy() == values[counts.argmax()]).sum())
    found = [Baseline("majority class", hits / len(judged), wilson(hits, len(judged)),
                      len(judged), len(train), 0.0)]  # fmt: skip
    if len(values) < 2:
        return found
    few = _chosen(judged, JUDGED, rng)
    x, y = _small(few), few.labels.numpy()
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    for name, method, most in (
        ("nearest neighbor", KNeighborsClassifier(1), NEIGHBORS),
        ("linear on pixels", linear, LINEAR),
    ):
        began = time.perf_counter()
        known = _chosen(train, most, rng)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it need not converge
            method.fit(_small(known), known.labels.numpy())
        right = int((method.predict(x) == y).sum())
        taken = time.perf_counter() - began
        found.append(Baseline(name, right / len(y), wilson(right, len(y)), len(y),
                              len(known), taken))  # fmt: skip
    return found


def _labeled(samples: Samples) -> Samples:
    known = np.flatnonzero(samples.labels.numpy() >= 0)
    return samples if len(known) == len(samples) else samples.subset(known)


def _chosen(samples: Samples, most: int, rng: np.random.Generator) -> Samples:
    if len(samples) <= most:
        return samples
    return samples.subset(np.sort(rng.permutation(len(samples))[:most]))


def _small(samples: Samples) -> Array:
    """(N, C * side * side) means over blocks of pixels, from 0 to 1."""
    from torch.nn.functional import adaptive_avg_pool2d

    pixels = samples.pixels.float()
    height, width = pixels.shape[-2:]
    if max(height, width) > SIDE:
        pixels = adaptive_avg_pool2d(pixels, (min(SIDE, height), min(SIDE, width)))
    top = 65535 if samples.pixels.element_size() == 2 else 255
    flat: Array = (pixels.flatten(1) / top).numpy()
    return flat
