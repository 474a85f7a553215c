"""One element of each window, drawn with a chance in proportion to its activation."""

import torch
from torch import Tensor

from convscope.arithmetic import CeilMode, PaddingLike, PerAxis
from convscope.errors import ShapeError, explains_calls
from convscope.functional.pool_window import (
    PoolWindow,
    like_layout,
    over_taps,
    pool_window,
    take,
    tap_view,
)


@explains_calls
def stochastic_pool(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: PaddingLike = 0,
    ceil_mode: CeilMode | bool = False,
    *,
    training: bool = True,
    generator: torch.Generator | None = None,
    random_samples: Tensor | None = None,
    where: str = "stochastic_pool",
) -> Tensor:
    """An element of each window, drawn in training, or their weighted mean.

    The chance of an element is its share ``p = a / sum of a`` of the window's
    activation; in evaluation the value is ``sum of p * a``. Negative elements count
    as 0. A window without a positive element gives 0 and gets no gradient.

    Args:
        x: A batch, with one to three spatial axes.
        kernel_size: Window lengths, in elements.
        stride: Steps between windows, in elements; None for the kernel size.
        padding: Zeros around the input, never drawn: a name or numbers, as
            `convscope.arithmetic.parse_padding` reads them.
        ceil_mode: Whether to round output sizes up: True or ``"torch"``; or
            ``"onnx"``, see `convscope.arithmetic.output_size`.
        training: Whether to draw, instead of taking the weighted mean.
        generator: Where the draws come from; None for torch's own.
        random_samples: The draws themselves, in [0, 1), shaped as the output; the
            element is the first up to which the shares add up to more.
        where: What an error message begins with.

    Shape:
        x:      (N, C, L), (N, C, H, W) or (N, C, D, H, W)
        return: the same rank; sizes from `convscope.arithmetic.output_shape`

    Raises:
        ShapeError: No window fits, another rank, or ``random_samples`` of another
            shape than the output.
        ArgumentError: A value is not in its range, or not one per axis.

    Source:
        Zeiler & Fergus, arXiv:1301.3557, equations 4 to 6. They pool behind a
        rectification, where no element is negative.

    >>> x = torch.tensor([[[1.0, 3.0]]])
    >>> stochastic_pool(x, 2, training=False)  # 1/4 * 1 + 3/4 * 3
    tensor([[[2.5000]]])
    >>> stochastic_pool(x, 2, random_samples=torch.tensor([[[0.3]]]))
    tensor([[[3.]]])
    """
    window = pool_window(x, kernel_size, stride, padding, 1, ceil_mode, where=where)
    padded = window.padded(x)
    if not training:
        mean = _WeightedMean(window.axes)
        return like_layout(over_taps(padded, window, mean.value, mean.slope), x)
    shape = (*x.shape[:2], *window.outputs)
    if random_samples is None:
        random_samples = torch.rand(
            shape,
            dtype=torch.promote_types(x.dtype, torch.float32),
            device=x.device,
            generator=generator,
        )
    elif random_samples.shape != shape:
        raise ShapeError(
            f"{where}: random_samples has shape {tuple(random_samples.shape)}, the "
            f"output {shape}. Give one sample for each output."
        )
    index = _draw(padded.detach(), window, random_samples)
    return like_layout(take(padded, index).clamp(min=0), x)


def _draw(x: Tensor, window: PoolWindow, samples: Tensor) -> Tensor:
    """Row-order index, in the padded ``x``, of what is drawn in each window."""
    taps = tap_view(x, window).flatten(-window.axes).clamp(min=0)
    taps = taps.to(torch.promote_types(x.dtype, torch.float32))
    reached = taps.cumsum(-1)
    threshold = samples.unsqueeze(-1) * reached[..., -1:]
    # argmax is the first of equals; behind a rounded-up threshold, the largest tap
    passed = (reached > threshold) & (taps > 0)
    chosen = torch.where(
        passed.any(-1), passed.to(torch.uint8).argmax(-1), taps.argmax(-1)
    )
    return _flat_index(chosen, window, tuple(x.shape[2:]))


def _flat_index(tap: Tensor, window: PoolWindow, sizes: tuple[int, ...]) -> Tensor:
    flat = torch.zeros_like(tap)
    weight = 1
    for axis in reversed(range(window.axes)):
        start = torch.arange(window.outputs[axis], device=tap.device)
        start = start * window.stride[axis]
        place = tap % window.kernel[axis]
        place = place + start.reshape(-1, *[1] * (window.axes - 1 - axis))
        flat = flat + weight * place
        tap = tap // window.kernel[axis]
        weight *= sizes[axis]
    return flat


class _WeightedMean:
    """``sum of a ** 2 / sum of a`` over the last ``axes`` axes, and its derivative."""

    def __init__(self, axes: int) -> None:
        self.last = tuple(range(-axes, 0))

    def value(self, taps: Tensor) -> Tensor:
        taps = taps.clamp(min=0)
        wide = torch.promote_types(taps.dtype, torch.float32)
        largest = taps.amax(self.last, keepdim=True).to(wide)
        share = taps / torch.where(largest > 0, largest, 1)  # squares stay in range
        total = share.sum(self.last)
        mean = share.square().sum(self.last) / torch.where(total > 0, total, 1)
        return (mean * largest.squeeze(self.last)).to(taps.dtype)

    def slope(self, taps: Tensor, value: Tensor) -> Tensor:
        positive = taps > 0
        taps = taps.clamp(min=0)
        total = taps.sum(self.last, keepdim=True)
        slope = (2 * taps - value) / torch.where(total > 0, total, 1)
        return torch.where(positive, slope, 0)
