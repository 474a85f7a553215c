"""``attribute``: which elements of an input speak for what a network says of it."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.analysis.attribution.perturbation import (
    integrated_gradients,
    occlusion,
    rise,
)
from convscope.analysis.attribution.record import Array, Attribution, Trust
from convscope.analysis.attribution.rectifiers import RectifierRule
from convscope.analysis.attribution.trust import (
    areas,
    random_orders,
    rank_correlation,
    shuffled,
)
from convscope.analysis.capturing.capture import capture
from convscope.analysis.capturing.forward import require_network
from convscope.analysis.checking.check import check
from convscope.analysis.tracing.meta_copy import meta_copy
from convscope.analysis.tracing.preserve import Snapshot
from convscope.errors import ArgumentError, UnknownNameError

Method = Literal[
    "grad_cam",
    "saliency",
    "guided_backprop",
    "deconvolution",
    "integrated_gradients",
    "occlusion",
    "rise",
]
METHODS: tuple[Method, ...] = get_args(Method)
CHANGING = ("integrated_gradients", "occlusion", "rise")  # call it on changed copies
LEAST_MAP = 4  # along each axis, of the layer that Grad-CAM takes by default


def attribute(
    net: nn.Module,
    inputs: Tensor,
    target: int | Tensor | Callable[[Any], Tensor] | None = None,
    *,
    minus: int | None = None,
    method: Method = "grad_cam",
    layer: str | None = None,
    trust: bool = False,
    seed: int = 0,
) -> Attribution:
    """Maps over each input: what in it speaks for the target.

    Args:
        net: Any torch.nn.Module with one input, also optimized or compiled; it is as
            before afterwards.
        inputs: What the network takes.
        target: A class; a tensor (N,) of classes; a function of the output that gives
            one number, as a loss does (its map shows what raises it), for methods
            that take one gradient. By default the class that the network names for
            each input.
        minus: A class: what speaks for ``target`` rather than for this one.
        method: ``"grad_cam"`` weighs the maps of a layer by their mean gradients;
            ``"saliency"`` is the largest gradient over channels; ``"guided_backprop"``
            and ``"deconvolution"`` change how gradients pass rectifiers;
            ``"integrated_gradients"``, ``"occlusion"`` (both by captum) and ``"rise"``
            compare with inputs that are changed.
        layer: For Grad-CAM, the layer whose maps are weighed; by default the last one
            whose map has at least 4 elements along each axis.
        trust: Whether to measure how far each map can be believed; needs about 170
            forward passes for each input.
        seed: Of what is random: masks, orders, shuffles.

    Shape:
        inputs: (N, C, *space)
        maps:   (N, *space)

    Raises:
        UnknownNameError: No method or layer of that name; names the nearest.
        ArgumentError: The target is not in the output, or no layer has maps.
        ShapeError: The network does not work on these inputs; see `check`.
        MissingExtraError: captum is not installed, and the method needs it.

    Source:
        Grad-CAM: Selvaraju et al. 2017; saliency: Simonyan et al. 2014; guided
        backpropagation: Springenberg et al. 2015; deconvolution: Zeiler and Fergus
        2014; integrated gradients: Sundararajan et al. 2017; occlusion: Zeiler and
        Fergus 2014; RISE: Petsiuk et al. 2018.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(),
    ...                     nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    >>> found = attribute(net, torch.rand(2, 1, 8, 8), 1)
    >>> found.maps.shape, found.layer
    ((2, 8, 8), '1')
    """
    if method not in METHODS:
        raise UnknownNameError("attribution method", method, METHODS)
    if layer is not None and method != "grad_cam":
        raise ArgumentError(
            f"attribute: layer={layer!r} is for Grad-CAM; {method} looks at the input "
            "itself. Leave one of them out."
        )
    require_network(net, "attribute")
    _require_inputs(net, inputs)
    state = Snapshot(net)
    try:
        own = meta_copy(net, keep_values=True).eval()
        asked = _asked(own, inputs, target, minus)
        if method in CHANGING and not asked.classes:
            raise ArgumentError(
                f"attribute: method={method!r} compares changed copies one by one, and "
                "target is a function of the whole output. Give a class."
            )
        found = _mapped(own, inputs, asked, method, layer, seed)
        judged: tuple[Trust, ...] = ()
        if trust:
            judged = tuple(_trusted(own, inputs, asked, found, method, seed))
        maps, chosen, notes = found
    finally:
        state.restore()
    return Attribution(maps, method, chosen, asked.words, asked.classes, judged, notes)


@dataclass(frozen=True)
class Asked:
    """What is explained: one number for each input."""

    words: str
    value: Callable[[Any], Tensor]  # of the output: (N,), or one number for all
    classes: tuple[int, ...]
    minus: int | None = None

    def of_one(self, number: int) -> "Asked":
        """The same for the input at that place alone."""
        if not self.classes:
            return self
        return _class(torch.tensor([self.classes[number]]), self.minus)

    def scores(self, net: nn.Module, number: int) -> Callable[[Tensor], Tensor]:
        """Of changed copies of one input, the target's probability."""
        chosen = self.classes[number]

        def probability(copies: Tensor) -> Tensor:
            with torch.no_grad():
                p: Tensor = net(copies).softmax(1)
            if self.minus is None:
                return p[:, chosen]
            # How sure it is of the one, were there only the two.
            return p[:, chosen] / (p[:, chosen] + p[:, self.minus]).clamp_min(1e-12)

        return probability


def _asked(
    net: nn.Module,
    inputs: Tensor,
    target: int | Tensor | Callable[[Any], Tensor] | None,
    minus: int | None,
) -> Asked:
    if callable(target) and not isinstance(target, Tensor):
        if minus is not None:
            raise ArgumentError(
                "attribute: minus is for classes, and target is a function. Subtract "
                "in the function."
            )
        name = getattr(target, "__name__", "")
        return Asked(name if name.isidentifier() else "a function", target, ())
    with torch.no_grad():
        out = net(inputs)
    if not isinstance(out, Tensor) or out.ndim != 2:
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ArgumentError(
            f"attribute: the network gives {shape}, not (N, classes). Give as target a "
            "function of its output that gives one number."
        )
    count = out.shape[1]
    chosen = target
    if chosen is None:
        classes = out.argmax(1)
        if minus is not None:  # it may be the very class that is named
            out = out.clone()
            out[:, minus % count] = -torch.inf
            classes = out.argmax(1)
    elif isinstance(chosen, Tensor):
        classes = chosen.to(out.device).long()
        if classes.shape != (len(out),):
            raise ArgumentError(
                f"attribute: target has shape {tuple(classes.shape)} for {len(out)} "
                "inputs. Give one class for each."
            )
    else:
        classes = torch.full((len(out),), int(chosen), device=out.device)
    for name, value in (("target", classes), ("minus", minus)):
        if value is None:
            continue
        least, most = (
            int(torch.as_tensor(value).min()),
            int(torch.as_tensor(value).max()),
        )
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
    return _class(classes, minus)


def _class(classes: Tensor, minus: int | None) -> Asked:
    def value(output: Tensor) -> Tensor:
        # Copies of the inputs, as integrated gradients makes, come in whole rounds.
        repeated = classes.to(output.device).repeat(len(output) // len(classes))
        own = output.gather(1, repeated.unsqueeze(1)).squeeze(1)
        return own if minus is None else own - output[:, minus]

    same = len(set(classes.tolist())) == 1
    words = f"class {int(classes[0])}" if same else "the class of each input"
    if minus is not None:
        words += f" rather than class {minus}"
    return Asked(words, value, tuple(classes.tolist()), minus)


def _require_inputs(net: nn.Module, inputs: Any) -> None:
    if not isinstance(inputs, Tensor) or inputs.ndim < 3 or not len(inputs):
        found = (
            f"has shape {tuple(inputs.shape)}" if isinstance(inputs, Tensor)
            else f"is of type {type(inputs).__name__}"
        )  # fmt: skip
        raise ArgumentError(
            f"attribute: inputs {found}. Give a tensor (N, C, *space) with one input "
            "at least."
        )
    if not inputs.is_floating_point():
        raise ArgumentError(
            f"attribute: inputs are of type {inputs.dtype}, which has no gradient. "
            "Give what the network takes, scaled and normalized."
        )
    check(net, tuple(inputs.shape[1:]))


Found = tuple[Array, str | None, tuple[str, ...]]


def _mapped(
    net: nn.Module,
    inputs: Tensor,
    asked: Asked,
    method: Method,
    layer: str | None,
    seed: int,
) -> Found:
    """The maps, the layer they are of, and what is to be said of them."""
    if method == "grad_cam":
        return _grad_cam(net, inputs, asked, layer)
    if method == "integrated_gradients":
        return integrated_gradients(net, inputs, asked.value), None, ()
    if method == "occlusion":
        return occlusion(net, inputs, asked.value), None, ()
    if method == "rise":
        values = [asked.of_one(number).value for number in range(len(inputs))]
        return rise(net, inputs, values, seed), None, ()
    notes: tuple[str, ...] = ()
    x = inputs.detach().clone().requires_grad_()
    rule: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    if method != "saliency":
        rule = RectifierRule(
            "guided" if method == "guided_backprop" else "deconvolution"
        )
    with rule, torch.enable_grad():
        value = asked.value(net(x)).sum()
    (slope,) = torch.autograd.grad(value, x, allow_unused=True)
    if slope is None:
        slope = torch.zeros_like(x)
        notes = ("The target does not depend on the input.",)
    if isinstance(rule, RectifierRule) and not rule.met:
        notes = ("The network has no ReLU: this is its plain gradient.",)
    return _array(slope.abs().amax(1)), None, notes


def _grad_cam(net: nn.Module, inputs: Tensor, asked: Asked, layer: str | None) -> Found:
    notes: tuple[str, ...] = ()
    if layer is None:
        layer, notes = _last_map(net, inputs)
    found = capture(
        net, inputs, layer, gradients=True, target=lambda out: asked.value(out).sum()
    )
    taken = found[layer] if layer in found else next(iter(found.values()))
    maps, slopes = taken.outputs[0], taken.gradient
    if not isinstance(slopes, Tensor):
        raise ArgumentError(
            f"attribute: {asked.words} does not depend on layer {layer!r}. Choose a "
            "layer on the way to the output."
        )
    space = inputs.shape[2:]
    if maps.ndim != inputs.ndim:
        raise ArgumentError(
            f"attribute: layer {layer!r} gives {tuple(maps.shape)}, which has no map "
            f"of {len(space)} axes. Choose a convolution or what follows it."
        )
    axes = tuple(range(2, maps.ndim))
    weights = slopes.mean(axes, keepdim=True)
    small = (weights * maps).sum(1, keepdim=True).clamp_min(0)
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(space)]
    large = F.interpolate(small.float(), tuple(space), mode=mode, align_corners=False)
    if not bool((small > 0).flatten(1).any(1).all()):
        notes += (
            f"Nothing at {layer} speaks for {asked.words} in some of the inputs: their "
            "map is 0 everywhere.",
        )
    return _array(large[:, 0]), layer, notes


def _last_map(net: nn.Module, inputs: Tensor) -> tuple[str, tuple[str, ...]]:
    """The last layer whose map has at least 4 elements along each axis."""
    found = capture(net, inputs[:1])
    maps = [
        (label, taken.outputs[0].shape[2:])
        for label, taken in found.items()
        if label and taken.outputs and taken.outputs[0].ndim == inputs.ndim
    ]
    large = [label for label, space in maps if min(space) >= LEAST_MAP]
    if large:
        return large[-1], ()
    if maps:
        label = max(reversed(maps), key=lambda pair: min(pair[1]))[0]
        return label, (f"No map has {LEAST_MAP} elements along each axis; {label} has "
                       "the largest.",)  # fmt: skip
    raise ArgumentError(
        "attribute: no layer gives a map, so Grad-CAM has nothing to weigh. Take "
        "method='saliency' or 'occlusion'."
    )


def _trusted(
    net: nn.Module,
    inputs: Tensor,
    asked: Asked,
    found: Found,
    method: Method,
    seed: int,
) -> Iterator[Trust]:
    if not asked.classes:
        raise ArgumentError(
            "attribute: trust=True compares probabilities of a class, and target is a "
            "function. Give a class."
        )
    maps, layer, _ = found
    others = list(_of_shuffled(net, inputs, asked, layer, method, seed))
    orders = list(random_orders(tuple(inputs.shape[2:]), seed))
    for number, image in enumerate(inputs):
        scores = asked.scores(net, number)
        insertion, deletion = areas(scores, image, maps[number].astype(np.float64))
        randomly = [areas(scores, image, order) for order in orders]
        yield Trust(
            insertion,
            deletion,
            tuple(one for one, _ in randomly),
            tuple(two for _, two in randomly),
            tuple(
                (path, rank_correlation(maps[number], theirs[number]))
                for path, theirs in others
            ),
        )


def _of_shuffled(
    net: nn.Module,
    inputs: Tensor,
    asked: Asked,
    layer: str | None,
    method: Method,
    seed: int,
) -> Iterator[tuple[str, Array]]:
    """Maps of the same class by networks with ever more shuffled weights."""
    if method in ("occlusion", "rise"):
        return  # of minutes each; insertion and deletion judge them
    changed = meta_copy(net, keep_values=True).eval()
    for path, other in shuffled(changed, seed=seed):
        yield path, _mapped(other, inputs, asked, method, layer, seed)[0]


def _array(values: Tensor) -> Array:
    made: Array = values.detach().float().cpu().numpy()
    return made
