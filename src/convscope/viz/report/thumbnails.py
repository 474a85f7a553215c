"""Pixels as small pictures inside the file, as long as there is room."""

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from convscope.viz.attribution import end_of_scale
from convscope.viz.palette import COUNT, diverging, sequential

SIDE = 96  # pixels at most
SMALL = 48  # up to which a picture is kept without loss
GRAY = np.array([0.299, 0.587, 0.114])  # of red, green and blue
ROOM = 2_000_000  # bytes of all pictures of one report


class Thumbnails:
    """Makes data addresses of pictures, until the room is used up.

    >>> import torch
    >>> made = Thumbnails(room=1000)
    >>> made.of(torch.zeros(1, 8, 8, dtype=torch.uint8))[:22]
    'data:image/png;base64,'
    """

    def __init__(self, room: int = ROOM, side: int = SIDE) -> None:
        self._room, self._side = room, side

    def of(self, pixels: Tensor) -> str:
        """The address of one picture, (C, H, W); empty where there is no room."""
        return self.of_array(_bytes(pixels))

    def overlaid(self, pixels: Tensor, values: npt.NDArray[np.float32]) -> str:
        """One picture in gray under a map; below 0 in the other color."""
        picture = _bytes(pixels)
        if picture.ndim == 3:
            picture = (picture @ GRAY).round().astype(np.uint8)
        share, colors = values / end_of_scale(values), sequential()
        if values.min() < 0:
            share, colors = (share + 1) / 2, diverging()
        places = np.clip(share * (COUNT - 1), 0, COUNT - 1).astype(int)
        mixed = 0.45 * picture[..., None] + 0.55 * 255 * colors[places]
        return self.of_array(mixed.round().astype(np.uint8))

    def of_array(self, picture: npt.NDArray[np.uint8]) -> str:
        """The same of (H, W) or (H, W, 3)."""
        if self._room <= 0:
            return ""
        image = Image.fromarray(picture)
        small = max(image.size) <= SMALL
        if not small:
            image.thumbnail((self._side, self._side))
        file, kind = io.BytesIO(), "png" if small else "jpeg"
        image.save(file, kind, optimize=True, **({} if small else {"quality": 75}))
        coded = base64.b64encode(file.getvalue()).decode()
        self._room -= len(coded)
        return f"data:image/{kind};base64,{coded}"


def _bytes(pixels: Tensor) -> npt.NDArray[np.uint8]:
    values = pixels.numpy()
    if values.dtype == np.uint16:
        top = max(int(values.max()), 1)  # 16 bits are seldom used to the full
        values = (values.astype(np.float32) * (255 / top)).astype(np.uint8)
    picture = values[0] if len(values) == 1 else values.transpose(1, 2, 0)
    return np.ascontiguousarray(picture)
