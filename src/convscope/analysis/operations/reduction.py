"""Sums, means, extremes over axes; softmax and running sums along one."""

from typing import cast

from torch import Tensor

from convscope.analysis.operations.operation import (
    Arguments,
    Node,
    Operation,
    Shape,
    meta,
)
from convscope.analysis.operations.provenance import Provenance, new_dim

_REDUCTIONS = (
    "sum", "amax", "amin", "max", "min", "var", "std", "prod", "linalg_vector_norm",
    "argmax", "argmin", "any", "all", "logsumexp", "norm", "var_mean", "std_mean",
)  # fmt: skip
_ALONG = ("cumsum", "cumprod", "_safe_softmax")
_ONNX = (
    "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2",
    "ReduceProd", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare", "ArgMax",
    "ArgMin",
)  # fmt: skip


def _sees(a: Arguments, shape: Shape) -> Provenance:
    value = a["self"]
    rank = len(value.dims)
    given = a.get("dim")
    dims = range(rank) if given in (None, []) else given
    gone = {dim % rank for dim in ([dims] if isinstance(dims, int) else dims)}
    value = value.mixed(gone)
    kept = [
        (new_dim(1) if a.get("keepdim") else None) if dim in gone else old
        for dim, old in enumerate(value.dims)
    ]
    return cast("Provenance", value.with_dims(dim for dim in kept if dim is not None))


def _mean_shape(a: Arguments) -> Tensor | None:
    x, dims = a["self"], a.get("dim")
    if not dims or a["dtype"] is not None or not x.dtype.is_floating_point:
        return None
    if any(not -x.ndim <= dim < x.ndim for dim in dims):
        return None
    gone = {dim % x.ndim for dim in dims}
    if len(gone) < len(dims):
        return None
    kept = [1 if d in gone else size for d, size in enumerate(x.shape)]
    if not a["keepdim"]:
        kept = [size for d, size in enumerate(x.shape) if d not in gone]
    return meta(x, kept)


def _softmax_shape(a: Arguments) -> Tensor | None:
    x, dim = a["self"], a["dim"]
    if not x.dtype.is_floating_point or a.get("half_to_float"):
        return None
    return meta(x, x.shape) if -max(1, x.ndim) <= dim < max(1, x.ndim) else None


def _along(a: Arguments, shape: Shape) -> Provenance:
    """Every position of some dimensions sees the others."""
    dims = a.get("dims", a.get("dim"))
    return cast(
        "Provenance", a["self"].mixed([dims] if isinstance(dims, int) else dims)
    )


def _read_along(node: Node) -> Arguments | None:
    return {"self": node.inputs[0], "dim": node.attributes.get("axis", -1)}


def _read(node: Node) -> Arguments | None:
    a = node.attributes
    axes = a.get("axes") or node.number(1)
    if len(node.inputs) > 1 and axes is None and node.inputs[1] is not None:
        return None
    if node.kind.startswith("Arg"):
        axes = [a.get("axis", 0)]
    return {"self": node.inputs[0], "dim": axes, "keepdim": a.get("keepdims", 1)}


OPERATIONS = (
    Operation("mean", torch=("mean",), shape=_mean_shape, sees=_sees),
    Operation(
        "reduction", torch=_REDUCTIONS, onnx=dict.fromkeys(_ONNX, _read), sees=_sees
    ),
    Operation(
        "softmax",
        torch=("_softmax", "_log_softmax"),
        onnx=dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "CumSum"), _read_along),
        shape=_softmax_shape,
        sees=_along,
    ),
    Operation("along one axis", torch=_ALONG, sees=_along),
)
