"""Random changes to whole batches, each keyed by (seed, epoch, sample)."""

import math
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from convscope.data.batching import keys, mixing, warps
from convscope.data.preprocessing import Preprocessing
from convscope.errors import ArgumentError

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]

# One column each, used or not: switching one change on does not redraw the others.
_DRAWS = (
    "down", "right", "flip", "rotate", "scale", "shear", "brightness", "contrast",
    "saturation", "cutout_row", "cutout_column",
)  # fmt: skip
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's conversion to gray


class Augmentation(BaseModel):
    """Which random changes a training image goes through, and how strong.

    Every amount is 0 (or False) by default: nothing is changed unless asked.

    >>> Augmentation(shift=2, flip=True).warps
    False
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shift: int = Field(0, ge=0, description="Largest shift, in pixels, each way.")
    flip: bool = Field(False, description="Mirror left-right, one image in two.")
    alternate: bool = Field(
        False, description="Mirror in every other epoch, not at random."
    )
    rotate: float = Field(0.0, ge=0, le=180, description="Largest rotation, degrees.")
    scale: float = Field(0.0, ge=0, lt=1, description="Largest zoom; 0.1 is 90-111 %.")
    shear: float = Field(0.0, ge=0, le=45, description="Largest shear, degrees.")
    elastic: float = Field(
        0.0, ge=0, description="Elastic distortion: root mean square, in pixels."
    )
    elastic_sigma: float = Field(
        4.0, ge=0.5, description="Smoothness of the elastic distortion, in pixels."
    )
    fill: Literal["auto", "zeros", "edge", "reflect"] = Field(
        "auto",
        description="What comes in at the border; auto: black if gray, else reflect.",
    )
    brightness: Fraction = Field(0.0, description="Largest change of brightness.")
    contrast: Fraction = Field(0.0, description="Largest change of contrast.")
    saturation: Fraction = Field(0.0, description="Largest change of saturation.")
    cutout: int = Field(0, ge=0, description="Side of the square erased, in pixels.")
    mixup: float = Field(0.0, ge=0, description="Alpha of mixup's Beta(a, a); 0: off.")
    cutmix: float = Field(0.0, ge=0, description="Alpha of CutMix Beta(a, a); 0: off.")

    @property
    def warps(self) -> bool:
        """Whether images are resampled; shifts and flips alone move whole pixels."""
        return any((self.rotate, self.scale, self.shear, self.elastic))

    @property
    def moves(self) -> bool:
        """Whether whole pixels move: by a shift or a flip."""
        return bool(self.shift or self.flip or self.alternate)

    @property
    def recolors(self) -> bool:
        """Whether brightness, contrast or saturation change."""
        return any((self.brightness, self.contrast, self.saturation))

    @property
    def mixes(self) -> bool:
        """Whether images are combined in pairs, which makes the targets soft."""
        return bool(self.mixup or self.cutmix)

    def __str__(self) -> str:
        """Every change that is made, with how much.

        >>> print(Augmentation(shift=2, flip=True, rotate=7.5), "/", Augmentation())
        shift 2, flip, rotate 7.5 / none
        """
        fields = type(self).model_fields.items()
        given = {name: getattr(self, name) for name, field in fields}
        made = [
            name if given[name] is True else f"{name} {given[name]}"
            for name, field in fields
            if given[name] != field.default
        ]
        return ", ".join(made) or "none"

    def require_fit(self, size: tuple[int, int]) -> None:
        """Refuse amounts that leave nothing of an image of ``size`` (H, W) pixels.

        Raises:
            ArgumentError: ``shift`` or ``cutout`` reaches the shorter side.

        >>> Augmentation(shift=8).require_fit((8, 8))
        Traceback (most recent call last):
        convscope.errors.ArgumentError: Augmentation: shift=8 must be below 8, the \
shorter side of the 8x8 images. Lower it to 7 or less.
        """
        side = min(size)
        for name, amount in (("shift", self.shift), ("cutout", self.cutout)):
            if amount >= side:
                raise ArgumentError(
                    f"Augmentation: {name}={amount} must be below {side}, the shorter "
                    f"side of the {size[0]}x{size[1]} images. Lower it to {side - 1} "
                    "or less."
                )


def augment(
    pixels: Tensor,
    samples: Tensor,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    *,
    seed: int,
    epoch: int,
) -> Tensor:
    """Change each image as its key says, and normalize.

    In this order: mirror, shift, warp (on pixels; in one resampling), brightness,
    contrast, saturation (on the scale 0 to 1, cut off to it), normalize, cutout (with
    the mean color). The result for a sample depends on its key alone, to the bit, not
    on the other rows. Mixing in pairs is ``mixing.mix``.

    Args:
        pixels: The batch, as stored.
        samples: The key of each row.
        preprocessing: Says the scale, mean and standard deviation.
        augmentation: What to change, and how much.
        seed: Of the run.
        epoch: Pass over the data, from 0.

    Shape:
        pixels:  (B, C, H, W) uint8 or uint16
        samples: (B,) int64
        return:  (B, C, H, W) float32 on the device of ``pixels``

    >>> gray = Preprocessing(channels=1, size=(1, 3), mean=(0.0,), std=(1.0,))
    >>> row = torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)
    >>> augment(row, torch.tensor([0]), gray, Augmentation(), seed=0, epoch=0)
    tensor([[[[0.0000, 0.2000, 1.0000]]]])
    """
    channels, height, width = pixels.shape[1:]
    draws = keys.uniform(seed, epoch, samples, "augment", len(_DRAWS))
    draw = dict(zip(_DRAWS, draws.to(pixels.device).unbind(1), strict=True))
    fill = _fill(augmentation, channels)
    reach = 2 * augmentation.shift + 1
    down = (draw["down"] * reach).long() - augmentation.shift
    right = (draw["right"] * reach).long() - augmentation.shift
    flip = _flips(samples, augmentation, draw["flip"], seed, epoch)

    if not augmentation.warps and augmentation.moves:
        pixels = warps.shift_flip(pixels, down, right, flip, fill)
    images = preprocessing.unit(pixels)
    if augmentation.warps:
        matrices = warps.source_matrices(
            rotate=math.radians(augmentation.rotate) * _signed(draw["rotate"]),
            zoom=(1 - augmentation.scale) ** _signed(draw["scale"]),
            shear=torch.tan(math.radians(augmentation.shear) * _signed(draw["shear"])),
            down=down,
            right=right,
            flip=flip,
        )
        field = None
        if augmentation.elastic:
            field = warps.elastic_field(
                seed, epoch, samples, (height, width), augmentation.elastic_sigma
            ).to(images.device)
            field *= augmentation.elastic
        images = warps.resample(images, matrices, field, fill)
    if augmentation.recolors:
        images = _recolor(
            images,
            brightness=1 + augmentation.brightness * _signed(draw["brightness"]),
            contrast=1 + augmentation.contrast * _signed(draw["contrast"]),
            saturation=1 + augmentation.saturation * _signed(draw["saturation"]),
        )
    images = preprocessing.standardize(images)
    if augmentation.cutout:
        rows = (draw["cutout_row"] * height).long()
        columns = (draw["cutout_column"] * width).long()
        side = torch.full_like(rows, augmentation.cutout)
        square = mixing.box((height, width), rows, columns, side, side)
        images.masked_fill_(square[:, None], 0.0)
    return images


def _fill(augmentation: Augmentation, channels: int) -> warps.Fill:
    if augmentation.fill == "auto":
        return "zeros" if channels == 1 else "reflect"
    return augmentation.fill


def _flips(
    samples: Tensor, augmentation: Augmentation, draw: Tensor, seed: int, epoch: int
) -> Tensor:
    """Which images are mirrored, (B,) bool.

    With ``alternate``, a coin decides about the first epoch alone; then each image
    takes turns, so that two epochs show all of both (Jordan, arXiv:2404.00498).
    """
    if augmentation.alternate:
        first = keys.uniform(seed, 0, samples, "alternate", 1)[:, 0].to(draw.device)
        return (first < 0.5) ^ bool(epoch % 2)
    return (draw < 0.5) & augmentation.flip


def _signed(uniform: Tensor) -> Tensor:
    """From [0, 1) to [-1, 1)."""
    return 2 * uniform - 1


def _luma(images: Tensor) -> Tensor:
    """The gray of each pixel, (B, 1, H, W)."""
    if images.shape[1] == 1:
        return images
    red, green, blue = (images[:, i : i + 1] * w for i, w in enumerate(_LUMA))
    return red + green + blue


def _mean(images: Tensor) -> Tensor:
    """Mean of each image, (B, 1, 1, 1), summed in an order that sizes alone decide."""
    terms = images.flatten(1)
    count = terms.shape[1]
    while (length := terms.shape[1]) > 1:
        half = length // 2
        pairs = terms[:, :half] + terms[:, half : 2 * half]
        terms = torch.cat((pairs, terms[:, 2 * half :]), 1)
    return (terms / count)[:, :, None, None]


def _recolor(
    images: Tensor, *, brightness: Tensor, contrast: Tensor, saturation: Tensor
) -> Tensor:
    """Scale each image, then its distance from its mean gray, then from each gray.

    With factors b, c, s and gray g the three together are ``scb x + (1-s)cb g + (1-c)b
    mean(g)``: the gray is found once. Cut off to 0 and 1 at the end.
    """
    if images.shape[1] == 1:
        saturation = torch.ones_like(saturation)  # gray has none to change, to the bit
    b, c, s = (
        factor.to(images)[:, None, None, None]
        for factor in (brightness, contrast, saturation)
    )
    gray = _luma(images)
    rest = (1 - s) * c * b * gray + (1 - c) * b * _mean(gray)
    return (images * (s * c * b)).add_(rest).clamp_(0, 1)
