"""Layers that change sizes: by channels (``PixelShuffle``), or by interpolation.

The layers are torch's, with the same arguments and numbers; what does not fit is
refused in their names.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from convscope.arithmetic import require
from convscope.errors import ArgumentError, ShapeError, UnknownNameError, explains_calls
from convscope.layers.shape import require_input

# How many spatial axes each way to interpolate has.
_MODES: dict[str, tuple[int, ...]] = {
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "area": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "bicubic": (2,),
    "trilinear": (3,),
}


class PixelShuffle(nn.PixelShuffle):
    """Channels to places: a map ``upscale_factor`` times as high and wide.

    Args:
        upscale_factor: Places that one becomes along each axis.

    Shape:
        x:      (N, C * upscale_factor**2, H, W) or without N
        return: (N, C, H * upscale_factor, W * upscale_factor) or without N

    Raises:
        ArgumentError: ``upscale_factor`` is not an integer from 1.
        ShapeError: Another rank, or channels that are not a multiple of its square.

    Source:
        Shi et al., arXiv:1609.05158; ``torch.nn.PixelShuffle``.

    >>> import torch
    >>> PixelShuffle(2)(torch.zeros(1, 8, 3, 3)).shape
    torch.Size([1, 2, 6, 6])
    """

    @explains_calls
    def __init__(self, upscale_factor: int) -> None:
        require(type(self).__name__, "upscale_factor", upscale_factor, 1)
        super().__init__(upscale_factor)

    @explains_calls
    def forward(self, x: Tensor) -> Tensor:
        """Channels as places."""
        require_input(self, x, 2, None)
        square = self.upscale_factor**2
        if not x.shape[-3] or x.shape[-3] % square:
            raise ShapeError(
                f"{type(self).__name__}: x must have shape (N, C * {square}, H, W) or "
                f"(C * {square}, H, W); got {tuple(x.shape)}. Give it a multiple of "
                f"{square} channels."
            )
        return super().forward(x)


class PixelUnshuffle(nn.PixelUnshuffle):
    """Places to channels: the way back from `PixelShuffle`.

    Args:
        downscale_factor: Places along each axis that become one.

    Shape:
        x:      (N, C, H * downscale_factor, W * downscale_factor) or without N
        return: (N, C * downscale_factor**2, H, W) or without N

    Raises:
        ArgumentError: ``downscale_factor`` is not an integer from 1.
        ShapeError: Another rank, or sizes that are not multiples of it.

    Source:
        ``torch.nn.PixelUnshuffle``.

    >>> import torch
    >>> PixelUnshuffle(2)(torch.zeros(1, 2, 6, 6)).shape
    torch.Size([1, 8, 3, 3])
    """

    @explains_calls
    def __init__(self, downscale_factor: int) -> None:
        require(type(self).__name__, "downscale_factor", downscale_factor, 1)
        super().__init__(downscale_factor)

    @explains_calls
    def forward(self, x: Tensor) -> Tensor:
        """Places as channels."""
        require_input(self, x, 2, None)
        factor = self.downscale_factor
        if x.shape[-2] % factor or x.shape[-1] % factor:
            raise ShapeError(
                f"{type(self).__name__}: x must have height and width that are "
                f"multiples of downscale_factor={factor}; got {tuple(x.shape)}. Pad "
                "or crop it to such a size."
            )
        if not x.numel():  # torch leaves a batch of none as it is
            *lead, channels, height, width = x.shape
            sizes = (channels * factor**2, height // factor, width // factor)
            return x.reshape(*lead, *sizes)
        return super().forward(x)


class Upsample(nn.Upsample):
    """Interpolation to a size, or to a multiple of the input's.

    Args:
        size: Output lengths, in elements; or
        scale_factor: Output lengths in lengths of the input.
        mode: ``nearest``, ``nearest-exact``, ``area``; ``linear`` for signals,
            ``bilinear`` or ``bicubic`` for images, ``trilinear`` for volumes.
        align_corners: Whether the centers of the corner elements coincide, instead of
            their outer edges; not for ``nearest`` and ``area``.
        recompute_scale_factor: Whether the factor is computed again from the sizes,
            which are whole.

    Shape:
        x:      (N, C, L), (N, C, H, W) or (N, C, D, H, W)
        return: the same rank

    Raises:
        UnknownNameError: Another mode.
        ArgumentError: Neither or both of ``size`` and ``scale_factor``; or
            ``align_corners`` for a mode without such a choice.
        ShapeError: Another number of axes than the mode has.

    Source:
        ``torch.nn.Upsample``.

    >>> import torch
    >>> Upsample(scale_factor=2, mode="bilinear")(torch.zeros(1, 3, 4, 5)).shape
    torch.Size([1, 3, 8, 10])
    """

    @explains_calls
    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        where = type(self).__name__
        if mode not in _MODES:
            raise UnknownNameError("mode", str(mode), _MODES)
        if (size is None) == (scale_factor is None):
            raise ArgumentError(
                f"{where}: size={size!r} and scale_factor={scale_factor!r}; only one "
                "of them says how large the output is. Give one of them."
            )
        if align_corners is not None and "linear" not in mode and mode != "bicubic":
            raise ArgumentError(
                f"{where}: align_corners={align_corners!r} has no meaning for "
                f"mode={mode!r}. Leave it out."
            )
        given = scale_factor if size is None else size
        each = given if isinstance(given, Sequence) else (given,)
        if recompute_scale_factor not in (None, True, False):
            raise ArgumentError(
                f"{where}: recompute_scale_factor={recompute_scale_factor!r} is not a "
                "yes or no. Give True or False."
            )
        if not each:
            raise ArgumentError(
                f"{where}: size={size!r} and scale_factor={scale_factor!r} hold no "
                "number. Give one, or one per axis."
            )
        for one in each:
            if size is not None:
                require(where, "size", one, 1)
            elif not isinstance(one, int | float) or not 0 < one < float("inf"):
                raise ArgumentError(
                    f"{where}: scale_factor={one!r} is not a number above 0. Use 2, "
                    "for example."
                )
        self.values = len(each) if isinstance(given, Sequence) else None
        kept = tuple(each) if isinstance(given, Sequence) else given
        super().__init__(
            kept if size is not None else None,  # type: ignore[arg-type]
            kept if size is None else None,  # type: ignore[arg-type]
            mode,
            align_corners,
            recompute_scale_factor,
        )

    @explains_calls
    def forward(self, x: Tensor) -> Tensor:
        """Interpolated."""
        axes = [self.values] if self.values else list(_MODES[self.mode])
        axes = [count for count in axes if count in _MODES[self.mode]]
        found = getattr(x, "ndim", 0) - 2
        wanted = found if found in axes else (axes or _MODES[self.mode])[-1]
        require_input(self, x, wanted, None, batched=True)
        if 0 in x.shape[2:]:
            raise ShapeError(
                f"{type(self).__name__}: x of shape {tuple(x.shape)} has nothing to "
                "interpolate. Give it at least 1 along each axis."
            )
        return super().forward(x)
