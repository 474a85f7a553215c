"""What acts on each element: activations, arithmetic of two maps, softmax, dropout."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, TypeAlias

from torch import Tensor

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

Made: TypeAlias = tuple[float, str]
"""A number, and the formula with its numbers."""


@dataclass(frozen=True, eq=False)
class Formula:
    """A number made from few by a formula.

    Attributes:
        what: The operation in words.
        text: The formula with its numbers.
        value: The number.
        tolerance: What the network's own may differ by.
        follows: The element that it goes back to: the first operand.
        operands: The numbers, in order.
    """

    what: str
    text: str
    value: float
    tolerance: float
    follows: Source | None
    operands: tuple[float, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """The formula."""
        return (f"{self.what}: {self.text} = {shown(self.value)}",)

    def to_dict(self) -> dict[str, Any]:
        """Numbers by name."""
        return {
            "operation": self.what,
            "text": self.text,
            "operands": list(self.operands),
        }


def _sigmoid(x: float) -> float:
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    return math.exp(x) / (1 + math.exp(x))


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


def _nan_or(call: Callable[[float], float]) -> Callable[[float], float]:
    """What torch gives where Python refuses."""

    def safe(x: float) -> float:
        try:
            return call(x)
        except (ValueError, ZeroDivisionError, OverflowError):
            return math.nan

    return safe


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
        "SiLU", lambda x: (x * _sigmoid(x), f"{shown(x)} x {shown(_sigmoid(x))}"), {},
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
    Unary("sigmoid", _plain("sigmoid", _sigmoid), {}, ("Sigmoid",), ("sigmoid",)),
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
    Unary("exponential", _plain("exp", _nan_or(math.exp)), {}, (), ("exp",)),
    Unary("logarithm", _plain("log", _nan_or(math.log)), {}, (), ("log",)),
    Unary("root", _plain("sqrt", _nan_or(math.sqrt)), {}, (), ("sqrt",)),
)  # fmt: skip


def _unary(row: Unary) -> Rule:
    def explain(site: Site) -> Detail | None:
        x = one(site.x, site.index)
        given = {
            name: site.setting(place, name, default)
            for place, (name, default) in enumerate(row.settings.items(), start=1)
        }
        value, text = row.call(x, *given.values())
        return _one(site, row.name, value, text, x)

    return Rule(row.name, explain, row.modules, row.functions)


def _one(
    site: Site, name: str, value: float, text: str, x: float, *others: float
) -> Formula:
    size = max(abs(x), abs(value), *map(abs, others), 0.0)
    steps = 0.0 if value in (x, 0.0, *others) and name in _COPYING else 16.0
    return Formula(
        name, text, value, steps * site.unit * size, (0, site.index), (x, *others)
    )


_COPYING = ("ReLU", "ReLU6", "threshold", "hard shrink", "absolute value", "negative")


def _prelu(site: Site) -> Detail | None:
    weight = (
        site.module.weight if site.module is not None else site.argument(1, "weight")
    )
    at = (site.index[1],) if weight.numel() > 1 else (0,)
    x = one(site.x, site.index)
    slope = one(weight.reshape(-1), at)
    value, text = _leaky(x, slope)
    return _one(site, "PReLU", value, text, x)


def _random_leaky(site: Site) -> Detail | None:
    if site.training:
        return None
    slope = (site.setting(1, "lower", 1 / 8) + site.setting(2, "upper", 1 / 3)) / 2
    x = one(site.x, site.index)
    value, text = _leaky(x, slope)
    return _one(site, "leaky ReLU with its mean slope", value, text, x)


def _gain(site: Site) -> Detail | None:
    x = one(site.x, site.index)
    axes = site.module.axes
    channel = site.index[1 if axes is None else site.x.ndim - axes - 1]
    weight = one(site.module.weight, (channel,))
    value = math.tanh(x) * weight
    text = f"{shown(weight)} x tanh({shown(x)})"
    return _one(site, "gain of the map", value, text, x)


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
    return _one(site, "dropout in training", value, text, x)


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
        value = _nan_or(lambda _: call(first, second))(0.0)
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
    return _one(site, "gated linear unit", x * _sigmoid(y), text, x)


RULES = (
    *(_unary(row) for row in UNARY),
    Rule("PReLU", _prelu, ["PReLU"], ["prelu"]),
    Rule("random leaky ReLU", _random_leaky, ["RReLU"], ["rrelu"]),
    Rule("gain", _gain, ["Gain"]),
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
        "quotient", _two("quotient", "/", lambda a, b: a / b), (),
        ["div", "divide", "true_divide"],
    ),
    Rule(
        "quotient", _two("quotient", "/", lambda a, b: a / b, swapped=True), (),
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
