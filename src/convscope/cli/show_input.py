"""What goes into a network that is looked into: a picture, or random numbers."""

from typing import Annotated

import torch
import typer
from torch import Tensor

from convscope.cli.network import Named
from convscope.data.preprocessing import Preprocessing
from convscope.errors import ArgumentError

ImageFlag = Annotated[
    str | None,
    typer.Option(
        "--image",
        metavar="FILE",
        help="The picture that goes in; by default random numbers, always the same.",
    ),
]


def inputs_of(named: Named, image: str | None, *, where: str) -> Tensor:
    """A batch of the one picture, as the network takes it.

    A run prepares it as in training; for any other network its values are scaled to 0
    to 1. Without a picture they are random numbers from 0 to 1, always the same.

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
    shape = named.input_shape
    if shape is None:
        raise ArgumentError(
            f"{where}: {named.name} does not say what input it takes. Give --input, "
            "such as --input 3,224,224."
        )
    if image is None:
        return torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    if named.run is not None:
        preprocessing = named.run.spec.preprocessing
    elif len(shape) == 3 and shape[0] in (1, 3):
        channels, *size = shape
        zeros, ones = (0.0,) * channels, (1.0,) * channels
        preprocessing = Preprocessing.model_validate(
            {"channels": channels, "size": size, "mean": zeros, "std": ones}
        )
    else:
        raise ArgumentError(
            f"{where}: --image is a picture, and {named.name} takes {shape}. Leave "
            "--image out, or give --input 3,224,224."
        )
    pixels = torch.from_numpy(preprocessing.decode(image))
    return preprocessing.normalize(pixels[None])
