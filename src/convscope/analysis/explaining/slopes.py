"""How much each output of a call changes with one number that it takes.

``slopes(site, variable)``  the outputs that use the number, and the slope of each

Convolution, linear, pooling, batch norm and the usual activations are derived here,
from their windows and formulas. Any other operation is asked itself, in float64: its
backward pass is linear in what arrives, and the factor of each output is the slope.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from convscope.analysis.explaining.convolution import (
    Kernel,
    mask_of,
    read_convolution,
    read_transposed,
)
from convscope.analysis.explaining.elementwise import SELU
from convscope.analysis.explaining.normalization import Normalized
from convscope.analysis.explaining.pooling import Winner
from convscope.analysis.explaining.registry import rule_of
from convscope.analysis.explaining.site import Array, Index, Site, converted, one, wide
from convscope.analysis.explaining.window_sum import WindowSum
from convscope.analysis.tracing.calls import tensors_of
from convscope.execution.outputs import map_tensors

Places: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Variable:
    """A number that a call uses.

    Attributes:
        index: Where it is in its tensor.
        number: Which of the tensors that the call takes; -1 for a weight.
        parameter: The weight.
        name: What the layer calls the weight: ``weight``, ``bias``.
    """

    index: Index
    number: int = -1
    parameter: Tensor | None = None
    name: str = ""


@dataclass(frozen=True, eq=False)
class Slopes:
    """Outputs that use a number, and how much each changes with it.

    Attributes:
        what: What the slope is, in words.
        outputs: Their indices, (terms, axes); the same output may come more than once.
        values: The slopes, (terms,).
        parts: Where a slope is a sum, what it is made of, by name.
        units: By how many rounding units a slope may be off besides its own.
    """

    what: str
    outputs: Places
    values: Array
    parts: Mapping[str, Array] | None = None
    units: float = 0.0


def slopes(site: Site, variable: Variable) -> Slopes | None:
    """Of the site's output tensor; its index is not regarded.

    None where the operation cannot be asked.
    """
    rule = rule_of(site.call)
    name = "" if rule is None else rule.name
    own = _OWN.get(name)
    if own is not None and site.output_number == 0:
        made = own(site, variable)
        if made is not None:
            return made
    if name in _DRAWS and (site.training or name == "fractional max pooling"):
        return None  # asked again, it would draw again
    return asked(site, variable)


def _at(site: Site, index: Index) -> Site:
    return replace(site, index=index)


def _listed(what: str, outputs: list[Index], values: list[float], axes: int) -> Slopes:
    places = np.array(outputs, dtype=np.int64).reshape(len(outputs), axes)
    return Slopes(what, places, np.array(values, dtype=np.float64))


def _convolution(site: Site, variable: Variable) -> Slopes | None:
    if mask_of(site, "partial") is not None:
        return None
    read = read_convolution(site)
    if variable.number == 0:
        return _through_kernel(site, read, variable, transposed=False)
    if variable.name == "bias":
        return _of_bias(site, read, variable)
    if variable.name == "weight" and read.is_dense:
        return _of_weight(site, read, variable, transposed=False)
    return None


def _transposed(site: Site, variable: Variable) -> Slopes | None:
    read = read_transposed(site)
    if variable.number == 0:
        return _through_kernel(site, read, variable, transposed=True)
    if variable.name == "bias":
        return _of_bias(site, read, variable)
    if variable.name == "weight":
        return _of_weight(site, read, variable, transposed=True)
    return None


def _through_kernel(
    site: Site, read: Kernel, variable: Variable, transposed: bool
) -> Slopes:
    """An input element: each output whose window it lies under, through which tap."""
    axes, weight = read.axes, wide(read.weight)
    *image, channel = variable.index[:-axes]
    place, sizes = variable.index[-axes:], site.output.shape[-axes:]
    each = weight.shape[0 if transposed else 1]
    each = each // read.groups if transposed else each
    group, within = divmod(channel, each)
    count = weight.shape[1] if transposed else weight.shape[0] // read.groups
    hits = [
        [(o, t) for o in range(size) for t, e in enumerate(read.row(a, o)) if e == spot]
        for a, (size, spot) in enumerate(zip(sizes, place, strict=True))
    ]
    outputs: list[Index] = []
    values: list[float] = []
    for number in range(count):
        out = group * count + number
        pair = (channel, number) if transposed else (out, within)
        for combination in product(*hits):
            spot = tuple(o for o, _ in combination)
            tap = tuple(t for _, t in combination)
            outputs.append((*image, out, *spot))
            values.append(float(weight[(*pair, *tap)]) * _scale(site, read, spot))
    return _listed("kernel at the tap it lies under", outputs, values, site.output.ndim)


def _scale(site: Site, read: Kernel, place: Index) -> float:
    """What partial convolution multiplies one output by."""
    if read.mode != "partial":
        return 1.0
    rows = [read.row(axis, one_of) for axis, one_of in enumerate(place)]
    hit = math.prod(sum(e is not None for e in row) for row in rows)
    return math.prod(map(len, rows)) / hit if hit else 0.0


def _of_weight(
    site: Site, read: Kernel, variable: Variable, transposed: bool
) -> Slopes:
    """A weight: each output of its channel, times what lies under its tap."""
    axes = read.axes
    first, second, *stored = variable.index
    taps = [
        size - 1 - tap if read.flipped else tap
        for size, tap in zip(read.weight.shape[2:], stored, strict=True)
    ]
    weight = read.weight
    if transposed:
        group = first // (weight.shape[0] // read.groups)
        channel, out = first, group * weight.shape[1] + second
    else:
        group = first // (weight.shape[0] // read.groups)
        channel, out = group * weight.shape[1] + second, first
    sizes = tuple(site.output.shape[-axes:])
    seen = [
        [read.row(axis, o)[tap] for o in range(size)]
        for axis, (size, tap) in enumerate(zip(sizes, taps, strict=True))
    ]
    places = [np.array([-1 if e is None else e for e in row]) for row in seen]
    inside = np.ones(sizes, dtype=bool)
    for axis, row in enumerate(places):
        shape = [1] * axes
        shape[axis] = -1
        inside = inside & (row >= 0).reshape(shape)
    x = wide(site.x)
    maps = x if site.x.ndim == axes + 2 else x[None]
    values = maps[:, channel][np.ix_(np.arange(len(maps)), *places)]
    values = np.where(inside, values, read.fill)
    if read.mode == "partial":
        scale = [_scale(site, read, place) for place in np.ndindex(*sizes)]
        values = values * np.array(scale).reshape(sizes)
    chosen = np.broadcast_to(inside if transposed else np.True_, values.shape)
    found = np.argwhere(chosen)
    lead = [found[:, :1]] if site.x.ndim == axes + 2 else []
    channels = np.full((len(found), 1), out)
    outputs = np.concatenate([*lead, channels, found[:, 1:]], axis=1)
    return Slopes("what lies under its tap", outputs, values[chosen])


def _of_bias(site: Site, read: Kernel, variable: Variable) -> Slopes:
    axes, (channel,) = read.axes, variable.index
    shape = site.output.shape
    lead = shape[: -axes - 1]
    found = np.array(list(np.ndindex(*lead, *shape[-axes:])), dtype=np.int64)
    found = found.reshape(-1, len(lead) + axes)
    outputs = np.insert(found, len(lead), channel, axis=1)
    values = np.ones(len(found))
    if read.mode == "partial":
        places = [tuple(map(int, place)) for place in found[:, len(lead) :]]
        values = np.array([float(_scale(site, read, p) > 0) for p in places])
    return Slopes("1: it is added to each", outputs, values)


def _linear(site: Site, variable: Variable) -> Slopes | None:
    module = site.module
    weight = site.argument(1, "weight") if module is None else module.weight
    if variable.number == 0:
        *lead, feature = variable.index
        count = weight.shape[0]
        outputs = [(*lead, row) for row in range(count)]
        values = wide(weight)[:, feature].tolist()
        return _listed("its weight in each row", outputs, values, site.output.ndim)
    if variable.name not in ("weight", "bias"):
        return None
    row = variable.index[0]
    leads = list(np.ndindex(*site.output.shape[:-1]))
    outputs = [(*lead, row) for lead in leads]
    if variable.name == "bias":
        what, values = "1: it is added to each", [1.0] * len(leads)
    else:
        what = "the feature it is multiplied by"
        values = wide(site.x)[..., variable.index[1]].ravel().tolist()
    return _listed(what, outputs, values, site.output.ndim)


def _pooling(site: Site, variable: Variable) -> Slopes | None:
    """Each window that the element lies in: whether it wins, or its share."""
    rule = rule_of(site.call)
    if rule is None or variable.number != 0:
        return None
    axes = _space(site)
    lead, place = variable.index[:-axes], variable.index[-axes:]
    sizes = site.output.shape[-axes:] if site.output.ndim == site.x.ndim else ()
    rows: list[list[int]] = []
    for axis, size in enumerate(sizes):
        found = []
        for output in range(size):
            spot = [0] * len(sizes)
            spot[axis] = output
            detail = rule.explain(_at(site, (*lead, *spot)))
            if not isinstance(detail, Winner | WindowSum):
                return None
            if place[axis] in detail.window[axis]:
                found.append(output)
        rows.append(found)
    outputs: list[Index] = []
    values: list[float] = []
    wins = False
    for spot_of in product(*rows):
        index = (*lead, *spot_of)
        detail = rule.explain(_at(site, index))
        if isinstance(detail, Winner):
            wins = True
            values.append(float(detail.source == variable.index))
        elif isinstance(detail, WindowSum):
            own = variable.index[-axes - 1 :]
            values.append(math.fsum(w for p, w in detail.sources if p == own))
        else:
            return None
        outputs.append(index)
    what = "1 where it is the winner, else 0" if wins else "its share of the window"
    return _listed(what, outputs, values, site.output.ndim)


def _space(site: Site) -> int:
    if site.module is not None:
        name = type(site.module).__name__
        axes: int = getattr(site.module, "axes", 0) or int(name[-2])
        return axes
    return next(int(c) for c in site.call.name if c.isdigit())


def _batch_norm(site: Site, variable: Variable) -> Slopes | None:
    rule = rule_of(site.call)
    if rule is None or (variable.number != 0 and site.module is None):
        return None
    if variable.number == 0:
        return _through_norm(site, variable)
    (channel,) = variable.index
    x = wide(site.x)[:, channel]
    start = (0, channel, *(0,) * (site.x.ndim - 2))
    detail = rule.explain(_at(site, start))
    if not isinstance(detail, Normalized):
        return None
    outputs = _of_channel(site, channel)
    if variable.name == "bias":
        return Slopes("1: it is added to each", outputs, np.ones(len(outputs)))
    deviation = math.sqrt(detail.variance + detail.eps)
    values = ((x - detail.mean) / deviation).ravel()
    return Slopes("what it scales: (x - mean) / deviation", outputs, values)


def _of_channel(site: Site, channel: int) -> Places:
    """Indices of all elements of a map in all images."""
    shape = site.output.shape
    found = np.array(list(np.ndindex(shape[0], *shape[2:])), dtype=np.int64)
    return np.insert(found.reshape(-1, len(shape) - 1), 1, channel, axis=1)


def _through_norm(site: Site, variable: Variable) -> Slopes | None:
    rule = rule_of(site.call)
    detail = None if rule is None else rule.explain(_at(site, variable.index))
    if not isinstance(detail, Normalized):
        return None
    if not detail.values:
        return _listed(
            "weight / deviation", [variable.index], [detail.scale], site.output.ndim
        )
    # y_i = w (x_i - mean) / s: x_j is in the numerator, in the mean and in s.
    channel, n = variable.index[1], detail.values
    outputs = _of_channel(site, channel)
    deviation = math.sqrt(detail.variance + detail.eps)
    centered = ((wide(site.x)[:, channel] - detail.mean) / deviation).ravel()
    own = (outputs == np.array(variable.index)).all(1)
    parts = {
        "directly": detail.scale * own,
        "through the mean": np.full(len(outputs), -detail.scale / n),
        "through the variance": -detail.scale * centered * centered[own][0] / n,
    }
    total: Array = np.add.reduce(list(parts.values()))
    return Slopes(
        "batch norm, which also moves mean and variance", outputs, total, parts
    )


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


_SLOPES: dict[str, tuple[str, Callable[[float, float, Site], float]]] = {
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


def _activation(name: str) -> Callable[[Site, Variable], "Slopes | None"]:
    words, slope = _SLOPES[name]

    def own(site: Site, variable: Variable) -> Slopes | None:
        if variable.number != 0:
            return None
        x, y = one(site.x, variable.index), one(site.output, variable.index)
        value = slope(x, y, site)
        if math.isnan(value) and not math.isnan(x):
            return None
        return _listed(
            f"slope of {name}: {words}", [variable.index], [value], site.output.ndim
        )

    return own


def _dropout(site: Site, variable: Variable) -> Slopes | None:
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
    return _listed(what, [variable.index], [value], site.output.ndim)


_OWN: dict[str, Callable[[Site, Variable], "Slopes | None"]] = {
    "convolution": _convolution,
    "transposed convolution": _transposed,
    "linear": _linear,
    "max pooling": _pooling,
    "fractional max pooling": _pooling,
    "stochastic pooling": _pooling,
    "trained subsampling": _pooling,
    "average pooling": _pooling,
    "adaptive average pooling": _pooling,
    "adaptive max pooling": _pooling,
    "global pooling": _pooling,
    "batch norm": _batch_norm,
    "dropout": _dropout,
    **{name: _activation(name) for name in _SLOPES},
}


_DRAWS = (
    "dropout", "alpha dropout", "random leaky ReLU", "stochastic pooling",
    "fractional max pooling",
)  # fmt: skip
_WORDS = {
    "moving numbers": "1 where it is copied to",
    "addition": "1: it is added",
    "difference": "1, or -1 where it is subtracted",
    "product": "the other factor",
}


def asked(site: Site, variable: Variable) -> Slopes | None:
    """The slopes as the operation's own backward pass has them, in float64."""
    slope = _backward(site, variable, torch.float64)
    if slope is None:
        return None
    # Where terms cancel, a slope is known less well than its own digits say. How much
    # less is seen in float32, and is as many units in any other format.
    short = _backward(site, variable, torch.float32)
    units = 0.0
    if short is not None:
        units = float((short.double() - slope).abs().max()) / _UNIT32
    found = slope.nonzero()
    rule = rule_of(site.call)
    words = _WORDS.get(rule.name if rule else "", "slope, by its own backward pass")
    return Slopes(
        words,
        found.cpu().numpy().astype(np.int64),
        slope[tuple(found.T)].cpu().numpy().astype(np.float64),
        units=units,
    )


_UNIT32 = torch.finfo(torch.float32).eps


def _backward(site: Site, variable: Variable, dtype: torch.dtype) -> Tensor | None:
    """How much each output changes: the factor of what arrives there."""
    leaf, run = _converted(site, variable, dtype)
    try:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            outputs = [t for t in tensors_of(run()) if t.is_floating_point()]
            made = _like(outputs, site)
            if made is None or not made.requires_grad:
                return None
            arriving = torch.zeros_like(made, requires_grad=True)
            total = (made * arriving).sum()
            (back,) = torch.autograd.grad(total, leaf, create_graph=True)
            here = back[variable.index]
            if not here.requires_grad:
                return None
            return torch.autograd.grad(here, arriving, allow_unused=True)[0]
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return None


def _like(outputs: list[Tensor], site: Site) -> Tensor | None:
    number = site.output_number
    if number < len(outputs) and outputs[number].shape == site.output.shape:
        return outputs[number]
    return next((t for t in outputs if t.shape == site.output.shape), None)


def _converted(
    site: Site, variable: Variable, dtype: torch.dtype
) -> tuple[Tensor, Callable[[], Any]]:
    """A leaf in place of the variable's tensor, and the call with it."""
    parameter = variable.parameter
    started = site.inputs[variable.number] if parameter is None else parameter
    leaf = started.detach().to(dtype).requires_grad_()
    waiting = [started]

    def changed(tensor: Tensor) -> Tensor:
        if waiting and tensor is waiting[0]:
            if parameter is None:
                waiting.clear()  # the same tensor may be passed twice
            return leaf.clone()  # an operation in place may write into it
        if isinstance(tensor, nn.Parameter) or tensor.is_floating_point():
            return tensor.detach().to(dtype)
        return tensor

    args, kwargs = map_tensors(changed, (site.args, dict(site.kwargs)))
    module = site.module
    if module is None:
        return leaf, lambda: site.call.function(*args, **kwargs)

    def run() -> Any:
        with converted(module, dtype, {id(started): leaf}):
            return module(*args, **kwargs)

    return leaf, run
