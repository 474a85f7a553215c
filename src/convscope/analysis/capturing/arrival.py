"""Where the gradient of a tensor arrives in a graph, also if it is written into later.

A tensor that is a view loses its place in the graph once something writes into its
memory: torch then makes one place for the whole memory, and the gradient before the
writing arrives where the memory's first owner was made, from what wrote first.
`InstanceNorm2d` before ``ReLU(inplace=True)`` is such a case.
"""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

from convscope.analysis.capturing.differentiating import gradients_of


@dataclass(frozen=True, eq=False)
class Arrival:
    """A tensor's place in the graph.

    Attributes:
        edge: Its own.
        tensor: The tensor, where it is a view; its version tells whether it is written
            into.
        version: Of its memory, when this was made.
        base: The place of the memory's owner, then.
    """

    edge: GradientEdge
    tensor: Tensor | None = None
    version: int = 0
    base: GradientEdge | None = None

    @property
    def is_moved(self) -> bool:
        """Whether the gradient arrives at the memory's owner by now."""
        return self.tensor is not None and self.tensor._version != self.version

    def writer(self) -> Node | None:
        """What wrote into the memory first since then, as the graph has it."""
        tensor, base = self.tensor, self.base
        if tensor is None or tensor._base is None or base is None:
            return None
        node = tensor._base.grad_fn
        while node is not None and node.next_functions:
            before, number = node.next_functions[0]
            if before is base.node and number == base.output_nr:
                return node
            node = before
        return None

    def of_base(self, gradient: Tensor) -> Tensor:
        """The tensor's part of the gradient at its memory's owner."""
        tensor = self.tensor
        if tensor is None or tensor._base is None:
            return gradient
        base = tensor._base
        whole = gradient.new_zeros(base.untyped_storage().nbytes() // base.itemsize)
        laid = whole.as_strided(base.shape, base.stride(), base.storage_offset())
        laid.copy_(gradient)
        if base.is_complex() and not tensor.is_complex():
            whole = torch.view_as_real(whole).flatten()
        return whole.as_strided(
            tensor.shape, tensor.stride(), tensor.storage_offset()
        ).clone()


def arrival(tensor: Tensor) -> Arrival | None:
    """Where a tensor's gradient arrives; None where it has none."""
    if not tensor.requires_grad:
        return None
    base = tensor._base
    try:
        edge = get_gradient_edge(tensor)
    except AssertionError:  # a view that was made within no_grad
        return None
    if base is None or not base.requires_grad or tensor.is_leaf:
        return Arrival(edge)
    return Arrival(edge, tensor, tensor._version, get_gradient_edge(base))


class Slopes:
    """Gradients of a number at some places of its graph.

    Args:
        value: The number.
        places: Where its gradient is wanted.
        where: What an error message begins with.

    Raises:
        ArgumentError: It has no gradients; see `gradients_of`.
    """

    def __init__(
        self, value: Tensor, places: Iterable[Arrival | None], where: str
    ) -> None:
        given = [place for place in places if place is not None]
        moved = [(place, place.writer()) for place in given if place.is_moved]
        every = [place.edge for place in given]
        every += [place.base for place, _ in moved if place.base is not None]
        self.edges = {_key(edge): edge for edge in every}  # kept: no id is used twice
        self.written: dict[int, Tensor] = {}  # by id of the place
        found: Iterable[Tensor | None] = ()
        with contextlib.ExitStack() as watching:
            for place, writer in moved:
                if writer is not None:
                    handle = writer.register_hook(self._note(place))
                    watching.callback(handle.remove)
            if self.edges:
                found = gradients_of(value, list(self.edges.values()), where)
        self.values = dict(zip(self.edges, found, strict=True))

    def at(self, place: Arrival | None) -> Tensor | None:
        """The gradient there; None where the number does not depend on it."""
        if place is None:
            return None
        own = self.values[_key(place.edge)]
        later = self.written.get(id(place))
        if later is None:
            return own
        later = place.of_base(later)
        return later if own is None else own + later

    def _note(self, place: Arrival) -> Callable[[Any, Any], None]:
        """Keeps what comes back through what wrote into a place's memory."""

        def note(inputs: Any, _: Any) -> None:
            if inputs[0] is not None:
                self.written[id(place)] = inputs[0]

        return note


def _key(edge: GradientEdge) -> tuple[int, int]:
    return id(edge.node), edge.output_nr
