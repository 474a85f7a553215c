"""What goes into a network that is looked into: a picture, or random numbers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
import typer
from torch import Tensor

from convscope.cli.network import Named
from convscope.data import Dataset
from convscope.data.preprocessing import Preprocessing
from convscope.errors import ArgumentError, UnknownNameError
from convscope.train.embedding.source import source_of
from convscope.train.starting_weights import IMAGENET_MEAN, IMAGENET_STD, find_start

ImageFlag = Annotated[
    str | None,
    typer.Option(
        "--image",
        metavar="FILE",
        help="The picture that goes in; by default random numbers, always the same.",
    ),
]
PictureFlag = Annotated[
    Path | None,
    typer.Option(
        "--image",
        metavar="FILE",
        help="The picture to look at; by default the first test image of RUN.",
    ),
]
SampleFlag = Annotated[
    int | None,
    typer.Option("--sample", metavar="N", help="The N-th test image of RUN, from 0."),
]
ScalingFlag = Annotated[
    str | None,
    typer.Option(
        "--scaling",
        metavar="none|imagenet|MEAN/STD",
        help="How pixels from 0 to 1 become inputs of a network of your own: as they "
        "are, as for ImageNet, or such as 0.5/0.25, 0.5,0.4,0.4/0.2,0.2,0.2.",
    ),
]
DataFlag = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="A data set or a folder; by default what RUN was trained on.",
    ),
]
PartFlag = Annotated[
    str | None,
    typer.Option(
        "--part",
        metavar="train|val|test",
        help="Which images; by default test images, if there are any.",
    ),
]


@dataclass(frozen=True)
class Shown:
    """One input.

    Attributes:
        x: (1, C, H, W), as the network takes it.
        picture: (H, W, C) as one sees it.
        name: Where it came from.
    """

    x: Tensor
    picture: npt.NDArray[Any]
    name: str


def inputs_of(named: Named, image: str | None, *, where: str) -> Tensor:
    """A batch of the one picture, as the network takes it.

    Without a picture they are random numbers from 0 to 1, always the same.

    Args:
        named: The network.
        image: A file.
        where: What an error message begins with.

    Shape:
        return: (1, C, *space)

    Raises:
        ArgumentError: Nobody says what input it takes, or it takes no pictures.
        BadImageError: The file is none.
    """
    if image is None:
        shape = _shape(named, where)
        return torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    made = preprocessing_of(named, where)
    return made.normalize(torch.from_numpy(made.decode(image))[None])


def preprocessing_of(named: Named, where: str) -> Preprocessing:
    """How pictures become inputs of a network.

    The one rule of all that is shown: a run prepares them as in training, weights of
    one of our models as in theirs; to random weights any values from 0 to 1 are as
    good; of any other network the caller has to say it.

    Raises:
        ArgumentError: The network takes no images, or nobody said of what size or how
            they are scaled.
    """
    if named.run is not None:
        return named.run.spec.preprocessing
    shape = _shape(named, where)
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ArgumentError(
            f"{where}: a picture is no input of {named.name}, which takes {shape}. "
            "Leave it out, or give --input 3,224,224."
        )
    if named.weights is not None:
        start = find_start(named.weights, named.name)
        made = start.preprocessing(shape[0], None)
        return made.model_copy(update={"size": shape[1:]})
    scaling = named.scaling
    if scaling is None:
        known = None if named.is_random else source_of(named.net).preprocessing
        if known is not None:
            return known.model_copy(update={"size": shape[1:]})
        if not named.is_random:
            raise ArgumentError(
                f"{where}: {named.name} does not say how pictures become its inputs. "
                "Give that of its training: --scaling none (values from 0 to 1), "
                "--scaling imagenet, or --scaling MEAN/STD, such as 0.5/0.25."
            )
        scaling = "none"
    mean, std = _mean_and_std(scaling, shape[0], where)
    return Preprocessing.model_validate(
        {"channels": shape[0], "size": shape[1:], "mean": mean, "std": std}
    )


def _mean_and_std(
    scaling: str, channels: int, where: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of each channel, of pixels from 0 to 1."""
    if scaling == "none":
        return (0.0,) * channels, (1.0,) * channels
    if scaling == "imagenet":
        both = IMAGENET_MEAN, IMAGENET_STD
        if channels == 1:
            return (sum(both[0]) / 3,), (sum(both[1]) / 3,)
        return both
    parts = [part.split(",") for part in scaling.split("/")]
    try:
        made = [tuple(map(float, part)) for part in parts]
    except ValueError:
        made = []
    if len(made) != 2 or any(len(part) not in (1, channels) for part in made):
        raise ArgumentError(
            f"{where}: --scaling {scaling} is no mean and standard deviation of "
            f"{channels} {'channel' if channels == 1 else 'channels'}. Give none, "
            "imagenet, or MEAN/STD with one number or one for each channel, such as "
            "0.5/0.25."
        )
    mean, std = (part * channels if len(part) == 1 else part for part in made)
    if min(std) <= 0:
        raise ArgumentError(
            f"{where}: --scaling {scaling} has a standard deviation of {min(std):g}, "
            "which is not above 0. Give one that is."
        )
    return mean, std


def class_number(given: str | None, named: Named, flag: str, where: str) -> int | None:
    """The number of a class that was given by its name or number, if one was.

    Raises:
        UnknownNameError: There is no such class; names the nearest.
        ArgumentError: It is no number, and the classes have no names.
    """
    if given is None:
        return None
    names = named.classes
    if names is not None and given in names:
        return names.index(given)
    if given.isdecimal():
        return int(given)
    if names is None:
        raise ArgumentError(f"{where}: {flag} {given} is no number. Give one.")
    raise UnknownNameError("class", given, names)


def _shape(named: Named, where: str) -> tuple[int, ...]:
    if named.input_shape is None:
        raise ArgumentError(
            f"{where}: {named.name} does not say what input it takes. Give --input, "
            "such as --input 3,224,224."
        )
    return named.input_shape


def chosen_input(
    named: Named, image: Path | None, sample: int | None, *, where: str
) -> Shown:
    """The input that was asked for.

    Raises:
        ArgumentError: Both were given, or neither where there are no data.
        BadImageError: The file cannot be read.
    """
    if image is not None and sample is not None:
        raise ArgumentError(
            f"{where}: --image and --sample exclude each other. Give one."
        )
    if image is not None:
        declared = preprocessing_of(named, where)
        return _shown(declared, declared.decode(image), image.name)
    if named.run is None:
        raise ArgumentError(f"{where}: {named.name} has no data. Give --image FILE.")
    data = named.run.data()
    part = data.parts[data.part_to_judge]
    number = sample or 0
    if not 0 <= number < len(part):
        raise ArgumentError(
            f"{where}: --sample {number} is outside the {len(part)} images. Use 0 to "
            f"{len(part) - 1}."
        )
    pixels = part.pixels[number].numpy()
    return _shown(named.run.spec.preprocessing, pixels, str(part.names[number]))


def chosen_data(named: Named, data: str | None, *, where: str) -> Dataset:
    """The data that were asked for, or those of the run.

    Raises:
        ArgumentError: There are none: the network is not of a run.
    """
    if named.run is not None:
        return named.run.data() if data is None else named.run.load_data(data)
    if data is None:
        raise ArgumentError(f"{where}: {named.name} has no data. Give --data DATA.")
    from convscope.data import load

    declared = preprocessing_of(named, where)
    return load(data, preprocessing=declared).replace(preprocessing=declared)


def _shown(declared: Preprocessing, pixels: npt.NDArray[Any], name: str) -> Shown:
    x = declared.normalize(torch.from_numpy(pixels)[None])
    return Shown(x, np.moveaxis(pixels, 0, -1), name)
