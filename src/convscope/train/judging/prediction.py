"""Files in, one record each out: found, decoded in parallel, predicted in batches."""

import glob
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from convscope.data.image_formats import SUFFIXES
from convscope.data.preprocessing import Preprocessing
from convscope.data.progress import Progress
from convscope.errors import ArgumentError, BadImageError, ConvscopeError, DataError
from convscope.execution import Setting
from convscope.train.judging.inference import probabilities
from convscope.train.recipe import Tta

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]  # (C, H, W)

STDIN = "-"
MAX_STDIN_BYTES = 256 * 2**20  # a stream has no size to look at before it is read
MAX_WORKERS = 8  # each decoding thread holds one whole image


@dataclass(frozen=True)
class Prediction:
    """What the network says about one file.

    Attributes:
        path: The file, as it was asked for.
        class_name: The most probable class.
        probability: Its probability.
        top: The most probable classes with their probabilities, best first.

    >>> Prediction("a.png", "cat", 0.9, (("cat", 0.9),)).to_dict()["class"]
    'cat'
    """

    path: str
    class_name: str
    probability: float
    top: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, object]:
        """Ready for ``json.dumps``; the class is under ``"class"``."""
        return {
            "path": self.path,
            "class": self.class_name,
            "probability": self.probability,
            "top": [{"class": name, "probability": p} for name, p in self.top],
        }


@dataclass(frozen=True)
class Failure:
    """A file that could not be predicted, and why.

    >>> Failure("b.png", "no such file or folder").to_dict()["error"]
    'no such file or folder'
    """

    path: str
    reason: str

    def to_dict(self) -> dict[str, object]:
        """Ready for ``json.dumps``."""
        return {"path": self.path, "error": self.reason}


def find_images(paths: Iterable[str | Path]) -> list[str | Failure]:
    """Files named by paths, folders and patterns, in order; duplicates are kept.

    A folder gives the images in it and below it, sorted, hidden ones left out. What
    exists under its own name is never taken for a pattern. ``"-"`` stands for itself.
    A path that leads nowhere becomes a ``Failure``.

    >>> find_images(["-", "no-such.png"])
    ['-', Failure(path='no-such.png', reason='no such file or folder')]
    """
    found: list[str | Failure] = []
    for path in map(str, paths):
        if path == STDIN:
            found.append(path)
        elif os.path.lexists(path):
            found += _at(path) or [Failure(path, "the folder holds no images")]
        elif glob.has_magic(path):
            # pathlib refuses absolute patterns.
            matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207
            files = dict.fromkeys(file for match in matches for file in _at(match))
            found += files or [Failure(path, "nothing matches this pattern")]
        else:
            found.append(Failure(path, "no such file or folder"))
    return found


def some_images(paths: Iterable[str | Path], where: str) -> list[str | Failure]:
    """`find_images`, refused where there are none.

    Raises:
        DataError: No path leads to a file.
    """
    entries = find_images(paths)
    nowhere = [entry for entry in entries if isinstance(entry, Failure)]
    if len(nowhere) == len(entries):
        reasons = "; ".join(f"{each.path!r}: {each.reason}" for each in nowhere)
        raise DataError(
            f"{where}: no images found ({reasons or 'no path was given'}). "
            "Give files, folders, patterns in quotes, or - for standard input."
        )
    return entries


def predict_files(
    net: nn.Module,
    preprocessing: Preprocessing,
    classes: Sequence[str],
    paths: Iterable[str | Path],
    setting: Setting | None = None,
    *,
    batch_size: int = 64,
    top_k: int = 1,
    tta: Tta = "none",
    temperature: float = 1.0,
    progress: Progress | None = None,
) -> Iterator[Prediction | Failure]:
    """Predict files one by one, in order, holding two batches of images at most.

    Args:
        net: Gives one logit for each class.
        preprocessing: Makes pixels of a file, and inputs of pixels.
        classes: Class names in the order of the outputs.
        paths: Files, folders, patterns, or ``"-"`` for one image on standard input.
        setting: As in ``probabilities``.
        batch_size: Files at a time.
        top_k: How many classes to give for each file; all, where there are fewer.
        tta: As in ``probabilities``.
        temperature: As in ``probabilities``.
        progress: Called with (files done, files in all, what) after each batch.

    Raises:
        ArgumentError: ``top_k`` or ``batch_size`` is below 1.
        DataError: No path leads to a file.
    """
    for name, value in (("top_k", top_k), ("batch_size", batch_size)):
        if value < 1:
            raise ArgumentError(f"predict: {name}={value} must be at least 1.")
    entries = some_images(paths, "predict")

    def predicted() -> Iterator[Prediction | Failure]:
        done = 0
        for chunk in decoded_ahead(entries, preprocessing, batch_size):
            good = [pixels for _, pixels in chunk if not isinstance(pixels, Failure)]
            rows: Iterator[Tensor] = iter(())
            if good:
                rows = iter(
                    probabilities(
                        net,
                        torch.from_numpy(np.stack(good)),
                        preprocessing,
                        setting,
                        batch_size=batch_size,
                        tta=tta,
                        temperature=temperature,
                    )
                )
            for path, pixels in chunk:
                if isinstance(pixels, Failure):
                    yield pixels
                else:
                    yield _prediction(path, next(rows), classes, top_k)
            done += len(chunk)
            if progress is not None:
                progress(done, len(entries), "images")

    return predicted()  # what is wrong with the call is said before


def decode_files(preprocessing: Preprocessing, paths: Sequence[str]) -> Tensor:
    """Pixels of every file, decoded in parallel.

    Shape:
        return: (N, C, H, W)

    Raises:
        BadImageError: A file cannot be read; names the first, and says how many.
    """
    with ThreadPoolExecutor(_workers()) as pool:
        decoded = list(pool.map(lambda path: _decode(preprocessing, path), paths))
    bad = [each for each in decoded if isinstance(each, Failure)]
    if bad:
        raise BadImageError(
            f"{len(bad)} of {len(paths)} files cannot be read, first {bad[0].path}: "
            f"{bad[0].reason}"
        )
    return torch.from_numpy(
        np.stack([d for d in decoded if not isinstance(d, Failure)])
    )


def decoded_ahead(
    entries: Sequence[str | Failure], preprocessing: Preprocessing, batch_size: int
) -> Iterator[list[tuple[str, Pixels | Failure]]]:
    """Batches of files with their pixels; one is decoded while the other is used.

    >>> gray = Preprocessing(channels=1, size=(2, 2), mean=(0.5,), std=(0.5,))
    >>> [len(batch) for batch in decoded_ahead(["no-such.png"] * 3, gray, 2)]
    [2, 1]
    """
    waiting: deque[list[tuple[str, Future[Pixels | Failure] | Failure]]] = deque()
    pool = ThreadPoolExecutor(_workers())

    def start(entry: str | Failure) -> tuple[str, Future[Pixels | Failure] | Failure]:
        if isinstance(entry, Failure):
            return entry.path, entry
        return entry, pool.submit(_decode, preprocessing, entry)

    try:
        for first in range(0, len(entries) + batch_size, batch_size):
            waiting.append([start(e) for e in entries[first : first + batch_size]])
            if len(waiting) == 2:
                yield [
                    (path, found if isinstance(found, Failure) else found.result())
                    for path, found in waiting.popleft()
                ]
    finally:
        pool.shutdown(cancel_futures=True)


def _workers() -> int:
    return min(MAX_WORKERS, os.cpu_count() or 1)


def _decode(preprocessing: Preprocessing, path: str) -> Pixels | Failure:
    try:
        return preprocessing.decode(_standard_input() if path == STDIN else path)
    except (ConvscopeError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        name = "image" if path == STDIN else path  # the path is said once, in front
        return Failure(path, reason or str(error).removeprefix(f"{name}: "))


def _standard_input() -> bytes:
    data = sys.stdin.buffer.read(MAX_STDIN_BYTES + 1)
    if not data:
        raise DataError("standard input is empty. Pipe one image into it.")
    if len(data) > MAX_STDIN_BYTES:
        raise DataError(
            f"standard input holds more than {MAX_STDIN_BYTES // 2**20} MiB. "
            "Save it to a file, or send one image."
        )
    return data


def _prediction(
    path: str, row: Tensor, classes: Sequence[str], top_k: int
) -> Prediction:
    # A stable sort: equal probabilities keep the order of the classes.
    order = row.argsort(descending=True, stable=True)[:top_k].tolist()
    top = tuple((classes[i], float(row[i])) for i in order)
    return Prediction(path, *top[0], top)


def _at(path: str) -> list[str]:
    """The file itself, or the images in a folder and below it, sorted."""
    if not Path(path).is_dir():
        return [path]
    found: list[str] = []
    for folder, below, files in os.walk(path):
        below[:] = sorted(name for name in below if not name.startswith("."))
        found += (
            str(Path(folder, name))
            for name in sorted(files)
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
        )
    return found
