"""Arithmetic of two maps, softmax, dropout."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

from convscope.analysis.explaining.formula import Formula, nan_or, of_one, sigmoid
from convscope.analysis.explaining.site import (
    Detail,
    Index,
    Rule,
    Site,
    Source,
    added,
    one,
    shown,
    wide,
)


def _dropout(site: Site) -> Detail | None:
    if not _drops(site):
        x = one(site.x, site.index)
        return Formula(
            "dropout in evaluation", "unchanged", x, 0.0, (0, site.index), (x,)
        )
    rate = float(site.setting(1, "p", 0.5))
    kept = one(site.output, site.index) != 0
    x = one(site.x, site.index)
    value = x / (1 - rate) if kept else 0.0
    text = f"kept, {shown(x)} / {shown(1 - rate)}" if kept else "dropped"
    return of_one(site, "dropout in training", value, text, x)


def _drops(site: Site) -> bool:
    if site.module is not None:
        return site.training and site.module.p > 0
    return bool(site.argument(2, "training", True)) and site.argument(1, "p", 0.5) > 0


def _alpha_dropout(site: Site) -> Detail | None:
    return None if _drops(site) else _dropout(site)


Binary: TypeAlias = Callable[[float, float], float]


def _two(name: str, sign: str, call: Binary, swapped: bool = False) -> Any:
    def explain(site: Site) -> Detail | None:
        pair = [site.argument(0, "input"), site.argument(1, "other")]
        factor = site.kwargs.get("alpha", 1)
        if site.kwargs.get("rounding_mode") is not None:
            return None
        numbers = [_operand(value, site) for value in pair]
        if None in numbers:
            return None
        first, second = (float(n) for n in numbers if n is not None)
        second *= factor
        if swapped:
            first, second = second, first
        value = nan_or(lambda _: call(first, second))(0.0)
        terms = f"{shown(first)} {sign} {shown(second)}"
        if sign in "+-":
            terms = added([first, second if sign == "+" else -second])
        size = abs(first) + abs(second) if sign in "+-" else abs(value)
        # The first operand that is a map is the one that the chain goes back to.
        source: Source | None = None
        for one_of in pair:
            if isinstance(one_of, Tensor) and site.number_of(one_of) >= 0:
                source = site.number_of(one_of), _broadcast(one_of, site)
                break
        return Formula(
            name, terms, value, 4 * site.unit * size, source, (first, second)
        )

    return explain


def _operand(value: Any, site: Site) -> float | None:
    if isinstance(value, Tensor):
        return one(value, _broadcast(value, site))
    return float(value) if isinstance(value, int | float) else None


def _broadcast(value: Tensor, site: Site) -> Index:
    """The element of an operand that meets the element of the result."""
    index = site.index[len(site.index) - value.ndim :]
    return tuple(
        0 if size == 1 else at for at, size in zip(index, value.shape, strict=True)
    )


def _quotient(over: float, under: float) -> float:
    if under or not over or math.isnan(over):
        return over / under if under else math.nan
    return math.copysign(math.inf, over) * math.copysign(1.0, under)


def _power(base: float, exponent: float) -> float:
    made = base**exponent
    return math.nan if isinstance(made, complex) else made


def _softmax(site: Site) -> Detail | None:
    return _soft(site, "softmax")


def _softmin(site: Site) -> Detail | None:
    return _soft(site, "softmin")


def _log_softmax(site: Site) -> Detail | None:
    return _soft(site, "log softmax")


def _soft(site: Site, what: str) -> Detail | None:
    dim = site.setting(1, "dim")
    if type(site.module).__name__ == "Softmax2d":
        dim = -3
    if dim is None:
        dim = 0 if site.x.ndim in (0, 1, 3) else 1
    axis = dim % site.x.ndim
    line: Any = (*site.index[:axis], slice(None), *site.index[axis + 1 :])
    values = wide(site.x[line]) * (-1.0 if what == "softmin" else 1.0)
    largest = float(values.max())
    x, total = (
        float(values[site.index[axis]]),
        math.fsum(math.exp(v - largest) for v in values),
    )
    top = math.exp(x - largest)
    if what == "log softmax":
        value = x - largest - math.log(total)
        text = f"{shown(x)} - log of {len(values)} exponentials"
    else:
        value = top / total
        text = (
            f"exp({shown(x)} - {shown(largest)}) / sum of {len(values)} exponentials = "
            f"{shown(top)} / {shown(total)}"
        )
    # exp errs by as many units as its argument is large; the sum by one a term.
    reach = abs(x) + abs(largest) + len(values) + 16
    size = max(abs(value), abs(x - largest) if what == "log softmax" else 0.0)
    return Formula(what, text, value, reach * site.unit * size, (0, site.index), (x,))


def _glu(site: Site) -> Detail | None:
    axis = site.setting(1, "dim", -1) % site.x.ndim
    half = site.x.shape[axis] // 2
    gate = list(site.index)
    gate[axis] += half
    x, y = one(site.x, site.index), one(site.x, tuple(gate))
    text = f"{shown(x)} x sigmoid({shown(y)})"
    return of_one(site, "gated linear unit", x * sigmoid(y), text, x)


RULES = (
    Rule(
        "dropout", _dropout, ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d"],
        ["dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout"],
    ),
    Rule(
        "alpha dropout", _alpha_dropout, ["AlphaDropout", "FeatureAlphaDropout"],
        ["alpha_dropout", "feature_alpha_dropout"],
    ),
    Rule("addition", _two("addition", "+", lambda a, b: a + b), (), ["add", "radd"]),
    Rule(
        "difference", _two("difference", "-", lambda a, b: a - b), (),
        ["sub", "subtract"],
    ),
    Rule(
        "difference", _two("difference", "-", lambda a, b: a - b, swapped=True), (),
        ["rsub"],
    ),
    Rule(
        "product", _two("product", "x", lambda a, b: a * b), (),
        ["mul", "multiply", "rmul"],
    ),
    Rule(
        "quotient", _two("quotient", "/", _quotient), (),
        ["div", "divide", "true_divide"],
    ),
    Rule(
        "quotient", _two("quotient", "/", _quotient, swapped=True), (),
        ["rdiv", "rtruediv"],
    ),
    Rule("power", _two("power", "^", _power), (), ["pow"]),
    Rule("larger of two", _two("larger of two", "or", max), (), ["maximum"]),
    Rule("smaller of two", _two("smaller of two", "or", min), (), ["minimum"]),
    Rule("softmax", _softmax, ["Softmax", "Softmax2d"], ["softmax"]),
    Rule("softmin", _softmin, ["Softmin"], ["softmin"]),
    Rule("log softmax", _log_softmax, ["LogSoftmax"], ["log_softmax"]),
    Rule("gated linear unit", _glu, ["GLU"], ["glu"]),
)  # fmt: skip
