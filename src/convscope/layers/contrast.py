"""Local contrast normalization, as layers without weights."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from convscope.arithmetic import AxisLayer, Bordered, BorderMode
from convscope.errors import explains_calls
from convscope.functional.contrast import (
    ContrastPadding,
    local_contrast_norm,
    parse_window,
    require_contrast,
)
from convscope.layers.shape import require_input


class _LocalContrastNorm(nn.Module):
    """Local contrast normalization over ``axes`` spatial axes."""

    axes: int

    @explains_calls
    def __init__(
        self,
        kernel_size: int | Sequence[int] = 9,
        sigma: float | Sequence[float] | None = None,
        *,
        subtractive: bool = True,
        divisive: bool = True,
        threshold: float | Literal["mean"] = "mean",
        padding_mode: ContrastPadding = "partial",
    ) -> None:
        super().__init__()
        where = type(self).__name__
        self.kernel_size, self.sigma = parse_window(
            kernel_size, sigma, self.axes, where=where
        )
        require_contrast(subtractive, divisive, threshold, padding_mode, where=where)
        self.subtractive = subtractive
        self.divisive = divisive
        self.threshold = threshold
        self.padding_mode = padding_mode

    def axis_layers(self, sizes: tuple[int, ...]) -> tuple[AxisLayer | None, ...]:
        """How it acts along each spatial axis of a map of these sizes.

        The mean deviation, as a threshold, is one of the whole map.
        """
        if self.divisive and self.threshold == "mean":
            return (None,) * len(sizes)
        times = self.subtractive + self.divisive
        mode = self.padding_mode
        border: BorderMode = "zeros" if mode == "partial" else mode
        return tuple(
            Bordered(
                times * (size - 1) + 1,
                padding=(times * ((size - 1) // 2), times * (size // 2)),
                border=border,
            )
            for size in self.kernel_size
        )

    def forward(self, x: Tensor) -> Tensor:
        """Normalized to the surroundings of each place."""
        require_input(self, x, self.axes, None)
        batched = x.ndim == self.axes + 2
        out = local_contrast_norm(
            x if batched else x.unsqueeze(0),
            self.kernel_size,
            self.sigma,
            subtractive=self.subtractive,
            divisive=self.divisive,
            threshold=self.threshold,
            padding_mode=self.padding_mode,
        )
        return out if batched else out.squeeze(0)

    def extra_repr(self) -> str:
        """What the layer was built with."""
        parts = [f"kernel_size={self.kernel_size}", f"sigma={self.sigma}"]
        if not self.subtractive:
            parts.append("subtractive=False")
        if not self.divisive:
            parts.append("divisive=False")
        if self.threshold != "mean":
            parts.append(f"threshold={self.threshold}")
        if self.padding_mode != "partial":
            parts.append(f"padding_mode={self.padding_mode!r}")
        return ", ".join(parts)


class LocalContrastNorm1d(_LocalContrastNorm):
    """Subtracts the mean of a Gaussian window over all maps, divides by its deviation.

    Args:
        kernel_size: Window length, in elements.
        sigma: Standard deviation of the window, in elements; by default a quarter of
            its length.
        subtractive: Whether to subtract.
        divisive: Whether to divide.
        threshold: Least divisor: a number above 0, or the mean of the deviation over
            the places of each image.
        padding_mode: What the window sees outside; see ``functional.contrast``.

    Shape:
        x:      (N, C, L) or (C, L)
        return: like x

    Raises:
        ArgumentError: A number is out of range, or neither part is asked for.
        UnknownNameError: ``padding_mode`` or ``threshold`` is a name not known.
        ShapeError: An input has another number of axes.

    Source:
        Jarrett et al., ICCV 2009, section 2, which gives neither sigma nor border.

    >>> import torch
    >>> LocalContrastNorm1d(5)(torch.ones(1, 2, 8)).abs().max()
    tensor(0.)
    """

    axes = 1


class LocalContrastNorm2d(_LocalContrastNorm):
    """Subtracts the mean of a Gaussian window over all maps, divides by its deviation.

    Args:
        kernel_size: Height and width of the window, in elements.
        sigma: Standard deviation of the window along each axis, in elements; by
            default a quarter of its length.
        subtractive: Whether to subtract.
        divisive: Whether to divide.
        threshold: Least divisor: a number above 0, or the mean of the deviation over
            the places of each image.
        padding_mode: What the window sees outside; see ``functional.contrast``.

    Shape:
        x:      (N, C, H, W) or (C, H, W)
        return: like x

    Raises:
        ArgumentError: A number is out of range, or neither part is asked for.
        UnknownNameError: ``padding_mode`` or ``threshold`` is a name not known.
        ShapeError: An input has another number of axes.

    Source:
        Jarrett et al., ICCV 2009, section 2, which gives neither sigma nor border.

    >>> LocalContrastNorm2d()
    LocalContrastNorm2d(kernel_size=(9, 9), sigma=(2.25, 2.25))
    """

    axes = 2


class LocalContrastNorm3d(_LocalContrastNorm):
    """Subtracts the mean of a Gaussian window over all maps, divides by its deviation.

    Args:
        kernel_size: Depth, height and width of the window, in elements.
        sigma: Standard deviation of the window along each axis, in elements; by
            default a quarter of its length.
        subtractive: Whether to subtract.
        divisive: Whether to divide.
        threshold: Least divisor: a number above 0, or the mean of the deviation over
            the places of each image.
        padding_mode: What the window sees outside; see ``functional.contrast``.

    Shape:
        x:      (N, C, D, H, W) or (C, D, H, W)
        return: like x

    Raises:
        ArgumentError: A number is out of range, or neither part is asked for.
        UnknownNameError: ``padding_mode`` or ``threshold`` is a name not known.
        ShapeError: An input has another number of axes.

    Source:
        Jarrett et al., ICCV 2009, section 2, which gives neither sigma nor border.

    >>> import torch
    >>> LocalContrastNorm3d(3)(torch.ones(1, 2, 4, 4, 4)).abs().max()
    tensor(0.)
    """

    axes = 3
