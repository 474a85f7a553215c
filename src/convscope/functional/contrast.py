"""Local contrast normalization: each place against its surroundings, over all maps.

Not to be mistaken for local response normalization (`response`), which has no
neighborhood in space and subtracts nothing.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.arithmetic import per_axis
from convscope.errors import ArgumentError, ShapeError, UnknownNameError
from convscope.functional.filters import gaussian_taps
from convscope.functional.padding import pad

ContrastPadding = Literal[
    "partial", "zeros", "reflect", "replicate", "circular", "symmetric"
]
CONTRAST_PADDINGS: tuple[ContrastPadding, ...] = get_args(ContrastPadding)


def local_contrast_norm(
    x: Tensor,
    kernel_size: int | Sequence[int] = 9,
    sigma: float | Sequence[float] | None = None,
    *,
    subtractive: bool = True,
    divisive: bool = True,
    threshold: float | Literal["mean"] = "mean",
    padding_mode: ContrastPadding = "partial",
) -> Tensor:
    """Subtracts the mean of a Gaussian window, then divides by its deviation.

    With weights w over maps and window that sum to 1::

        v = x - sum w x     deviation = sqrt(sum w v^2)     y = v / max(c, deviation)

    One mean and one deviation serve all maps of a place. Where the divisor is 0 the
    result is 0. A window across the border of the image follows ``padding_mode``:
    ``"partial"`` takes the weights inside the image and scales them to the sum 1, so
    that an image of one value gives 0 up to its border, and adding a value to an image
    changes nothing; ``"zeros"``, the formula as it stands, gives an image of one
    value a bright frame. The others fill in image values.

    Args:
        kernel_size: Window lengths, in elements; of an even one the odd element lies
            at the end.
        sigma: Standard deviation of the Gaussian, in elements; by default a quarter
            of the window.
        subtractive: Whether to subtract; without it v = x.
        divisive: Whether to divide; without it y = v.
        threshold: c: a number above 0, or the mean of the deviation over the places
            of each image.
        padding_mode: What the window sees outside the image.

    Shape:
        x:      (N, C, ...) with one to three spatial axes
        return: like x

    Raises:
        ShapeError: ``x`` has another number of axes, no maps or no places; or the
            window reaches further than ``padding_mode`` can fill.
        UnknownNameError: ``padding_mode`` or ``threshold`` is a name that is not known.
        ArgumentError: A number is out of range, neither part is asked for, or ``x`` is
            of integers.

    Source:
        Jarrett et al., ICCV 2009, section 2, with c = mean(deviation) and a window of
        9 by 9. Sigma and border are not given there; both defaults are ours. Half
        precision is computed in float32.

    >>> x = torch.full((1, 2, 5, 5), 3.0)
    >>> bool((local_contrast_norm(x) == 0).all())
    True
    """
    axes = x.ndim - 2
    if axes not in (1, 2, 3) or 0 in x.shape[1:]:
        raise ShapeError(
            "local_contrast_norm: x must have shape (N, C, ...) with one to three "
            f"spatial axes, and only N may be 0; got {tuple(x.shape)}. Add axes that "
            "are missing with unsqueeze."
        )
    if not x.is_floating_point():
        raise ArgumentError(
            f"local_contrast_norm: x is of type {x.dtype}, which holds no contrasts "
            "below 1. Give x.float()."
        )
    sizes, sigmas = parse_window(kernel_size, sigma, axes)
    require_contrast(subtractive, divisive, threshold, padding_mode)
    dtype = x.dtype
    if dtype in (torch.float16, torch.bfloat16):
        x = x.float()
    taps = [
        gaussian_taps(size, width).to(x)
        for size, width in zip(sizes, sigmas, strict=True)
    ]
    if not x.is_meta and torch.is_autocast_enabled(x.device.type):
        with torch.autocast(x.device.type, enabled=False):  # it would round the means
            out = _normalize(x, taps, subtractive, divisive, threshold, padding_mode)
            return out.to(dtype)
    return _normalize(x, taps, subtractive, divisive, threshold, padding_mode).to(dtype)


def parse_window(
    kernel_size: int | Sequence[int],
    sigma: float | Sequence[float] | None,
    axes: int,
    *,
    where: str = "local_contrast_norm",
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Window lengths and standard deviations, one per axis.

    Raises:
        ArgumentError: A wrong number of values, or one that is out of range.

    >>> parse_window((9, 5), None, 2)
    ((9, 5), (2.25, 1.25))
    """
    sizes = per_axis(kernel_size, axes, name="kernel_size", where=where)
    if sigma is None:
        return sizes, tuple(size / 4 for size in sizes)
    widths = tuple(sigma) if isinstance(sigma, Sequence) else (sigma,) * axes
    if len(widths) != axes or not all(0 < width < float("inf") for width in widths):
        raise ArgumentError(
            f"{where}: sigma={sigma!r} is not one number above 0, or {axes} of them. "
            "Leave it out for a quarter of the window."
        )
    return sizes, widths


def require_contrast(
    subtractive: bool,
    divisive: bool,
    threshold: float | str,
    padding_mode: str,
    *,
    where: str = "local_contrast_norm",
) -> None:
    """Refuses what `local_contrast_norm` cannot do.

    Raises:
        UnknownNameError: ``padding_mode`` or ``threshold`` is a name that is not known.
        ArgumentError: ``threshold`` is not above 0, or neither part is asked for.

    >>> require_contrast(True, True, "mean", "partial")
    """
    if padding_mode not in CONTRAST_PADDINGS:
        raise UnknownNameError("padding_mode", padding_mode, CONTRAST_PADDINGS)
    if not (subtractive or divisive):
        raise ArgumentError(
            f"{where}: subtractive=False and divisive=False leave nothing to do. "
            "Set one of them."
        )
    if isinstance(threshold, str):
        if threshold != "mean":
            raise UnknownNameError("threshold", threshold, ["mean"])
    elif not 0 < threshold < float("inf"):
        raise ArgumentError(
            f"{where}: threshold={threshold!r} is not a number above 0. Use 'mean', or "
            "a deviation below which nothing is amplified."
        )


def _normalize(
    x: Tensor,
    taps: list[Tensor],
    subtractive: bool,
    divisive: bool,
    threshold: float | str,
    padding_mode: ContrastPadding,
) -> Tensor:
    if subtractive:
        if padding_mode != "zeros":
            # Rounding of a mean would pass for contrast where there is none. From one
            # of its own values an image of one value differs by exactly 0.
            x = x - _first(x)
        x = x - _blur(x.mean(1, keepdim=True), taps, padding_mode)
    if divisive:
        x = _divide(x, taps, threshold, padding_mode)
    return x


def _first(x: Tensor) -> Tensor:
    """One value of each image; the result of the whole does not depend on which."""
    for axis in range(1, x.ndim):
        x = x.narrow(axis, 0, min(1, x.shape[axis]))
    return x.detach()


def _divide(
    v: Tensor, taps: list[Tensor], threshold: float | str, padding_mode: ContrastPadding
) -> Tensor:
    variance = _blur(v.square().mean(1, keepdim=True), taps, padding_mode)
    if not isinstance(threshold, str):
        # Below the root, where the slope of a root at 0 cannot become NaN.
        return v / variance.clamp(min=threshold**2).sqrt()
    varies = variance > 0
    deviation = torch.where(varies, variance, 1).sqrt().where(varies, 0)
    floor = deviation.mean(tuple(range(1, v.ndim)), keepdim=True)
    divisor = torch.maximum(deviation, floor)
    return v / torch.where(divisor > 0, divisor, 1)


def _blur(x: Tensor, taps: list[Tensor], padding_mode: ContrastPadding) -> Tensor:
    """(N, 1, ...) through the window, one axis after the other."""
    for axis, kernel in enumerate(taps, start=2):
        x = _blur_axis(x.movedim(axis, -1), kernel, padding_mode).movedim(-1, axis)
    return x


def _blur_axis(x: Tensor, kernel: Tensor, padding_mode: ContrastPadding) -> Tensor:
    before, after = (len(kernel) - 1) // 2, len(kernel) // 2
    lines = x.flatten(0, -2).unsqueeze(1)  # (lines, 1, L)
    if padding_mode == "partial" or padding_mode == "zeros":
        lines = F.pad(lines, (before, after))
    else:
        _require_reach(len(kernel), x.shape[-1], padding_mode)
        lines = pad(lines, [(before, after)], padding_mode)
    out = F.conv1d(lines, kernel.view(1, 1, -1)).view(x.shape)
    if padding_mode != "partial":
        return out
    inside = F.pad(
        torch.ones_like(kernel[:1]).expand(1, 1, x.shape[-1]), (before, after)
    )
    return out / F.conv1d(inside, kernel.view(1, 1, -1)).flatten()


def _require_reach(size: int, length: int, padding_mode: str) -> None:
    there = length - (padding_mode == "reflect")  # which leaves out the outermost
    if padding_mode != "replicate" and size // 2 > there:
        raise ShapeError(
            f"local_contrast_norm: kernel_size={size} reaches {size // 2} elements "
            f"beyond the border, and padding_mode={padding_mode!r} finds {there} to "
            f"put there along an axis of {length}. Use kernel_size={2 * there + 1} or "
            "less, or padding_mode='partial'."
        )
