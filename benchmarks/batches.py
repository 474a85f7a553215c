"""Batches by index beside torch's DataLoader item by item, in one run.

Run ``python benchmarks/batches.py``. First every batch of an epoch is compared, then
both are timed in turn; the table is printed and written to results/batches.json.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from convscope.bench.machine import machine
from convscope.data.batching import keys
from convscope.data.batching.augmentation import Augmentation
from convscope.data.batching.batches import Batches
from convscope.data.dataset import Samples
from convscope.data.preprocessing import Preprocessing
from convscope.execution.allocator import keep_freed_memory

REPEATS = 3  # epochs of each, in turn; the fastest counts
SEED = 0
Item = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    name: str
    count: int
    shape: tuple[int, int, int]
    batch_size: int
    augmentation: Augmentation


CASES = (
    Case("MNIST size, as it is", 60_000, (1, 28, 28), 512, Augmentation()),
    Case("MNIST size, shift 2", 60_000, (1, 28, 28), 512, Augmentation(shift=2)),
    Case(
        "CIFAR size, shift 4 and flip",
        50_000,
        (3, 32, 32),
        256,
        Augmentation(shift=4, flip=True),
    ),
)


class ItemByItem(Dataset[Item]):
    """One image at a time with NumPy, the draws given; as a careful user writes it."""

    def __init__(self, case: Case, samples: Samples, prep: Preprocessing) -> None:
        reach = case.augmentation.shift
        names = torch.arange(len(samples))
        draws = keys.uniform(SEED, 0, names, "augment", 3).numpy()
        self.moves = (draws[:, :2] * (2 * reach + 1)).astype(np.int64) - reach
        self.flips = (draws[:, 2] < 0.5) & case.augmentation.flip
        self.reach = reach
        self.mode = "constant" if case.shape[0] == 1 else "reflect"
        self.pixels = samples.pixels.numpy()
        self.labels = samples.labels
        self.mean, self.std = (
            np.array(numbers, dtype=np.float32)[:, None, None]
            for numbers in (prep.mean, prep.std)
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Item:
        image = self.pixels[index]
        if self.flips[index]:
            image = image[..., ::-1]
        if self.reach:
            ring = ((0, 0), (self.reach, self.reach), (self.reach, self.reach))
            padded = np.pad(image, ring, mode=self.mode)  # type: ignore[call-overload]
            top, left = self.reach - self.moves[index]
            image = padded[:, top : top + image.shape[1], left : left + image.shape[2]]
        unit = image.astype(np.float32) / np.float32(255)
        return torch.from_numpy((unit - self.mean) / self.std), self.labels[index]


def make(case: Case) -> tuple[Batches, list[tuple[str, DataLoader[Item]]]]:
    numbers = np.random.default_rng(0)
    pixels = numbers.integers(0, 256, (case.count, *case.shape), dtype=np.uint8)
    labels = torch.from_numpy(numbers.integers(0, 10, case.count))
    samples = Samples(torch.from_numpy(pixels), labels, range(case.count))  # type: ignore[arg-type]
    channels, height, width = case.shape
    prep = Preprocessing(
        channels=1 if channels == 1 else 3,
        size=(height, width),
        mean=(0.4914, 0.4822, 0.4465)[:channels],
        std=(0.247, 0.2435, 0.2616)[:channels],
    )
    batches = Batches(
        samples,
        prep,
        batch_size=case.batch_size,
        seed=SEED,
        augmentation=case.augmentation,
    )
    order = keys.permutation(SEED, 0, case.count).split(case.batch_size)
    rows = [indices.tolist() for indices in order]
    items = ItemByItem(case, samples, prep)
    loaders = [
        (
            f"DataLoader, {n} workers",
            DataLoader(items, batch_sampler=rows, num_workers=n),
        )
        for n in (0, 2)
    ]
    return batches, loaders


def require_equal(ours: Batches, theirs: Iterable[Item]) -> None:
    """Refuse to time two sides that do not deliver the same bits."""
    for batch, (images, labels) in zip(ours.epoch(0), theirs, strict=True):
        if not torch.equal(batch.images, images):
            raise SystemExit("The images differ; nothing was timed.")
        if not torch.equal(batch.targets, labels):
            raise SystemExit("The labels differ; nothing was timed.")


def seconds(epoch: Callable[[], Iterator[object]]) -> float:
    start = time.perf_counter()
    for _ in epoch():
        pass
    return time.perf_counter() - start


def measure(case: Case) -> dict[str, object]:
    batches, loaders = make(case)
    for _, loader in loaders:
        require_equal(batches, loader)
    sides: dict[str, Callable[[], Iterator[object]]] = {
        "convscope": partial(batches.epoch, 0),
        **{name: partial(iter, loader) for name, loader in loaders},
    }
    times = {name: float("inf") for name in sides}
    for _ in range(REPEATS):
        for name, epoch in sides.items():
            times[name] = min(times[name], seconds(epoch))
    return {
        "case": case.name,
        "batch_size": case.batch_size,
        "batches": len(batches),
        "milliseconds_per_batch": {
            name: round(1e3 * total / len(batches), 3) for name, total in times.items()
        },
        "ratio_to_fastest_peer": round(
            min(t for name, t in times.items() if name != "convscope")
            / times["convscope"],
            1,
        ),
    }


def keys_per_batch() -> float:
    """Microseconds for the random numbers of a batch of 512, 11 for each sample."""
    samples = torch.arange(512)
    repeats = 500
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        for epoch in range(repeats):
            keys.uniform(SEED, epoch, samples, "augment", 11)
        best = min(best, (time.perf_counter() - start) / repeats)
    return round(1e6 * best, 1)


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    keep_freed_memory()  # for both sides, as training does
    torch.set_num_threads(1)
    results = [measure(case) for case in CASES]
    for result in results:
        print(f"{result['case']}, batches of {result['batch_size']}: ms per batch")
        times = result["milliseconds_per_batch"]
        for name, value in times.items():  # type: ignore[attr-defined]
            print(f"  {name:<24}{value:>9.3f}")
        print(f"  {'ratio to the faster':<24}{result['ratio_to_fastest_peer']:>9}")
    numbers = keys_per_batch()
    print(f"11 random numbers for each of 512 samples: {numbers} microseconds")
    record = {
        "machine": machine(),
        "results": results,
        "keys_microseconds_per_512": numbers,
    }
    path = Path(__file__).parent / "results" / "batches.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
