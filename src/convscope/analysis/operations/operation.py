"""One record for all that is known of an operation.

``Operation``  shape, what it sees, what it costs, when it refuses, its ONNX kinds

An operation has three spellings: torch's dispatcher calls ``aten::convolution``, Python
code calls ``F.conv2d``, an ONNX file says ``Conv``. The rules for shape, sight and cost
are written once, for the dispatcher's arguments; an ONNX node is read into the same
arguments. Refusals are written for the arguments of the Python function, because the
message speaks to who wrote it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from convscope.analysis.operations.provenance import Provenance
from convscope.analysis.operations.refusal import Refusal
from convscope.arithmetic import AxisLayer

Arguments: TypeAlias = dict[str, Any]
Shape: TypeAlias = tuple[int, ...]
Sight: TypeAlias = "Provenance | list[Provenance] | None"


@dataclass(frozen=True)
class Products:
    """Multiplications of one call, and the names of the two arguments multiplied."""

    count: int
    operands: tuple[str, str]


@dataclass(frozen=True)
class Node:
    """An ONNX node with all that is known of its inputs.

    Attributes:
        kind: Such as ``Conv``.
        attributes: As the file has them; bytes are decoded.
        inputs: What each input sees; None for one left out.
        numbers: The numbers of each input that is a small constant.
        shapes: Of the outputs.
    """

    kind: str
    attributes: Mapping[str, Any]
    inputs: Sequence[Provenance | None]
    numbers: Sequence[list[Any] | None]
    shapes: Sequence[Shape]

    def number(self, place: int) -> list[Any] | None:
        """The numbers of one input, if there are any."""
        return self.numbers[place] if place < len(self.numbers) else None


Reading: TypeAlias = Callable[[Node], "Arguments | None"]
Rule: TypeAlias = Callable[[Arguments], Any]
SightRule: TypeAlias = Callable[[Arguments, Shape], Sight]
RefusalRule: TypeAlias = Callable[[Arguments], "Refusal | None"]


@dataclass(frozen=True)
class Operation:
    """What one operation is.

    Attributes:
        name: What people call it.
        torch: The dispatcher's names, without ``aten::`` and the ``_`` of in-place.
        functions: Python functions by name, with the names of their arguments.
        onnx: Kinds of ONNX nodes, each with how its arguments are read.
        shape: The result on tensors without values; None where torch is to be asked.
        sees: What each element of the result depends on; None if not understood.
        costs: Products, from the arguments and the shape of the result.
        windows: Windows that may not fit exactly, one per axis.
        refuses: Why a call cannot work, before torch says so.
        over_space: Whether a norm takes statistics of the whole map.
        from_shape: Whether it reads only the shapes of its arguments.
        export: How it is written into other formats; to come.
        explanation: How it is explained to a learner; to come.
    """

    name: str
    torch: tuple[str, ...] = ()
    functions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    onnx: Mapping[str, Reading] = field(default_factory=dict)
    shape: Rule | None = None
    sees: SightRule | None = None
    costs: Callable[[Arguments, Shape], Products | None] | None = None
    windows: Callable[[Arguments], Sequence[AxisLayer] | None] | None = None
    refuses: RefusalRule | None = None
    over_space: Callable[[Arguments], bool] | None = None
    from_shape: bool = False
    export: None = None
    explanation: None = None


def meta(like: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor without values, of the type of another."""
    return torch.empty(shape, dtype=like.dtype, device="meta")


def each(values: int | Sequence[Any], axes: int) -> list[Any]:
    """One value per axis, of an argument of which one value may serve all."""
    if isinstance(values, int):
        return [values] * axes
    return list(values) * (axes if len(values) == 1 else 1)
