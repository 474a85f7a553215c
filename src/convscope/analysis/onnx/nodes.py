"""Nodes of an ONNX graph: numbers made from numbers, and a node as text.

``folded(kind, given)``          numbers made from numbers
``node_text(kind, arguments)``   the node as one would write it
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": lambda one, other: one / other if isinstance(one, float) else one // other,
}


def folded(kind: str, given: Sequence[list[Any]]) -> list[Any] | None:
    """What a node makes of a few numbers; None where it is not understood.

    >>> folded("Add", [[3, 4], [1]]), folded("Gather", [[1, 3, 8, 8], [2]])
    ([4, 5], [8])
    """
    first, second = given[0], given[1] if len(given) > 1 else []
    if kind in ARITHMETIC and second:
        length = max(len(first), len(second))
        pairs = zip((first * length)[:length], (second * length)[:length], strict=True)
        try:
            return [ARITHMETIC[kind](one, other) for one, other in pairs]
        except ZeroDivisionError:
            return None
    if kind == "Concat":
        return [number for part in given for number in part]
    if kind == "Gather" and all(-len(first) <= place < len(first) for place in second):
        return [first[place] for place in second]
    if kind == "Slice" and len(given) > 2 and len(second) == len(given[2]) == 1:
        step = given[4][0] if len(given) > 4 else 1
        return first[second[0] : given[2][0] : step] if step else None
    return first if kind in ("Cast", "Identity", "Squeeze", "Unsqueeze") else None


def node_text(kind: str, a: dict[str, Any]) -> str:
    """The node with the arguments that matter."""
    names = {
        "kernel_shape": "kernel_size",
        "strides": "stride",
        "pads": "padding",
        "dilations": "dilation",
        "group": "groups",
        "axis": "axis",
    }
    parts = []
    for name, word in names.items():
        value = a.get(name)
        if (
            value is None
            or value == 1
            or (
                isinstance(value, list)
                and set(value) == ({0} if name == "pads" else {1})
            )
        ):
            continue
        same = isinstance(value, list) and len(set(value)) == 1
        parts.append(f"{word}={value[0] if same else value}")
    return f"{kind}({', '.join(parts)})"
