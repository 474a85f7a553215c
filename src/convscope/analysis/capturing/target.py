"""What a gradient is of: one number, made from what a network returns."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from convscope.analysis.tracing.calls import tensors_of
from convscope.errors import ArgumentError

Target: TypeAlias = "int | Sequence[int] | Tensor | Callable[[Any], Tensor] | None"


def target_value(output: Any, target: Target, where: str) -> tuple[Tensor, str]:
    """The number to differentiate, and what it is in words.

    Args:
        output: What the network returned.
        target: A class: its output, summed over the images. A tensor (N,) of classes,
            one for each image. Several numbers: one element of each image's output. A
            function of the output that gives one number. None where each image gives
            one number.
        where: What an error message begins with.

    Raises:
        ArgumentError: There is no such output, or it is not one number.

    >>> value, words = target_value(torch.tensor([[1.0, 2.0]]), 1, "capture")
    >>> value.item(), words
    (2.0, 'output 1')
    """
    if callable(target) and not isinstance(target, Tensor):
        value = target(output)
        if not isinstance(value, Tensor) or value.numel() != 1:
            what = (
                f"shape {tuple(value.shape)}"
                if isinstance(value, Tensor)
                else type(value).__name__
            )
            raise ArgumentError(
                f"{where}: target gives {what}, where one number is needed. Add .sum() "
                "or .mean()."
            )
        name = getattr(target, "__name__", "")
        return value.reshape(()), name if name.isidentifier() else "a function"
    logits = _only_tensor(output, where)
    sizes = tuple(logits.shape[1:])
    if target is None:
        if logits.ndim == 0 or logits[:1].numel() == 1:
            return logits.sum(), "the output"
        raise ArgumentError(
            f"{where}: target=None is not clear: the output has shape "
            f"{tuple(logits.shape)}. Give a class, such as target=0, or a function of "
            "the output that gives one number."
        )
    if isinstance(target, Tensor) and target.ndim == 1:
        return _of_each(logits, target, where)
    index = _index(target, where)
    if len(index) != len(sizes):
        numbers = "number" if len(index) == 1 else "numbers"
        raise ArgumentError(
            f"{where}: target={target!r} has {len(index)} {numbers}, but the output of "
            f"one image has shape {sizes}. Give {len(sizes)}, or a function of the "
            "output."
        )
    for place, size in zip(index, sizes, strict=True):
        if not -size <= place < size:
            raise ArgumentError(
                f"{where}: target={target!r} is outside the output of shape {sizes}. "
                f"Use 0 to {size - 1}."
            )
    name = ", ".join(map(str, index))
    chosen: Any = (slice(None), *index)
    return logits[chosen].sum(), f"output {name}"


def _only_tensor(output: Any, where: str) -> Tensor:
    tensors = tensors_of(output)
    if len(tensors) != 1:
        raise ArgumentError(
            f"{where}: the network returns {len(tensors)} tensors. Give as target a "
            "function of its output that gives one number."
        )
    return tensors[0]


def _index(target: Any, where: str) -> tuple[int, ...]:
    is_one = isinstance(target, str | bytes) or not isinstance(target, Sequence)
    several: Sequence[Any] = (target,) if is_one else target
    for one in several:
        if isinstance(one, bool) or not hasattr(one, "__index__"):
            raise ArgumentError(
                f"{where}: target={target!r} is not a class. Give an integer, integers "
                "for one element of the output, or a function of the output."
            )
    return tuple(int(one) for one in several)


def _of_each(logits: Tensor, classes: Tensor, where: str) -> tuple[Tensor, str]:
    if logits.ndim != 2 or len(classes) != len(logits):
        raise ArgumentError(
            f"{where}: target has {len(classes)} classes for an output of shape "
            f"{tuple(logits.shape)}. Give one class for each image of (N, classes)."
        )
    if classes.is_floating_point() or classes.dtype == torch.bool:
        raise ArgumentError(
            f"{where}: target is of type {classes.dtype}. Give target.long()."
        )
    if (
        len(classes)
        and not 0 <= int(classes.min()) <= int(classes.max()) < (logits.shape[1])
    ):
        raise ArgumentError(
            f"{where}: target has classes from {int(classes.min())} to "
            f"{int(classes.max())}, the output {logits.shape[1]}. Use 0 to "
            f"{logits.shape[1] - 1}."
        )
    places = classes.to(logits.device).long().unsqueeze(1)
    return logits.gather(1, places).sum(), "each image's own class"
