"""What ``capture`` found, as data: one `Captured` per call, and all of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convscope.analysis.tracing.calls import tensors_of
from convscope.errors import UnknownNameError


@dataclass(frozen=True, eq=False, repr=False)
class Captured:
    """What one call of a layer or of a function took and gave.

    Attributes:
        label: Its name among all calls: ``layer1.0.conv1``, its second call
            ``layer1.0.conv1:2``; a function ``layer1.0.add_1``.
        path: Where the module is; for a function the module that calls it.
        kind: As one would write it: ``Conv2d(3, 64, 7, stride=2)``, ``add(...)``.
        call: 1 for the first call of the module.
        output: What it returned, in the structure in which it did, with the batch axis.
        inputs: Tensors passed to it, weights apart; None if not asked for.
        gradient: Of the target with respect to ``output``, in the same structure; a
            part of it is None where the target does not depend on it. None if not
            asked for.
        input_gradients: Of the target with respect to ``inputs``, likewise.
    """

    label: str
    path: str
    kind: str
    call: int
    output: Any
    inputs: tuple[Tensor, ...] | None = None
    gradient: Any = None
    input_gradients: tuple[Tensor | None, ...] | None = None

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The tensors in ``output``, in order."""
        return tuple(tensors_of(self.output))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first tensor that it returned, with the batch axis."""
        outputs = self.outputs
        return tuple(outputs[0].shape) if outputs else ()

    def to_dict(self, *, arrays: bool = False) -> dict[str, Any]:
        """Shapes and statistics as JSON.

        Args:
            arrays: Whether to add the values, as nested lists.
        """
        found: dict[str, Any] = {
            "label": self.label,
            "path": self.path,
            "kind": self.kind,
            "call": self.call,
            "outputs": [described(one, arrays) for one in self.outputs],
        }
        parts = {
            "inputs": self.inputs,
            "gradients": None if self.gradient is None else tensors_of(self.gradient),
            "input_gradients": self.input_gradients,
        }
        for name, tensors in parts.items():
            if tensors is not None:
                found[name] = [
                    None if one is None else described(one, arrays) for one in tensors
                ]
        return found

    def __repr__(self) -> str:
        return f"Captured({self.label or 'network'}: {self.kind} -> {self._shapes()})"

    def _shapes(self) -> str:
        return ", ".join("x".join(map(str, t.shape)) or "scalar" for t in self.outputs)


@dataclass(frozen=True, eq=False, repr=False)
class Capture(Mapping[str, Captured]):
    """What a network's layers gave for an input, by label, in the order of the calls.

    ``str`` gives a table.

    Attributes:
        name: The network's class.
        layers: By label.
        output: What the network returned.
        training: Whether it ran as in training.
        target: What the gradients are of, in words; None without gradients.
        notes: What is not as one would expect, and why.
    """

    name: str
    layers: Mapping[str, Captured]
    output: Any
    training: bool
    target: str | None = None
    notes: tuple[str, ...] = ()

    def __getitem__(self, label: str) -> Captured:
        if label not in self.layers:
            raise UnknownNameError("captured layer", label, self.layers)
        return self.layers[label]

    def __contains__(self, label: object) -> bool:
        return label in self.layers

    def get(self, label: str, default: Any = None) -> Any:
        """What was captured under a label; ``default`` if nothing was."""
        return self.layers.get(label, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def to_dict(self, *, arrays: bool = False) -> dict[str, Any]:
        """Shapes and statistics as JSON.

        Args:
            arrays: Whether to add the values, as nested lists.
        """
        return {
            "name": self.name,
            "training": self.training,
            "target": self.target,
            "notes": list(self.notes),
            "layers": [one.to_dict(arrays=arrays) for one in self.layers.values()],
        }

    def __str__(self) -> str:
        heads = ["layer", "kind", "shape", "min", "mean", "max", "zeros"]
        if self.target is not None:
            heads.append("gradient")
        rows = [heads, *(self._cells(one) for one in self.layers.values())]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        mode = "training" if self.training else "evaluation"
        lines = [f"{self.name} in {mode}: {len(self)} calls"]
        for row in rows:
            cells = [
                text.ljust(width) if at < 3 else text.rjust(width)
                for at, (text, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        if self.target is not None:
            lines.append(f"gradient: norm of that of {self.target}")
        lines += [f"- {note}" for note in self.notes]
        return "\n".join(lines)

    __repr__ = __str__

    def _cells(self, one: Captured) -> list[str]:
        found = [one.label or "(network)", _short(one.kind), one._shapes()]
        stats = statistics(one.outputs[0]) if one.outputs else {}
        found += [_number(stats.get(name)) for name in ("min", "mean", "max")]
        zeros = stats.get("zeros")
        found.append("-" if zeros is None else f"{zeros:.0%}")
        if self.target is not None:
            norms = [t.double().norm() for t in tensors_of(one.gradient)]
            norm = torch.stack(norms).norm().item() if norms else None
            found.append(_number(norm))
        return found


def described(tensor: Tensor, arrays: bool) -> dict[str, Any]:
    """A tensor as JSON: shape, type and statistics, its values if wanted."""
    found: dict[str, Any] = {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        **statistics(tensor),
    }
    if arrays:
        found["values"] = tensor.tolist()
    return found


def statistics(tensor: Tensor) -> dict[str, float]:
    """Least, mean and largest value, deviation, and the share that is exactly 0.

    >>> statistics(torch.tensor([0.0, 0.0, 3.0]))["zeros"]
    0.6666666666666666
    """
    if not tensor.numel() or tensor.is_complex():
        return {}
    wide = tensor.double()
    return {
        "min": wide.min().item(),
        "mean": wide.mean().item(),
        "max": wide.max().item(),
        "std": wide.std(correction=0).item(),
        "zeros": (wide == 0).double().mean().item(),
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _short(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
