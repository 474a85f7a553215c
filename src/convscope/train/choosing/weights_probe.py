"""Whether published weights tell the pictures apart, and at what size: measured.

Some pictures of each class are halved; what is fitted to one half judges the other, and
the other way round. A linear rule on what the network with the weights gives, at two
sizes, stands beside a small network that learns from nothing. All judge the same
pictures, so that two of them are compared picture by picture.
"""

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from convscope import models
from convscope.data import Dataset
from convscope.data.dataset import Samples
from convscope.data.preprocessing import Preprocessing
from convscope.data.progress import Progress
from convscope.train.choosing.small_network import learned, scaled_down
from convscope.train.judging.features import features
from convscope.train.starting_weights import Start

PICTURES = 200  # looked at, about
MOST_CLASSES = 50  # of which some pictures are looked at
FEWEST_OF_A_CLASS = 4
FEWEST = 40  # pictures below which nothing is concluded
SMALLER = 128  # pixels; what the other size is compared with
SHOWN = 24  # times that the small network sees each picture
# Shares of the mean square of a feature that ridge regression adds, to choose among.
RIDGES = (0.01, 0.1, 1.0, 10.0, 100.0)


@dataclass(frozen=True)
class WeightsProbe:
    """What was measured, and what follows.

    Attributes:
        pictures: How many were judged.
        right_at: Side in pixels, and how many are right by the weights at that size,
            the smaller size first.
        size: The size to take: the larger only where it is better by more than its
            error.
        right_small: How many a small network without weights gets right; None if that
            was not asked.
        pays: Whether training should begin with the weights: unless the small network
            is better by more than twice its error.
        seconds: What measuring took.

    >>> print(WeightsProbe(200, ((128, 150), (224, 164)), 224, 60, True, 4.0))
    measured in 4.0 s on 200 pictures, half to learn from: a linear layer on the \
weights' features is right for 75% at 128 pixels and 82% at 224, a small network \
without weights for 30%
    """

    pictures: int
    right_at: tuple[tuple[int, int], ...]
    size: int
    right_small: int | None
    pays: bool
    seconds: float

    def __str__(self) -> str:
        """One line."""
        (first, right), *rest = self.right_at
        shares = f"{right / self.pictures:.0%} at {first} pixels"
        for side, count in rest:
            shares += f" and {count / self.pictures:.0%} at {side}"
        beside = ""
        if self.right_small is not None:
            share = self.right_small / self.pictures
            beside = f", a small network without weights for {share:.0%}"
        return (
            f"measured in {self.seconds:.1f} s on {self.pictures} pictures, half to "
            f"learn from: a linear layer on the weights' features is right for {shares}"
            f"{beside}"
        )


def probe_weights(
    data: Dataset,
    start: Start,
    *,
    size: int | None = None,
    against_none: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> WeightsProbe | None:
    """Measures the weights on some training and validation pictures.

    The same seed, data and machine give the same answer. For 200 pictures it costs
    about five seconds of one core.

    Args:
        data: As it was loaded; pictures that lie in files are decoded again.
        start: The weights.
        size: Pixels, if that is decided already.
        against_none: Whether a small network without weights is to be beaten.
        seed: Of the choice of pictures, and of the small network.
        progress: Called with steps done, steps in all, and what is being done.

    Returns:
        None where there are too few pictures to tell.
    """
    began = time.monotonic()
    chosen = _chosen(data, seed)
    if len(chosen) < FEWEST:
        return None
    labels = chosen.labels.numpy()
    halves = _halves(labels, seed)
    right: dict[int, np.ndarray] = {}
    net = models.build(start.model, weights=start.name)
    largest = start.size[0] if size is None else size
    whole = start.preprocessing(3, largest)
    pixels = _decoded(chosen, data, whole)
    sides = [largest] if size is not None else sorted({SMALLER, largest})
    for side in sides:
        if progress is not None:
            progress(len(right), len(sides), "measuring the weights")
        declared = start.preprocessing(3, side)
        found = features(net, torch.from_numpy(_at(pixels, declared)), declared)
        right[side] = _judged(found, labels, halves) == labels
    small = None
    if against_none:
        small = _by_small_network(chosen, data, halves, seed) == labels
    best = _size(right)
    return WeightsProbe(
        len(labels),
        tuple((side, int(each.sum())) for side, each in right.items()),
        best,
        None if small is None else int(small.sum()),
        small is None or not _better(small, right[best], errors=2),
        time.monotonic() - began,
    )


def _chosen(data: Dataset, seed: int) -> Samples:
    """About ``PICTURES``, the same number of each class as far as there are."""
    parts = [part for part in (data.train, data.val) if len(part)]
    labels = np.concatenate([part.labels.numpy() for part in parts])
    draw = np.random.default_rng(seed)
    classes = draw.permutation(np.unique(labels))[:MOST_CLASSES]
    each = max(FEWEST_OF_A_CLASS, PICTURES // max(len(classes), 1))
    rows = np.sort(
        np.concatenate(
            [draw.permutation(np.flatnonzero(labels == one))[:each] for one in classes]
        )
    )
    first = parts[0].subset(rows[rows < len(parts[0])])
    if len(parts) == 1:
        return first
    second = parts[1].subset(rows[rows >= len(parts[0])] - len(parts[0]))
    return Samples(
        torch.cat([first.pixels, second.pixels]),
        torch.cat([first.labels, second.labels]),
        [*first.names, *second.names],
    )


def _halves(labels: np.ndarray, seed: int) -> np.ndarray:
    """Which pictures are of the first half; every class is halved."""
    at_random = np.random.default_rng(seed + 1).random(len(labels))
    first = np.zeros(len(labels), bool)
    first[np.lexsort((at_random, labels))[::2]] = True
    return first


def _decoded(chosen: Samples, data: Dataset, declared: Preprocessing) -> np.ndarray:
    """(N, 3, H, W), from the files where there are some."""
    if Path(data.source).is_dir() and data.source:
        with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
            return np.stack(list(pool.map(declared.decode, chosen.names)))
    return _at(chosen.pixels.numpy(), declared)


def _at(pixels: np.ndarray, declared: Preprocessing) -> np.ndarray:
    """The same pictures as ``declared``."""
    return np.stack(
        [declared.decode_array(np.moveaxis(image, 0, -1)) for image in pixels]
    )


def _judged(found: np.ndarray, labels: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The class that a linear rule fitted to one half gives each picture of the other.

    Shape:
        found:  (N, F) float32
        labels: (N,)
        first:  (N,) bool
    """
    guesses = np.empty_like(labels)
    for learn in (first, ~first):
        guesses[~learn] = _ridge(found[learn], labels[learn], found[~learn])
    return guesses


def _ridge(x: np.ndarray, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Classes of others by ridge regression on one output for each class.

    The penalty is the one that is best when each picture is left out in turn, which
    takes no further fit (Golub, Heath and Wahba 1979).
    """
    mean, scale = x.mean(0), x.std(0)
    scale[scale < 1e-6 * max(1e-12, float(scale.max()))] = 1.0
    x, others = (x - mean) / scale, (others - mean) / scale
    classes, places = np.unique(labels, return_inverse=True)
    targets = np.eye(len(classes))[places]
    middle = targets.mean(0)
    values, vectors = np.linalg.eigh((x @ x.T).astype(np.float64))
    turned = vectors.T @ (targets - middle)
    best, most = np.zeros_like(targets), -1
    for ridge in RIDGES:
        penalty = ridge * x.shape[1]
        shrunk = penalty / (values.clip(0) + penalty)
        missed = vectors @ (shrunk[:, None] * turned)
        own = (vectors**2) @ shrunk - 1 / len(x)  # 1 / N: the mean has seen it too
        left_out = targets - missed / own.clip(1e-9)[:, None]
        right = int((left_out.argmax(1) == places).sum())
        if right > most:
            best, most = missed / penalty, right
    answers: np.ndarray = (others @ x.T) @ best + middle
    guesses: np.ndarray = classes[answers.argmax(1)]
    return guesses


def _by_small_network(
    chosen: Samples, data: Dataset, first: np.ndarray, seed: int
) -> np.ndarray:
    """The class that a small network trained on one half gives each of the other."""
    images = scaled_down(data.preprocessing.normalize(chosen.pixels))
    halves = torch.from_numpy(first)
    guesses: Tensor = torch.empty_like(chosen.labels)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        for learn in (halves, ~halves):
            own = images[learn], chosen.labels[learn]
            net = learned(*own, len(data.classes), SHOWN * len(own[0]))
            with torch.inference_mode():
                guesses[~learn] = net(images[~learn]).argmax(1)
    found: np.ndarray = guesses.numpy()
    return found


def _size(right: dict[int, np.ndarray]) -> int:
    """The larger size if it is better, else the smaller."""
    smaller, larger = min(right), max(right)
    return larger if _better(right[larger], right[smaller]) else smaller


def _better(one: np.ndarray, other: np.ndarray, errors: float = 1) -> bool:
    """Whether one is right more often than the other, by more than so many errors.

    Only pictures count that the two judge differently; their difference has the
    standard error of as many tosses of a coin (McNemar 1947).
    """
    won, lost = int((one & ~other).sum()), int((other & ~one).sum())
    return won - lost > errors * math.sqrt(won + lost)
