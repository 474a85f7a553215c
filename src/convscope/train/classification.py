"""What classification asks of a network: which output, which loss, which classes.

What other tasks ask will stand beside this file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.data import Dataset
from convscope.errors import ArgumentError, ShapeError
from convscope.train.recipe import Recipe


@dataclass(frozen=True)
class Heads:
    """Which of a network's outputs are for the classes.

    Attributes:
        output: Key, field or position of the one that counts; None if the network
            gives nothing else.
        auxiliary: Others that are trained too, and what their losses count. They may be
            missing in evaluation.

    >>> heads = Heads("logits", {"aux": 0.3})
    >>> out = {"logits": torch.zeros(2, 3), "aux": torch.ones(2, 3)}
    >>> heads.main(out).sum().item(), [weight for weight, _ in heads.others(out)]
    (0.0, [0.3])
    """

    output: str | None = None
    auxiliary: Mapping[str, float] = field(default_factory=dict)

    def main(self, out: Any) -> Tensor:
        """The output that counts; a tensor by itself is that.

        Raises:
            ShapeError: There are several, and none was chosen; or not the chosen one.
        """
        if isinstance(out, Tensor):
            return out
        if self.output is None and isinstance(getattr(out, "logits", None), Tensor):
            raise ShapeError(
                f"fit: the network gives {_described(out)}. Say which of its tensors "
                "is for the classes: output='logits'."
            )
        if self.output is None:
            raise ShapeError(
                f"fit: the network gives {_described(out)}. Say which one is for the "
                "classes, such as output="
                f"{next(iter(_parts(out)), '0')!r}; others may be trained with it: "
                "auxiliary={name: weight}."
            )
        return _part(out, self.output)

    def others(self, out: Any) -> list[tuple[float, Tensor]]:
        """The weights and the outputs of auxiliary heads."""
        if isinstance(out, Tensor):
            return []
        return [(weight, _part(out, name)) for name, weight in self.auxiliary.items()]

    def loss(
        self,
        out: Any,
        targets: Tensor,
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """Cross-entropy of the output that counts, and of the others by their weights.

        Shape:
            out: (N, K), each of those that are chosen
            targets: (N,) int64, or (N, K) probabilities
            return: ()
        """

        def one(logits: Tensor) -> Tensor:
            return F.cross_entropy(
                logits, targets, class_weights, label_smoothing=label_smoothing
            )

        total = one(self.main(out))
        for weight, logits in self.others(out):
            total = total + weight * one(logits)
        return total


class MainOutput(nn.Module):
    """A network of which only the output for the classes is seen.

    Args:
        net: Gives several.
        heads: Say which counts.

    >>> class Two(nn.Module):
    ...     def forward(self, x):
    ...         return x, -x
    >>> MainOutput(Two(), Heads("1"))(torch.ones(1))
    tensor([-1.])
    """

    def __init__(self, net: nn.Module, heads: Heads) -> None:
        super().__init__()
        self.net, self._heads = net, heads

    def forward(self, x: Tensor) -> Tensor:
        """The output that counts."""
        return self._heads.main(self.net(x))


def heads_of(
    output: str | int | None, auxiliary: Mapping[Any, float] | None = None
) -> Heads:
    """The heads that somebody names by key, field or position.

    Raises:
        ArgumentError: A weight is not positive, or the main output is named twice.

    >>> heads_of(0, {1: 0.4})
    Heads(output='0', auxiliary={'1': 0.4})
    """
    main = None if output is None else str(output)
    others = {str(name): float(weight) for name, weight in (auxiliary or {}).items()}
    for name, weight in others.items():
        if not 0 < weight < float("inf"):
            raise ArgumentError(f"fit: auxiliary[{name!r}]={weight} must be positive.")
        if main is None or name == main:
            raise ArgumentError(
                f"fit: auxiliary names {name!r}, but output={output!r}. Name another "
                "output as the one for the classes."
            )
    return Heads(main, others)


def class_weights(data: Dataset, recipe: Recipe, device: torch.device) -> Tensor | None:
    """(K,) what each class counts in the loss, 1 on average over the samples.

    >>> from convscope.data import load
    >>> recipe = Recipe(balance="weights")
    >>> class_weights(load("digits"), recipe, torch.device("cpu")).shape
    torch.Size([10])
    """
    if recipe.balance != "weights":
        return None
    counts = torch.bincount(data.train.labels, minlength=len(data.classes))
    weights = len(data.train) / (len(counts) * counts.clamp(min=1).float())
    return weights.to(device)


def _parts(out: Any) -> dict[str, Any]:
    """Outputs by key, field or position."""
    if isinstance(out, Mapping):
        return {str(key): value for key, value in out.items()}
    if is_dataclass(out) and not isinstance(out, type):
        return {each.name: getattr(out, each.name) for each in fields(out)}
    if isinstance(out, Sequence) and not isinstance(out, str):
        names = getattr(out, "_fields", None) or map(str, range(len(out)))
        return dict(zip(names, out, strict=True))
    return {}


def _part(out: Any, name: str) -> Tensor:
    parts = _parts(out)
    if name not in parts and name.isdecimal() and int(name) < len(parts):
        name = list(parts)[int(name)]  # a named tuple by position
    found = parts.get(name, getattr(out, name, None) if name.isidentifier() else None)
    if not isinstance(found, Tensor):
        raise ShapeError(
            f"fit: output={name!r} is no tensor that the network gives; it gives "
            f"{_described(out)}."
        )
    return found


def _described(out: Any) -> str:
    kinds = [
        f"{name!r} {tuple(value.shape)}"
        if isinstance(value, Tensor)
        else f"{name!r} ({type(value).__name__})"
        for name, value in _parts(out).items()
    ]
    kind = type(out).__name__
    return f"a {kind} of {', '.join(kinds)}" if kinds else f"a {kind}"
