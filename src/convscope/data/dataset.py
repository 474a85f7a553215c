"""What a data set is once it is loaded: three parts in memory, ready to index."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope.data.preprocessing import Preprocessing
from convscope.errors import DataError

UNLABELED = -1
"""The label of a sample whose class is not known."""


@dataclass(frozen=True)
class Samples:
    """Images of one part of a data set, decoded and at network size.

    Attributes:
        pixels: (N, C, H, W) uint8, or uint16 for 16-bit images; may be a memory map.
        labels: (N,) int64, an index into ``Dataset.classes``.
        names: Where each sample came from: a path, or ``"mnist/test/17"``.

    >>> blank = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    >>> Samples(blank, torch.tensor([0, 1]), ["a", "b"])
    Samples(2 of (1, 8, 8) uint8)
    """

    pixels: Tensor
    labels: Tensor
    names: Sequence[str]

    def __post_init__(self) -> None:
        counts = (len(self.pixels), len(self.labels), len(self.names))
        if len(set(counts)) != 1:
            raise DataError(
                f"Samples: pixels, labels and names differ in number: {counts}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        kind = str(self.pixels.dtype).removeprefix("torch.")
        return f"Samples({len(self):,} of {tuple(self.pixels.shape[1:])} {kind})"

    def subset(self, indices: Sequence[int] | np.ndarray | Tensor) -> "Samples":
        """The samples at ``indices``, in that order."""
        chosen = torch.as_tensor(np.asarray(indices, dtype=np.int64))
        return Samples(
            self.pixels[chosen],
            self.labels[chosen],
            [self.names[i] for i in chosen.tolist()],
        )


@dataclass(frozen=True)
class SetAside:
    """A file that was left out, and why.

    >>> SetAside("pets/cat/1.jpg", "the file is empty (0 bytes).").path
    'pets/cat/1.jpg'
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Training, validation and test samples with their classes and preprocessing.

    >>> from convscope.data import load
    >>> load("digits")
    Dataset('digits', 10 classes, input_shape=(1, 8, 8), train=1,259, val=179, test=359)

    Attributes:
        name: Short name for tables and run folders: ``"mnist"``, or the folder's name.
        source: What to pass to ``load`` to get it again: a name or an absolute path.
        classes: Class names; the position is the label.
        train: What the weights are fitted to.
        val: What choices are made on (early stopping, which epoch). May be empty.
        test: What the result is reported on. May be empty.
        preprocessing: How a file becomes one row of ``pixels`` and then an input.
        set_aside: Files that could not be used.
        notes: Sentences a person should read, such as how the parts were made.
        options: What ``load`` was given besides the source: how the parts were made.
        named_parts: Parts that the source itself names: folders ``val`` and ``test``, a
            published test set. The others were taken from train.
        part_notes: Those of the notes that are about the parts.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    train: Samples
    val: Samples
    test: Samples
    preprocessing: Preprocessing
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    named_parts: tuple[str, ...] = ()
    part_notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={len(part):,}" for name, part in self.parts.items())
        aside = f", set_aside={len(self.set_aside):,}" if self.set_aside else ""
        return (
            f"Dataset({self.name!r}, {len(self.classes):,} classes, "
            f"input_shape={self.input_shape}, {parts}{aside})"
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, *space) of one input: (C, H, W) for images."""
        return tuple(self.train.pixels.shape[1:])

    @property
    def parts(self) -> dict[str, Samples]:
        """The three parts by name: ``train``, ``val``, ``test``."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def part_to_judge(self) -> str:
        """The first of ``test``, ``val`` and ``train`` that holds images.

        >>> from convscope.data import load
        >>> load("digits").part_to_judge
        'test'
        """
        filled = (name for name in ("test", "val", "train") if len(self.parts[name]))
        return next(filled, "test")

    def fingerprint(self) -> str:
        """sha256 over classes, pixels and labels of all parts: same data, same text."""
        digest = hashlib.sha256(repr(self.classes).encode())
        for name, part in self.parts.items():
            digest.update(
                f"{name}{tuple(part.pixels.shape)}{part.pixels.dtype}".encode()
            )
            digest.update(np.ascontiguousarray(part.pixels.numpy()).data)
            digest.update(part.labels.numpy().tobytes())
        return digest.hexdigest()

    def replace(self, **changes: object) -> "Dataset":
        """A copy with some attributes changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]
