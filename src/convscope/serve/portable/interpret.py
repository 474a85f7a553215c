"""A program carried out in float64: what the page must show, and the check of it."""

import math
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from convscope.serve.portable.program import Array, Operation, Program


def interpret(program: Program, x: Array) -> list[Array]:
    """Every value of a program for one input, (1, C, ...), in float64."""
    values = [np.asarray(x, np.float64)]
    constants = [np.asarray(one, np.float64) for one in program.constants]
    for operation in program.operations:
        taken = [
            values[at] if at >= 0 else constants[-1 - at] for at in operation["in"]
        ]
        made = _OPERATIONS[operation["op"]](operation, taken, constants)
        values.append(np.asarray(made, np.float64).reshape(operation["shape"]))
    return values


def _given(constants: list[Array], at: int | None) -> Any:
    return None if at is None else constants[at]


def _conv(one: Operation, taken: list[Array], constants: list[Array]) -> Array:
    (x,), axes = taken, len(one["stride"])
    weight, bias = _given(constants, one["w"]), _given(constants, one["b"])
    tensors = [None if t is None else torch.from_numpy(t) for t in (x, weight, bias)]
    if one["op"] == "conv":
        call = getattr(functional, f"conv{axes}d")
        made = call(
            *tensors, one["stride"], one["padding"], one["dilation"], one["groups"]
        )
        return np.asarray(made)
    sizes = zip(
        x.shape[2:], weight.shape[2:], one["stride"], one["padding"], one["dilation"],
        one["shape"][2:], strict=True,
    )  # fmt: skip
    more = [o - ((n - 1) * s - 2 * p + d * (k - 1) + 1) for n, k, s, p, d, o in sizes]
    call = getattr(functional, f"conv_transpose{axes}d")
    return np.asarray(
        call(
            *tensors,
            one["stride"],
            one["padding"],
            more,
            one["groups"],
            one["dilation"],
        )
    )


def _dense(one: Operation, taken: list[Array], constants: list[Array]) -> Array:
    made = taken[0] @ constants[one["w"]].T
    return made if one["b"] is None else made + constants[one["b"]]


def _along(values: Any, rank: int) -> Any:
    return values.reshape(1, -1, *[1] * (rank - 2))


def _norm(one: Operation, taken: list[Array], constants: list[Array]) -> Array:
    x = taken[0]
    mean, var = (_along(constants[one[n]], x.ndim) for n in ("mean", "var"))
    made: Array = (x - mean) / np.sqrt(var + one["eps"])
    if one["w"] is not None:
        made = made * _along(constants[one["w"]], x.ndim)
    return made if one["b"] is None else made + _along(constants[one["b"]], x.ndim)


def _standard(one: Operation, taken: list[Array], constants: list[Array]) -> Array:
    x = taken[0].reshape(-1, one["block"])
    mean = x.mean(1, keepdims=True) * one["centered"]
    deviation = np.sqrt(((x - mean) ** 2).mean(1, keepdims=True) + one["eps"])
    made: Array = ((x - mean) / deviation).ravel()
    places = np.arange(made.size) // one["inner"]
    for name, call in (("w", np.multiply), ("b", np.add)):
        if one[name] is not None:
            factor = constants[one[name]].ravel()
            made = call(made, factor[places % factor.size])
    return made


_erf = np.vectorize(math.erf)


def _unary(one: Operation, taken: list[Array], constants: list[Array]) -> Array:
    x, name, args = torch.from_numpy(taken[0].copy()), one["name"], one["args"]
    if name == "gelu":
        return np.asarray(functional.gelu(x, approximate=args[0]))
    if name == "isinf":
        return np.isinf(taken[0])
    call = getattr(torch.ops.aten, name)
    made = call(x, *args)
    return np.asarray(made[0] if isinstance(made, tuple) else made)


_BINARY: dict[str, Any] = {
    "add": lambda a, b, k: a + k * b,
    "sub": lambda a, b, k: a - k * b,
    "mul": lambda a, b, _: a * b,
    "div": lambda a, b, _: a / b,
    "max": lambda a, b, _: np.maximum(a, b),
    "min": lambda a, b, _: np.minimum(a, b),
    "pow": lambda a, b, _: a**b,
    "prelu": lambda a, b, _: np.where(a >= 0, a, a * b),
    "gt": lambda a, b, _: a > b,
    "ge": lambda a, b, _: a >= b,
    "lt": lambda a, b, _: a < b,
    "le": lambda a, b, _: a <= b,
    "eq": lambda a, b, _: a == b,
    "ne": lambda a, b, _: a != b,
}


def _binary(one: Operation, taken: list[Array], constants: list[Array]) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(_BINARY[one["name"]](*taken, one["alpha"]))


def _softmax(one: Operation, taken: list[Array], constants: list[Array]) -> Array:
    x = taken[0] - taken[0].max(one["axis"], keepdims=True)
    total = np.exp(x).sum(one["axis"], keepdims=True)
    made: Array = x - np.log(total) if one["log"] else np.exp(x) / total
    return made


def _gather(one: Operation, taken: list[Array], constants: list[Array]) -> Array:
    places = np.full(one["shape"], one["base"], np.int64)
    known = np.ones(one["shape"], bool)
    for axis, offsets in enumerate(one["axes"]):
        shape = [-1 if at == axis else 1 for at in range(len(one["shape"]))]
        known &= np.array([o is not None for o in offsets]).reshape(shape)
        places = places + np.array([o or 0 for o in offsets]).reshape(shape)
    return np.where(known, taken[0].ravel()[np.where(known, places, 0)], one["fill"])


def _axes(one: Operation, taken: list[Array], constants: list[Array]) -> Array:
    x = taken[0]
    for axis, taps in enumerate(one["taps"], 2):
        matrix = np.zeros((len(taps["first"]), x.shape[axis]))
        for at, (first, row) in enumerate(zip(taps["first"], taps["row"], strict=True)):
            weights = taps["rows"][row]
            matrix[at, first : first + len(weights)] = weights
        x = np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)
    return x


def _maxpool(one: Operation, taken: list[Array], constants: list[Array]) -> Array:
    x, start = taken[0], taken[0].ndim - len(one["taps"])
    for axis, taps in enumerate(one["taps"], start):
        x = np.stack([
            x.take(range(first, last + 1, taps["step"]), axis).max(axis)
            for first, last in zip(taps["first"], taps["last"], strict=True)
        ], axis)  # fmt: skip
    return x


def _reduce(one: Operation, taken: list[Array], constants: list[Array]) -> Array:
    return np.asarray(getattr(np, one["name"])(taken[0], axis=tuple(one["axes"])))


_OPERATIONS: dict[str, Any] = {
    "conv": _conv,
    "convt": _conv,
    "dense": _dense,
    "matmul": lambda _, taken, __: taken[0] @ taken[1],
    "norm": _norm,
    "standard": _standard,
    "unary": _unary,
    "binary": _binary,
    "where": lambda _, taken, __: np.where(taken[0] != 0, taken[1], taken[2]),
    "softmax": _softmax,
    "gather": _gather,
    "same": lambda _, taken, __: taken[0],
    "axes": _axes,
    "maxpool": _maxpool,
    "reduce": _reduce,
    "cat": lambda one, taken, _: np.concatenate(taken, one["axis"]),
}
