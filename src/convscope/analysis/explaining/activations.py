"""Activations: functions of one number, each with its formula."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from convscope.analysis.explaining.formula import Made, nan_or, of_one, sigmoid
from convscope.analysis.explaining.site import Detail, Rule, Site, one, shown


def _softplus(x: float, beta: float = 1.0, threshold: float = 20.0) -> Made:
    text = f"log(1 + exp({shown(beta)} x {shown(x)})) / {shown(beta)}"
    if x * beta > threshold:
        return x, f"{shown(x)}, as above {threshold:g}"
    return (max(x * beta, 0.0) + math.log1p(math.exp(-abs(x * beta)))) / beta, text


def _clamped(x: float, least: float | None, most: float | None) -> Made:
    low = -math.inf if least is None else least
    high = math.inf if most is None else most
    return min(max(x, low), high), f"{shown(x)} held within {low:g} and {high:g}"


def _gelu(x: float, approximate: str = "none") -> Made:
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return 0.5 * x * (1 + math.tanh(inner)), f"{shown(x)} x (1 + tanh(...)) / 2"
    part = NormalDist().cdf(x) if x > -5 else 0.5 * math.erfc(-x / math.sqrt(2))
    return x * part, f"{shown(x)} x {shown(part)}, the normal distribution below it"


def _elu(x: float, alpha: float = 1.0) -> Made:
    if x > 0:
        return x, f"{shown(x)}, above 0 unchanged"
    return alpha * math.expm1(x), f"{shown(alpha)} x (exp({shown(x)}) - 1)"


SELU = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def _selu(x: float) -> Made:
    scale, alpha = SELU
    value, text = _elu(x, alpha)
    return scale * value, f"{shown(scale)} x ({text})"


def _celu(x: float, alpha: float = 1.0) -> Made:
    if x > 0:
        return x, f"{shown(x)}, above 0 unchanged"
    value = alpha * math.expm1(x / alpha)
    return value, f"{shown(alpha)} x (exp({shown(x)} / {shown(alpha)}) - 1)"


def _mish(x: float) -> Made:
    inner = _softplus(x)[0]
    return x * math.tanh(inner), f"{shown(x)} x tanh({shown(inner)})"


def _shrunk(x: float, lambd: float = 0.5) -> Made:
    if abs(x) <= lambd:
        return 0.0, f"{shown(x)} lies within {shown(lambd)} of 0"
    return x - math.copysign(lambd, x), f"{shown(x)} moved {shown(lambd)} towards 0"


def _hard_shrunk(x: float, lambd: float = 0.5) -> Made:
    near = abs(x) <= lambd
    return (0.0 if near else x), f"{shown(x)} is {'' if near else 'not '}near 0"


def _threshold(x: float, threshold: float, value: float) -> Made:
    above = x > threshold
    return (x if above else value), (
        f"{shown(x)} is {'' if above else 'not '}above {shown(threshold)}"
    )


def _leaky(x: float, slope: float) -> Made:
    if x >= 0:
        return x, f"{shown(x)}, from 0 on unchanged"
    return x * slope, f"{shown(x)} x {shown(slope)}, below 0"


def _logarithm(x: float) -> float:
    return math.log(x) if x else -math.inf


def _hard_sigmoid(x: float) -> float:
    return min(max(x / 6 + 0.5, 0.0), 1.0)


@dataclass(frozen=True)
class Unary:
    """A function of one number.

    Attributes:
        name: How it is called in a line.
        call: The number and the formula in numbers.
        settings: Its arguments: attribute of the layer, and default.
        modules: Names of layers.
        functions: Names of torch's functions.
    """

    name: str
    call: Callable[..., Made]
    settings: Mapping[str, Any]
    modules: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()


def _plain(name: str, call: Callable[[float], float]) -> Callable[..., Made]:
    return lambda x: (call(x), f"{name}({shown(x)})")


UNARY = (
    Unary(
        "ReLU", lambda x: (max(x, 0.0), f"max(0, {shown(x)})"), {}, ("ReLU",), ("relu",)
    ),
    Unary("ReLU6", lambda x: _clamped(x, 0.0, 6.0), {}, ("ReLU6",), ("relu6",)),
    Unary(
        "leaky ReLU", _leaky, {"negative_slope": 0.01}, ("LeakyReLU",), ("leaky_relu",)
    ),
    Unary("ELU", _elu, {"alpha": 1.0}, ("ELU",), ("elu",)),
    Unary("SELU", _selu, {}, ("SELU",), ("selu",)),
    Unary("CELU", _celu, {"alpha": 1.0}, ("CELU",), ("celu",)),
    Unary("GELU", _gelu, {"approximate": "none"}, ("GELU",), ("gelu",)),
    Unary(
        "SiLU", lambda x: (x * sigmoid(x), f"{shown(x)} x {shown(sigmoid(x))}"), {},
        ("SiLU",), ("silu",),
    ),
    Unary("Mish", _mish, {}, ("Mish",), ("mish",)),
    Unary(
        "hard swish",
        lambda x: (x * _hard_sigmoid(x), f"{shown(x)} x {shown(_hard_sigmoid(x))}"),
        {}, ("Hardswish",), ("hardswish",),
    ),
    Unary(
        "hard sigmoid",
        lambda x: (_hard_sigmoid(x), f"{shown(x)} / 6 + 1/2, in 0 to 1"),
        {}, ("Hardsigmoid",), ("hardsigmoid",),
    ),
    Unary(
        "hard tanh", _clamped, {"min_val": -1.0, "max_val": 1.0}, ("Hardtanh",),
        ("hardtanh",),
    ),
    Unary("clamp", _clamped, {"min": None, "max": None}, (), ("clamp", "clip")),
    Unary("sigmoid", _plain("sigmoid", sigmoid), {}, ("Sigmoid",), ("sigmoid",)),
    Unary("tanh", _plain("tanh", math.tanh), {}, ("Tanh",), ("tanh",)),
    Unary(
        "softplus", _softplus, {"beta": 1.0, "threshold": 20.0}, ("Softplus",),
        ("softplus",),
    ),
    Unary(
        "softsign", lambda x: (x / (1 + abs(x)), f"{shown(x)} / (1 + {shown(abs(x))})"),
        {}, ("Softsign",), ("softsign",),
    ),
    Unary(
        "log sigmoid", lambda x: (-_softplus(-x)[0], f"log sigmoid({shown(x)})"), {},
        ("LogSigmoid",), ("logsigmoid", "log_sigmoid"),
    ),
    Unary(
        "tanh shrink", lambda x: (x - math.tanh(x), f"{shown(x)} - tanh({shown(x)})"),
        {}, ("Tanhshrink",), ("tanhshrink",),
    ),
    Unary("soft shrink", _shrunk, {"lambd": 0.5}, ("Softshrink",), ("softshrink",)),
    Unary(
        "hard shrink", _hard_shrunk, {"lambd": 0.5}, ("Hardshrink",), ("hardshrink",)
    ),
    Unary(
        "threshold", _threshold, {"threshold": 0.0, "value": 0.0}, ("Threshold",),
        ("threshold",),
    ),
    Unary(
        "absolute value", lambda x: (abs(x), f"|{shown(x)}|"), {}, ("Rectification",),
        ("abs", "absolute"),
    ),
    Unary("negative", lambda x: (-x, f"-({shown(x)})"), {}, (), ("neg", "negative")),
    Unary("square", lambda x: (x * x, f"{shown(x)} squared"), {}, (), ("square",)),
    Unary("exponential", _plain("exp", nan_or(math.exp)), {}, (), ("exp",)),
    Unary("logarithm", _plain("log", nan_or(_logarithm)), {}, (), ("log",)),
    Unary("root", _plain("sqrt", nan_or(math.sqrt)), {}, (), ("sqrt",)),
)  # fmt: skip


def _unary(row: Unary) -> Rule:
    def explain(site: Site) -> Detail | None:
        x = one(site.x, site.index)
        given = {
            name: site.setting(place, name, default)
            for place, (name, default) in enumerate(row.settings.items(), start=1)
        }
        value, text = row.call(x, *given.values())
        return of_one(site, row.name, value, text, x)

    return Rule(row.name, explain, row.modules, row.functions)


def _prelu(site: Site) -> Detail | None:
    weight = (
        site.module.weight if site.module is not None else site.argument(1, "weight")
    )
    at = (site.index[1],) if weight.numel() > 1 else (0,)
    x = one(site.x, site.index)
    slope = one(weight.reshape(-1), at)
    value, text = _leaky(x, slope)
    return of_one(site, "PReLU", value, text, x)


def _random_leaky(site: Site) -> Detail | None:
    if site.training:
        return None
    slope = (site.setting(1, "lower", 1 / 8) + site.setting(2, "upper", 1 / 3)) / 2
    x = one(site.x, site.index)
    value, text = _leaky(x, slope)
    return of_one(site, "leaky ReLU with its mean slope", value, text, x)


def _gain(site: Site) -> Detail | None:
    x = one(site.x, site.index)
    axes = site.module.axes
    channel = site.index[1 if axes is None else site.x.ndim - axes - 1]
    weight = one(site.module.weight, (channel,))
    value = math.tanh(x) * weight
    text = f"{shown(weight)} x tanh({shown(x)})"
    return of_one(site, "gain of the map", value, text, x)


RULES = (
    *(_unary(row) for row in UNARY),
    Rule("PReLU", _prelu, ["PReLU"], ["prelu"]),
    Rule("random leaky ReLU", _random_leaky, ["RReLU"], ["rrelu"]),
    Rule("gain", _gain, ["Gain"]),
)
