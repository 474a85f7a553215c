"""Slopes of activations and of dropout, by their formulas."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from convscope.analysis.explaining.activations import SELU
from convscope.analysis.explaining.site import Site, one
from convscope.analysis.explaining.slope import Slopes, Variable, listed

SIXTH = float(np.float32(1 / 6))  # torch's backward has it so, whatever the type


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else 1 - 1 / (1 + math.exp(x))


def _elu(x: float, alpha: float) -> float:
    return 1.0 if x > 0 else alpha * math.exp(x)


def _hard_swish(x: float) -> float:
    return (2 * x + 3) / 6 if -3 < x < 3 else float(x >= 3)


def _held(x: float, site: Site) -> float:
    least, most = site.setting(1, "min_val", -1.0), site.setting(2, "max_val", 1.0)
    return float(least < x < most)


SLOPES: dict[str, tuple[str, Callable[[float, float, Site], float]]] = {
    "ReLU": ("1 above 0, else 0", lambda x, y, s: float(x > 0)),
    "ReLU6": ("1 between 0 and 6, else 0", lambda x, y, s: float(0 < x < 6)),
    "leaky ReLU": (
        "1 above 0, else the slope",
        lambda x, y, s: 1.0 if x > 0 else float(s.setting(1, "negative_slope", 0.01)),
    ),
    "tanh": ("1 - tanh squared", lambda x, y, s: 1 - math.tanh(x) ** 2),
    "sigmoid": ("y (1 - y)", lambda x, y, s: y * (1 - y)),
    "ELU": (
        "1 above 0, else alpha exp(x)",
        lambda x, y, s: _elu(x, s.setting(1, "alpha", 1.0)),
    ),
    "SELU": (
        "the scale above 0, else alpha exp(x) times it",
        lambda x, y, s: SELU[0] * _elu(x, SELU[1]),
    ),
    "SiLU": (
        "sigmoid (1 + x (1 - sigmoid))",
        lambda x, y, s: _sigmoid(x) * (1 + x * (1 - _sigmoid(x))),
    ),
    "softplus": (
        "sigmoid(beta x)",
        lambda x, y, s: _sigmoid(x * s.setting(1, "beta", 1.0)),
    ),
    "hard tanh": ("1 within its limits, else 0", lambda x, y, s: _held(x, s)),
    "hard sigmoid": ("1/6 between -3 and 3", lambda x, y, s: SIXTH * (-3 < x < 3)),
    "hard swish": ("(2 x + 3) / 6 in between", lambda x, y, s: _hard_swish(x)),
    "random leaky ReLU": (
        "y / x, the slope that was drawn",
        lambda x, y, s: _drawn_slope(x, y, s),
    ),
    "absolute value": ("the sign", lambda x, y, s: float(np.sign(x))),
}


def _drawn_slope(x: float, y: float, site: Site) -> float:
    if x > 0 or not x:
        return 1.0 if x else math.nan
    return y / x


def activation(name: str) -> Callable[[Site, Variable], "Slopes | None"]:
    """How the slope of an activation is found, by its name."""
    words, slope = SLOPES[name]

    def own(site: Site, variable: Variable) -> Slopes | None:
        if variable.number != 0:
            return None
        x, y = one(site.x, variable.index), one(site.output, variable.index)
        value = slope(x, y, site)
        if math.isnan(value) and not math.isnan(x):
            return None
        found = listed(
            f"slope of {name}: {words}", [variable.index], [value], site.output.ndim
        )
        # Others are made from the rounded output: 1 - y^2 errs by units of 1.
        return found if value in (0.0, 1.0) else replace(found, units=2.0)

    return own


def dropout(site: Site, variable: Variable) -> Slopes | None:
    """Through dropout: whether the number was dropped shows in the output."""
    dropped = one(site.output, variable.index) == 0
    x = one(site.x, variable.index)
    if not site.training or not getattr(site.module, "p", site.argument(1, "p", 0.5)):
        what, value = "1: it passes", 1.0
    elif x == 0:
        return None  # whether it was dropped does not show
    else:
        rate = float(site.setting(1, "p", 0.5))
        value = 0.0 if dropped else 1 / (1 - rate)
        what = "0: it was dropped" if dropped else "1 / (1 - p): it was kept"
    if site.module is None and not dropped:
        value = one(site.output, variable.index) / x if x else 1.0
    return listed(what, [variable.index], [value], site.output.ndim)
