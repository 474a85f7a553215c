"""Trainable subsampling, the pooling of LeNet-5."""

import torch
from torch import Tensor

from convscope.arithmetic import PerAxis
from convscope.errors import explains_calls
from convscope.functional.pool import avg_pool


@explains_calls
def subsample(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    kernel_size: PerAxis = 2,
    stride: PerAxis | None = None,
    *,
    where: str = "subsample",
) -> Tensor:
    """Sum of each window, times a coefficient, plus a bias, one pair per map.

    Args:
        x: A batch, with one to three spatial axes.
        weight: The coefficients.
        bias: What is added.
        kernel_size: Window lengths, in elements.
        stride: Steps between windows, in elements; None for the kernel size.
        where: What an error message begins with.

    Shape:
        x:            (N, C, L), (N, C, H, W) or (N, C, D, H, W)
        weight, bias: (C,)
        return:       the same rank; sizes from `convscope.arithmetic.output_shape`

    Raises:
        ShapeError: No window fits, or another rank.
        ArgumentError: A value is not in its range, or not one per axis.

    Source:
        LeCun et al. 1998, Gradient-based learning applied to document recognition,
        section II.B, layer S2; the squashing behind it is a layer of its own.

    >>> x = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    >>> subsample(x, torch.tensor([0.5]), torch.tensor([1.0]))
    tensor([[[2.5000, 4.5000]]])
    """
    total = avg_pool(x, kernel_size, stride, divisor_override=1, where=where)
    each = (-1, *[1] * (x.ndim - 2))
    return torch.addcmul(bias.view(each), total, weight.view(each))
