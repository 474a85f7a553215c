"""Feature maps: what layers give for one input, as arrays to be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from convscope.analysis.capturing.capture import capture
from convscope.analysis.capturing.choosing import Layers
from convscope.analysis.capturing.record import Captured
from convscope.errors import ArgumentError, ShapeError

MOST_LAYERS = 24
MOST_FEATURES = 1024  # of a vector
# What is left out first where there are too many layers: what changes a map least.
_LESS_TELLING = (
    ("Dropout", "Identity", "dropout"),
    ("BatchNorm", "GroupNorm", "LayerNorm", "InstanceNorm", "LocalResponse"),
    ("Conv", "conv"),
)


@dataclass(frozen=True, eq=False)
class LayerMaps:
    """What one call of a layer gave for one input.

    Attributes:
        label: The call's name, as `capture` has it.
        kind: The layer or function as one would write it.
        shape: Of the whole output: (channels, *space), or (features,).
        values: The channels that are kept, (channels kept, *space) float32.
        channels: Which they are.
        smallest: Least finite value of the whole output.
        largest: Largest finite value of the whole output.
        not_finite: Values of the whole output that are NaN or infinite.
    """

    label: str
    kind: str
    shape: tuple[int, ...]
    values: npt.NDArray[np.float32]
    channels: tuple[int, ...]
    smallest: float
    largest: float
    not_finite: int = 0

    @property
    def is_signed(self) -> bool:
        """Whether any value is below 0."""
        return self.smallest < 0

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON, the values as nested lists."""
        return {
            "label": self.label,
            "kind": self.kind,
            "shape": list(self.shape),
            "channels": list(self.channels),
            "smallest": self.smallest,
            "largest": self.largest,
            "not_finite": self.not_finite,
            "values": self.values.tolist(),
        }


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """What layers gave for one input.

    Attributes:
        network: Class of the network, or what it was called by.
        input: What went in, (C, *space) float32.
        picture: The same as one sees it, (H, W) or (H, W, 3) from 0 to 1, if known.
        layers: In the order of the calls.
        left_out: Layers that are not shown, and how to see them; empty if all are.
    """

    network: str
    input: npt.NDArray[np.float32]
    picture: npt.NDArray[np.float64] | None
    layers: tuple[LayerMaps, ...]
    left_out: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON, the values as nested lists."""
        return {
            "network": self.network,
            "input": self.input.tolist(),
            "layers": [layer.to_dict() for layer in self.layers],
            "left_out": self.left_out,
        }


def feature_maps(
    net: nn.Module,
    inputs: Tensor,
    layers: Layers = None,
    *,
    most: int = 16,
    order: str = "index",
    picture: npt.NDArray[Any] | None = None,
    name: str = "",
) -> FeatureMaps:
    """What layers give for one input.

    Args:
        net: Any network; it is as before afterwards.
        inputs: (1, C, *space).
        layers: As `capture` takes them; by default every layer with a map of space or
            a vector, and of more than 24 those that change it most.
        most: Channels to keep of each layer, at least 1; of vectors up to 1,024
            features are kept.
        order: ``index``, or ``strength``: those with the largest mean of squares.
        picture: The input as one sees it, (H, W), (H, W, 1) or (H, W, 3), of bytes or
            from 0 to 1.
        name: What to call the network; its class by default.

    Raises:
        ShapeError: ``inputs`` is not one input, or the network does not work on it.
        UnknownNameError: There is no such layer; names the nearest.
        ArgumentError: A bound is below 1, or no chosen layer gives a map.

    >>> import torch
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    >>> found = feature_maps(net, torch.ones(1, 1, 8, 8))
    >>> [(each.label, each.shape) for each in found.layers]
    [('0', (4, 6, 6)), ('1', (4, 6, 6))]
    """
    where = "feature_maps"
    if not isinstance(inputs, Tensor):
        raise ArgumentError(
            f"{where}: inputs is of type {type(inputs).__name__}, where one tensor "
            "(1, C, *space) is needed. Of several inputs capture(net, inputs) has the "
            "values."
        )
    if inputs.ndim < 2 or len(inputs) != 1:
        raise ShapeError(
            f"{where}: inputs has shape {tuple(inputs.shape)}, where one input "
            "(1, C, *space) is needed. Give x[:1]."
        )
    if most < 1:
        raise ArgumentError(f"{where}: most={most} is below 1. Use 16.")
    if order not in ("index", "strength"):
        raise ArgumentError(f"{where}: order={order!r} is neither index nor strength.")
    found = capture(net, inputs, layers)
    axes = inputs.ndim - 2
    kept = [each for each in found.values() if _has_map(each, axes)]
    if not kept:
        raise ArgumentError(
            f"{where}: none of the layers gives a map (N, C, *space) of {axes} axes or "
            "a vector (N, features). Choose others with layers=..."
        )
    left_out = ""
    if layers is None and len(kept) > MOST_LAYERS:
        every, kept = len(kept), _most_telling(kept)
        left_out = f"{len(kept)} of {every} layers shown; choose others by their path"
    return FeatureMaps(
        network=name or found.name,
        input=inputs[0].detach().float().cpu().numpy(),
        picture=None if picture is None else seen(picture),
        layers=tuple(_layer(each, most, order) for each in kept),
        left_out=left_out,
    )


def _has_map(each: Captured, axes: int) -> bool:
    if not each.outputs:
        return False
    first = each.outputs[0]
    is_number = first.is_floating_point() and first.numel() > 0
    return is_number and first.ndim in (2, axes + 2) and len(first) == 1


def _most_telling(kept: list[Captured]) -> list[Captured]:
    """At most as many as fit: by kind, then evenly from the first to the last."""
    for kinds in _LESS_TELLING:
        fewer = [each for each in kept if not each.kind.startswith(kinds)]
        if len(fewer) >= MOST_LAYERS // 2:
            kept = fewer
        if len(kept) <= MOST_LAYERS:
            return kept
    places = np.linspace(0, len(kept) - 1, MOST_LAYERS).round().astype(int)
    return [kept[place] for place in places]


def _layer(each: Captured, most: int, order: str) -> LayerMaps:
    values = each.outputs[0][0].detach().float().cpu().numpy()
    finite = np.isfinite(values)
    some = values[finite] if finite.any() else np.zeros(1, np.float32)
    channels = np.arange(len(values))
    if order == "strength" and values.ndim > 1:
        clean = np.where(finite, values, 0).reshape(len(values), -1)
        channels = np.argsort(-(clean**2).mean(axis=1), kind="stable")
    is_map = values.ndim > 1 and max(values.shape[1:]) > 1
    channels = channels[: most if is_map else MOST_FEATURES]
    return LayerMaps(
        label=each.label,
        kind=each.kind,
        shape=tuple(values.shape),
        values=values[channels].copy(),
        channels=tuple(channels.tolist()),
        smallest=float(some.min()),
        largest=float(some.max()),
        not_finite=int((~finite).sum()),
    )


def seen(picture: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """A picture of bytes, or from 0 to 1, as (H, W) or (H, W, 3) from 0 to 1.

    Raises:
        ShapeError: It has another shape.

    >>> seen(np.full((2, 2, 1), 255, np.uint8)).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    shape: Sequence[int] = picture.shape
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise ShapeError(
            f"feature_maps: picture has shape {tuple(shape)}. Give (H, W), (H, W, 1) "
            "or (H, W, 3)."
        )
    found = picture[..., 0] if len(shape) == 3 and shape[2] == 1 else picture
    scale = np.iinfo(found.dtype).max if found.dtype.kind == "u" else 1.0
    return found.astype(np.float64) / scale
