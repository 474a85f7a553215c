"""One forward pass of a network, followed down to the operations of torch."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convscope.analysis.capturing.choosing import Everything
from convscope.analysis.capturing.forward import passed
from convscope.analysis.explaining.registry import is_unknown
from convscope.analysis.tracing.calls import tensors_of
from convscope.private_torch import DispatchMode, tree_map_only


@dataclass(frozen=True, eq=False)
class Performed:
    """One operation: its name (``convolution.default``), arguments and results."""

    name: str
    func: Any
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    results: tuple[int | None, ...]


@dataclass(frozen=True)
class Ref:
    """A tensor that depends on the input, by its number."""

    number: int
    shape: tuple[int, ...]


FRESH = ("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")
"""Operations that take of a tensor only its shape."""


class _Recorder(DispatchMode):
    """Numbers every tensor that depends on the input; all others are constants."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers = {id(x): 0}
        self.kept: list[Tensor] = [x]  # so that no id is used twice
        self.performed: list[Performed] = []
        self.count = 1

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        seen: list[Tensor] = []
        tree_map_only(Tensor, seen.append, (args, kwargs))
        name = str(func).removeprefix("aten.")
        depends = name.split(".")[0] not in FRESH and any(
            id(one) in self.numbers for one in seen
        )
        refs = tree_map_only(Tensor, self._ref, (args, kwargs)) if depends else None
        result = func(*args, **kwargs)
        if refs is None:
            return result
        results: list[int | None] = []
        for one in result if isinstance(result, tuple | list) else (result,):
            if not isinstance(one, Tensor):
                results.append(None)
                continue
            self.kept.append(one)
            self.numbers[id(one)] = self.count
            results.append(self.count)
            self.count += 1
        self.performed.append(Performed(name, func, refs[0], refs[1], tuple(results)))
        return result

    def _ref(self, tensor: Tensor) -> "Ref | Tensor":
        number = self.numbers.get(id(tensor))
        if number is None:
            self.kept.append(tensor)
            return tensor
        return Ref(number, tuple(tensor.shape))


@dataclass(frozen=True, eq=False)
class Recording:
    """A pass: what was performed, and the number of each layer's output by label."""

    performed: tuple[Performed, ...]
    outputs: dict[str, int]
    output: int | None
    values: dict[str, Tensor]
    answer: Tensor


def outputs_of(net: nn.Module, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """What each layer gives, by its label, and the answer.

    Layers are those of `explain_unit`, which looks into modules that it does not know.
    """
    values: dict[str, Tensor] = {}
    with torch.no_grad(), passed(
        net, x, Everything(), training=False, with_inputs=False, with_graph=False,
        where="play", opens=is_unknown,
    ) as found:  # fmt: skip
        for taken in found.taken:
            tensors = tensors_of(taken.output)
            if tensors:
                values[taken.call.label] = tensors[0]
        answer: Tensor = found.output
    return values, answer


def recorded(net: nn.Module, x: Tensor) -> Recording:
    """Follows the pass of a network in evaluation on one input, (1, C, ...)."""
    recorder = _Recorder(x)
    with recorder:
        values, answer = outputs_of(net, x)
    numbers = recorder.numbers
    outputs = {
        label: numbers[id(value)]
        for label, value in values.items()
        if id(value) in numbers
    }
    return Recording(
        tuple(recorder.performed), outputs, numbers.get(id(answer)), values, answer
    )
