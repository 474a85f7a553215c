"""Two images in one: how much of each pixel, and of each label, is the first's."""

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.data.batching import keys


def box(
    size: tuple[int, int],
    rows: Tensor,
    columns: Tensor,
    heights: Tensor,
    widths: Tensor,
) -> Tensor:
    """A rectangle about one pixel of each image, cut off at the border.

    Args:
        size: Height and width of the images, in pixels.
        rows: The middle row; of an even height, the lower one of the two.
        columns: The middle column; of an even width, the right one of the two.
        heights: In pixels.
        widths: In pixels.

    Shape:
        rows, columns, heights, widths: (B,) int64
        return:                         (B, H, W) bool

    >>> two, three = torch.tensor([2]), torch.tensor([3])
    >>> box((3, 4), 0 * two, two, two, three).int().tolist()
    [[[0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]]
    """
    within = []
    for length, middle, side in zip(
        size, (rows, columns), (heights, widths), strict=True
    ):
        start = (middle - side // 2)[:, None]
        position = torch.arange(length, device=rows.device)
        within.append((position >= start) & (position < start + side[:, None]))
    return within[0][:, :, None] & within[1][:, None, :]


def weights(
    seed: int,
    epoch: int,
    samples: Tensor,
    size: tuple[int, int],
    *,
    mixup: float,
    cutmix: float,
) -> tuple[Tensor, Tensor]:
    """How much of each pixel, and of the label, comes from the image itself.

    The rest comes from its partner. With both on, one image in two gets each. The
    label's share of CutMix is the share of the pixels that are left, counted.

    Args:
        seed: Of the run.
        epoch: Pass over the data.
        samples: The key of each row.
        size: Height and width of the images, in pixels.
        mixup: Alpha of the Beta(alpha, alpha) that the share is drawn from; 0: off.
        cutmix: The same for the area that is left; 0: off.

    Shape:
        samples: (B,) int64
        return:  (B, 1, H, W) float32, or (B, 1, 1, 1) without CutMix; and (B,) float32

    Source:
        Zhang et al., arXiv:1710.09412; Yun et al., arXiv:1905.04899, appendix A. Both
        draw one share for the whole batch and pair its images with each other; here
        every sample draws its own, and a partner from the whole set.

    >>> samples = torch.arange(5)
    >>> weight, share = weights(0, 0, samples, (8, 8), mixup=0.0, cutmix=1.0)
    >>> bool((weight.mean((1, 2, 3)) == share).all())
    True
    """
    if not cutmix:
        share = keys.symmetric_beta(seed, epoch, samples, "mixup", mixup).float()
        return share[:, None, None, None], share
    left = keys.symmetric_beta(seed, epoch, samples, "cutmix", cutmix)
    place = keys.uniform(seed, epoch, samples, "cutmix box", 3)
    sides = torch.sqrt(1 - left)
    cut = box(
        size,
        (place[:, 0] * size[0]).long(),
        (place[:, 1] * size[1]).long(),
        (sides * size[0]).long(),
        (sides * size[1]).long(),
    )
    if mixup:
        cut &= (place[:, 2] < 0.5)[:, None, None]
    weight = (~cut).float()[:, None]
    share = (~cut).sum((1, 2)).float() / (size[0] * size[1])
    if mixup:
        blend = keys.symmetric_beta(seed, epoch, samples, "mixup", mixup).float()
        blends = place[:, 2] >= 0.5
        share = torch.where(blends, blend, share)
        weight = torch.where(
            blends[:, None, None, None], blend[:, None, None, None], weight
        )
    return weight, share


def soft_targets(
    labels: Tensor, partner_labels: Tensor, share: Tensor, num_classes: int
) -> Tensor:
    """``share`` for the label and the rest for the partner's, (B, K) float32.

    >>> soft_targets(torch.tensor([0]), torch.tensor([2]), torch.tensor([0.75]), 3)
    tensor([[0.7500, 0.0000, 0.2500]])
    """
    own, other = (F.one_hot(one, num_classes) for one in (labels, partner_labels))
    return own * share[:, None] + other * (1 - share[:, None])
