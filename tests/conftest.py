"""Tiny data, the command line as a user has it, and a finished run."""

import dataclasses
import os
import sys
import tempfile

import numpy as np
import platformdirs
import pytest
import torch
from PIL import Image

from convscope.cli import main
from convscope.data.dataset import Dataset, Samples
from convscope.data.preprocessing import Preprocessing
from convscope.train.training.fitting import fit


def pytest_configure(config):
    """A cache of our own, for processes that tests start too; fonts stay known."""
    place = tempfile.TemporaryDirectory(prefix="convscope-cache-")
    config.add_cleanup(place.cleanup)
    fonts = str(platformdirs.user_cache_path("matplotlib"))
    os.environ.setdefault("MPLCONFIGDIR", fonts)
    os.environ["XDG_CACHE_HOME"] = place.name


def samples(counts, seed, *, channels=1, size=12):
    """Noise with a bright row or column, its place the class; ``counts`` of each."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    pixels = rng.integers(0, 120, (len(labels), channels, size, size), dtype=np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        image[:, 2 * label] = 255
    order = rng.permutation(len(labels))
    return Samples(
        torch.from_numpy(pixels[order]),
        torch.from_numpy(labels[order]),
        [f"{seed}/{i}" for i in range(len(labels))],
    )


def make_set(counts=(16, 16, 16), *, val=(8, 8, 8), channels=1, size=12):
    """A data set of three classes that a network learns in a few epochs."""
    empty = [0] * len(counts)
    shape = {"channels": channels, "size": size}
    return Dataset(
        name="tiny",
        source="",
        classes=tuple("abcdef"[: len(counts)]),
        train=samples(counts, 1, **shape),
        val=samples(val or empty, 2, **shape),
        test=samples([4] * len(counts), 3, **shape),
        preprocessing=Preprocessing(
            channels=channels,
            size=(size, size),
            mean=(0.25,) * channels,
            std=(0.25,) * channels,
        ),
    )


@pytest.fixture(scope="session")
def tiny():
    """48 training images of 12 x 12, three classes."""
    return make_set()


@pytest.fixture(scope="session")
def set_of():
    """Makes such a data set with other counts, channels or size."""
    return make_set


@dataclasses.dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def convscope(capsys, monkeypatch):
    """``convscope(*arguments)`` as typed in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["convscope", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main.run()
        except SystemExit as stop:
            code = stop.code or 0
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A run on digits that is through; do not write into it."""
    place = tmp_path_factory.mktemp("finished") / "digits-run"
    fit("softmax_regression", load_digits(), folder=place, listeners=(), epochs=2)
    return place


def load_digits():
    from convscope.data import load

    return load("digits")


def write_images(place, counts, *, size=12, channels=1, seed=0):
    """``place/class/number.png``; ``counts`` maps each class to how many."""
    made = samples(list(counts.values()), seed, channels=channels, size=size)
    names = list(counts)
    for number, (pixels, label) in enumerate(
        zip(made.pixels.numpy(), made.labels.tolist(), strict=True)
    ):
        path = place / names[label] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shown = pixels[0] if channels == 1 else np.moveaxis(pixels, 0, -1)
        Image.fromarray(np.ascontiguousarray(shown)).save(path)
    return place


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Makes a folder of images, with a cache of its own."""
    monkeypatch.setattr(
        platformdirs, "user_cache_path", lambda name: tmp_path / "cache"
    )

    def make(counts, name="pictures", **shape):
        return write_images(tmp_path / name, counts, **shape)

    return make
