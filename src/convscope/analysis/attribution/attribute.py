"""``attribute``: which elements of an input speak for what a network says of it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from convscope.analysis.attribution.explained import (
    Explained,
    Target,
    explained,
)
from convscope.analysis.attribution.grad_cam import grad_cam, last_map
from convscope.analysis.attribution.perturbation import (
    integrated_gradients,
    occlusion,
    rise,
)
from convscope.analysis.attribution.record import Array, Attribution, Trust, in_words
from convscope.analysis.attribution.rectifiers import RectifierRule
from convscope.analysis.attribution.trust import (
    STAGES,
    areas,
    random_orders,
    rank_correlation,
    shuffled,
)
from convscope.analysis.capturing.differentiating import gradients_of
from convscope.analysis.capturing.given import require_network
from convscope.analysis.checking.check import check
from convscope.analysis.tracing.meta_copy import meta_copy
from convscope.analysis.tracing.preserve import Snapshot
from convscope.errors import ArgumentError, UnknownNameError
from convscope.execution import images_together, may_be_channels_last

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
_NO_CLASSES: tuple[int, ...] = ()
_NO_NOTES: tuple[str, ...] = ()
CHANGING = ("integrated_gradients", "occlusion", "rise")  # call it on changed copies


def attribute(
    net: nn.Module,
    inputs: Tensor,
    target: Target = None,
    *,
    minus: int | None = None,
    loss: bool = False,
    method: Method = "grad_cam",
    layer: str | None = None,
    trust: bool = False,
    batch_size: int | None = None,
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
        loss: Whether to explain the loss (cross-entropy) of ``target``, the true class,
            instead: what in the input speaks against it.
        method: ``"grad_cam"`` weighs the maps of a layer by their mean gradients;
            ``"saliency"`` is the largest gradient over channels; ``"guided_backprop"``
            and ``"deconvolution"`` change how gradients pass rectifiers;
            ``"integrated_gradients"``, ``"occlusion"`` (both by captum) and ``"rise"``
            compare with inputs that are changed.
        layer: For Grad-CAM, the layer whose maps are weighed; by default the last one
            whose map has at least 4 elements along each axis.
        trust: Whether to measure how far each map can be believed; needs about 150
            forward passes for each input.
        batch_size: Inputs at a time, so that any number of them can be explained; by
            default as many as a CPU's cache bears.
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
    _require_inputs(net, inputs, target, batch_size)
    is_function = callable(target) and not isinstance(target, Tensor)
    if is_function and (method in CHANGING or trust):
        what = "trust=True" if trust else f"method={method!r}"
        raise ArgumentError(
            f"attribute: {what} compares changed copies one by one, and target is a "
            "function of the whole output. Give a class."
        )
    if batch_size is None:
        batch_size = images_together(inputs.shape[2:], inputs.device)
    parts = inputs.split(len(inputs) if is_function else batch_size)
    made: list[Array] = []
    trusted: list[Trust] = []
    words, classes, notes = "", _NO_CLASSES, _NO_NOTES
    state = Snapshot(net)
    try:
        own = meta_copy(net, keep_values=True).eval()
        own, parts = _laid_out(own, parts)
        if method == "grad_cam" and layer is None:
            layer, notes = last_map(own, inputs)
        way, done = _Way(method, layer, seed, trust), 0
        for part in parts:
            wanted = target
            if isinstance(target, Tensor):
                wanted = target[done : done + len(part)]
            done += len(part)
            asked = explained(own, part, wanted, minus, loss)
            maps, more = way.maps(own, part, asked)
            made.append(maps)
            words, classes = asked.words, (*classes, *asked.classes)
            notes = (*notes, *more)
            if trust:
                trusted += _judged(own, part, asked, maps, way)
    finally:
        state.restore()
    if classes:
        words = in_words(classes, minus, loss)
    return Attribution(
        np.concatenate(made), method, layer, words, classes, tuple(trusted),
        tuple(dict.fromkeys(notes)), minus, loss,
    )  # fmt: skip


def _laid_out(
    own: nn.Module, parts: tuple[Tensor, ...]
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A copy of a network and its images in the order that a CPU takes fastest."""
    first = parts[0]
    if first.device.type != "cpu" or first.ndim != 4 or not may_be_channels_last(own):
        return own, parts
    order = torch.channels_last
    for weight in own.parameters():
        if weight.ndim == 4:  # of the copy; the caller's memory stays as it is
            weight.data = weight.data.contiguous(memory_format=order)
    return own, tuple(part.contiguous(memory_format=order) for part in parts)


def _require_inputs(
    net: nn.Module, inputs: Any, target: Target, batch_size: int | None
) -> None:
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
    if isinstance(target, Tensor) and target.shape != (len(inputs),):
        raise ArgumentError(
            f"attribute: target has shape {tuple(target.shape)} for {len(inputs)} "
            "inputs. Give one class for each."
        )
    if batch_size is not None and batch_size < 1:
        raise ArgumentError(f"attribute: batch_size={batch_size} must be at least 1.")
    check(net, tuple(inputs.shape[1:]))


@dataclass(frozen=True)
class _Way:
    """How maps are made.

    Attributes:
        method: Which.
        layer: Of Grad-CAM.
        seed: Of what is random.
        trust: Whether each is judged.
    """

    method: Method
    layer: str | None
    seed: int
    trust: bool

    def maps(
        self, net: nn.Module, inputs: Tensor, asked: Explained
    ) -> tuple[Array, tuple[str, ...]]:
        """A map of each input, and what is to be said of them."""
        if self.layer is not None:
            found, notes = grad_cam(net, inputs, asked, self.layer)
            return _array(found), notes
        if self.method == "integrated_gradients":
            return integrated_gradients(net, inputs, asked.value), ()
        if self.method == "occlusion":
            return occlusion(net, inputs, asked.value), ()
        if self.method == "rise":
            values = [asked.of_one(number).value for number in range(len(inputs))]
            return rise(net, inputs, values, self.seed), ()
        return _slopes(net, inputs, asked, self.method)


def _slopes(
    net: nn.Module, inputs: Tensor, asked: Explained, method: Method
) -> tuple[Array, tuple[str, ...]]:
    notes: tuple[str, ...] = ()
    x = inputs.detach().clone().requires_grad_()
    rule: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    if method != "saliency":
        rule = RectifierRule(
            "guided" if method == "guided_backprop" else "deconvolution"
        )
    with rule, torch.enable_grad():
        value = asked.value(net(x.clone())).sum()  # it may write into its input
    (slope,) = gradients_of(value, [x], "attribute")
    if slope is None:
        slope = torch.zeros_like(x)
        notes = ("The target does not depend on the input.",)
    if isinstance(rule, RectifierRule) and not rule.met:
        notes = ("The network has no ReLU: this is its plain gradient.",)
    return _array(slope.abs().amax(1)), notes


def _judged(
    net: nn.Module, inputs: Tensor, asked: Explained, maps: Array, way: _Way
) -> Iterator[Trust]:
    others = list(_of_shuffled(net, inputs, asked, way))
    orders = list(random_orders(tuple(inputs.shape[2:]), way.seed))
    for number, image in enumerate(inputs):
        scores = asked.scores(net, number)
        (insertion, deletion), *randomly = areas(
            scores, image, maps[number].astype(np.float64), *orders
        )
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
    net: nn.Module, inputs: Tensor, asked: Explained, way: _Way
) -> Iterator[tuple[str, Array]]:
    """Maps of the same classes by networks with ever more shuffled weights.

    Where a map takes hundreds of forward passes there is one, of all weights shuffled.
    """
    changed = meta_copy(net, keep_values=True).eval()
    stages = 1 if way.method in ("occlusion", "rise") else STAGES
    for path, other in shuffled(changed, seed=way.seed, stages=stages):
        yield path, way.maps(other, inputs, asked)[0]


def _array(values: Tensor) -> Array:
    made: Array = values.detach().float().cpu().numpy()
    return made
