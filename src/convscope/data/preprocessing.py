"""Everything between a file and a network's input, declared once."""

from typing import Annotated, Literal, Self

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from convscope.data import images
from convscope.data.centering import centered
from convscope.errors import ArgumentError, BadImageError, ShapeError

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
GRAY = (0.299, 0.587, 0.114)  # red, green, blue: ITU-R BT.601, as Pillow has it

Byte = Annotated[int, Field(ge=0, le=255)]
Pixels = Annotated[int, Field(ge=1, le=16384)]


class Preprocessing(BaseModel):
    """How a picture becomes one input; stored in the run folder, used everywhere.

    In this order: EXIF rotation, transparency, bits, channels, then centering or
    resizing, scaling to 0-1, mean and standard deviation. A picture that has the right
    channels, bits and size already is taken as it is, bit for bit, also by centering.
    A JPEG of many times the size is decoded at reduced scale; see ``images.read``.

    >>> p = Preprocessing(channels=1, size=(4, 4), mean=(0.5,), std=(0.25,))
    >>> pixels = p.decode(Image.new("L", (8, 8), 255))
    >>> pixels.shape, pixels.dtype
    ((1, 4, 4), dtype('uint8'))
    >>> p.normalize(torch.from_numpy(pixels)[None]).max().item()
    2.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Literal[1, 3] = Field(3, description="1 gray, 3 red-green-blue.")
    bits: Literal[8, 16] = Field(8, description="Bits per channel kept in memory.")
    size: tuple[Pixels, Pixels] = Field(description="Height and width, in pixels.")
    resize: Literal["crop", "squash", "pad"] = Field(
        "crop", description="What gives way when the aspect ratio differs."
    )
    interpolation: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = Field(
        "bilinear", description="Resampling filter; all but nearest with antialias."
    )
    centering: Literal["none", "mass", "box"] = Field(
        "none", description="For drawn digits: by center of mass, or by bounding box."
    )
    background: Byte = Field(
        255, description="Gray behind transparency; with centering, what contrasts."
    )
    fill: Byte = Field(0, description='Gray of the bars that resize="pad" adds.')
    mean: tuple[float, ...] = Field(description="Per channel, on the scale 0 to 1.")
    std: tuple[float, ...] = Field(description="Per channel, on the scale 0 to 1.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels:
                raise ArgumentError(
                    f"Preprocessing: {name} has {len(values)} numbers for channels="
                    f"{self.channels}. Give one per channel."
                )
        if not all(0 < value < float("inf") for value in self.std):
            raise ArgumentError(
                f"Preprocessing: std={self.std} must be positive and finite."
            )
        if self.centering != "none" and self.channels != 1:
            raise ArgumentError(
                f"Preprocessing: centering={self.centering!r} is for drawings in gray; "
                f"got channels={self.channels}. Use channels=1 or centering='none'."
            )
        return self

    def decode(self, source: images.ImageSource) -> np.ndarray:
        """One picture as the network's pixels, before scaling.

        Args:
            source: A path, the bytes of a file, a file open for reading in binary
                mode, or a Pillow image.

        Shape:
            return: (channels, *size) uint8, or uint16 where bits is 16

        Raises:
            BadImageError: It is not a picture, is damaged, is too large, or has a mode
                that cannot be read without guessing; the message says which.
        """
        return self.decode_picture(self.read(source), images.name_of(source))

    def read(self, source: images.ImageSource) -> images.Picture:
        """The picture to be decoded, a JPEG at no larger scale than shows.

        Raises:
            BadImageError: As for ``decode``.
        """
        resized = (
            self.bits == 8
            and self.centering == "none"
            and self.interpolation != "nearest"
        )
        return images.read(source, max(self.size) if resized else None)

    def decode_picture(
        self, picture: images.Picture, name: str = "image"
    ) -> np.ndarray:
        """``decode`` for a picture that has been read; ``name`` is for messages.

        Shape:
            return: (channels, *size)

        Raises:
            BadImageError: As for ``decode``.
        """
        image = picture.image
        try:
            if image.mode in images.WIDE_MODES:
                return self._decode_wide(images.gray16(image, name))
            return self._decode_narrow(image, picture.reduced)
        except BadImageError:
            raise
        except (ValueError, OSError, MemoryError) as error:
            raise BadImageError(
                f"{name}: mode {image.mode} cannot be converted ({error})."
            ) from error

    def decode_array(self, array: np.ndarray) -> np.ndarray:
        """``decode`` for pixels in memory.

        An array of shape ``(channels, *size)`` and the right type is returned as it is.
        Else a last axis of 1 to 4 is the channels (gray, gray and alpha, RGB, RGBA),
        before a first axis of 1 or 3 is.

        Shape:
            array:  (H, W), (H, W, C) or (C, H, W); uint8, uint16 or bool
            return: (channels, *size)

        Raises:
            ShapeError: Another shape, or no pixels.
            ArgumentError: Another type.
        """
        kept = np.uint8 if self.bits == 8 else np.uint16
        if array.dtype == kept and array.shape == (self.channels, *self.size):
            return array
        if array.dtype == np.bool_:
            array = array.astype(np.uint8) * np.uint8(255)
        if array.dtype not in (np.uint8, np.uint16):
            raise ArgumentError(
                f"decode_array: array has dtype {array.dtype}. Use uint8 from 0 to "
                "255, uint16 from 0 to 65535, or bool."
            )
        planes = _channels_last(array)
        if array.dtype == np.uint16:
            if planes.ndim == 2:
                return self._decode_wide(planes)
            if self.bits == 8:
                planes = _to_8_bits(planes)
            else:
                return self._decode_wide_color(planes)
        return self._decode_narrow(Image.fromarray(np.ascontiguousarray(planes)))

    def normalize(self, pixels: Tensor) -> Tensor:
        """Pixels to network input: (pixels / greatest - mean) / std.

        Shape:
            pixels: (N, C, H, W) uint8, uint16, or floating on the scale 0 to 1
            return: (N, C, H, W) float32, on the same device

        Raises:
            ShapeError: Not four axes, or another number of channels.
        """
        if pixels.ndim != 4 or pixels.shape[1] != self.channels:
            raise ShapeError(
                f"normalize: pixels must have shape (N, {self.channels}, H, W); got "
                f"{tuple(pixels.shape)}."
            )
        return self.standardize(self.unit(pixels))

    def unit(self, pixels: Tensor) -> Tensor:
        """A float32 copy on the scale 0 to 1, where floating pixels are already."""
        if pixels.is_floating_point():
            return pixels.to(torch.float32, copy=True)
        return pixels.to(torch.float32).div_(2**self.bits - 1)

    def standardize(self, images: Tensor) -> Tensor:
        """Subtracts the mean and divides by the standard deviation, in place."""
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=images.device).view(
                -1, 1, 1
            )
            for values in (self.mean, self.std)
        )
        return images.sub_(mean).div_(std)

    def with_statistics(self, pixels: Tensor) -> "Preprocessing":
        """A copy with mean and standard deviation measured, rounded to 6 decimals.

        They are exact: values are counted, not summed in floating point. A channel
        that never varies gets a standard deviation of 1.

        Shape:
            pixels: (N, C, H, W) uint8 or uint16, N at least 1

        Raises:
            ShapeError: Another number of channels, or no pixels.
        """
        if pixels.ndim != 4 or pixels.shape[1] != self.channels or not pixels.numel():
            raise ShapeError(
                f"with_statistics: pixels must have shape (N, {self.channels}, H, W) "
                f"with N at least 1; got {tuple(pixels.shape)}."
            )
        values = np.arange(2**self.bits) / (2**self.bits - 1)
        array = pixels.cpu().numpy()
        mean, std = [], []
        for channel in range(self.channels):
            counts = _counts(array[:, channel], len(values))
            average = float(counts @ values / counts.sum())
            variance = float(counts @ (values - average) ** 2 / counts.sum())
            mean.append(round(average, 6))
            std.append(round(variance**0.5, 6) or 1.0)
        return self.model_copy(update={"mean": tuple(mean), "std": tuple(std)})

    def _decode_narrow(
        self, image: Image.Image, box: images.Box | None = None
    ) -> np.ndarray:
        """From a picture with 8 bits per channel, or fewer."""
        if self.centering != "none":
            as_it_is = image.mode == "L" and "transparency" not in image.info
            if as_it_is and image.size == self.size[::-1] and self.bits == 8:
                return np.array(image)[None]
            gray = np.asarray(self._opaque(image).convert("L"))
            return self._centered(gray / 255)
        opaque = self._opaque(image).convert("L" if self.channels == 1 else "RGB")
        if self.bits == 8:
            fitted = np.asarray(self._fitted(opaque, box))
            planes = fitted[None] if fitted.ndim == 2 else np.moveaxis(fitted, -1, 0)
            return np.array(planes, order="C")  # the picture may own the memory
        return self._kept([np.asarray(p) * 257.0 for p in opaque.split()])

    def _decode_wide(self, gray: np.ndarray) -> np.ndarray:
        """From gray with 16 bits; none is lost unless 8 are asked for."""
        if self.bits == 8:
            return self._decode_narrow(Image.fromarray(_to_8_bits(gray)))
        if self.centering != "none":
            return (
                gray[None] if gray.shape == self.size else self._centered(gray / 65535)
            )
        return np.repeat(self._kept([gray]), self.channels, axis=0)

    def _decode_wide_color(self, planes: np.ndarray) -> np.ndarray:
        """From 2 to 4 channels of 16 bits, kept as 16: alpha last where it is even."""
        colors = [p.astype(np.float64) for p in np.moveaxis(planes, -1, 0)]
        if len(colors) % 2 == 0:
            alpha = colors.pop() / 65535
            colors = [c * alpha + self.background * 257 * (1 - alpha) for c in colors]
        if self.channels == 1 and len(colors) == 3:
            colors = [sum(w * c for w, c in zip(GRAY, colors, strict=True))]
        if self.centering != "none":
            return self._centered(colors[0] / 65535)
        return np.repeat(self._kept(colors), self.channels // len(colors), axis=0)

    def _kept(self, planes: list[np.ndarray]) -> np.ndarray:
        """(C, *size) uint16, resized in float32, which holds every uint16."""
        fitted = [
            np.asarray(self._fitted(Image.fromarray(p.astype(np.float32))))
            for p in planes
        ]
        return np.stack(fitted).round().clip(0, 65535).astype(np.uint16)

    def _centered(self, gray: np.ndarray) -> np.ndarray:
        """(1, *size) from a drawing on the scale 0 to 1."""
        by: Literal["mass", "box"] = "box" if self.centering == "box" else "mass"
        placed = centered(gray, self.size, by, FILTERS[self.interpolation])
        levels: np.ndarray = (placed.astype(np.float64) * (2**self.bits - 1)).round()
        return levels.astype(np.uint8 if self.bits == 8 else np.uint16)[None]

    def _opaque(self, image: Image.Image) -> Image.Image:
        """Without transparency: laid on the background."""
        has_alpha = image.mode in ("LA", "PA", "La", "RGBA", "RGBa")
        if not has_alpha and "transparency" not in image.info:
            return image
        if image.mode in ("La", "RGBa"):  # premultiplied
            image = image.convert(image.mode.upper())
        rgba = image.convert("RGBA")
        gray = self.background
        if self.centering != "none":
            drawn, alpha = (
                np.asarray(p, np.float64) for p in rgba.convert("LA").split()
            )
            gray = 255 if (drawn * alpha).sum() < 127.5 * alpha.sum() else 0
        backdrop = Image.new("RGBA", image.size, (gray, gray, gray, 255))
        return Image.alpha_composite(backdrop, rgba).convert("RGB")

    def _fitted(self, image: Image.Image, box: images.Box | None = None) -> Image.Image:
        """The picture in ``box`` at the network's size, by declared rule and filter."""
        height, width = self.size
        if box is None:
            if image.size == (width, height):
                return image
            box = (0, 0, *image.size)
        left, top, right, bottom = box
        w, h = right - left, bottom - top
        resample = FILTERS[self.interpolation]
        if self.resize == "squash":
            return image.resize((width, height), resample, box=box)
        if self.resize == "crop":  # the center of the shape that is wanted, at once
            scale = max(height / h, width / w)
            across, down = min(w, width / scale), min(h, height / scale)
            left, top = left + (w - across) / 2, top + (h - down) / 2
            right, bottom = min(right, left + across), min(bottom, top + down)
            box = (left, top, right, bottom)
            return image.resize((width, height), resample, box=box)
        scale = min(height / h, width / w)
        inner = (max(1, round(w * scale)), max(1, round(h * scale)))
        gray = self.fill * 257 if image.mode == "F" else self.fill
        color = (gray,) * 3 if image.mode == "RGB" else gray
        frame = Image.new(image.mode, (width, height), color)
        corner = ((width - inner[0]) // 2, (height - inner[1]) // 2)
        frame.paste(image.resize(inner, resample, box=box), corner)
        return frame


def _to_8_bits(wide: np.ndarray) -> np.ndarray:
    """65535 becomes 255, and what lies between is rounded, not cut."""
    return ((wide.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _channels_last(array: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 2 to 4)."""
    if array.ndim == 3 and array.shape[-1] not in (1, 2, 3, 4):
        array = np.moveaxis(array, 0, -1) if array.shape[0] in (1, 3) else array
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    good = array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (2, 3, 4))
    if not good or 0 in array.shape:
        raise ShapeError(
            f"decode_array: array has shape {array.shape}. Use (H, W), (H, W, C) with "
            "1 to 4 channels, or (C, H, W) with 1 or 3."
        )
    return array


def _counts(values: np.ndarray, bins: int) -> np.ndarray:
    """How often each value occurs; block by block, for maps larger than memory."""
    counts = np.zeros(bins, np.int64)
    block = max(1, 2**22 // max(1, values[0].size))
    for start in range(0, len(values), block):
        counts += np.bincount(values[start : start + block].ravel(), minlength=bins)
    return counts
