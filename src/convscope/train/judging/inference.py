"""A trained network on pixels: probabilities, and samples judged by them."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.data.batching.batches import plain
from convscope.data.dataset import UNLABELED, Dataset, Samples
from convscope.data.preprocessing import Preprocessing
from convscope.data.progress import Progress
from convscope.errors import (
    ArgumentError,
    DataError,
    RunError,
    ShapeError,
    UnknownNameError,
)
from convscope.execution import Optimized, Setting
from convscope.train.fastest_setting import judging_setting
from convscope.train.judging.calibration import LEAST
from convscope.train.not_finite import first_fault
from convscope.train.recipe import Tta


def logits(
    net: nn.Module,
    images: Tensor | Samples,
    preprocessing: Preprocessing,
    setting: Setting | None = None,
    *,
    batch_size: int = 256,
) -> Tensor:
    """The network's outputs in evaluation mode; arguments as in ``probabilities``.

    Shape:
        images: (N, C, H, W)
        return: (N, K) float32, on the CPU

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> gray = Preprocessing(channels=1, size=(2, 2), mean=(0.5,), std=(0.5,))
    >>> logits(net, torch.zeros(5, 1, 2, 2, dtype=torch.uint8), gray).shape
    torch.Size([5, 3])
    """
    return torch.cat(
        [
            outputs[0].cpu()
            for outputs in output_batches(
                net, images, preprocessing, setting, batch_size
            )
        ]
    )


def probabilities(
    net: nn.Module,
    images: Tensor | Samples,
    preprocessing: Preprocessing,
    setting: Setting | None = None,
    *,
    batch_size: int = 256,
    tta: Tta = "none",
    temperature: float = 1.0,
    progress: Progress | None = None,
) -> Tensor:
    """Softmax of the network's outputs, image by image, in evaluation mode.

    Args:
        net: Gives one logit for each class; its training flags are put back.
        images: Decoded pixels, or the samples that hold them.
        preprocessing: Makes inputs of pixels.
        setting: Where and in which number format; by default where the network is, in
            float32. The softmax is always float32.
        batch_size: Images at a time; changes memory and speed only.
        tta: Mean over each image and its mirror image (``"flip"``), or over the image
            and four copies moved by 1/32 of its size (``"shift"``), or over these and
            their mirror images (``"both"``).
        temperature: What ``fit_temperature`` found for these very probabilities.
        progress: Called with (images done, images in all, what) after each batch.

    Shape:
        images: (N, C, H, W)
        return: (N, K) float32, on the CPU

    Raises:
        ArgumentError: ``batch_size`` is below 1, or ``tta`` is not known.
        DataError: There are no images.
        RunError: An output is NaN or infinite; names the first layer.
        ShapeError: The images are not what ``preprocessing`` makes, or the network's
            output is not (N, K).

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> gray = Preprocessing(channels=1, size=(2, 2), mean=(0.5,), std=(0.5,))
    >>> found = probabilities(net, torch.zeros(1, 1, 2, 2, dtype=torch.uint8), gray)
    >>> round(found.sum().item(), 4)
    1.0
    """
    batches = output_batches(net, images, preprocessing, setting, batch_size, tta)
    rows: list[Tensor] = []
    for outputs in batches:
        mean = torch.stack([each.softmax(1) for each in outputs]).mean(0)
        if temperature != 1.0:
            mean = (mean.clamp_min(LEAST).log() / temperature).softmax(1)
        rows.append(mean.cpu())
        if progress is not None:
            progress(sum(map(len, rows)), len(images), "images")
    return torch.cat(rows)


def choose_part(
    data: Dataset, part: str | None, *, own: bool
) -> tuple[Samples, str, tuple[str, ...]]:
    """The samples to judge on, the part they are, and what a person should know.

    Args:
        data: Where to choose.
        part: ``train``, ``val``, ``test`` or ``all``. By default ``test``; but all of
            a folder that has no ``test`` folder and that the run was not trained on,
            for parts drawn from it would mean nothing.
        own: Whether the run was trained on this data.

    Raises:
        UnknownNameError: There is no such part.
        DataError: The part holds no images.
    """
    notes: tuple[str, ...] = ()
    plain_folder = Path(data.source).is_dir() and "test" not in data.named_parts
    if part is None and data.source and plain_folder and not own:
        part = "all"
        notes = (f"{data.name} is new to this run: all its images are judged.",)
    part = part or "test"
    if part not in (*data.parts, "all"):
        raise UnknownNameError("part", part, (*data.parts, "all"))
    samples = _joined(data) if part == "all" else data.parts[part]
    if not len(samples):
        sizes = ", ".join(f"{name} {len(some)}" for name, some in data.parts.items())
        raise DataError(
            f"evaluate: the {part} part of {data.name} holds no images ({sizes}). "
            "Choose another part."
        )
    return samples, part, notes


def _joined(data: Dataset) -> Samples:
    parts = list(data.parts.values())
    return Samples(
        torch.cat([part.pixels for part in parts]),
        torch.cat([part.labels for part in parts]),
        [name for part in parts for name in part.names],
    )


def relabel(
    samples: Samples, theirs: Sequence[str], ours: Sequence[str], where: str = "data"
) -> Samples:
    """The same samples with labels that count in ``ours``; classes match by name.

    Args:
        samples: Labels are indices into ``theirs``.
        theirs: Class names of the data.
        ours: Class names of the network, in the order of its outputs.
        where: What to call the data in the message.

    Raises:
        DataError: Samples of a class that the network does not know.

    >>> one = Samples(torch.zeros(1, 1, 2, 2), torch.tensor([0]), ["a.png"])
    >>> relabel(one, theirs=("dog",), ours=("cat", "dog")).labels
    tensor([1])
    """
    if tuple(theirs) == tuple(ours):
        return samples
    place = {name: index for index, name in enumerate(ours)}
    used = {theirs[i] for i in set(samples.labels.tolist()) if i >= 0}
    if unknown := sorted(used - place.keys()):
        raise DataError(
            f"evaluate: {where} holds {_listed(unknown)}, which this run never saw; "
            f"it knows {_listed(ours)}. Rename or remove those classes, or train on "
            "data that holds them."
        )
    table = torch.tensor([place.get(name, UNLABELED) for name in theirs] + [UNLABELED])
    return Samples(samples.pixels, table[samples.labels.clamp(min=-1)], samples.names)


def output_batches(
    net: nn.Module,
    images: Tensor | Samples,
    preprocessing: Preprocessing,
    setting: Setting | None,
    batch_size: int,
    tta: Tta = "none",
) -> Iterator[list[Tensor]]:
    """Batch by batch, the logits of every view; the network's mode is put back."""
    if batch_size < 1:
        raise ArgumentError(
            f"probabilities: batch_size={batch_size} must be at least 1."
        )
    if tta not in get_args(Tta):
        raise UnknownNameError("tta", tta, get_args(Tta))
    if not len(images):
        raise DataError("probabilities: there are no images. Give at least one.")
    pixels = images if isinstance(images, Tensor) else images.pixels
    require_form(pixels, preprocessing)
    if isinstance(images, Tensor):
        nobody = torch.full((len(images),), UNLABELED)
        images = Samples(images, nobody, [""] * len(images))
    if setting is None:
        place = next((p.device for p in net.parameters()), torch.device("cpu"))
        setting = judging_setting(
            net, pixels.shape[1:], device=str(place), precision="float32"
        )
    fast = Optimized(net.to(setting.device), setting)
    batches = plain(
        images, preprocessing, batch_size, setting.device, setting.memory_format
    )
    with evaluating(net):
        for batch in batches:
            with torch.no_grad():
                views = _views(batch.images, tta)
                outputs = [_checked(fast(view)) for view in views]
                if not all(bool(torch.isfinite(each).all()) for each in outputs):
                    raise RunError(_not_finite(net, setting, batch.images))
                yield outputs


def require_form(pixels: Tensor, preprocessing: Preprocessing) -> None:
    """Refuse other sizes, channels or bits; floats are on a scale of their own.

    Raises:
        ShapeError: The images are not what ``preprocessing`` makes.
    """
    kinds = {torch.uint8: 8, torch.uint16: 16}
    bits = kinds.get(pixels.dtype, preprocessing.bits)
    found = (*pixels.shape[1:], bits)
    expected = (preprocessing.channels, *preprocessing.size, preprocessing.bits)
    if found != expected:
        raise ShapeError(
            f"probabilities: images have channels, height, width and bits {found}, "
            f"but the preprocessing makes {expected}. Load them with the same "
            "preprocessing."
        )


@contextlib.contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards each module trains again if it did."""
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _views(x: Tensor, tta: Tta) -> Iterator[Tensor]:
    """The images themselves, then their changed copies."""
    yield x
    if tta in ("flip", "both"):
        yield x.flip(-1)
    if tta in ("shift", "both"):
        dy, dx = (max(1, round(size / 32)) for size in x.shape[-2:])
        wide = F.pad(x, (dx, dx, dy, dy), mode="replicate")
        height, width = x.shape[-2:]
        for top, left in ((0, dx), (2 * dy, dx), (dy, 0), (dy, 2 * dx)):
            moved = wide[..., top : top + height, left : left + width]
            yield moved
            if tta == "both":
                yield moved.flip(-1)


def _not_finite(net: nn.Module, setting: Setting, images: Tensor) -> str:
    return (
        f"probabilities: the network's output is not finite: "
        f"{first_fault(net, setting, images)}. Train it again."
    )


def _checked(output: Tensor) -> Tensor:
    if output.ndim != 2:
        raise ShapeError(
            f"probabilities: the network gives shape {tuple(output.shape)}; a "
            "classifier gives (N, classes). End it with a flatten and a linear layer."
        )
    return output


def _listed(names: Sequence[str], most: int = 8) -> str:
    """Names in quotes; only how many more there are after the first few."""
    shown = ", ".join(repr(name) for name in names[:most])
    more = len(names) - most
    return f"{shown} and {more} more" if more > 0 else shown
