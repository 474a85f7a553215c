"""Batches in a keyed order: each one index into memory, then one augmentation."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.data.batching import keys, mixing
from convscope.data.batching.augmentation import Augmentation, augment
from convscope.data.dataset import Samples
from convscope.data.preprocessing import Preprocessing
from convscope.errors import ArgumentError

_NOTHING = Augmentation()
_RESIDENT_BYTES = 4 << 30  # sets up to 4 GiB are moved to the device once, and stay


@dataclass(frozen=True)
class Batch:
    """What one training or evaluation step gets.

    Attributes:
        images: (B, C, H, W) float32, normalized, on the device.
        targets: (B,) int64 labels, or (B, K) float32 shares of classes; on the device.
        indices: (B,) int64, which samples these are; on the CPU.

    >>> len(Batch(torch.zeros(4, 1, 8, 8), torch.arange(4), torch.arange(4)))
    4
    """

    images: Tensor
    targets: Tensor
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)


class Batches:
    """The training batches of any epoch, in an order and with changes that are keyed.

    Every batch is a function of ``(seed, epoch, number)``: an epoch can be started
    anywhere, split over processes, or asked for again, and gives the same bits.

    A short last batch is kept, unless it would leave a process fewer than two samples,
    from which batch normalization has no variance: then its samples join the batch
    before it.

    Args:
        samples: What to draw from; ``pixels`` may be a memory map.
        preprocessing: How pixels become inputs.
        batch_size: Samples per step, over all processes.
        seed: Decides the order and every random change.
        augmentation: Random changes of the images.
        num_classes: K of soft targets; by default the largest label plus 1.
        balanced: Draw a class evenly for each position, then one of its samples; a
            class without samples is never drawn, and a sample may come twice, changed
            differently.
        drop_last: Leave a short last batch out.
        device: Where images and targets go. Sets up to 4 GiB are moved there once.
        memory_format: Layout of the images, ``torch.channels_last`` or contiguous.
        rank: Number of this process, from 0.
        world_size: Processes that share every batch in equal, consecutive parts.

    Raises:
        ArgumentError: No samples; a size, rank or amount out of range; unlabeled
            samples where labels are needed.

    >>> from convscope.data.preprocessing import Preprocessing
    >>> samples = Samples(
    ...     torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.arange(10), [""] * 10
    ... )
    >>> gray = Preprocessing(channels=1, size=(8, 8), mean=(0.5,), std=(0.25,))
    >>> batches = Batches(samples, gray, batch_size=4, seed=0)
    >>> [len(batch) for batch in batches.epoch(0)]
    [4, 4, 2]
    """

    def __init__(
        self,
        samples: Samples,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        seed: int,
        augmentation: Augmentation = _NOTHING,
        num_classes: int | None = None,
        balanced: bool = False,
        drop_last: bool = False,
        device: torch.device | str = "cpu",
        memory_format: torch.memory_format = torch.contiguous_format,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        count = len(samples)
        _require_sizes(count, batch_size, rank, world_size, drop_last)
        _, _, height, width = samples.pixels.shape
        augmentation.require_fit((height, width))
        lowest, highest = (int(edge) for edge in samples.labels.aminmax())
        if lowest < 0 and (balanced or augmentation.mixes):
            raise ArgumentError(
                f"Batches: {int((samples.labels < 0).sum())} of {count} samples have "
                "no label, which balanced, mixup and cutmix need. Leave them out."
            )
        self.num_classes = highest + 1 if num_classes is None else num_classes
        if self.num_classes <= highest:
            raise ArgumentError(
                f"Batches: num_classes={num_classes} is too few for label {highest}. "
                f"Use {highest + 1} or more."
            )
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.seed = seed
        self.augmentation = augmentation
        self.balanced = balanced
        self.device = torch.device(device)
        self.memory_format = memory_format
        self.rank = rank
        self.world_size = world_size
        self._count = count
        self._pixels = _resident(samples.pixels, self.device)
        self._labels = samples.labels
        self._starts = _starts(count, batch_size, world_size, drop_last)
        self._by_class = samples.labels.argsort(stable=True) if balanced else None
        per_class = torch.bincount(samples.labels.clamp(min=0))
        self._class_sizes = per_class[per_class > 0]

    def __len__(self) -> int:
        """Batches per epoch, the same in every epoch and process."""
        return len(self._starts) - 1

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one pass over the data, from number ``start`` on.

        Args:
            epoch: Number of the pass, from 0.
            start: First batch to give; the ones before it cost nothing.

        Raises:
            ArgumentError: ``start`` is not between 0 and ``len(self)``.
        """
        if not 0 <= start <= len(self):
            raise ArgumentError(
                f"Batches: start={start} must be between 0 and {len(self)}, the "
                "number of batches in an epoch."
            )
        return self._generate(epoch, start)

    def _generate(self, epoch: int, start: int) -> Iterator[Batch]:
        order = self._order(epoch)
        visits = _visits(order) if self.balanced else torch.zeros_like(order)
        for number in range(start, len(self)):
            rows = torch.arange(*self._starts[number : number + 2])
            mine = rows.tensor_split(self.world_size)[self.rank]
            yield self._batch(epoch, order[mine], visits[mine])

    def _order(self, epoch: int) -> Tensor:
        if not self.balanced:
            return keys.permutation(self.seed, epoch, self._count)
        return self._draw(epoch, torch.arange(self._count), "order")

    def _draw(self, epoch: int, samples: Tensor, stream: str) -> Tensor:
        """One sample of the whole set for each key: even over samples, or classes."""
        u = keys.uniform(self.seed, epoch, samples, stream, 2)
        if self._by_class is None:
            return (u[:, 0] * self._count).long()
        classes = (u[:, 0] * len(self._class_sizes)).long()
        sizes = self._class_sizes[classes]
        first = (self._class_sizes.cumsum(0) - self._class_sizes)[classes]
        return self._by_class[first + (u[:, 1] * sizes).long()]

    def _batch(self, epoch: int, indices: Tensor, visits: Tensor) -> Batch:
        # A sample that comes again in the same epoch is changed in another way.
        samples = indices + visits * self._count
        images = self._images(epoch, indices, samples)
        targets = self._labels[indices]
        if self.augmentation.mixes:
            partners = self._draw(epoch, samples, "partner")
            weight, share = mixing.weights(
                self.seed,
                epoch,
                samples,
                (images.shape[2], images.shape[3]),
                mixup=self.augmentation.mixup,
                cutmix=self.augmentation.cutmix,
            )
            weight = weight.to(self.device)
            others = self._images(epoch, partners, partners)
            images = images.mul_(weight).add_(others.mul_(1 - weight))
            targets = mixing.soft_targets(
                targets, self._labels[partners], share, self.num_classes
            )
        images = images.contiguous(memory_format=self.memory_format)
        return Batch(images, targets.to(self.device, non_blocking=True), indices)

    def _images(self, epoch: int, indices: Tensor, samples: Tensor) -> Tensor:
        pixels = _take(self._pixels, indices).to(self.device, non_blocking=True)
        return augment(
            pixels,
            samples,
            self.preprocessing,
            self.augmentation,
            seed=self.seed,
            epoch=epoch,
        )


def plain(
    samples: Samples,
    preprocessing: Preprocessing,
    batch_size: int,
    device: torch.device | str = "cpu",
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Iterator[Batch]:
    """Every sample once, in order and unchanged: for evaluation.

    Args:
        samples: What to go through; may be empty.
        preprocessing: How pixels become inputs.
        batch_size: Samples per batch; the last may be short.
        device: Where images and targets go.
        memory_format: Layout of the images.

    Raises:
        ArgumentError: ``batch_size`` is below 1.

    >>> from convscope.data.loading import load
    >>> digits = load("digits")
    >>> sum(len(batch) for batch in plain(digits.test, digits.preprocessing, 100))
    359
    """
    if batch_size < 1:
        raise ArgumentError(f"plain: batch_size={batch_size} must be at least 1.")
    return _in_order(samples, preprocessing, batch_size, device, memory_format)


def _in_order(
    samples: Samples,
    preprocessing: Preprocessing,
    batch_size: int,
    device: torch.device | str,
    memory_format: torch.memory_format,
) -> Iterator[Batch]:
    for first in range(0, len(samples), batch_size):
        indices = torch.arange(first, min(first + batch_size, len(samples)))
        pixels = _take(samples.pixels, indices).to(device, non_blocking=True)
        images = augment(pixels, indices, preprocessing, _NOTHING, seed=0, epoch=0)
        images = images.contiguous(memory_format=memory_format)
        yield Batch(images, samples.labels[indices].to(device), indices)


def _require_sizes(
    count: int, batch_size: int, rank: int, world_size: int, drop_last: bool
) -> None:
    if count == 0:
        raise ArgumentError("Batches: there are no samples. Train on at least one.")
    if batch_size < 1:
        raise ArgumentError(f"Batches: batch_size={batch_size} must be at least 1.")
    if not 0 <= rank < world_size:
        raise ArgumentError(
            f"Batches: rank={rank} must be between 0 and world_size - 1 = "
            f"{world_size - 1}."
        )
    if batch_size % world_size:
        raise ArgumentError(
            f"Batches: batch_size={batch_size} cannot be shared evenly by "
            f"world_size={world_size} processes. Use "
            f"{batch_size + -batch_size % world_size}."
        )
    if count < world_size or (drop_last and count < batch_size):
        raise ArgumentError(
            f"Batches: {count} samples do not fill one batch of {batch_size} for "
            f"{world_size} processes. Lower batch_size, or keep the short last batch."
        )


def _starts(count: int, batch_size: int, world_size: int, drop_last: bool) -> list[int]:
    """Position at which each batch begins, and where the last one ends."""
    starts = list(range(0, count + 1, batch_size))
    rest = count - starts[-1]
    if drop_last or rest == 0:
        return starts
    if rest < 2 * world_size and len(starts) > 1:
        return [*starts[:-1], count]
    return [*starts, count]


def _visits(order: Tensor) -> Tensor:
    """How often each sample has come before, at each position."""
    by_sample = order.argsort(stable=True)
    ordered = order[by_sample]
    first = torch.searchsorted(ordered, ordered)
    visits = torch.empty_like(order)
    visits[by_sample] = torch.arange(len(order)) - first
    return visits


def _resident(pixels: Tensor, device: torch.device) -> Tensor:
    size_bytes = pixels.numel() * pixels.element_size()
    return pixels.to(device) if size_bytes <= _RESIDENT_BYTES else pixels


def _take(pixels: Tensor, indices: Tensor) -> Tensor:
    """Rows of a set; torch indexes uint16 only under the name of int16."""
    signed = pixels.view(torch.int16) if pixels.dtype == torch.uint16 else pixels
    return signed.index_select(0, indices.to(pixels.device)).view(pixels.dtype)
