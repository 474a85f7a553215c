"""Layers that slide a window tell how, so that a summary need not guess."""

from typing import Any

from convscope.arithmetic import (
    AxisLayer,
    Bordered,
    BorderMode,
    per_axis,
    resolve_paddings,
)


class Sliding:
    """Mixed into layers that hold a window under torch.nn's names."""

    kernel_size: Any
    stride: Any
    padding: Any

    def groups_along(self, channels: int) -> int:
        """Into how many groups the channels of its input fall that do not mix."""
        return getattr(self, "groups", 1) if hasattr(self, "in_channels") else channels

    def axis_layers(self, sizes: tuple[int, ...]) -> tuple[AxisLayer | None, ...]:
        """How the layer acts along each spatial axis of a map of these sizes."""
        axes = len(sizes)
        kernels = per_axis(self.kernel_size, axes, name="kernel_size")
        strides = per_axis(self.stride, axes, name="stride")
        dilations = per_axis(getattr(self, "dilation", 1), axes, name="dilation")
        paddings = resolve_paddings(
            self.padding, sizes, kernels, stride=strides, dilation=dilations
        )
        ceil = getattr(self, "ceil_mode", False)
        mode: Any = getattr(self, "padding_mode", "zeros")
        border: BorderMode = "zeros" if mode == "partial" else mode
        return tuple(
            Bordered(*window, "torch" if ceil is True else ceil, border)
            for window in zip(kernels, strides, paddings, dilations, strict=True)
        )
