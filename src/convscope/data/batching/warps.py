"""Moving pixels: exact shifts and flips, and everything else in one resampling."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.data.batching import keys

Fill = Literal["zeros", "edge", "reflect"]
_PADDING_MODES: dict[Fill, str] = {
    "zeros": "zeros",
    "edge": "border",
    "reflect": "reflection",
}


def _inside(position: Tensor, size: int, fill: Fill) -> Tensor:
    """Positions folded or clamped into 0 to size - 1."""
    if fill == "reflect" and size > 1:  # 1234 -> 32 1234 32: the edge is not repeated
        period = 2 * (size - 1)
        position = position.remainder(period)
        position = torch.minimum(position, period - position)
    return position.clamp(0, size - 1)


def shift_flip(
    pixels: Tensor, down: Tensor, right: Tensor, flip: Tensor, fill: Fill
) -> Tensor:
    """Mirror some images left-right, then move each by whole pixels.

    Every pixel of the result is a pixel of the image (or 0): nothing is interpolated,
    so it works on integers and gives them unchanged.

    Args:
        pixels: The batch, any dtype.
        down: Rows that each image moves down; negative is up.
        right: Columns that each image moves right; negative is left.
        flip: Which images are mirrored.
        fill: What comes in at the border; ``"edge"`` repeats the last pixel,
            ``"reflect"`` mirrors the image about it.

    Shape:
        pixels:            (B, C, H, W)
        down, right, flip: (B,) int64, int64, bool
        return:            (B, C, H, W)

    >>> image = torch.tensor([[[[1, 2, 3]]]])
    >>> one, yes = torch.ones(1, dtype=torch.int64), torch.tensor([True])
    >>> shift_flip(image, 0 * one, one, yes, "zeros").tolist()
    [[[[0, 3, 2]]]]
    """
    channels, height, width = pixels.shape[1:]
    rows = torch.arange(height, device=pixels.device) - down[:, None]  # (B, H)
    columns = torch.arange(width, device=pixels.device) - right[:, None]  # (B, W)
    columns = torch.where(flip[:, None], width - 1 - columns, columns)
    index = _inside(rows, height, fill)[:, :, None] * width
    index = index + _inside(columns, width, fill)[:, None, :]  # (B, H, W)
    index = index.flatten(1)[:, None].expand(-1, channels, -1)
    signed = pixels.view(torch.int16) if pixels.dtype == torch.uint16 else pixels
    moved = signed.flatten(2).gather(2, index).view(signed.shape)
    if fill == "zeros":
        for position, size, axis in ((rows, height, 3), (columns, width, 2)):
            seen = ((position >= 0) & (position < size)).to(moved.dtype)
            moved *= seen[:, None].unsqueeze(axis)
    return moved.view(pixels.dtype)


def source_matrices(
    *, rotate: Tensor, zoom: Tensor, shear: Tensor, down: Tensor, right: Tensor,
    flip: Tensor,
) -> Tensor:  # fmt: skip
    """Where each output pixel comes from, about the center of the image.

    The image is mirrored, zoomed, sheared along x, rotated counterclockwise and moved,
    in this order; the matrix undoes these from the last to the first. Worked out in
    float64 and rounded to float32, so that the last bit of a cosine does not matter.

    Args:
        rotate: Angle, in radians, counterclockwise as seen on the screen.
        zoom: Size of the result over size of the image.
        shear: Tangent of the angle by which vertical lines lean.
        down: Pixels down.
        right: Pixels to the right.
        flip: Which images are mirrored left-right.

    Shape:
        each:   (B,)
        return: (B, 2, 3) float32: source (x, y) = matrix @ (x, y, 1), in pixels

    >>> zero, one = torch.zeros(1), torch.ones(1)
    >>> source_matrices(rotate=zero, zoom=one, shear=zero, down=zero, right=2 * one,
    ...                 flip=torch.tensor([False]))
    tensor([[[ 1., -0., -2.],
             [ 0.,  1., -0.]]])
    """
    cosine, sine = torch.cos(rotate), torch.sin(rotate)
    mirror = torch.where(flip, -1.0, 1.0).to(cosine)
    x_of_x = mirror * (cosine - shear * sine) / zoom
    x_of_y = mirror * (-sine - shear * cosine) / zoom
    y_of_x = sine / zoom
    y_of_y = cosine / zoom
    x_rest = -(x_of_x * right + x_of_y * down)
    y_rest = -(y_of_x * right + y_of_y * down)
    entries = (x_of_x, x_of_y, x_rest, y_of_x, y_of_y, y_rest)
    return torch.stack(entries, 1).view(-1, 2, 3).float()


def _spline_basis(size: int, spacing: float) -> Tensor:
    """Cubic B-splines at every pixel, (size, knots) float64, in whole 65536ths."""
    knots = math.ceil((size - 1) / spacing) + 3
    pixel = torch.arange(size, dtype=torch.float64)[:, None] / spacing
    distance = (pixel - (torch.arange(knots, dtype=torch.float64) - 1)).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    return (torch.where(distance < 1, near, far) * 65536).round()


def elastic_field(
    seed: int, epoch: int, samples: Tensor, size: tuple[int, int], sigma: float
) -> Tensor:
    """Smooth random displacements with mean square 1, (B, 2, H, W) float32.

    Random numbers at knots ``sqrt(3) sigma`` pixels apart, smoothed by cubic B-splines,
    whose standard deviation is then ``sigma``.

    Args:
        seed: Of the run.
        epoch: Pass over the data.
        samples: (B,) int64 keys.
        size: Height and width, in pixels.
        sigma: Standard deviation of the smoothing, in pixels.

    Source:
        Simard, Steinkraus & Platt 2003, Best practices for convolutional neural
        networks, section 2. There every pixel draws a number and a Gaussian smooths
        them; a spline on knots needs 1 number where that needs ``3 sigma**2``.

    >>> elastic_field(0, 0, torch.arange(3), (28, 28), 4.0).shape
    torch.Size([3, 2, 28, 28])
    """
    spacing = math.sqrt(3) * sigma
    vertical, horizontal = (_spline_basis(length, spacing) for length in size)
    shape = (len(samples), 2, vertical.shape[1], horizontal.shape[1])
    words = keys.bits(seed, epoch, samples, "elastic", math.prod(shape[1:]))
    noise = (words >> 48).double().view(shape)  # whole numbers of 16 bits
    # Whole numbers below 2**53 throughout: exact, whatever order a matrix product
    # of this batch size sums in.
    field = vertical @ noise @ horizontal.T
    mean_square = (vertical**2).sum(1).mean() * (horizontal**2).sum(1).mean()
    return (field * (math.sqrt(12 / mean_square.item()) / 65536)).float()


def resample(
    images: Tensor, matrices: Tensor, displacements: Tensor | None, fill: Fill
) -> Tensor:
    """Fetch each output pixel from where its matrix and displacement point; bilinear.

    Shape:
        images:        (B, C, H, W) float32
        matrices:      (B, 2, 3), as of ``source_matrices``
        displacements: (B, 2, H, W), x then y, in pixels
        return:        (B, C, H, W)

    >>> row = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> one_to_the_right = torch.tensor([[[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]]])
    >>> resample(row, one_to_the_right, None, "zeros")
    tensor([[[[0., 1., 2.]]]])
    """
    count, _, height, width = images.shape
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    y = torch.arange(height, device=images.device) - (height - 1) / 2
    grid = images.new_empty(count, height, width, 2)
    for axis, size in enumerate((width, height)):
        # Product and sum as two operations: each is rounded the same way everywhere.
        of_x, of_y, rest = matrices[:, axis, :, None].unbind(1)  # (B, 1) each
        source = (of_x * x)[:, None, :] + (of_y * y + rest)[:, :, None]
        if displacements is not None:
            source += displacements[:, axis]
        torch.mul(source, 2 / max(size - 1, 1), out=grid[..., axis])
    return F.grid_sample(
        images, grid, padding_mode=_PADDING_MODES[fill], align_corners=True
    )
