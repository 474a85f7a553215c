"""What is explained of an output: the score of a class, a difference, a loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from convscope.analysis.attribution.record import in_words
from convscope.errors import ArgumentError

Target: TypeAlias = "int | Tensor | Callable[[Any], Tensor] | None"


@dataclass(frozen=True)
class Explained:
    """One number for each input, made from the output.

    Attributes:
        words: What it is.
        value: Of the output: (N,), or one number for all.
        classes: The class of each input; empty for a function.
        minus: The class that theirs are compared with.
        loss: Whether it is their loss instead of their score.
    """

    words: str
    value: Callable[[Any], Tensor]
    classes: tuple[int, ...]
    minus: int | None = None
    loss: bool = False

    def of_one(self, number: int) -> "Explained":
        """The same for the input at that place alone."""
        if not self.classes:
            return self
        return of_classes(torch.tensor([self.classes[number]]), self.minus, self.loss)

    def scores(self, net: nn.Module, number: int) -> Callable[[Tensor], Tensor]:
        """Of changed copies of one input, what grows with the number, from 0 to 1.

        Of a class its probability, of its loss the probability that it is not named.
        """
        chosen = self.classes[number]

        def probability(copies: Tensor) -> Tensor:
            with torch.no_grad():
                p: Tensor = net(copies.clone()).softmax(1)
            if self.loss:
                return 1 - p[:, chosen]
            if self.minus is None:
                return p[:, chosen]
            # How sure it is of the one, were there only the two.
            return p[:, chosen] / (p[:, chosen] + p[:, self.minus]).clamp_min(1e-12)

        return probability


def explained(
    net: nn.Module, inputs: Tensor, target: Target, minus: int | None, loss: bool
) -> Explained:
    """What is to be explained of what a network says of some inputs.

    Args:
        net: In evaluation.
        inputs: Of which classes are named, where ``target`` is None.
        target: As `attribute` takes it.
        minus: Likewise.
        loss: Likewise.

    Raises:
        ArgumentError: The output has no such class, or is none of classes.
    """
    if callable(target) and not isinstance(target, Tensor):
        if minus is not None or loss:
            given = "loss" if loss else "minus"
            raise ArgumentError(
                f"attribute: {given} is for classes, and target is a function. Compute "
                "it in the function."
            )
        name = getattr(target, "__name__", "")
        return Explained(name if name.isidentifier() else "a function", target, ())
    if loss and minus is not None:
        raise ArgumentError(
            "attribute: loss=True and minus exclude each other: a loss compares a "
            "class with all others already. Give one of them."
        )
    if loss and target is None:
        raise ArgumentError(
            "attribute: loss=True needs the true class of each input. Give target."
        )
    with torch.no_grad():
        out = net(inputs.clone())  # it may write into its input
    if not isinstance(out, Tensor) or out.ndim != 2:
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ArgumentError(
            f"attribute: the network gives {shape}, not (N, classes). Give as target a "
            "function of its output that gives one number."
        )
    classes = _classes(out, target, minus)
    _require_there(classes, minus, out.shape[1])
    return of_classes(classes, minus, loss)


def _classes(out: Tensor, target: int | Tensor | None, minus: int | None) -> Tensor:
    if isinstance(target, Tensor):
        return target.to(out.device).long()
    if target is not None:
        return torch.full((len(out),), int(target), device=out.device)
    if minus is not None:  # it may be the very class that is named
        out = out.clone()
        out[:, minus % out.shape[1]] = -torch.inf
    return out.argmax(1)


def _require_there(classes: Tensor, minus: int | None, count: int) -> None:
    for name, value in (("target", classes), ("minus", minus)):
        if value is None:
            continue
        both = torch.as_tensor(value)
        least, most = int(both.min()), int(both.max())
        if least < 0 or most >= count:
            wrong = least if least < 0 else most
            raise ArgumentError(
                f"attribute: {name}={wrong} is outside the {count} outputs. Use 0 to "
                f"{count - 1}."
            )
    if minus is not None and bool((classes == minus).any()):
        raise ArgumentError(
            f"attribute: target and minus are both {minus}. Give two classes."
        )


def of_classes(classes: Tensor, minus: int | None, loss: bool) -> Explained:
    """The scores of these classes, or their losses.

    >>> of_classes(torch.tensor([3, 3]), None, True).words
    'the loss of class 3'
    """

    def value(output: Tensor) -> Tensor:
        # Copies of the inputs, as integrated gradients makes, come in whole rounds.
        repeated = classes.to(output.device).repeat(len(output) // len(classes))
        scores = -output.log_softmax(1) if loss else output
        own = scores.gather(1, repeated.unsqueeze(1)).squeeze(1)
        return own if minus is None else own - output[:, minus]

    given = tuple(classes.tolist())
    return Explained(in_words(given, minus, loss), value, given, minus, loss)
