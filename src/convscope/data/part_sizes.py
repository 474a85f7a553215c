"""What to tell about the sizes of the parts: real shares, and where they are small."""

import math
from collections.abc import Mapping, Sequence

import torch

from convscope.data.dataset import Samples
from convscope.data.words import counted, listed

ACCURACY = 0.9  # at which the interval is worked out
CLEARLY_MORE = 1.5  # times as many images
WIDE = 0.10  # an interval of an accuracy that is wider says little
PURPOSES = {"train": "to train on", "val": "to validate on", "test": "to test on"}


def shares(parts: Mapping[str, Samples]) -> str:
    """The images of each part, with their share as it is.

    >>> def part(count):
    ...     blank = torch.zeros(count, 1, 2, 2, dtype=torch.uint8)
    ...     return Samples(blank, torch.zeros(count).long(), [""] * count)
    >>> shares({"train": part(7), "val": part(0), "test": part(3)})
    '7 to train on (70%), 0 to validate on (0%), 3 to test on (30%)'
    """
    total = sum(map(len, parts.values())) or 1
    return ", ".join(
        f"{len(part):,} {PURPOSES[name]} ({len(part) / total:.0%})"
        for name, part in parts.items()
    )


def warnings(
    parts: Mapping[str, Samples], classes: Sequence[str], named: Sequence[str] = ()
) -> list[str]:
    """What the test part cannot show: a class it lacks, a figure it is too small for.

    Nothing where there is no test part at all.

    Args:
        parts: By name.
        classes: Names in label order.
        named: ``("test",)`` where the source names its test part, so that folds would
            not judge it.

    >>> blank = torch.zeros(9, 1, 2, 2, dtype=torch.uint8)
    >>> part = Samples(blank, torch.arange(9) % 2, [""] * 9)
    >>> warnings({"train": part, "val": part, "test": part}, ["cat", "dog"])[0][:33]
    'The test part has only 9 images: '
    """
    test = parts["test"]
    if not len(test):
        return []
    found = []
    per_class = torch.bincount(test.labels, minlength=len(classes)).tolist()
    trained = torch.bincount(parts["train"].labels, minlength=len(classes)).tolist()
    absent = [
        name
        for name, tested, seen in zip(classes, per_class, trained, strict=True)
        if seen and not tested
    ]
    if absent:
        have = "has" if len(absent) == 1 else "have"
        found.append(
            f"{counted(len(absent), 'class')} of {len(classes):,} {have} no test image "
            f"({listed(absent)}): the test says nothing about them. Add images."
        )
    half = 1.96 * math.sqrt(ACCURACY * (1 - ACCURACY) / len(test))
    if 2 * half > WIDE:
        found.append(
            f"The test part has only {counted(len(test), 'image')}: an accuracy near "
            f"{ACCURACY:.0%} measured on it is uncertain by about {100 * half:.0f} "
            f"percentage points either way.{_folds_instead(parts, named)}"
        )
    return found


def _folds_instead(parts: Mapping[str, Samples], named: Sequence[str]) -> str:
    """That folds judge more images, where they do."""
    judged = sum(len(part) for name, part in parts.items() if name not in named)
    if judged < CLEARLY_MORE * len(parts["test"]):
        return ""
    return f" Cross-validation in folds judges all {judged:,}."
