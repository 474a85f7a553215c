"""Two networks on the same images: is one better, and by how much?"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from convscope.errors import DataError
from convscope.train.judging.answers import Answers


@dataclass(frozen=True)
class Comparison:
    """What two networks did on the same labeled images.

    Attributes:
        images: How many.
        first_only: Positions of the images that only the first calls by their name.
        second_only: Those that only the second does.
        difference: Accuracy of the second less that of the first.
        interval: 95% interval of the difference, for pairs.
        chance: How probable so uneven a split of the images on which they differ
            would be, were both equally good (McNemar's exact test).
    """

    images: int
    first_only: tuple[int, ...]
    second_only: tuple[int, ...]
    difference: float
    interval: tuple[float, float]
    chance: float

    @property
    def verdict(self) -> str:
        """What that says, in words."""
        low, high = (100 * end for end in self.interval)
        if self.chance < 0.05:
            better = "second" if self.difference > 0 else "first"
            return (
                f"the {better} is better: {100 * abs(self.difference):.2f} points "
                f"({low:+.2f} to {high:+.2f}), by chance in {self.chance:.2g} of cases"
            )
        return (
            f"no difference is shown: {100 * self.difference:+.2f} points "
            f"({low:+.2f} to {high:+.2f}), by chance in {self.chance:.2f} of cases"
        )


def compare(first: Answers, second: Answers) -> Comparison:
    """Compares two networks on the images that both have answered.

    Raises:
        DataError: The images, their order or their labels are not the same.

    Source:
        McNemar 1947, with the exact binomial; the interval is that of Bonett and
        Price 2012, Adjusted Wald confidence interval for a difference of binomial
        proportions based on paired data, with 1 added to each count of differing
        pairs and 2 to the number of pairs.

    >>> import torch
    >>> from convscope.data.dataset import Samples
    >>> ten = Samples(torch.zeros(10, 1, 1, 1), torch.zeros(10).long(), ["x"] * 10)
    >>> right, left = np.tile([0.9, 0.1], (10, 1)), np.tile([0.1, 0.9], (10, 1))
    >>> found = compare(Answers(ten, left, ("a", "b")), Answers(ten, right, ("a", "b")))
    >>> found.difference, round(found.chance, 4)
    (1.0, 0.002)
    """
    _require_same(first, second)
    known = first.labels >= 0
    one, two = first.hits & known, second.hits & known
    return from_hits(one, two, int(known.sum()))


def from_hits(
    one: npt.NDArray[np.bool_], two: npt.NDArray[np.bool_], images: int
) -> Comparison:
    """The comparison from what each called by its name; ``images`` have a label."""
    from scipy.stats import binomtest  # with scikit-learn; slow to import

    first_only, second_only = np.flatnonzero(one & ~two), np.flatnonzero(two & ~one)
    b, c = len(first_only), len(second_only)
    n = images + 2
    middle = (c - b) / n
    spread = ((b + c + 2) / n - middle**2) / n
    half = NormalDist().inv_cdf(0.975) * spread**0.5
    return Comparison(
        images=images,
        first_only=tuple(map(int, first_only)),
        second_only=tuple(map(int, second_only)),
        difference=(c - b) / images,
        interval=(max(-1.0, middle - half), min(1.0, middle + half)),
        chance=float(binomtest(b, b + c).pvalue) if b + c else 1.0,
    )


def _require_same(first: Answers, second: Answers) -> None:
    if len(first) != len(second):
        raise DataError(
            f"compare: the first network judged {len(first):,} images, the second "
            f"{len(second):,}. Judge both on the same images."
        )
    if list(first.samples.names) != list(second.samples.names):
        raise DataError(
            "compare: the two networks judged other images. Judge both on the same "
            "data."
        )
    theirs = [second.classes[i] if i >= 0 else None for i in second.labels]
    ours = [first.classes[i] if i >= 0 else None for i in first.labels]
    if ours != theirs:
        raise DataError(
            "compare: the same images have other labels for the two networks. Judge "
            "both on the same data."
        )
