"""Rectification and trainable gain, as layers."""

import torch
from torch import Tensor, nn

from convscope.arithmetic import require
from convscope.errors import ShapeError, explains_calls
from convscope.functional.operands import require_plain
from convscope.functional.rectify import gain, rectify
from convscope.layers.shape import require_input


class Rectification(nn.Module):
    """Absolute value: an edge counts the same in either polarity.

    Shape:
        x:      any
        return: like x

    Source:
        Jarrett et al., ICCV 2009, section 2: R_abs.

    >>> Rectification()(torch.tensor([-2.0, 3.0]))
    tensor([2., 3.])
    """

    @explains_calls
    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Absolute value."""
        return rectify(x)


class Gain(nn.Module):
    """``g tanh(x)`` with one trainable gain ``g`` for each map, 1 at first.

    Args:
        channels: Maps.
        axes: Spatial axes; if given, an input without batch axis is taken too.

    Shape:
        x:      (N, channels, ...), or (channels, ...) with ``axes`` spatial axes
        return: like x

    Raises:
        ArgumentError: ``channels`` is below 1.
        ShapeError: An input has another number of maps or axes.

    Source:
        Jarrett et al., ICCV 2009, section 2: the end of a filter bank layer F_CSG.

    >>> Gain(3)(torch.zeros(1, 3, 4, 4)).shape
    torch.Size([1, 3, 4, 4])
    """

    @explains_calls
    def __init__(self, channels: int, axes: int | None = None) -> None:
        super().__init__()
        require("Gain", "channels", channels, 1)
        if axes is not None:
            require("Gain", "axes", axes, 1)
        self.channels = channels
        self.axes = axes
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Squashed, then scaled map by map."""
        require_plain(x, type(self).__name__)
        if self.axes is not None:
            require_input(self, x, self.axes, self.channels)
            if x.ndim == self.axes + 1:
                return gain(x.unsqueeze(0), self.weight).squeeze(0)
        elif x.ndim < 2 or x.shape[1] != self.channels:
            raise ShapeError(
                f"Gain: x must have shape (N, {self.channels}, ...); got "
                f"{tuple(x.shape)}. Build the layer for the channels that reach it."
            )
        return gain(x, self.weight)

    def extra_repr(self) -> str:
        """What the layer was built with."""
        axes = "" if self.axes is None else f", axes={self.axes}"
        return f"{self.channels}{axes}"
