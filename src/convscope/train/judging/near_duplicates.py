"""Pictures that look alike, within the judged part and between it and the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from convscope.data.dataset import Samples
from convscope.data.folders.audit import NEAR
from convscope.data.folders.duplicates import grouped, near_pairs

SIDE = 16  # pixels of a thumbnail, as an audit has them
EACH = 15_000  # pictures of which each is compared with each
PAIRS = 800_000_000  # comparisons at most
VALUES = 2_000_000_000  # pixels that are averaged at most
CHUNK = 1 << 24  # pixels averaged at a time
GRAY = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Lookalikes:
    """Pictures that are linked by looking alike.

    Attributes:
        members: Part and position in it of each.
        are_equal: Whether they are the same to the last pixel.
        labels: Class of each; negative where it is not known.
    """

    members: tuple[tuple[str, int], ...]
    are_equal: bool
    labels: tuple[int, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that they lie in."""
        return tuple(dict.fromkeys(part for part, _ in self.members))

    @property
    def are_mixed(self) -> bool:
        """Whether they are labeled as different classes."""
        return len({label for label in self.labels if label >= 0}) > 1


@dataclass(frozen=True)
class NearDuplicates:
    """What looks alike in a data set, by the rule of ``data.audit``.

    Attributes:
        groups: Those across parts first, then those of several classes, then the rest.
        seen: Positions of judged pictures that look like a training picture.
        judged: How many judged pictures were compared.
        among_all: Whether the other parts were compared within themselves too.
    """

    groups: tuple[Lookalikes, ...]
    seen: tuple[int, ...]
    judged: int
    among_all: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists."""
        return {
            "groups": [
                {
                    "members": [list(member) for member in group.members],
                    "are_equal": group.are_equal,
                    "labels": list(group.labels),
                }
                for group in self.groups
            ],
            "seen": list(self.seen),
            "judged": self.judged,
            "among_all": self.among_all,
        }


def near_duplicates(
    parts: Mapping[str, Samples], judged: str, *, near: int = NEAR
) -> NearDuplicates | None:
    """Finds pictures that look alike; None where there are too many to compare.

    Up to 15,000 pictures, each is compared with each; of more, those of the judged part
    with all.

    Args:
        parts: By name; pictures of one size.
        judged: The part that figures are of.
        near: Bits of 64 in which perceptual hashes may differ.

    >>> from convscope.data import load
    >>> digits = load("digits")
    >>> found = near_duplicates(digits.parts, "test")
    >>> found.judged, found.among_all, [len(g.members) for g in found.groups]
    (359, True, [])
    """
    order = [judged, *(name for name in parts if name != judged)]
    own, total = len(parts[judged]), sum(map(len, parts.values()))
    pixels = sum(part.pixels.numel() for part in parts.values())
    among_all = total <= EACH
    if pixels > VALUES or (not among_all and own * total > PAIRS):
        return None
    small = np.concatenate([_thumbnails(parts[name].pixels) for name in order])
    pairs = near_pairs(small, near, None if among_all else own)
    places = [(name, i) for name in order for i in range(len(parts[name]))]
    from_train = np.array([name == "train" for name, _ in places], bool)
    seen: set[int] = set()
    if judged != "train":
        crossing = pairs[(pairs[:, 0] < own) & from_train[pairs[:, 1]]]
        seen = set(crossing[:, 0].tolist())
    groups = [_group([places[i] for i in group], parts) for group in grouped(pairs)]
    groups.sort(key=lambda group: (len(group.parts) < 2, not group.are_mixed))
    return NearDuplicates(tuple(groups), tuple(sorted(seen)), own, among_all)


def _group(members: list[tuple[str, int]], parts: Mapping[str, Samples]) -> Lookalikes:
    pictures = [parts[name].pixels[i].numpy() for name, i in members]
    return Lookalikes(
        members=tuple(members),
        are_equal=all(np.array_equal(each, pictures[0]) for each in pictures[1:]),
        labels=tuple(int(parts[name].labels[i]) for name, i in members),
    )


def _thumbnails(pixels: Tensor) -> npt.NDArray[np.uint8]:
    """(N, S, S) gray means over blocks of pixels."""
    height, width = pixels.shape[-2:]
    size = (SIDE, SIDE) if min(height, width) >= SIDE else (8, 8)
    made = [np.empty((0, *size), np.uint8)]
    rows = max(1, CHUNK // max(1, pixels[:1].numel()))
    for start in range(0, len(pixels), rows):
        values = pixels[start : start + rows].float()
        if pixels.element_size() == 2:
            values = values / 256
        small = adaptive_avg_pool2d(values, size).numpy()
        if small.shape[1] == 3:
            gray = np.tensordot(small, np.array(GRAY, np.float32), (1, 0))
        else:
            gray = small.mean(axis=1)
        made.append(gray.round().clip(0, 255).astype(np.uint8))
    return np.concatenate(made)
