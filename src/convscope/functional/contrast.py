"""Local contrast normalization: each place against its surroundings, over all maps.

Not to be mistaken for local response normalization (`response`), which has no
neighborhood in space and subtracts nothing.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.arithmetic import per_axis
from convscope.errors import ArgumentError, ShapeError, UnknownNameError, explains_calls
from convscope.functional.filters import gaussian_taps
from convscope.functional.operands import require_plain
from convscope.functional.padding import pad

ContrastPadding = Literal[
    "partial", "zeros", "reflect", "replicate", "circular", "symmetric"
]
CONTRAST_PADDINGS: tuple[ContrastPadding, ...] = get_args(ContrastPadding)

SHORT = 256  # elements up to which an axis is blurred fastest by a whole matrix


@explains_calls
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
    require_plain(x, "local_contrast_norm")
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
    window = _Window(sizes, sigmas, padding_mode)
    if subtractive:
        x = _subtract(x, window)
    if divisive:
        divide: Callable[..., Tensor] = _Divide.apply
        x = divide(x, window, threshold)
    return x.to(dtype)


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


@dataclass(frozen=True)
class _Window:
    """A Gaussian window, one value per axis, and what it sees outside."""

    sizes: tuple[int, ...]
    sigmas: tuple[float, ...]
    padding_mode: ContrastPadding

    def taps(self, axis: int, like: Tensor) -> Tensor:
        """The weights along a spatial axis."""
        size, sigma = self.sizes[axis], self.sigmas[axis]
        if torch.compiler.is_compiling():
            return gaussian_taps(size, sigma).to(like)
        return like.new_tensor(_known_taps(size, sigma))


@lru_cache(maxsize=64)
def _known_taps(size: int, sigma: float) -> tuple[float, ...]:
    """Those of `gaussian_taps`, without a tensor: a trace on meta has no values."""
    exponents = [(at - (size - 1) / 2) ** 2 / (2 * sigma**2) for at in range(size)]
    taps = [math.exp(min(exponents) - exponent) for exponent in exponents]
    return tuple(tap / math.fsum(taps) for tap in taps)


def _subtract(x: Tensor, window: _Window) -> Tensor:
    if window.padding_mode != "zeros":
        # Rounding of a mean would pass for contrast where there is none. From one
        # of its own values an image of one value differs by exactly 0.
        x = x - _first(x)
    return x - _blurred(x.mean(1, keepdim=True), window)


def _first(x: Tensor) -> Tensor:
    """One value of each image; the result of the whole does not depend on which."""
    for axis in range(1, x.ndim):
        x = x.narrow(axis, 0, min(1, x.shape[axis]))
    return x.detach()


class _Divide(torch.autograd.Function):
    """Holds its input alone, where autograd holds every step of it.

    Of C maps v, with the window B, ``d = sqrt(B sum v^2 / C)``, ``m = max(c, d)`` and
    ``y = v / m``. The gradient g of y gives ``-sum g v / m^2`` for m, from which d gets
    e, and v gets ``g / m + (2 / C) v B'(e / 2 d)`` in all.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(v: Tensor, window: _Window, threshold: float | str) -> Tensor:
        return v / _divisor(_variance(v, window), threshold)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        v, ctx.window, ctx.threshold = inputs
        ctx.save_for_backward(v)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (v,), (gradient,) = ctx.saved_tensors, gradients
        variance = _variance(v, ctx.window)
        divisor = _divisor(variance, ctx.threshold)
        scaled = gradient / divisor
        of_divisor = -(scaled * v).sum(1, keepdim=True) / divisor
        of_variance = _through_divisor(of_divisor, variance, ctx.threshold)
        spread = _blurred(of_variance, ctx.window, transposed=True)
        return scaled + v * (spread * (2 / v.shape[1])), None, None


def _variance(v: Tensor, window: _Window) -> Tensor:
    return _blurred(v.square().mean(1, keepdim=True), window)


def _divisor(variance: Tensor, threshold: float | str) -> Tensor:
    if not isinstance(threshold, str):
        return variance.clamp(min=threshold**2).sqrt()
    deviation, floor = _deviation(variance)
    divisor = torch.maximum(deviation, floor)
    return torch.where(divisor > 0, divisor, 1)


def _deviation(variance: Tensor) -> tuple[Tensor, Tensor]:
    """The root, whose slope at 0 is 0 here, and its mean over each image."""
    varies = variance > 0
    deviation = torch.where(varies, variance, 1).sqrt().where(varies, 0)
    return deviation, deviation.mean(tuple(range(1, variance.ndim)), keepdim=True)


def _through_divisor(
    gradient: Tensor, variance: Tensor, threshold: float | str
) -> Tensor:
    """From the gradient of `_divisor` to that of the variance."""
    if not isinstance(threshold, str):
        slope = 0.5 / _divisor(variance, threshold)
        return torch.where(variance >= threshold**2, gradient * slope, 0)
    deviation, floor = _deviation(variance)
    # Half to each where they are equal, as torch shares the gradient of a maximum.
    share = ((deviation > floor).to(gradient) + (deviation >= floor).to(gradient)) / 2
    own = gradient * share
    common = (gradient - own).mean(tuple(range(1, variance.ndim)), keepdim=True)
    varies = deviation > 0
    slope = 0.5 / torch.where(varies, deviation, 1)
    return torch.where(varies, (own + common) * slope, 0)


def _blurred(x: Tensor, window: _Window, *, transposed: bool = False) -> Tensor:
    blur: Callable[..., Tensor] = _Blur.apply
    return blur(x, window, transposed)


class _Blur(torch.autograd.Function):
    """(N, 1, ...) through the window, one axis after the other; or its transpose."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, window: _Window, transposed: bool) -> Tensor:
        if not x.is_meta and torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):  # it would round
                return _blur(x, window, transposed)
        return _blur(x, window, transposed)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.window, ctx.transposed = inputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        back = _blurred(gradients[0], ctx.window, transposed=not ctx.transposed)
        return back, None, None


def _blur(x: Tensor, window: _Window, transposed: bool) -> Tensor:
    mode = window.padding_mode
    for axis in range(x.ndim - 2):
        kernel, line = window.taps(axis, x), x.movedim(axis + 2, -1)
        if line.shape[-1] <= SHORT:
            matrix = _blur_matrix(kernel, line.shape[-1], mode)
            line = line.matmul(matrix if transposed else matrix.T)
        else:
            line = _blur_axis(line, kernel, mode, transposed)
        x = line.movedim(-1, axis + 2)
    return x


def _blur_matrix(kernel: Tensor, length: int, padding_mode: ContrastPadding) -> Tensor:
    """What the window sees of an axis, one row for each place."""
    if padding_mode != "partial" and padding_mode != "zeros":
        one = torch.eye(length, dtype=kernel.dtype, device=kernel.device)
        return _blur_axis(one, kernel, padding_mode, False).T
    before, after = (len(kernel) - 1) // 2, len(kernel) // 2
    diagonals = F.pad(kernel, (length - 1 - before, length - 1 - after))
    matrix = diagonals.unfold(0, length, 1).flip(0)
    return matrix / matrix.sum(1, True) if padding_mode == "partial" else matrix


def _blur_axis(
    x: Tensor, kernel: Tensor, padding_mode: ContrastPadding, transposed: bool
) -> Tensor:
    """The last axis through the window."""
    size, length = len(kernel), x.shape[-1]
    before, after = (size - 1) // 2, size // 2
    kernel = kernel.view(1, 1, -1)
    lines = x.reshape(-1, 1, length)
    if padding_mode == "partial":
        inside = F.pad(
            torch.ones_like(kernel[..., :1]).expand(1, 1, length), (before, after)
        )
        hits = F.conv1d(inside, kernel)
    if not transposed:
        if padding_mode == "partial" or padding_mode == "zeros":
            lines = F.pad(lines, (before, after))
        else:
            _require_reach(size, length, padding_mode)
            lines = pad(lines, [(before, after)], padding_mode)
        lines = F.conv1d(lines, kernel)
        return (lines / hits if padding_mode == "partial" else lines).view(x.shape)
    if padding_mode == "partial":
        lines = lines / hits
    lines = F.conv1d(F.pad(lines, (size - 1, size - 1)), kernel.flip(-1))
    if padding_mode == "partial" or padding_mode == "zeros":
        return lines.narrow(-1, before, length).reshape(x.shape)
    places = torch.arange(length, dtype=torch.float64, device=x.device).view(1, 1, -1)
    origin = pad(places, [(before, after)], padding_mode).long().flatten()
    return (
        torch.zeros_like(lines[..., :length]).index_add(-1, origin, lines).view(x.shape)
    )


def _require_reach(size: int, length: int, padding_mode: str) -> None:
    there = length - (padding_mode == "reflect")  # which leaves out the outermost
    if padding_mode != "replicate" and size // 2 > there:
        raise ShapeError(
            f"local_contrast_norm: kernel_size={size} reaches {size // 2} elements "
            f"beyond the border, and padding_mode={padding_mode!r} finds {there} to "
            f"put there along an axis of {length}. Use kernel_size={2 * there + 1} or "
            "less, or padding_mode='partial'."
        )
