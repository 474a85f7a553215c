"""Which random changes leave the class of an image as it is: measured, not assumed.

A small network learns half of the training and validation images as they are, and
judges the other half as they are and changed; then the halves change places, so that
every image is judged once. A change that the class does not depend on leaves the
predictions right. A mirrored arrow, digit or letter is taken for another class, or for
nothing. Comparing the same images twice tells more than comparing two networks, trained
with the change and without, whose accuracies differ by chance alone.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.data import Dataset
from convscope.train.choosing.small_network import learned, scaled_down
from convscope.train.recipe import Recipe

Verdict = Literal["harmless", "harmful", "unknown"]
Change = Callable[[Tensor], Tensor]

LARGEST = 2000  # images looked at
SHOWN = 8_000  # images shown to both networks together, at most
SURE = 1.64  # standard errors: one-sided 95 %
# Shares of what was learned beyond guessing that a change may cost. A mirrored image
# either is of its class or is not; a tilt is new to a network that has seen none.
FLIP_COSTS, OTHER_COSTS = 0.15, 0.3
FEWEST_OF_A_CLASS = 4
FEWEST = 40  # judged images below which nothing is concluded
_DONE = {"flip": "mirrored", "rotate": "rotated", "brightness": "relit"}


@dataclass(frozen=True)
class Finding:
    """What one change does to the predictions.

    Attributes:
        change: ``flip``, ``rotate`` or ``brightness``.
        verdict: ``unknown`` where the images do not tell.
        right: Images whose class is predicted as they are.
        changed_right: Images whose class is predicted when they are changed.
        images: Images judged.
        reason: In words, where the numbers alone do not say it.

    >>> print(Finding("flip", "harmful", 98, 3, 100, "'b' is then taken for 'd'"))
    mirrored 3% ('b' is then taken for 'd')
    """

    change: str
    verdict: Verdict
    right: int
    changed_right: int
    images: int
    reason: str = ""

    def __str__(self) -> str:
        """One clause: the share that is still right, and the reason."""
        text = f"{_DONE[self.change]} {self.changed_right / self.images:.0%}"
        return f"{text} ({self.reason})" if self.reason else text


@dataclass(frozen=True)
class Probe:
    """What was measured, on how many images, in what time.

    >>> found = Finding("flip", "harmless", 90, 89, 100)
    >>> print(Probe((found,), 100, 1.5))
    measured in 1.5 s on 100 images with a small network: right as they are 90%, \
mirrored 89%
    """

    findings: tuple[Finding, ...]
    images: int
    seconds: float

    def verdict(self, change: str) -> Verdict:
        """Of the change; ``unknown`` if it was not measured."""
        found = {each.change: each.verdict for each in self.findings}
        return found.get(change, "unknown")

    def __str__(self) -> str:
        """One line."""
        right = self.findings[0].right / self.images
        return (
            f"measured in {self.seconds:.1f} s on {self.images:,} images with a small "
            f"network: right as they are {right:.0%}, "
            + ", ".join(map(str, self.findings))
        )


def probe(data: Dataset, recipe: Recipe) -> Probe | None:
    """Measures the changes that training may make to the images.

    The same seed, data and machine give the same findings. It costs a few seconds, and
    no more images are shown than the run itself would show.

    Args:
        data: Its training and validation images are used; its test images are not.
        recipe: Says how far images would be rotated and relit, how long the run is,
            and the seed.

    Returns:
        None where there are too few images, or the run is too short, to tell.

    >>> from convscope.data import load
    >>> from convscope.train import recipes
    >>> probe(load("digits"), recipes.find("digits")).verdict("flip")
    'harmful'
    """
    began = time.monotonic()
    images, labels = _sample(data, recipe.seed)
    shown = min(SHOWN, 24 * len(labels), _shown_by(recipe, len(data.train)))
    if len(labels) < FEWEST or shown < 10 * FEWEST:
        return None
    changes = _changes(recipe)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(recipe.seed)
        guesses = _judged(images, labels, len(data.classes), changes, shown)
    plain = guesses.pop("")
    findings = tuple(
        _finding(name, labels, plain, changed, data.classes)
        for name, changed in guesses.items()
    )
    return Probe(findings, len(labels), time.monotonic() - began)


def _shown_by(recipe: Recipe, count: int) -> int:
    """Images that the run itself shows; unlimited where minutes decide."""
    return SHOWN if recipe.minutes is not None else recipe.epochs * count


def _sample(data: Dataset, seed: int) -> tuple[Tensor, Tensor]:
    """Some images, normalized and scaled down, in random order, with their labels."""
    pixels, labels = [], []
    room = LARGEST
    for part in (data.val, data.train):
        order = np.random.default_rng(seed).permutation(len(part))[:room]
        room -= len(order)
        pixels.append(part.pixels[torch.from_numpy(np.sort(order))])
        labels.append(part.labels[torch.from_numpy(np.sort(order))])
    images = data.preprocessing.normalize(torch.cat(pixels))
    images = scaled_down(images)
    order = np.random.default_rng(seed + 1).permutation(len(images))
    known = torch.cat(labels)
    return images[torch.from_numpy(order)], known[torch.from_numpy(order)]


def _changes(recipe: Recipe) -> dict[str, Change]:
    """Each change in question at its full strength."""
    augmentation = recipe.augmentation
    found: dict[str, Change] = {"flip": lambda images: images.flip(-1)}
    if augmentation.rotate:
        found["rotate"] = lambda images: _rotated(images, augmentation.rotate)
    if augmentation.brightness:
        found["brightness"] = lambda images: _relit(images, augmentation.brightness)
    return found


def _rotated(images: Tensor, degrees: float) -> Tensor:
    """Every other image one way, the rest the other."""
    angle = torch.full((len(images),), math.radians(degrees))
    angle[::2] *= -1
    ratio = images.shape[2] / images.shape[3]
    zero = torch.zeros_like(angle)
    rows = torch.stack([angle.cos(), -ratio * angle.sin(), zero], 1)
    columns = torch.stack([angle.sin() / ratio, angle.cos(), zero], 1)
    grid = F.affine_grid(
        torch.stack([rows, columns], 1), list(images.shape), align_corners=False
    )
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _relit(images: Tensor, amount: float) -> Tensor:
    """Every other image brighter, the rest darker, about the mean of all."""
    factor = torch.full((len(images), 1, 1, 1), 1 + amount)
    factor[::2] = 1 - amount
    darkest = images.amin()
    return (images - darkest) * factor + darkest


def _judged(
    images: Tensor, labels: Tensor, classes: int, changes: dict[str, Change], shown: int
) -> dict[str, Tensor]:
    """The class guessed for each image, as it is (``""``) and under each change."""
    half = len(images) // 2
    folds = (slice(0, half), slice(half, None))
    guesses = {name: torch.empty_like(labels) for name in ("", *changes)}
    for own, judged in (folds, folds[::-1]):
        net = learned(images[own], labels[own], classes, shown // 2)
        with torch.inference_mode():
            for name, guess in guesses.items():
                seen = images[judged]
                if name:
                    seen = changes[name](seen)
                parts = [net(part).argmax(1) for part in seen.split(500)]
                guess[judged] = torch.cat(parts)
    return guesses


def _finding(
    change: str, labels: Tensor, plain: Tensor, changed: Tensor, names: Sequence[str]
) -> Finding:
    """What the guesses say: paired, over all images and class by class."""
    count = len(labels)
    right, still = plain == labels, changed == labels
    lost, won = int((right & ~still).sum()), int((still & ~right).sum())
    drop, noise = (lost - won) / count, SURE * math.sqrt(lost + won) / count
    most = int(torch.bincount(labels).max()) / count
    excess = int(right.sum()) / count - most
    limit = excess * (FLIP_COSTS if change == "flip" else OTHER_COSTS)
    share = 0.5 if change == "flip" else 0.8
    verdict: Verdict = "unknown"
    reason = ""
    if excess <= 2 * SURE * math.sqrt(most * (1 - most) / count):
        reason = "too few images to learn the classes from"
    elif swap := _swapped(labels, plain, changed, names, share):
        verdict, reason = "harmful", swap
    elif drop - noise > limit:
        verdict = "harmful"
    elif pair := _not_told_apart(labels, plain, names):
        reason = pair
    elif drop + noise <= limit:
        verdict = "harmless"
    else:
        reason = "too few images to be sure"
    return Finding(change, verdict, int(right.sum()), int(still.sum()), count, reason)


def _swapped(
    labels: Tensor, plain: Tensor, changed: Tensor, names: Sequence[str], share: float
) -> str:
    """The first class that the change turns into another one, in words."""
    for label, name in enumerate(names):
        known = (labels == label) & (plain == label)
        taken = torch.bincount(changed[known], minlength=len(names))
        taken[label] = 0
        other = int(taken.argmax())
        if taken[other] >= max(FEWEST_OF_A_CLASS, share * int(known.sum())):
            return f"{name!r} is then taken for {names[other]!r}"
    return ""


def _not_told_apart(labels: Tensor, plain: Tensor, names: Sequence[str]) -> str:
    """Two classes that are told from all others but not from each other, in words.

    They may be mirror images that the small network has not learned to tell apart.
    """
    classes = len(names)
    counts = torch.bincount(labels * classes + plain, minlength=classes**2)
    table = counts.view(classes, classes).tolist()
    for one in range(classes):
        for two in range(one):
            right = table[one][one] + table[two][two]
            mixed = table[one][two] + table[two][one]
            both = sum(table[one]) + sum(table[two])
            if both and right + mixed >= 0.7 * both and mixed >= 0.8 * right:
                return f"{names[two]!r} and {names[one]!r} were not told apart"
    return ""
