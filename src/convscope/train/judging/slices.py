"""Where a network fails: on the bright, the dim, the small, on which two classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convscope.data.dataset import Samples
from convscope.train.judging.uncertainty import wilson

SLICES = 4  # of equal numbers of images
FEWEST = 20  # images in a slice, below which it says nothing
CHUNK = 4096  # images measured at a time


@dataclass(frozen=True)
class Slice:
    """Images alike in one respect, and how well the network does on them.

    Attributes:
        quantity: In what they are alike: ``brightness``, ``contrast``, ``size``.
        low: Smallest value in the slice.
        high: Largest value in the slice.
        images: How many there are.
        correct: How many of them are called by their name.
        interval: 95% Wilson interval of the accuracy.
        stands_out: Whether the accuracy differs from that of all the other images by
            more than chance would explain (Fisher's exact test, 5% over all slices).
    """

    quantity: str
    low: float
    high: float
    images: int
    correct: int
    interval: tuple[float, float]
    stands_out: bool

    @property
    def accuracy(self) -> float:
        """``correct / images``."""
        return self.correct / self.images


def measured(samples: Samples) -> dict[str, npt.NDArray[np.float64]]:
    """Brightness and contrast of each image, from 0 to 1: mean and spread of pixels.

    >>> import torch
    >>> gray = torch.full((1, 1, 2, 2), 51, dtype=torch.uint8)
    >>> one = measured(Samples(gray, torch.tensor([0]), ["a"]))
    >>> one["brightness"].tolist(), one["contrast"].tolist()
    ([0.2], [0.0])
    """
    top = 65535.0 if samples.pixels.element_size() == 2 else 255.0
    means, spreads = [], []
    for start in range(0, len(samples), CHUNK):
        some = samples.pixels[start : start + CHUNK].flatten(1).numpy() / top
        means.append(some.mean(axis=1))
        spreads.append(some.std(axis=1))
    return {"brightness": np.concatenate(means), "contrast": np.concatenate(spreads)}


def slices(
    quantities: Mapping[str, npt.NDArray[np.float64]], hits: npt.NDArray[np.bool_]
) -> list[Slice]:
    """Accuracy in each quarter of each quantity; quarters of equal values are joined.

    Args:
        quantities: One value for each image, by name.
        hits: Whether each image was called by its name.

    >>> rng = np.random.default_rng(0)
    >>> dim = rng.random(400)
    >>> found = slices({"brightness": dim}, dim > 0.25)
    >>> [(each.images, each.accuracy > 0.9, each.stands_out) for each in found]
    [(100, False, True), (100, True, True), (100, True, True), (100, True, True)]
    """
    found: list[tuple[str, npt.NDArray[np.float64], npt.NDArray[np.bool_]]] = []
    for name, values in quantities.items():
        edges = np.unique(np.quantile(values, np.linspace(0, 1, SLICES + 1)))
        if len(edges) < 3:
            continue  # all alike
        place = np.clip(np.searchsorted(edges, values, "right") - 1, 0, len(edges) - 2)
        for number in range(len(edges) - 1):
            inside = place == number
            if inside.sum() >= FEWEST:
                found.append((name, values, inside))
    return [_slice(name, values, inside, hits, len(found))
            for name, values, inside in found]  # fmt: skip


def _slice(
    name: str,
    values: npt.NDArray[np.float64],
    inside: npt.NDArray[np.bool_],
    hits: npt.NDArray[np.bool_],
    tests: int,
) -> Slice:
    from scipy.stats import fisher_exact  # with scikit-learn; slow to import

    images, correct = int(inside.sum()), int(hits[inside].sum())
    others, theirs = int((~inside).sum()), int(hits[~inside].sum())
    chance = 1.0
    if others:
        table = [[correct, images - correct], [theirs, others - theirs]]
        chance = float(fisher_exact(table).pvalue)
    return Slice(
        quantity=name,
        low=float(values[inside].min()),
        high=float(values[inside].max()),
        images=images,
        correct=correct,
        interval=wilson(correct, images),
        stands_out=chance < 0.05 / tests,  # Bonferroni
    )


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that are taken for each other.

    Attributes:
        first: The class of which more are called the other, by its index.
        second: The other class.
        images: Images of the two.
        first_called_second: How many of the first are called the second.
        second_called_first: How many of the second are called the first.
        rate: Both of these together, out of ``images``.
        interval: 95% Wilson interval of the rate.
        share: Both together, out of all mistakes on all classes.
    """

    first: int
    second: int
    images: int
    first_called_second: int
    second_called_first: int
    rate: float
    interval: tuple[float, float]
    share: float


def confused_pairs(confusion: Sequence[Sequence[int]]) -> list[ConfusedPair]:
    """Each two classes that are ever taken for each other, the most frequent first.

    Args:
        confusion: Counts; a row is the true class, a column what it was called.

    >>> (pair,) = confused_pairs([[8, 2, 0], [1, 9, 0], [0, 0, 10]])
    >>> pair.images, pair.rate, pair.share
    (20, 0.15, 1.0)
    """
    counts = np.asarray(confusion, dtype=np.int64)
    of_class, both = counts.sum(axis=1), counts + counts.T
    mistakes = int(counts.sum() - counts.trace())
    found = []
    for i, j in np.argwhere(np.triu(both, 1)).tolist():
        a, b = (i, j) if counts[i, j] >= counts[j, i] else (j, i)
        together, images = int(both[i, j]), int(of_class[i] + of_class[j])
        found.append(
            ConfusedPair(
                first=a,
                second=b,
                images=images,
                first_called_second=int(counts[a, b]),
                second_called_first=int(counts[b, a]),
                rate=together / images,
                interval=wilson(together, images),
                share=together / mistakes,
            )
        )
    return sorted(found, key=lambda p: (-round(p.rate * p.images), p.first, p.second))
