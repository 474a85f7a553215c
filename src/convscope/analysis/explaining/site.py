"""One element of what one call gave, and what a rule needs to explain it.

``Site``     the call, its arguments, the element
``Detail``   what every explanation can tell, whatever the operation
``Rule``     one row: the modules and functions of an operation, and how it is explained
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from convscope.analysis.tracing.calls import Call, CallRecorder, tensors_passed

Array: TypeAlias = npt.NDArray[np.float64]
Index: TypeAlias = tuple[int, ...]
Source: TypeAlias = tuple[int, Index]
"""An element of what a call takes: which tensor, and where in it."""


@dataclass(frozen=True)
class Site:
    """One element of one call's output.

    Attributes:
        call: The call.
        args: What it was called with.
        kwargs: The same by name.
        output: The tensor that it gave.
        index: The element, with the image first.
        training: Whether the network ran as in training.
        unit: Rounding unit of the arithmetic that the network ran in.
        output_number: Which of the tensors that it gave.
    """

    call: Call
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Tensor
    index: Index
    training: bool
    unit: float
    output_number: int = 0

    @property
    def module(self) -> Any:
        """The layer; None for a function."""
        return self.call.module

    @property
    def x(self) -> Tensor:
        """The first tensor that it takes."""
        return self.inputs[0]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Tensors that it takes, weights apart, in order."""
        return tensors_passed(self.args, self.kwargs)

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """An argument of a function, by place or by name."""
        if len(self.args) > place:
            return self.args[place]
        return self.kwargs.get(name, default)

    def setting(self, place: int, name: str, default: Any = None) -> Any:
        """An attribute of the layer, or an argument of the function."""
        if self.module is not None:
            return getattr(self.module, name, default)
        return self.argument(place, name, default)

    def number_of(self, tensor: Tensor) -> int:
        """Which of `inputs` a tensor is; -1 for a weight."""
        for number, one in enumerate(self.inputs):
            if one is tensor:
                return number
        return -1

    def again(self, *args: Any, **kwargs: Any) -> Any:
        """The operation on other arguments."""
        with torch.no_grad():
            if self.module is not None:
                return self.module.forward(*args, **kwargs)
            return self.call.function(*args, **kwargs)


class Detail(Protocol):
    """How one number was made.

    ``value`` is computed by us in float64; ``tolerance`` is what rounding can make of
    it; ``follows`` is the element of the input that it goes back to, if it is one.
    """

    @property
    def value(self) -> float:
        """The number."""

    @property
    def tolerance(self) -> float:
        """What the network's own may differ by."""

    @property
    def follows(self) -> Source | None:
        """The one element that it was made from, if it was one."""

    @property
    def lines(self) -> tuple[str, ...]:
        """How it was made, in words and numbers; the last has the number."""

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""


Reading: TypeAlias = Callable[[Site], "Detail | None"]


@dataclass(frozen=True)
class Rule:
    """How an operation is explained.

    Attributes:
        name: What people call it.
        explain: Makes the record; None where it cannot.
        modules: Names of layers, of torch.nn and of this package.
        functions: Names of torch's functions, and of a tensor's methods.
    """

    name: str
    explain: Reading
    modules: Sequence[str] = field(default_factory=tuple)
    functions: Sequence[str] = field(default_factory=tuple)


@contextlib.contextmanager
def converted(
    module: nn.Module, dtype: torch.dtype, instead: Mapping[int, Tensor]
) -> Iterator[nn.Module]:
    """A layer with weights of another type, for as long as it is called so.

    Args:
        module: Of a copy of the network.
        dtype: What its real numbers are.
        instead: What stands for a weight, by id of the weight.
    """
    kept: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            kept.append((held, dict(held)))
    try:
        for held, before in kept:
            for name, tensor in before.items():
                if tensor is None:
                    continue
                real = tensor.is_floating_point()
                other = tensor.detach().to(dtype) if real else tensor.detach().clone()
                held[name] = instead.get(id(tensor), other)
        yield module
    finally:
        for held, before in kept:
            held.update(before)


def rounding_unit(tensors: Iterable[Tensor]) -> float:
    """The rounding unit of the coarsest format that takes part."""
    units = [torch.finfo(t.dtype).eps for t in tensors if t.is_floating_point()]
    unit = max(units, default=torch.finfo(torch.float64).eps)
    on_gpu = any(t.is_cuda for t in tensors)
    if on_gpu and torch.backends.cudnn.allow_tf32:
        unit = max(unit, 2.0**-10)  # TF32 keeps 10 bits of each factor
    return unit


def wide(tensor: Tensor) -> Array:
    """The numbers in float64."""
    made: Array = tensor.detach().cpu().double().numpy()
    return made


def one(tensor: Tensor, index: Index) -> float:
    """One number."""
    return float(tensor[index].item())


def shown(value: float) -> str:
    """A number as a line shows it: six digits, no zeros behind.

    >>> shown(3.0), shown(-0.123456789)
    ('3', '-0.123457')
    """
    return f"{value:.6g}" if value else "0"


def added(values: Sequence[float], most: int = 12) -> str:
    """Numbers with a sign between: ``1 + 2 - 3``; a long sum is cut short.

    >>> added([1.0, -2.0, 0.5])
    '1 - 2 + 0.5'
    """
    few = values if len(values) <= most else values[: most - 1]
    text = ""
    for at, value in enumerate(few):
        sign = " - " if value < 0 else " + "
        text += sign + shown(abs(value)) if at else shown(value)
    rest = len(values) - len(few)
    return (
        f"{text} + ({rest} more: {shown(math.fsum(values[len(few) :]))})"
        if rest
        else text
    )


def place_text(index: Sequence[int]) -> str:
    """``(3, 4)``; of one number without a comma."""
    return f"({', '.join(map(str, index))})"


def remedy(calls: Iterable[Call]) -> str:
    """What to do where an explanation differs from the network."""
    for call in calls:
        module = call.module
        if module is None:
            continue
        hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
        ours = CallRecorder.__module__
        if any(getattr(hook, "__module__", ours) != ours for hook in hooks):
            return (
                f"Hooks of {call.label!r} (register_forward_hook) change what it takes "
                "or gives, which is not explained. Remove them for this."
            )
    return "Report this to convscope."
