"""What all pooling layers share: no parameters, and one image instead of a batch."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from convscope.arithmetic import CeilMode, PaddingLike, PerAxis, parse_padding, per_axis
from convscope.functional.pool_window import parse_ceil_mode
from convscope.layers.shape import require_input


class PoolLayer(nn.Module):
    """A pooling along as many spatial axes as the subclass says."""

    axes: ClassVar[int]
    shown: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.where = type(self).__name__

    def per_axis(self, value: PerAxis, name: str) -> PerAxis:
        """``value`` as torch.nn keeps it, refused where it is not one per axis."""
        per_axis(value, self.axes, name=name, where=self.where)
        return value

    def set_window(
        self,
        kernel_size: PerAxis,
        stride: PerAxis | None,
        padding: PaddingLike,
        ceil_mode: CeilMode | bool,
    ) -> None:
        """Hold the arguments of a sliding window under torch.nn's names."""
        self.kernel_size = self.per_axis(kernel_size, "kernel_size")
        chosen = kernel_size if stride is None else stride
        self.stride = self.per_axis(chosen, "stride")
        parse_padding(padding, self.axes, where=self.where)
        parse_ceil_mode(ceil_mode)
        self.padding, self.ceil_mode = padding, ceil_mode

    def pooled(self, function: Callable[..., Any], x: Tensor, *more: Any) -> Any:
        """``function`` of a batch; of one image where ``x`` is one.

        Raises:
            ShapeError: ``x`` has another rank.
        """
        require_input(self, x, self.axes, None)
        if x.ndim == self.axes + 2:
            return function(x, *more, where=self.where)
        out = function(x.unsqueeze(0), *more, where=self.where)
        if isinstance(out, tuple):
            return tuple(one.squeeze(0) for one in out)
        return out.squeeze(0)

    def extra_repr(self) -> str:
        """The arguments, by name."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.shown)
