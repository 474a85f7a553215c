"""Max pooling that shrinks by a fraction: windows begin at random, uneven steps."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.arithmetic import PerAxis, axis_name, per_axis
from convscope.errors import ArgumentError, ShapeError, explains_calls
from convscope.functional.pool_window import like_layout, spatial_sizes, take

Ratio: TypeAlias = float | Sequence[float]


@explains_calls
def fractional_max_pool(
    x: Tensor,
    kernel_size: PerAxis,
    output_size: PerAxis | None = None,
    output_ratio: Ratio | None = None,
    *,
    random_samples: Tensor | None = None,
    generator: torch.Generator | None = None,
    where: str = "fractional_max_pool",
) -> Tensor:
    """Largest element of windows that begin at random steps.

    Args:
        x: A batch, with one to three spatial axes.
        kernel_size: Window lengths, in elements.
        output_size: Output lengths, in elements; or
        output_ratio: Output lengths as a share of the input's, above 0 and below 1.
        random_samples: Where the windows of each map begin, in [0, 1); in torch's
            order: width, height in 2-D, but depth, height, width in 3-D.
        generator: Where they come from instead; None for torch's own.
        where: What an error message begins with.

    Shape:
        x:              (N, C, L), (N, C, H, W) or (N, C, D, H, W)
        random_samples: (N, C, axes)
        return:         (N, C, *output_size)

    Raises:
        ShapeError: Windows and outputs do not fit in the input, another rank, or
            samples of another shape.
        ArgumentError: Neither or both of size and ratio, or a value not in its range.

    Source:
        Graham, arXiv:1412.6071, section 2: pseudorandom sequences, overlapping
        windows; ``torch.nn.functional.fractional_max_pool2d``.

    >>> x = torch.arange(9.0).view(1, 1, 9)
    >>> fractional_max_pool(x, 2, 6, random_samples=torch.tensor([[[0.5]]]))
    tensor([[[1., 3., 4., 5., 7., 8.]]])
    """
    return fractional_max_pool_with_indices(
        x,
        kernel_size,
        output_size,
        output_ratio,
        random_samples=random_samples,
        generator=generator,
        where=where,
    )[0]


@explains_calls
def fractional_max_pool_with_indices(
    x: Tensor,
    kernel_size: PerAxis,
    output_size: PerAxis | None = None,
    output_ratio: Ratio | None = None,
    *,
    random_samples: Tensor | None = None,
    generator: torch.Generator | None = None,
    where: str = "fractional_max_pool",
) -> tuple[Tensor, Tensor]:
    """Largest element of windows that begin at random steps, and where it was.

    Arguments and errors are those of `fractional_max_pool`.

    Shape:
        return: two tensors (N, C, *output_size); the second counts the elements of
            the winner's feature map in row order, from 0

    >>> x = torch.arange(9.0).view(1, 1, 9)
    >>> fractional_max_pool_with_indices(x, 2, 2)[1].shape
    torch.Size([1, 1, 2])
    """
    sizes = spatial_sizes(x, where)
    axes = len(sizes)
    kernel = per_axis(kernel_size, axes, name="kernel_size", where=where)
    require_one_target(output_size, output_ratio, axes, where)
    outputs = _outputs(sizes, output_size, output_ratio, where)
    for axis, (size, taps, count) in enumerate(
        zip(sizes, kernel, outputs, strict=True)
    ):
        spare = 1 if axes == 3 else 0  # torch's kernel in 3-D wants one element more
        if count < 1 or count + taps - 1 + spare > size:
            raise ShapeError(
                f"{where}, {axis_name(axis, axes)}: {count} outputs of "
                f"kernel_size={taps} need {max(count, 1) + taps - 1 + spare} elements, "
                f"the input has {size}. Use at most {max(0, size - taps + 1 - spare)} "
                "outputs, and at least 1."
            )
    wanted = (*x.shape[:2], axes)
    if random_samples is None:
        random_samples = torch.rand(
            wanted, dtype=x.dtype, device=x.device, generator=generator
        )
    elif random_samples.shape != wanted:
        raise ShapeError(
            f"{where}: random_samples has shape {tuple(random_samples.shape)} instead "
            f"of {wanted}. Give one sample for each image, channel and axis."
        )
    index: Tensor = _Winners.apply(  # type: ignore[no-untyped-call]  # torch's
        x.detach(), kernel, outputs, random_samples
    )
    return like_layout(take(x, index), x), index


class _Winners(torch.autograd.Function):
    """Row-order index of the winner of each window; torch has no rule for vmap."""

    @staticmethod
    def forward(
        x: Tensor, kernel: tuple[int, ...], outputs: tuple[int, ...], samples: Tensor
    ) -> Tensor:
        if len(kernel) == 3:
            return F.fractional_max_pool3d_with_indices(
                x, kernel, outputs, _random_samples=samples
            )[1]
        if len(kernel) == 2:
            return F.fractional_max_pool2d_with_indices(
                x, kernel, outputs, _random_samples=samples
            )[1]
        both = torch.cat([samples, torch.zeros_like(samples)], dim=-1)
        return F.fractional_max_pool2d_with_indices(
            x.unsqueeze(-2), (1, *kernel), (1, *outputs), _random_samples=both
        )[1].squeeze(-2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def vmap(
        info: Any,
        dims: tuple[int | None, ...],
        x: Tensor,
        kernel: tuple[int, ...],
        outputs: tuple[int, ...],
        samples: Tensor,
    ) -> tuple[Tensor, int]:
        size = info.batch_size
        both = [
            one.expand(size, *one.shape) if dim is None else one.movedim(dim, 0)
            for one, dim in ((x, dims[0]), (samples, dims[3]))
        ]
        joined = [one.flatten(0, 1) for one in both]
        index: Tensor = _Winners.apply(  # type: ignore[no-untyped-call]  # torch's
            joined[0], kernel, outputs, joined[1]
        )
        return index.unflatten(0, (size, -1)), 0


def require_one_target(
    output_size: PerAxis | None, output_ratio: Ratio | None, axes: int, where: str
) -> None:
    """Refuse anything but one of size and ratio, in its range.

    Raises:
        ArgumentError: Neither or both, or a value that is not in its range.

    >>> require_one_target(None, 0.7, 2, "FractionalMaxPool2d")
    """
    if (output_size is None) == (output_ratio is None):
        raise ArgumentError(
            f"{where}: output_size={output_size!r} and output_ratio={output_ratio!r} "
            "must not both be given or both be None. Give one of them."
        )
    if output_size is not None:
        per_axis(output_size, axes, name="output_size", where=where)
        return
    ratios = _ratios(output_ratio, axes)
    if len(ratios) != axes or not all(0 < ratio < 1 for ratio in ratios):
        raise ArgumentError(
            f"{where}: output_ratio={output_ratio!r} is not one share above 0 and "
            f"below 1 for each of {axes} spatial {'axis' if axes == 1 else 'axes'}. "
            f"Give one number, or {axes}."
        )


def _ratios(output_ratio: Ratio | None, axes: int) -> Sequence[float]:
    if isinstance(output_ratio, Sequence):
        return output_ratio
    return (output_ratio or 0.0,) * axes


def _outputs(
    sizes: tuple[int, ...], output_size: PerAxis | None, ratio: Ratio | None, where: str
) -> tuple[int, ...]:
    if output_size is not None:
        return per_axis(output_size, len(sizes), name="output_size", where=where)
    shares = _ratios(ratio, len(sizes))
    return tuple(int(size * share) for size, share in zip(sizes, shares, strict=True))
