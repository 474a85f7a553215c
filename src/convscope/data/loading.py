"""``load``: a data set by name or from a folder, ready to train on."""

import dataclasses
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import ValidationError

from convscope.data import part_sizes
from convscope.data.dataset import Dataset, Samples
from convscope.data.preprocessing import Preprocessing
from convscope.data.progress import Progress
from convscope.data.published import content, download, unpacked_cache
from convscope.data.published.catalog import CATALOG, StandardSet
from convscope.data.published.content import Published
from convscope.data.published.local_files import (
    CIFAR_BATCHES,
    DATA_VARIABLE,
    Found,
    cache_folder,
    data_folder,
    locate,
    roots,
)
from convscope.data.resizing import converted, in_form, resized
from convscope.data.splits import assign, check_fractions, content_hashes, share_out
from convscope.errors import (
    ArgumentError,
    DataError,
    MissingDataError,
    UnknownNameError,
)

DIGITS_TEST = 0.2  # the built-in digits have no test part of their own
FOLDER_TEST = 0.15
LARGEST_SIDE = 16_384  # pixels


def load(
    source: str | Path | object,
    *,
    size: int | tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
    bits: Literal[8, 16] | None = None,
    resize: Literal["crop", "squash", "pad"] | None = None,
    preprocessing: Preprocessing | None = None,
    validation: float = 0.1,
    test: float | None = None,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
    strict: bool = False,
    layout: Literal["auto", "classes"] = "auto",
) -> Dataset:
    """A data set by name, from a folder of images, or from tensors.

    A named set is looked for under ``$CONVSCOPE_DATA``, then in the user's cache, and
    else downloaded (unless ``$CONVSCOPE_OFFLINE`` is 1). Its test part is the
    published one; the validation part is taken from the published training images by a
    hash of their content, so it is the same on every machine and at every ``size``.

    Args:
        source: ``"digits"``, ``"mnist"``, ``"fashion-mnist"``, ``"cifar10"``, or a
            folder. A name goes before a folder of the same name; ``"./mnist"`` means
            the folder. Also a pair (images, labels) of tensors or arrays, or a torch
            DataLoader or Dataset of such pairs, gone through once.
        size: Height and width, in pixels; by default that of the images.
        channels: 1 gray, 3 red-green-blue; by default that of the images.
        bits: Bits per channel kept in memory; by default that of the images.
        resize: What gives way when the aspect ratio differs.
        preprocessing: A trained network's, instead of the four above, to judge it by
            these images; a folder may then hold one class, or one image of a class.
        validation: Share of the training images to validate on, in [0, 1).
        test: Share of the images to test on, in [0, 1); only where no test part is
            published: by default 0.2 for digits, 0.15 for a folder.
        cache_dir: Where downloads and unpacked images are kept.
        progress: Called with steps done, steps in all, and what is being done.
        strict: Refuse files that are not the published ones, and folders with files
            that cannot be used, instead of noting them.
        layout: Of a folder: ``"classes"`` if the folders in it are classes though they
            look like parts (train, test), or hold folders of the same names.

    Raises:
        UnknownNameError: Neither a named set nor a folder.
        ArgumentError: A share outside its interval, ``test`` for a set whose test part
            is published, or a source that is none of these.
        MissingDataError: The files are not here and cannot be downloaded.
        DataError: Files that cannot be used.

    >>> data = load("digits")
    >>> len(data.train), len(data.val), len(data.test)
    (1259, 179, 359)
    """
    name = str(source)
    if isinstance(source, str) and name in CATALOG:
        card = CATALOG[name]
        check_fractions("load", validation=validation, test=test or 0.0)
        declared = preprocessing or _declared(card, size, channels, bits, resize)
        data = _published(card, test, cache_dir, progress)
        if strict and data.notes:
            raise DataError(f"load: {data.notes[0]}")
        return _assembled(card, data, declared, validation, test, progress)
    if not isinstance(source, str | Path):
        return _from_memory(
            source,
            size,
            {"channels": channels, "bits": bits, "resize": resize},
            preprocessing,
            validation,
            FOLDER_TEST if test is None else test,
            progress,
        )
    looks_like_a_path = isinstance(source, Path) or "/" in name or os.sep in name
    if not looks_like_a_path and not Path(name).exists():
        raise UnknownNameError("data set or folder", name, CATALOG)
    for side in (size,) if isinstance(size, int) else size or ():
        if not 1 <= side <= LARGEST_SIDE:
            raise ArgumentError(
                f"load: size={size} must be from 1 to {LARGEST_SIDE:,} pixels."
            )
    from convscope.data.folders.load_folder import load_folder

    return load_folder(
        Path(source),
        size=size,
        channels=channels,
        bits=bits,
        resize=resize,
        preprocessing=preprocessing,
        validation=validation,
        test=FOLDER_TEST if test is None else test,
        cache_dir=cache_dir,
        progress=progress,
        strict=strict,
        layout=layout,
    )


def _from_memory(
    source: object,
    size: int | tuple[int, int] | None,
    others: Mapping[str, object],
    preprocessing: Preprocessing | None,
    validation: float,
    test: float,
    progress: Progress | None,
) -> Dataset:
    """A pair of tensors or a loader, at another size if one is asked for."""
    from convscope.data.torch_sources import from_torch

    given = [name for name, value in others.items() if value is not None]
    if given:
        raise ArgumentError(
            f"load: {given[0]}={others[given[0]]!r} is for files; the images given are "
            "in memory. Give them in that form."
        )
    data = from_torch(source, validation=validation, test=test, progress=progress)
    if preprocessing is not None:
        return in_form(data, preprocessing, progress)
    if size is None:
        return data
    return resized(data, (size, size) if isinstance(size, int) else size, progress)


def _declared(
    card: StandardSet,
    size: int | tuple[int, int] | None,
    channels: Literal[1, 3] | None,
    bits: Literal[8, 16] | None,
    resize: Literal["crop", "squash", "pad"] | None,
) -> Preprocessing:
    """How the images of the set become inputs, but for the statistics."""
    channels = channels or card.channels
    try:
        return Preprocessing(
            channels=channels,
            bits=bits or 8,
            size=(size, size) if isinstance(size, int) else size or card.shape[1:],
            resize=resize or "crop",
            centering=card.centering if channels == 1 else "none",
            mean=(0.0,) * channels,
            std=(1.0,) * channels,
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(step) for step in first["loc"][:1])
        raise ArgumentError(
            f"load: {name}={first['input']!r} is not allowed: {first['msg']}."
        ) from None


def _assembled(
    card: StandardSet,
    data: Published,
    preprocessing: Preprocessing,
    validation: float,
    test: float | None,
    progress: Progress | None,
) -> Dataset:
    """The published arrays, parted and in the form that ``preprocessing`` declares."""
    has_test = data.train_count < len(data.labels)
    share = 0.0 if has_test else DIGITS_TEST if test is None else test
    check_fractions("load", validation=validation, test=share)
    train, val, tested = (
        converted(part, preprocessing, card.name, progress)
        for part in _parts(card, data, validation, share)
    )
    parts = {"train": train, "val": val, "test": tested}
    named = ("test",) if has_test else ()
    warnings = part_sizes.warnings(parts, card.classes, named)
    how_parted = _how_parted(card, parts)
    return Dataset(
        name=card.name,
        source=card.name,
        classes=card.classes,
        train=train,
        val=val,
        test=tested,
        preprocessing=preprocessing.with_statistics(train.pixels),
        notes=(how_parted, *data.notes, *data.trouble, *warnings),
        options={"validation": validation, **({} if test is None else {"test": test})},
        named_parts=named,
        part_notes=(how_parted, *warnings),
    )


def _published(
    card: StandardSet,
    test: float | None,
    cache_dir: str | Path | None,
    progress: Progress | None,
) -> Published:
    """The published arrays, from files that are here or are downloaded now."""
    if card.format == "built in":
        return content.digits()
    if test is not None:
        raise ArgumentError(
            f"load: test={test} does not go with {card.name!r}, whose "
            f"{card.test_count:,} test images are published. Leave it out."
        )
    cache = cache_folder(cache_dir)
    found = locate(card, cache_dir)
    was_here = found is not None
    if found is None:
        _download(card, cache / card.name, progress)
        found = locate(card, cache_dir)
    if found is not None and found.form == "archive":
        archive, batches = found.paths[0], cache / card.folders[0]
        limit = content.LARGEST_FILE
        try:
            download.unpack(archive, CIFAR_BATCHES, batches, limit=limit)
        except DataError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            return _unpacked_for_once(card, archive, str(error), progress)
        if not was_here:  # our own download; what it held is unpacked now
            archive.unlink()
        found = locate(card, cache_dir)
    if found is None:
        raise MissingDataError(
            f"load: the files of {card.name} vanished right after they were downloaded "
            f"to {cache}. Try again, or pass another cache_dir."
        )
    if card.format != "cifar":
        return content.read(card, found, progress)
    data = unpacked_cache.recall(card, found, cache)
    if data is None:
        data = content.read(card, found, progress)
        unpacked_cache.keep(card, found, cache, data)
    return data


def _unpacked_for_once(
    card: StandardSet, archive: Path, trouble: str, progress: Progress | None
) -> Published:
    """The arrays in an archive where the cache cannot be written: nothing is kept."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "batches"
        download.unpack(archive, CIFAR_BATCHES, folder, limit=content.LARGEST_FILE)
        paths = tuple(folder / name for name in CIFAR_BATCHES)
        data = content.read(card, Found(folder, "python", paths), progress)
    note = f"{trouble} It is unpacked each time until then."
    return dataclasses.replace(data, trouble=(note,))


def _download(card: StandardSet, folder: Path, progress: Progress | None) -> None:
    """Gets every file of the set, or says once what to put where."""
    reason = f"{download.OFFLINE_VARIABLE} is set, so nothing is downloaded"
    if not download.is_offline():
        try:
            for file in card.files:
                download.fetch(file, folder, progress)
        except MissingDataError as error:
            reason = f"the download failed ({error})"
        else:
            return
    root = data_folder()
    looked = " and ".join(str(path) for path in roots(folder.parent))
    places = f"{root / card.name if root else f'${DATA_VARIABLE}/{card.name}'}"
    wanted = "".join(
        f"\n  {file.name}  {file.size_bytes:,} bytes  {file.checksum}"
        for file in card.files
    )
    raise MissingDataError(
        f"load: {card.name} is not on this machine (looked below {looked}) "
        f"and {reason}. Put these files into {places} or {folder}:{wanted}"
    )


def _parts(
    card: StandardSet, data: Published, validation: float, test: float
) -> list[Samples]:
    """Training, validation and test images as published, named by their position."""
    count = data.train_count
    labels = data.labels.astype(np.int64)
    hashes = content_hashes(data.images[:count])
    parts = assign(hashes, labels[:count], validation=validation, test=test)
    train, val, tested = share_out(parts)
    if card.format == "built in":
        names = [f"{card.name}/{i}" for i in range(count)]
    else:
        names = [f"{card.name}/train/{i}" for i in range(count)]
        names += [f"{card.name}/test/{i}" for i in range(len(labels) - count)]
        tested = np.arange(count, len(labels))
    images = torch.from_numpy(data.images)
    whole = Samples(images, torch.from_numpy(labels), names)
    return [whole.subset(indices) for indices in (train, val, tested)]


def _how_parted(card: StandardSet, parts: Mapping[str, Samples]) -> str:
    if card.format == "built in":
        return (
            "No test part is published; parted by a hash of the pixels, class by "
            f"class: {part_sizes.shares(parts)}."
        )
    published = {name: parts[name] for name in ("train", "val")}
    return (
        "The test part is the published one; the published training images are parted "
        f"by a hash of their pixels, class by class: {part_sizes.shares(published)}."
    )
