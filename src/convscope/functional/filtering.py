"""A filter over an image, in one call: channel by channel, at the same size."""

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.arithmetic import BorderMode
from convscope.errors import ArgumentError, ShapeError, explains_calls
from convscope.functional.filters import filter_kernel
from convscope.functional.padding import pad

if TYPE_CHECKING:
    from PIL import Image

    AnyImage = TypeVar("AnyImage", Tensor, np.ndarray[Any, Any], Image.Image)
else:  # Pillow is not loaded before there is a picture
    AnyImage = TypeVar("AnyImage")

_DIRECT = 25  # taps up to which two passes along one axis each are not faster than one


@explains_calls
def filter_image(
    image: AnyImage,
    kernel: str | Tensor,
    *,
    padding_mode: BorderMode = "replicate",
    flip: bool = False,
    **options: Any,
) -> AnyImage:
    """The image through a filter, each channel for itself, border included.

    The kernel's middle lies on the place that is computed; of an even kernel, the tap
    before the middle. Values are those of the sum, neither scaled nor clipped: edge
    filters give negative ones. Only a Pillow image comes back as one, rounded and
    clipped to 0 to 255, with its transparency untouched.

    Args:
        image: A tensor or array, or a Pillow image of 8 bits.
        kernel: The name of a filter, one of ``FILTERS``, or its taps (kH, kW).
        padding_mode: What lies outside the image, as for `pad`; by default its
            outermost pixels go on, so that the border is no edge.
        flip: Whether the kernel is turned by 180 degrees first: convolution as
            mathematics defines it, instead of cross-correlation.
        options: What `filter_kernel` takes for this name: ``size``, ``sigma``, ...

    Shape:
        image:  (H, W), (C, H, W) or (N, C, H, W)
        return: like ``image``; integers become float32

    Raises:
        UnknownNameError: No such filter, option or padding mode.
        ArgumentError: An option is out of range, options for a kernel that is given
            as taps, complex numbers, or a Pillow image of more than 8 bits.
        ShapeError: An image or a kernel of another rank, no pixels, or channels at
            the end.

    >>> step = torch.tensor([[0, 0, 9, 9]], dtype=torch.uint8)
    >>> filter_image(step, "vertical_edges")
    tensor([[ 0., 27., 27.,  0.]])
    """
    if isinstance(kernel, str):
        taps = filter_kernel(kernel, dtype=torch.float64, **options)
    elif options:
        raise ArgumentError(
            f"filter_image: {next(iter(options))} is an option of named filters, and "
            "the kernel is given as taps. Leave it out."
        )
    else:
        taps = kernel
    if taps.ndim != 2 or not taps.numel():
        raise ShapeError(
            f"filter_image: kernel must have shape (kH, kW); got {tuple(taps.shape)}. "
            "Give one filter of two axes."
        )
    if isinstance(image, Tensor):
        return _filter(image, taps, padding_mode, flip)
    if isinstance(image, np.ndarray):
        _require_channels_first(image.shape)
        values = torch.from_numpy(np.array(image, order="C"))
        return _filter(values, taps, padding_mode, flip).numpy()
    return _filter_picture(image, taps, padding_mode, flip)


def _filter(image: Tensor, taps: Tensor, mode: BorderMode, flip: bool) -> Tensor:
    if image.ndim not in (2, 3, 4) or 0 in image.shape[-2:]:
        raise ShapeError(
            "filter_image: image must have shape (H, W), (C, H, W) or (N, C, H, W) and "
            f"pixels; got {tuple(image.shape)}. Add or remove axes with unsqueeze or "
            "flatten."
        )
    if image.is_complex():
        raise ArgumentError(
            f"filter_image: image is of type {image.dtype}. Filter "
            "image.real and image.imag separately."
        )
    x = image if image.is_floating_point() else image.float()
    before = [(size - 1) // 2 for size in taps.shape]
    after = [size // 2 for size in taps.shape]
    if flip:
        taps, before, after = taps.flip(0, 1), after, before
    maps = x.reshape(math.prod(x.shape[:-2]), 1, *x.shape[-2:])
    pairs = list(zip(before, after, strict=True))
    padded = pad(maps, pairs, mode, where="filter_image")
    for part in _passes(taps):
        padded = F.conv2d(padded, part[None, None].to(x))
    return padded.view(x.shape)


def _passes(taps: Tensor) -> list[Tensor]:
    """The kernel, or a column and a row whose product it is."""
    if taps.numel() <= _DIRECT or taps.requires_grad or 1 in taps.shape:
        return [taps]
    columns, scales, rows = torch.linalg.svd(taps.double())
    if scales[1] > 1e-12 * scales[0]:
        return [taps]
    return [columns[:, :1] * scales[0], rows[:1]]


def _require_channels_first(shape: tuple[int, ...]) -> None:
    few = (1, 2, 3, 4)
    if len(shape) in (3, 4) and shape[-1] in few and shape[-3] not in few:
        first = "(C, H, W)" if len(shape) == 3 else "(N, C, H, W)"
        raise ShapeError(
            f"filter_image: image of shape {shape} has its channels at the end. Give "
            f"{first}: np.moveaxis(image, -1, -3)."
        )


def _filter_picture(
    picture: "Image.Image", taps: Tensor, mode: BorderMode, flip: bool
) -> "Image.Image":
    from PIL import Image

    if not isinstance(picture, Image.Image):
        raise ArgumentError(
            f"filter_image: image is of type {type(picture).__name__}. Give a tensor, "
            "a NumPy array or a Pillow image."
        )
    if picture.mode[0] in "IF":
        raise ArgumentError(
            f"filter_image: image has mode {picture.mode!r}, more than 8 bits. Give "
            "np.asarray(image), and get numbers."
        )
    if picture.mode not in ("L", "LA", "RGB", "RGBA"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    pixels = np.array(picture)
    colors = pixels[..., None] if pixels.ndim == 2 else pixels
    count = colors.shape[-1] - (picture.mode in ("LA", "RGBA"))
    values = torch.from_numpy(colors[..., :count].copy()).permute(2, 0, 1)
    out = _filter(values, taps, mode, flip).round().clamp(0, 255).byte()
    colors[..., :count] = out.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels)
