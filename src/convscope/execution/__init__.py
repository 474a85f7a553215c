"""Decides device, number format and memory format; later also kernels."""

from convscope.execution.allocator import keep_freed_memory
from convscope.execution.setting import (
    Setting,
    choose,
    choose_device,
    has_native_bfloat16,
)

__all__ = [
    "Setting",
    "choose",
    "choose_device",
    "has_native_bfloat16",
    "keep_freed_memory",
]
