"""Integers in, integers out: sizes, windows, padding.

One home for each fact: layers, summaries, error messages, animations and the page
take every size, cost and receptive field from here.
"""

from convscope.arithmetic.axis import kernel_span, per_axis, require
from convscope.arithmetic.fixes import Fixes, nearest_fixes
from convscope.arithmetic.padding import (
    PADDING_NAMES,
    AxisPadding,
    PaddingLike,
    PaddingName,
    parse_padding,
    resolve_padding,
    resolve_paddings,
)
from convscope.arithmetic.shapes import (
    CeilMode,
    axis_name,
    output_shape,
    output_size,
    transposed_output_shape,
    transposed_output_size,
)
from convscope.arithmetic.windows import (
    ResizeMode,
    Table,
    adaptive_windows,
    resize_windows,
    transposed_windows,
    windows,
)

__all__ = [
    "PADDING_NAMES",
    "AxisPadding",
    "CeilMode",
    "Fixes",
    "PaddingLike",
    "PaddingName",
    "ResizeMode",
    "Table",
    "adaptive_windows",
    "axis_name",
    "kernel_span",
    "nearest_fixes",
    "output_shape",
    "output_size",
    "parse_padding",
    "per_axis",
    "require",
    "resize_windows",
    "resolve_padding",
    "resolve_paddings",
    "transposed_output_shape",
    "transposed_output_size",
    "transposed_windows",
    "windows",
]
