"""How units of a layer are explained, for a page that explains them by itself.

The page makes the records of `explain_unit` from values that it computed. What they
need besides (windows, names, which weights) is read from the library's own records
here. A recipe is kept only if what it would show agrees with those records; a layer
without one is not explained in the page.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from convscope.analysis.explaining.elementwise import RULES as ELEMENTWISE
from convscope.analysis.explaining.explain_unit import UnitExplainer
from convscope.analysis.explaining.formula import Formula
from convscope.analysis.explaining.moving import Moved, Weighted
from convscope.analysis.explaining.normalization import Normalized
from convscope.analysis.explaining.pooling import Winner
from convscope.analysis.explaining.record import Step
from convscope.analysis.explaining.window_sum import WindowSum
from convscope.errors import ConvscopeError
from convscope.serve.cards import Cards
from convscope.serve.portable.program import Array, Program
from convscope.serve.portable.sources import source_of

Recipe = dict[str, Any]
SIGNS = {
    "addition": "+", "difference": "-", "product": "x", "quotient": "/",
    "larger of two": "or", "smaller of two": "or",
}  # fmt: skip
UNARY = {
    "ReLU": "relu", "ReLU6": "hardtanh", "leaky ReLU": "leaky_relu", "ELU": "elu",
    "GELU": "gelu", "SiLU": "silu", "Mish": "mish", "hard swish": "hardswish",
    "hard sigmoid": "hardsigmoid", "hard tanh": "hardtanh", "clamp": "clamp",
    "sigmoid": "sigmoid", "tanh": "tanh", "softplus": "softplus", "square": "square",
    "absolute value": "abs", "negative": "neg", "exponential": "exp", "root": "sqrt",
    "logarithm": "log",
}  # fmt: skip
CLOSE = 1e-3  # of the size of what is compared
SOFT = [rule.name for rule in ELEMENTWISE if rule.name in ("softmax", "log softmax")]


class Recipes:
    """The recipes of a network's cards, from one forward pass.

    Args:
        net: In evaluation.
        cards: Of the network.
        x: An input of any kind, (1, C, H, W).
    """

    def __init__(self, net: torch.nn.Module, cards: Cards, x: Array) -> None:
        self.explainer = UnitExplainer(net, torch.from_numpy(x.copy()))
        self.labels = [card.label for card in cards.cards]
        self.steps: dict[str, Step] = {}
        for card in cards.cards[1:]:
            for channel in sorted({0, card.shape[0] - 1}):
                middle = tuple(size // 2 for size in card.shape[1:])
                self._know(card.label, channel, middle)
        inner = [name for step in self.steps.values() for name in step.inputs if name]
        self.labels += dict.fromkeys(
            name for name in (*self.steps, *inner) if name not in self.labels[1:]
        )

    def _know(self, label: str, channel: int, place: tuple[int, ...]) -> None:
        record = self._record(label, channel, place)
        if record:
            self.steps.setdefault(label, record[-1])
            for step in record:
                self.steps.setdefault(step.label, step)

    def _record(
        self, label: str, channel: int, place: tuple[int, ...]
    ) -> tuple[Step, ...]:
        try:
            return self.explainer.explain(label, channel, place).steps if label else ()
        except ConvscopeError:
            return ()

    def all(self, program: Program, values: Sequence[Array]) -> list[Recipe | None]:
        """One for each label, or None.

        Args:
            program: Whose cards are the labels.
            values: Of it, for the input of this pass.
        """
        self.program, self.values = program, values
        return [self._of(number) for number in range(len(self.labels))]

    def _of(self, number: int) -> Recipe | None:
        label, at = self.labels[number], self.program.cards[number]
        step = self.steps.get(label)
        if step is None or at is None or not number:
            return None
        if step.label != label:
            return {"as": self.labels.index(step.label, 1)}
        sources = [self._source(name) for name in step.inputs]
        rule = self._rule(step, number, at, sources)
        if rule is None:
            return None
        return {"label": step.label, "kind": step.kind, "inputs": list(step.inputs),
                "sources": sources, "at": at, **rule}  # fmt: skip

    def _source(self, name: str | None) -> int | None:
        return self.labels.index(name, 1) if name else 0

    def _input(self, sources: Sequence[int | None]) -> Array | None:
        """What the layer takes first."""
        at = self.program.cards[sources[0] or 0] if sources else None
        return None if at is None else self.values[at]

    def _rule(
        self, step: Step, number: int, at: int, sources: Sequence[int | None]
    ) -> Recipe | None:
        x = self._input(sources)
        if x is None:
            return None
        detail: Any = step.detail
        makers: dict[type, Callable[..., Recipe | None]] = {
            WindowSum: self._sum, Winner: self._winner, Normalized: self._norm,
            Formula: self._formula, Moved: self._moved, Weighted: self._weighted,
        }  # fmt: skip
        make = makers.get(type(detail))
        return None if make is None else make(step, detail, number, at, x)

    def _windows(self, step: Step, shape: Sequence[int]) -> list[list[Any]] | None:
        """For each axis and each place on it, which elements lie under the window."""
        found = []
        for axis, size in enumerate(shape):
            rows = []
            for place in range(size):
                spot = [length // 2 for length in shape]
                spot[axis] = place
                record = self._record(step.label, 0, tuple(spot))
                if not record:
                    return None
                detail: Any = record[-1].detail
                kernel = getattr(detail, "kernel", np.zeros(1)).flat
                rows.append((list(detail.window[axis]), float(kernel[0])))
            found.append(rows)
        return found

    def _sum(
        self, step: Step, detail: WindowSum, number: int, at: int, x: Array
    ) -> Recipe | None:
        weight, bias = self.program.parameters.get(number, (None, None))
        operation = self.program.operations[at - 1]
        shape = self.values[at].shape
        recipe: Recipe = {"rule": "sum", "what": detail.what, "w": weight, "b": bias}
        if not detail.window and weight is not None:
            return self._if_same(step, {**recipe, "form": "dense"}, x, detail)
        rows = self._windows(step, shape[2:])
        if rows is None:
            return None
        recipe["windows"] = [[row for row, _ in axis] for axis in rows]
        if weight is None:
            recipe["form"] = "pool"
            recipe["shares"] = [[share for _, share in axis] for axis in rows]
            recipe["middle"] = [size // 2 for size in shape[2:]]
            each = [
                self._record(step.label, c, step.index[2:]) for c in range(shape[1])
            ]
            details: list[Any] = [one[-1].detail for one in each if one]
            recipe["scales"] = [one.scale for one in details]
            recipe["biases"] = [one.bias for one in details]
            recipe["scale_text"] = detail.scale_text
            recipe["what"] = detail.what.partition(", each 1/")[0]
            recipe["divided"] = "each 1/" in detail.what
            return self._if_same(step, recipe, x, detail)
        if detail.scale != 1.0 or detail.scale_text:
            return None
        recipe["groups"] = operation.get("groups", 1)
        recipe["what"] = detail.what.replace(f"group {self._group(step, recipe)} of",
                                             "group # of")  # fmt: skip
        edge = self._record(step.label, 0, (0,) * (len(shape) - 2))
        border: Any = edge[-1].detail if edge else detail
        outside = border.patch[~border.inside]
        recipe["fill"] = float(outside.flat[0]) if outside.size else 0.0
        recipe["form"] = "convt" if "transposed" in detail.what else "conv"
        return self._if_same(step, recipe, x, detail)

    def _group(self, step: Step, recipe: Recipe) -> int:
        channels: int = len(self.program.constants[recipe["w"]])
        return step.index[1] // max(channels // int(recipe["groups"]), 1)

    def _if_same(
        self, step: Step, recipe: Recipe, x: Array, detail: WindowSum
    ) -> Recipe | None:
        """The recipe, if the patch is what it would read."""
        if recipe["form"] == "dense":
            patch = x[step.index[:-1]]
        else:
            rows = [row[at] for row, at in zip(recipe["windows"], step.index[2:],
                                               strict=True)]  # fmt: skip
            patch = _under(x[0][list(detail.channels)], rows, recipe.get("fill", 0.0))
        if recipe["w"] is not None and recipe["form"] != "convt":
            kernel = self.program.constants[recipe["w"]][step.index[1]]
            if not _near(kernel, detail.kernel):
                return None
        return recipe if _near(patch, detail.patch) else None

    def _winner(
        self, step: Step, detail: Winner, number: int, at: int, x: Array
    ) -> Recipe | None:
        shape = self.values[at].shape
        if detail.how != "largest" or len(detail.window) != len(shape) - 2:
            return None
        rows = self._windows(step, shape[2:])
        if rows is None:
            return None
        windows = [[row for row, _ in axis] for axis in rows]
        taken = [row[p] for row, p in zip(windows, step.index[2:], strict=True)]
        patch = _under(x[0][[step.index[1]]], taken, -np.inf)[0]
        if not _near(patch, detail.patch):
            return None
        return {"rule": "winner", "windows": windows}

    def _norm(
        self, step: Step, detail: Normalized, number: int, at: int, x: Array
    ) -> Recipe | None:
        operation = self.program.operations[at - 1]
        if detail.values or operation["op"] != "norm":
            return None
        channel = step.index[1]
        names = {"mean": "mean", "var": "variance", "w": "weight", "b": "bias"}
        for name, attribute in names.items():
            constant, told = operation[name], getattr(detail, attribute)
            if (constant is None) != (told is None):
                return None
            if told is not None and not _near(
                self.program.constants[constant][channel], told
            ):
                return None
        kept = {name: operation[name] for name in (*names, "eps")}
        return {"rule": "norm", "what": detail.what, "statistics": detail.statistics,
                **kept}  # fmt: skip

    def _formula(
        self, step: Step, detail: Formula, number: int, at: int, x: Array
    ) -> Recipe | None:
        if not _near(x[step.index] if x.ndim == len(step.index) else np.nan,
                     detail.operands[0]):  # fmt: skip
            return None
        if detail.what == "dropout in evaluation":
            return {"rule": "unchanged", "what": detail.what}
        operation = self.program.operations[at - 1]
        if detail.what in SIGNS and operation["op"] == "binary":
            return {"rule": "two", "what": detail.what, "sign": SIGNS[detail.what]}
        if detail.what in SOFT and operation["op"] == "softmax":
            return {"rule": "soft", "what": detail.what}
        if detail.what == "PReLU" and operation.get("name") == "prelu":
            return {"rule": "one", "what": detail.what, "w": -1 - operation["in"][1]}
        if UNARY.get(detail.what) != operation.get("name"):
            return None
        return {"rule": "one", "what": detail.what, "args": operation["args"]}

    def _moved(
        self, step: Step, detail: Moved, number: int, at: int, x: Array
    ) -> Recipe | None:
        stops = [self.program.cards[self._source(name) or 0] for name in step.inputs]
        flat = int(np.ravel_multi_index(step.index, self.values[at].shape))
        found = source_of(self.program, at, flat, stops)
        if found is None:
            return None
        place, element = found
        recipe = {"rule": "moved", "what": detail.what, "several": detail.several}
        if place < 0 or detail.source is None:
            return recipe if place < 0 and detail.source is None else None
        shape = self.values[stops[place] or 0].shape
        index = tuple(map(int, np.unravel_index(element, shape)))
        if (place, index) != (detail.source[0], tuple(detail.source[1])):
            return None
        return recipe

    def _weighted(
        self, step: Step, detail: Weighted, number: int, at: int, x: Array
    ) -> Recipe | None:
        operation = self.program.operations[at - 1]
        name = operation.get("name")
        if operation["op"] != "reduce" or name != detail.what or detail.constant:
            return None
        count = int(np.prod([x.shape[axis] for axis in operation["axes"]]))
        share = 1 / count if name == "mean" else 1.0
        if len(detail.weights) != count or not _near(detail.weights[0], share):
            return None
        return {"rule": "weighted", "what": detail.what}


def _under(x: Array, rows: Sequence[Sequence[int | None]], fill: float) -> Array:
    """What lies under a window of (C, ...), ``fill`` where there is nothing."""
    for axis, row in enumerate(rows, 1):
        there = np.array([place is not None for place in row])
        there = there.reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        x = np.where(there, x.take([place or 0 for place in row], axis), np.nan)
    return np.where(np.isnan(x), fill, x)


def _near(one: Any, other: Any) -> bool:
    """Whether numbers are equal but for the rounding of a network."""
    left, right = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if left.shape != right.shape:
        return False
    finite = np.isfinite(right)
    if not (left[~finite] == right[~finite]).all():
        return False
    size = max(float(np.abs(right[finite]).max(initial=0.0)), 1e-9)
    return bool((np.abs(left[finite] - right[finite]) <= CLOSE * size).all())
