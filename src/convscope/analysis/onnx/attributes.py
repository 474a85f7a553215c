"""Attributes that make sense for what reaches a node.

onnx's own rules for shapes take it for granted that an axis is one of the tensor's, and
read beyond the end of it where a file says otherwise. So that is looked at before.
"""

from collections.abc import Callable, Mapping
from typing import Any

LARGEST = 2**31 - 1


def _is_axis(value: int, rank: int) -> bool:
    return -rank - 1 <= value <= rank + 1


def _is_length(value: int, rank: int) -> bool:
    return 1 <= value <= LARGEST


def _is_amount(value: int, rank: int) -> bool:
    return abs(value) <= LARGEST


def _is_type(value: int, rank: int) -> bool:
    return 0 <= value <= 99


CHECKS: Mapping[str, Callable[[int, int], bool]] = {
    "axes": _is_axis,
    "axis": _is_axis,
    "batch_axis": _is_axis,
    "batch_dims": _is_axis,
    "block_size": _is_length,
    "blocksize": _is_length,
    "dilations": _is_length,
    "dtype": _is_type,
    "group": _is_length,
    "hidden_size": _is_length,
    "kernel_shape": _is_length,
    "kv_num_heads": _is_length,
    "num_groups": _is_length,
    "num_outputs": _is_length,
    "output_dtype": _is_type,
    "output_padding": _is_amount,
    "output_shape": _is_length,
    "pads": _is_amount,
    "perm": lambda value, rank: 0 <= value < max(rank, 1),
    "q_num_heads": _is_length,
    "split": _is_amount,
    "stash_type": _is_type,
    "strides": _is_length,
    "time_axis": _is_axis,
    "to": _is_type,
}


def nonsense(attributes: Mapping[str, Any], rank: int | None) -> str:
    """An attribute that cannot be meant, as ``name=value``; empty if there is none.

    Args:
        attributes: Of a node.
        rank: Axes of its first input; None where that is not known.

    >>> nonsense({"axis": 7}, 4), nonsense({"axis": -1, "group": 3}, 4)
    ('axis=7', '')
    """
    for name, value in attributes.items():
        check = CHECKS.get(name)
        several = value if isinstance(value, list) else [value]
        if check is None or not all(isinstance(one, int) for one in several):
            continue
        axes = 8 if rank is None else rank + (len(several) if name == "axes" else 0)
        if not all(check(one, axes) for one in several):
            return f"{name}={value}"
    return ""
