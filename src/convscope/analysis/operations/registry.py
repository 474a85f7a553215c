"""All operations, and how they are found by each of their names.

``by_torch(name)``, ``by_onnx(kind)``   the `Operation`, or None
``meta_result(...)``                    a result without values
``refusal(name, args, kwargs)``         why a call of a Python function cannot work
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from convscope.analysis.operations import (
    convolution,
    elementwise,
    linear,
    moving,
    normalization,
    pooling,
    recurrent,
    reduction,
    resizing,
)
from convscope.analysis.operations.operation import Arguments, Operation
from convscope.analysis.operations.refusal import Refusal

OPERATIONS: tuple[Operation, ...] = (
    *convolution.OPERATIONS,
    *pooling.OPERATIONS,
    *normalization.OPERATIONS,
    *linear.OPERATIONS,
    *recurrent.OPERATIONS,
    *elementwise.OPERATIONS,
    *reduction.OPERATIONS,
    *moving.OPERATIONS,
    *resizing.OPERATIONS,
)
_BY_TORCH = {name: one for one in OPERATIONS for name in one.torch}
_BY_FUNCTION = {name: one for one in OPERATIONS for name in one.functions}
_BY_ONNX = {kind: one for one in OPERATIONS for kind in one.onnx}


def by_torch(name: str) -> Operation | None:
    """By the dispatcher's name, without ``aten::`` and the ``_`` of in-place."""
    return _BY_TORCH.get(name)


def by_onnx(kind: str) -> Operation | None:
    """By the kind of an ONNX node."""
    return _BY_ONNX.get(kind)


def bound(schema: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
    """The arguments of a call of the dispatcher by name, defaults filled in."""
    given = {a.name: a.default_value for a in schema.arguments}
    given.update(zip(given, args, strict=False))
    given.update(kwargs)
    return given


def plain_name(schema: Any) -> str:
    """``relu`` for ``aten::relu_``."""
    name: str = schema.name.partition("::")[2]
    return name.rstrip("_") or name


def is_known(schema: Any) -> bool:
    """Whether an operation is torch's own or ours; others use the same names."""
    return str(schema.name).startswith(("aten::", "convscope::"))


def meta_result(operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What the operation returns on meta tensors; None if torch is to be asked.

    torch's own rules for meta tensors answer the same questions, but those of
    convolution, pooling and norms are written in Python and import torch's compiler on
    first use: more than a second and 100 MB. Whatever may not fit is left to torch.
    """
    schema = operation._schema
    found = _BY_TORCH.get(plain_name(schema))
    if found is None or found.shape is None or not schema.name.startswith("aten::"):
        return None
    if schema.name.endswith("_out") or schema.overload_name.endswith("out"):
        return None
    given = bound(schema, args, kwargs)
    made = found.shape(given)
    if made is None or not schema.is_mutable:
        return made
    written = given["self"]
    return written if made.shape == written.shape else None


def refusal(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Refusal | None:
    """What is wrong with a call of torch's function ``name``; None if nothing is."""
    found = _BY_FUNCTION.get(name)
    if found is None or found.refuses is None:
        return None
    if any(isinstance(one, torch.ScriptObject) for one in args):
        return None  # a quantized operation of the same name
    names = found.functions[name]
    given = dict(zip(names, args, strict=False))
    given.update(kwargs)
    if len(args) > len(names):
        given["rest"] = args[len(names) - 1 :]
    digits = [int(letter) for letter in name if letter.isdigit()]
    given["axes"] = digits[0] if digits else 0
    return found.refuses(given)
