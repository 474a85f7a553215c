"""What the reader draws or chooses, to what goes into the network."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from convscope.errors import ArgumentError
from convscope.serve.subject import Subject


@dataclass(frozen=True)
class Placing:
    """How an input is moved before it goes in.

    Attributes:
        right: Pixels of the network's input.
        down: Pixels of the network's input.
        turn: Degrees, against the clock.
    """

    right: int = 0
    down: int = 0
    turn: float = 0.0


def drawing(
    subject: Subject, body: bytes, height: int, width: int, centering: bool
) -> npt.NDArray[np.generic]:
    """Pixels of a drawing, dark on white.

    Without centering it is only scaled, its ink as light as that of drawings that
    are centered, so that nothing but its place differs.

    Args:
        subject: Whose preprocessing.
        body: One byte for each pixel, row by row.
        height: Of the drawing.
        width: Of the drawing.
        centering: Whether the run's own centering is applied.

    Raises:
        ArgumentError: There are more or fewer bytes than pixels.
    """
    if len(body) != height * width:
        raise ArgumentError(
            f"play: a drawing of {height} x {width} has {height * width:,} bytes; got "
            f"{len(body):,}. Send one byte for each pixel."
        )
    gray = np.frombuffer(body, np.uint8).reshape(height, width)
    own = subject.preprocessing
    if own.centering != "none" and not centering:
        gray = 255 - gray
        own = own.model_copy(update={"centering": "none"})
    return own.decode(Image.fromarray(gray))


def network_input(
    subject: Subject, pixels: npt.NDArray[np.generic], placing: Placing
) -> tuple[Tensor, npt.NDArray[np.generic]]:
    """What goes in, (1, C, H, W), and the pixels that it is made of."""
    if placing != Placing():
        edge = np.concatenate([pixels[:, 0], pixels[:, -1]], axis=1)
        fill = np.median(edge, axis=1)
        moved = [
            _placed(channel, float(value), placing)
            for channel, value in zip(pixels, fill, strict=True)
        ]
        pixels = np.stack(moved).astype(pixels.dtype)
    x = subject.preprocessing.normalize(
        torch.from_numpy(np.ascontiguousarray(pixels))[None]
    )
    return x, pixels


def _placed(
    channel: npt.NDArray[np.generic], fill: float, placing: Placing
) -> npt.NDArray[np.float64]:
    values = channel.astype(np.float64)
    if placing.turn:
        values = ndimage.rotate(
            values, placing.turn, reshape=False, order=1, mode="constant", cval=fill
        )
    step = (placing.down, placing.right)
    moved: npt.NDArray[np.float64] = ndimage.shift(
        values, step, order=0, mode="constant", cval=fill
    )
    return np.rint(moved)
