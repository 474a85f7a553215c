"""Grad-CAM: the maps of one layer, weighed by their mean gradients."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.analysis.attribution.explained import Explained
from convscope.analysis.capturing.capture import capture
from convscope.errors import ArgumentError

LEAST_MAP = 4  # along each axis, of the layer that is taken by default


def grad_cam(
    net: nn.Module, inputs: Tensor, asked: Explained, layer: str
) -> tuple[Tensor, tuple[str, ...]]:
    """The map of each input, and what is to be said of them.

    Source:
        Selvaraju et al. 2017, equations 1 and 2, enlarged linearly.
    """
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
    weights = slopes.mean(tuple(range(2, maps.ndim)), keepdim=True)
    small = (weights * maps).sum(1, keepdim=True).clamp_min(0)
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(space)]
    large = F.interpolate(small.float(), tuple(space), mode=mode, align_corners=False)
    notes: tuple[str, ...] = ()
    if not bool((small > 0).flatten(1).any(1).all()):
        notes = (
            f"Nothing at {layer} speaks for {asked.words} in some of the inputs: their "
            "map is 0 everywhere.",
        )
    return large[:, 0], notes


def last_map(net: nn.Module, inputs: Tensor) -> tuple[str, tuple[str, ...]]:
    """The last layer whose map has at least 4 elements along each axis.

    Raises:
        ArgumentError: No layer gives a map.
    """
    with torch.no_grad():
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
