"""A node of an ONNX graph as one would write it.

``node_text(kind, arguments)``   its kind with the arguments that matter
"""

from typing import Any


def node_text(kind: str, a: dict[str, Any]) -> str:
    """The node with the arguments that matter.

    >>> node_text("Conv", {"kernel_shape": [3, 3], "pads": [0, 0, 0, 0]})
    'Conv(kernel_size=3)'
    """
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
