"""``load``: a data set by name or from a folder, ready to train on."""

from pathlib import Path

import numpy as np
import torch

from convscope.data import standard
from convscope.data.catalogue import CATALOGUE, StandardSet
from convscope.data.dataset import Dataset, Samples
from convscope.data.locate import locate
from convscope.data.preprocessing import Preprocessing
from convscope.data.splits import assign, check_fractions, content_hashes, share_out
from convscope.data.standard import Progress, Published
from convscope.errors import ArgumentError, MissingDataError, UnknownNameError

DIGITS_TEST = 0.2  # digits has no test part of its own


def load(
    source: str | Path,
    *,
    validation: float = 0.1,
    test: float | None = None,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
    strict: bool = False,
) -> Dataset:
    """A data set by name or from a folder."""
    if not isinstance(source, str) or source not in CATALOGUE:
        raise UnknownNameError("data set or folder", str(source), CATALOGUE)
    return _load_standard(CATALOGUE[source], validation, test, cache_dir, progress)


def _load_standard(
    card: StandardSet,
    validation: float,
    test: float | None,
    cache_dir: str | Path | None,
    progress: Progress | None,
) -> Dataset:
    if card.format == "built in":
        data = standard.digits()
        share = DIGITS_TEST if test is None else test
    elif test is not None:
        raise ArgumentError(
            f"load: test={test} does not go with {card.name!r}, whose "
            f"{card.test_count:,} test images are published. Leave it out."
        )
    else:
        found = locate(card, cache_dir)
        if found is None:
            raise MissingDataError(card.name)
        data, share = standard.read(card, found, progress), 0.0
    check_fractions("load", validation=validation, test=share)
    return _assemble(card, data, validation, share)


def _assemble(
    card: StandardSet, data: Published, validation: float, test: float
) -> Dataset:
    hashes = content_hashes(data.images[: data.train_count])
    labels = data.labels.astype(np.int64)
    parts = assign(hashes, labels[: data.train_count], validation=validation, test=test)
    names = [f"{card.name}/train/{i}" for i in range(data.train_count)]
    names += [f"{card.name}/test/{i}" for i in range(len(labels) - data.train_count)]
    if card.format == "built in":
        names = [f"{card.name}/{i}" for i in range(len(labels))]
    everything = Samples(torch.from_numpy(data.images), torch.from_numpy(labels), names)
    train, val, tested = (everything.subset(indices) for indices in share_out(parts))
    if data.train_count < len(labels):
        tested = everything.subset(range(data.train_count, len(labels)))
    pixels = train.pixels.numpy()
    means, stds = [], []
    for c in range(pixels.shape[1]):
        counts = np.bincount(pixels[:, c].ravel(), minlength=256)
        v = np.arange(256) / 255
        m = float((counts * v).sum() / counts.sum())
        means.append(m)
        stds.append(float(np.sqrt((counts * (v - m) ** 2).sum() / counts.sum())))
    preprocessing = Preprocessing(
        channels=card.shape[0],
        size=card.shape[1:],
        centering=card.centering,
        mean=tuple(means),
        std=tuple(stds),
    )
    return Dataset(
        card.name,
        card.name,
        card.classes,
        train,
        val,
        tested,
        preprocessing,
        notes=data.notes,
    )
