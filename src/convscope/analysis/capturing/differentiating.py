"""Gradients of one number, or in words why torch has none.

``gradients_of(value, wanted)``    as ``torch.autograd.grad``, with the errors named
``require_gradients(value)``       the same errors alone, for whom calls torch itself
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from convscope.errors import ArgumentError

_WRITTEN = re.compile(
    r"modified by an inplace operation: \[\S+ \[(.*?)\]\](?:, which is output \d+ of "
    r"(?:torch::autograd::)?(\w+))?"
)
_NOT_KNOWN = re.compile(r"derivative for (\S+) is not implemented")


def gradients_of(
    value: Tensor,
    wanted: Sequence[Tensor] | Sequence[GradientEdge],
    where: str,
    *,
    keep: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradient of a number at tensors or places; None where it does not depend.

    Args:
        value: The number.
        wanted: Where.
        where: What an error message begins with.
        keep: Whether the graph is needed again.

    Raises:
        ArgumentError: The number is complex or has no graph; or something on the way
            hides its gradients, has none, or is written over.

    >>> x = torch.ones(2, requires_grad=True)
    >>> gradients_of((3 * x).sum(), [x], "capture")
    (tensor([3., 3.]),)
    """
    require_gradients(value, where)
    if not wanted:
        return ()
    try:
        return torch.autograd.grad(value, wanted, retain_graph=keep, allow_unused=True)
    except RuntimeError as error:
        written, unknown = _WRITTEN.search(str(error)), _NOT_KNOWN.search(str(error))
        if written is not None:
            shape, maker = written.groups()
            of = f", the output of {maker}" if maker else ""
            raise ArgumentError(
                f"{where}: torch finds no gradient of this network either: something "
                "that the gradient needs is written into later (a tensor of shape "
                f"({shape}){of}). Make the operation after it write into a tensor of "
                "its own (inplace=False)."
            ) from None
        if unknown is not None:
            raise ArgumentError(
                f"{where}: torch has no gradient of {unknown[1]}, which the network "
                "uses. Choose a target or a layer behind it."
            ) from None
        raise


def require_gradients(value: Tensor, where: str) -> None:
    """Refuse a number whose gradients torch does not have, or has wrongly.

    Raises:
        ArgumentError: See `gradients_of`.
    """
    if value.is_complex():
        raise ArgumentError(
            f"{where}: the target is a complex number, which has no one gradient. Give "
            "a function of the output that takes its real part or absolute value."
        )
    if not value.requires_grad:
        raise ArgumentError(
            f"{where}: target has no gradient: nothing in the network that can be "
            "differentiated leads to it. Choose another target."
        )
    for name in _operations(value):
        if name == "CheckpointFunctionBackward":
            raise ArgumentError(
                f"{where}: the network calls torch.utils.checkpoint with "
                "use_reentrant=True, which hides the gradients within. Call it with "
                "use_reentrant=False."
            )
        if name.endswith("WarnNotImplemented"):
            raise ArgumentError(
                f"{where}: the network uses an operation that has no gradient in "
                "torch, as quantized layers have none. Give the network that it was "
                "made from."
            )


def _operations(value: Tensor) -> Iterator[str]:
    """Names of all operations that lead to a tensor, as the graph has them."""
    left: list[Any] = [value.grad_fn]
    seen = set()
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node.name()
        left += [before for before, _ in node.next_functions]
