"""``cs.features``: vectors of images, from any network, for other methods."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from convscope.data.arrays import as_pixels, as_tensor
from convscope.data.dataset import Dataset, Samples
from convscope.data.loading import load
from convscope.data.preprocessing import Preprocessing
from convscope.data.progress import Progress
from convscope.data.published.catalog import CATALOG
from convscope.data.resizing import converted
from convscope.errors import ArgumentError, BadImageError, DataError, ShapeError
from convscope.execution import images_together
from convscope.train.embedding.source import Net, Source, source_of
from convscope.train.judging.features import (
    FeatureReader,
    input_batches,
    stacked,
    told,
)
from convscope.train.judging.prediction import Failure, decoded_ahead, find_images

Images = (
    Tensor | np.ndarray | Samples | Dataset | str | Path | Sequence[Any]
)  # a sequence of paths, arrays or Pillow images


def features(
    net: Net,
    images: Images,
    *,
    layer: str | None = None,
    preprocessing: Preprocessing | None = None,
    device: str | None = None,
    optimize: bool = True,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """What a network knows of images before it names their classes, for other methods.

    Pictures become inputs as in the training of the weights. A run knows how, and so
    do published weights, also in a network that ``models.build`` made, as long as they
    have not been trained further. Of any other network it is asked for.
    ``train.feature_table`` tells the path and class of each row, too.

    Args:
        net: A network; a run, or its folder; or the name of a model that has published
            weights, such as ``"efficientnet_lite0"``.
        images: Files, as paths, folders or patterns; a Dataset (its parts one after the
            other: train, val, test; read again if it was loaded at another size), the
            name of one, or Samples; a sequence of Pillow images or arrays; or one array
            or tensor. Floating-point numbers are what the network itself takes if
            ``net`` is a network and no preprocessing is given; else they are pictures
            from 0 to 1, kept as 8 bits.
        layer: Whose output is taken, as ``net.named_modules()`` calls it; ``""`` is the
            network itself. By default it is what reaches the last layer, linear or a
            convolution, that tells the classes.
        preprocessing: How pictures become inputs, if not as above.
        device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; by default where the network
            is, where the run was trained, or the best there is.
        optimize: Whether the fastest setting is measured.
        batch_size: Images at a time; changes memory and speed only.
        progress: Called with images done, images in all, and what is being done.

    Shape:
        images: (N, H, W), (N, H, W, C) or (N, C, H, W); inputs (N, C, ...)
        return: (N, F) float32; of a map (N, C, ...) the mean over positions

    Raises:
        ArgumentError: It is not known how pictures become inputs; no such device; or
            the layer gives no floating-point tensor with a row for each image.
        UnknownNameError: No model with published weights, no data set, or no layer has
            that name.
        DataError: No images; the weights' package is not installed; or images that
            cannot be used.
        BadImageError: A file that cannot be read; names the first.
        ShapeError: The network does not take such inputs.
        RunError: The folder holds no run that can be used, or a feature is not finite.

    Source:
        Donahue et al. 2014, DeCAF: A Deep Convolutional Activation Feature for Generic
        Visual Recognition. Here maps are averaged, as in Lin et al. 2014, Network in
        Network, section 3.2; there they are flattened.

    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1))
    >>> features(net, torch.rand(5, 3, 9, 9)).shape
    (5, 8)
    >>> features(net, torch.rand(5, 3, 9, 9), layer="2").shape
    (5, 2)
    """
    if batch_size is not None and batch_size < 1:
        raise ArgumentError(f"features: batch_size={batch_size} must be at least 1.")
    source = source_of(
        net, preprocessing=preprocessing, device=device, optimize=optimize
    )
    return features_of(source, images, layer, batch_size, progress)


def features_of(
    source: Source,
    images: Images,
    layer: str | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """``features`` of a network whose preprocessing has been found."""
    if isinstance(images, np.ndarray | Tensor):
        if not len(images):
            raise DataError("features: there are no images. Give at least one.")
        inputs = _inputs(source, images)
        if inputs is not None:
            return _of_inputs(source, inputs, layer, batch_size, progress)
    pixels = None
    if isinstance(images, str) and images in CATALOG:
        images = load(images, preprocessing=source.require_preprocessing("images"))
    if isinstance(images, Samples):
        pixels = images.pixels
    elif isinstance(images, Dataset):
        pixels = _pixels_of(images, source.require_preprocessing("images"))
    elif isinstance(images, np.ndarray | Tensor):
        source.require_preprocessing("pixels")
        array = images.detach().cpu().numpy() if isinstance(images, Tensor) else images
        if _has_alpha(array):
            return _of_pictures(source, list(array), layer, batch_size, progress)
        pixels = as_tensor(as_pixels(array, "features")[0])
    if pixels is not None:
        return _of_pixels(source, pixels, layer, batch_size, progress)
    sequence: Any = [images] if isinstance(images, str | Path) else images
    many = list(sequence)
    if all(isinstance(each, str | Path) for each in many):
        return _of_files(source, many, layer, batch_size, progress)
    return _of_pictures(source, many, layer, batch_size, progress)


def _has_alpha(array: np.ndarray) -> bool:
    """Whether it is (N, H, W, 2) or (N, H, W, 4), and cannot be (N, C, H, W)."""
    return (
        array.ndim == 4 and array.shape[-1] in (2, 4) and array.shape[1] not in (1, 3)
    )


def _inputs(source: Source, images: np.ndarray | Tensor) -> Tensor | None:
    """Floating-point numbers that are inputs already; None where they are pictures."""
    array = images if isinstance(images, Tensor) else as_tensor(images)
    if not array.is_floating_point():
        if array.dtype not in (torch.uint8, torch.uint16, torch.bool):
            raise ArgumentError(
                f"features: images are {array.dtype}. Give uint8, uint16 or bool for "
                "pixels, floating-point numbers for inputs."
            )
        return None
    if not source.takes_inputs:
        if array.numel() and not bool(((array >= 0) & (array <= 1)).all()):
            raise ArgumentError(
                f"features: floating-point images are pictures from 0 to 1 for "
                f"{source.name}; these go from {array.min():g} to {array.max():g}. "
                "Scale them, give uint8, or give the network itself for inputs."
            )
        return None
    if source.published is not None and array.numel():
        low, high = float(array.min()), float(array.max())
        if low >= 0 and high <= 1:
            raise ArgumentError(
                f"features: these numbers go from {low:g} to {high:g}, as pictures do, "
                f"but inputs of {source.name} lie around 0. Give uint8 pixels, or "
                f"net={source.name!r} for pictures from 0 to 1."
            )
    return array


def _of_inputs(
    source: Source,
    inputs: Tensor,
    layer: str | None,
    batch_size: int | None,
    progress: Progress | None,
) -> np.ndarray:
    if inputs.ndim < 2:
        raise ShapeError(
            f"features: images have shape {tuple(inputs.shape)}. Give (N, C, ...)."
        )
    if not len(inputs):
        raise DataError("features: there are no images. Give at least one.")
    setting = source.setting(inputs.shape[1:])
    size = batch_size or images_together(inputs.shape[2:], setting.device)
    with source.placed(setting):
        reader = FeatureReader(source.net, setting, layer)
        return stacked(reader, inputs.split(size), len(inputs), progress)


def _of_pixels(
    source: Source,
    pixels: Tensor,
    layer: str | None,
    batch_size: int | None,
    progress: Progress | None,
) -> np.ndarray:
    """Of images in any form; they are brought to the network's batch by batch."""
    declared = source.require_preprocessing("pixels")
    if not len(pixels):
        raise DataError("features: there are no images. Give at least one.")
    setting = source.setting((declared.channels, *declared.size))
    size = batch_size or images_together(declared.size, setting.device)

    def batches() -> Iterator[Tensor]:
        for some in pixels.split(size):
            part = Samples(some, torch.zeros(len(some)), [""] * len(some))
            yield from input_batches(converted(part, declared, ""), declared, size)

    with source.placed(setting):
        reader = FeatureReader(source.net, setting, layer)
        return stacked(reader, batches(), len(pixels), progress)


def _pixels_of(data: Dataset, declared: Preprocessing) -> Tensor:
    """Pixels of all parts; read again where the data were loaded in another form."""
    form = ("channels", "bits", "size", "resize", "interpolation", "centering")
    own = data.preprocessing
    pixels = torch.cat([part.pixels for part in data.parts.values()])
    if not data.source or all(getattr(own, f) == getattr(declared, f) for f in form):
        return pixels
    names = [name for part in data.parts.values() for name in part.names]
    again = load(data.source, preprocessing=declared, **data.options)
    rows = [name for part in again.parts.values() for name in part.names]
    row = {name: i for i, name in enumerate(rows)}
    if missing := [name for name in names if name not in row]:
        raise DataError(
            f"features: {data.name} is read again at {declared.size} pixels, but "
            f"{missing[0]} is no longer there. Load the data again, or give its parts "
            "(data.train) to take their pixels as they are."
        )
    pixels = torch.cat([part.pixels for part in again.parts.values()])
    return pixels[[row[name] for name in names]]


def _of_pictures(
    source: Source,
    pictures: Sequence[Any],
    layer: str | None,
    batch_size: int | None,
    progress: Progress | None,
) -> np.ndarray:
    """Of Pillow images and arrays, each of its own size."""
    declared = source.require_preprocessing("pictures")
    rows = []
    for i, each in enumerate(pictures):
        if isinstance(each, Tensor):
            each = each.detach().cpu().numpy()
        if isinstance(each, Image.Image):
            rows.append(declared.decode(each))
        elif isinstance(each, np.ndarray):
            rows.append(declared.decode_array(each))
        else:
            raise ArgumentError(
                f"features: images[{i}] is a {type(each).__name__}. Give paths only, "
                "or Pillow images and arrays of pixels only."
            )
    if not rows:
        raise DataError("features: there are no images. Give at least one.")
    pixels = torch.from_numpy(np.stack(rows))
    return _of_pixels(source, pixels, layer, batch_size, progress)


def _of_files(
    source: Source,
    paths: Sequence[str | Path],
    layer: str | None,
    batch_size: int | None,
    progress: Progress | None,
) -> np.ndarray:
    files = find_images(paths)
    found = features_of_files(source, files, layer, batch_size, progress)
    if found.failures:
        first = found.failures[0]
        raise BadImageError(
            f"features: {len(found.failures)} of {len(files)} files cannot be read, "
            f"first {first.path}: {first.reason}"
        )
    return found.features


class FileFeatures(NamedTuple):
    """Features of the files that could be read, and the others."""

    features: np.ndarray  # (N, F)
    paths: list[str]
    failures: list[Failure]
    place: str  # where in the network they were taken


def features_of_files(
    source: Source,
    files: Sequence[str | Failure],
    layer: str | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> FileFeatures:
    """Features of files, a batch of which is decoded while another is computed.

    Raises:
        DataError: Not one can be read.
    """
    declared = source.require_preprocessing("files")
    setting = source.setting((declared.channels, *declared.size))
    size = batch_size or images_together(declared.size, setting.device)
    reader = FeatureReader(source.net, setting, layer)
    paths: list[str] = []
    failures: list[Failure] = []

    def batches() -> Iterator[Tensor]:
        for chunk in decoded_ahead(files, declared, size):
            good = [row for _, row in chunk if not isinstance(row, Failure)]
            failures.extend(row for _, row in chunk if isinstance(row, Failure))
            paths.extend(path for path, row in chunk if not isinstance(row, Failure))
            if good:
                pixels = torch.from_numpy(np.stack(good))
                yield from input_batches(pixels, declared, size)

    with source.placed(setting):
        rows = list(map(reader.read, told(batches(), len(files), progress)))
    if not rows:
        first = failures[0] if failures else Failure("", "no path was given")
        raise DataError(
            f"features: no images ({first.path}: {first.reason}). Give files, folders "
            "or patterns."
        )
    return FileFeatures(torch.cat(rows).numpy(), paths, failures, str(reader.place))
