"""Decides device, number format, memory format and kernels; calls networks so."""

from convscope.execution.allocator import keep_freed_memory
from convscope.execution.batch_size import images_together
from convscope.execution.compare import (
    Comparison,
    Timing,
    choose,
    compare_settings,
    may_be_channels_last,
)
from convscope.execution.explanation import Explanation, explain
from convscope.execution.optimization import optimize
from convscope.execution.optimized import Optimized
from convscope.execution.sample_inputs import Inputs
from convscope.execution.setting import (
    Setting,
    choose_device,
    give_back,
    has_native_bfloat16,
)
from convscope.execution.whole_step import WholeStep, whole_step

__all__ = [
    "Comparison",
    "Explanation",
    "Inputs",
    "Optimized",
    "Setting",
    "Timing",
    "WholeStep",
    "choose",
    "choose_device",
    "compare_settings",
    "explain",
    "give_back",
    "has_native_bfloat16",
    "images_together",
    "keep_freed_memory",
    "may_be_channels_last",
    "optimize",
    "whole_step",
]
