"""Files in, one record each out: what in a picture speaks for what is said of it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.analysis import Attribution, attribute
from convscope.analysis.attribution.attribute import Method
from convscope.data.preprocessing import Preprocessing
from convscope.data.progress import Progress
from convscope.errors import DataError
from convscope.train.judging.prediction import Failure, decoded_ahead, some_images


@dataclass(frozen=True, eq=False)
class PictureAttributions:
    """What one picture was found to be named for.

    Attributes:
        path: The file.
        pixels: (C, H, W), as they were before they were normalized.
        found: One record for each method, each of this picture alone.
    """

    path: str
    pixels: Tensor
    found: tuple[Attribution, ...]


def attribute_files(
    net: nn.Module,
    preprocessing: Preprocessing,
    paths: Iterable[str | Path],
    target: int | Callable[[str], int] | None = None,
    *,
    minus: int | None = None,
    loss: bool = False,
    methods: Sequence[Method] = ("grad_cam",),
    layer: str | None = None,
    trust: bool = False,
    batch_size: int = 16,
    seed: int = 0,
    progress: Progress | None = None,
) -> Iterator[PictureAttributions | Failure]:
    """Explain any number of files one by one, in order, holding two batches at most.

    Args:
        net: Gives one score for each class.
        preprocessing: Makes pixels of a file, and inputs of pixels.
        paths: Files, folders or patterns.
        target: A class; a function that gives the class of a path, as `class_of_folder`
            does; by default the class that the network names.
        minus: As in `attribute`.
        loss: As in `attribute`.
        methods: As in `attribute`, one or several.
        layer: As in `attribute`, for Grad-CAM.
        trust: As in `attribute`.
        batch_size: Files at a time.
        seed: As in `attribute`.
        progress: Called with files done, of how many, and "pictures".

    Raises:
        DataError: No path leads to an image.
    """
    entries = some_images(paths, "attribute")

    def explained() -> Iterator[PictureAttributions | Failure]:
        done = 0
        for chunk in decoded_ahead(entries, preprocessing, batch_size):
            good = [(path, x) for path, x in chunk if not isinstance(x, Failure)]
            made: Iterator[PictureAttributions] = iter(())
            if good:
                pixels = torch.from_numpy(np.stack([x for _, x in good]))
                names = [path for path, _ in good]
                records = _records(
                    net, preprocessing.normalize(pixels),
                    torch.tensor([target(path) for path in names])
                    if callable(target) else target,
                    minus=minus, loss=loss, methods=methods, layer=layer, trust=trust,
                    seed=seed,
                )  # fmt: skip
                made = map(PictureAttributions, names, pixels, records)
            for _, x in chunk:
                yield x if isinstance(x, Failure) else next(made)
            done += len(chunk)
            if progress is not None:
                progress(done, len(entries), "pictures")

    return explained()  # what is wrong with the call is said before


def _records(
    net: nn.Module,
    inputs: Tensor,
    target: int | Tensor | None,
    *,
    methods: Sequence[Method],
    layer: str | None,
    **options: Any,
) -> Iterator[tuple[Attribution, ...]]:
    """Of each input, one record by each method."""
    return zip(
        *(
            attribute(
                net, inputs, target, method=method,
                layer=layer if method == "grad_cam" else None, **options,
            ).each()
            for method in methods
        ),
        strict=True,
    )  # fmt: skip


def class_of_folder(classes: Sequence[str]) -> Callable[[str], int]:
    """The class of a file by the name of the folder in which it lies.

    Raises:
        DataError: The folder is called like no class.

    >>> class_of_folder(["cat", "dog"])("photos/dog/1.png")
    1
    """

    def found(path: str) -> int:
        name = Path(path).parent.name
        if name not in classes:
            raise DataError(
                f"{path}: its folder {name!r} is called like no class. Name the true "
                "class, or sort pictures into a folder for each class."
            )
        return classes.index(name)

    return found
