"""Recurrent layers that torch keeps whole; the others are matrix products."""

from math import prod

from convscope.analysis.operations.operation import (
    Arguments,
    Node,
    Operation,
    Products,
    Shape,
)


def _costs(a: Arguments, shape: Shape) -> Products:
    """At each step every weight of both matrices is multiplied once."""
    steps = prod(a["input"].shape[:-1])
    weights = prod(a["weight0"].shape) + prod(a["weight1"].shape)
    return Products(steps * weights, ("input", "weight0"))


def _read(node: Node) -> Arguments | None:
    x, first, second = node.inputs[:3]
    return None if x is None else {"input": x, "weight0": first, "weight1": second}


OPERATIONS = (
    Operation(
        "recurrent layer",
        torch=("mkldnn_rnn_layer",),
        onnx=dict.fromkeys(("LSTM", "GRU", "RNN"), _read),
        costs=_costs,
    ),
)
