"""The filters of a convolution, and the templates of a linear layer, as arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from convscope.analysis.capturing.given import require_layers
from convscope.analysis.checking.rebuild import layer_text
from convscope.analysis.tracing.meta_copy import meta_copy, plain_path, uncompiled
from convscope.errors import ArgumentError, ShapeError, UnknownNameError
from convscope.layers.conv import Convolution
from convscope.private_torch import AnyConv

Order = Literal["index", "norm"]
MOST = 64  # filters in one picture
MOST_SLICES = 16  # of one filter, along its input channels and its depth


@dataclass(frozen=True, eq=False)
class Filters:
    """Filters of one layer, some or all, as they are applied.

    Attributes:
        network: Class of the network, or what it was called by.
        path: Where the layer is; empty if the network is the layer.
        kind: The layer as one would write it.
        weight: (filters shown, input channels shown, *kernel) float32.
        filters: Which output channel each row of ``weight`` is of.
        norms: Euclidean norm of each row's whole filter, all input channels counted;
            without weights that are not finite.
        out_channels: Filters that the layer has.
        in_channels: Input channels that one filter has: those of its group.
        groups: Blocks of channels that do not see each other.
        order: ``index``; ``norm`` for the strongest first; ``given`` by the caller.
        is_template: Whether a filter is as large as the whole input, as those of a
            linear layer are.
        connected: (filters shown, input channels shown), whether they are connected;
            None where all are.
        not_finite: Weights of the layer that are NaN or infinite.
    """

    network: str
    path: str
    kind: str
    weight: npt.NDArray[np.float32]
    filters: tuple[int, ...]
    norms: npt.NDArray[np.float64]
    out_channels: int
    in_channels: int
    groups: int
    order: str
    is_template: bool = False
    connected: npt.NDArray[np.bool_] | None = None
    not_finite: int = 0

    @property
    def is_color(self) -> bool:
        """Whether its input channels can be red, green and blue: there are three."""
        return self.in_channels == 3 and self.weight.ndim == 4

    @property
    def largest(self) -> float:
        """The largest absolute value that is finite, of what is shown."""
        finite = np.abs(self.weight[np.isfinite(self.weight)])
        return float(finite.max()) if finite.size else 0.0

    @property
    def left_out(self) -> str:
        """What is not shown, as one says it; empty if all is.

        >>> filters(nn.Conv2d(1, 80, 3)).left_out
        '64 of 80 filters shown'
        """
        shown, inputs = self.weight.shape[:2]
        parts = []
        if shown < self.out_channels:
            parts.append(f"{shown} of {self.out_channels} filters")
        if inputs < self.in_channels:
            parts.append(f"{inputs} of {self.in_channels} input channels")
        return f"{', '.join(parts)} shown" if parts else ""

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON, the weights as nested lists."""
        return {
            "network": self.network,
            "path": self.path,
            "kind": self.kind,
            "filters": list(self.filters),
            "norms": self.norms.tolist(),
            "out_channels": self.out_channels,
            "in_channels": self.in_channels,
            "groups": self.groups,
            "order": self.order,
            "is_template": self.is_template,
            "connected": None if self.connected is None else self.connected.tolist(),
            "not_finite": self.not_finite,
            "weight": self.weight.tolist(),
        }


def filters(
    module: nn.Module,
    layer: str | None = None,
    *,
    order: Order | Sequence[int] = "index",
    most: int | None = None,
    most_inputs: int | None = None,
    name: str = "",
) -> Filters:
    """The filters of a convolution, as the layer applies them.

    Flipped kernels are flipped, masked and normalized weights are what the forward
    pass uses, and a transposed convolution is turned so that its outputs come first.
    The network is only read.

    Args:
        module: Any network; its layers may be ours or torch.nn's.
        layer: Path of the convolution; by default the first.
        order: ``index``; ``norm`` for the strongest first; or which filters to take.
        most: Filters to take, at least 1; by default 64, or 32 where each has more
            than three input channels.
        most_inputs: Input channels of each to take, at least 1; three are always taken
            whole, for they may be colors. By default as many as make 16 slices.
        name: What to call the network; its class by default.

    Raises:
        UnknownNameError: There is no module at ``layer``; names the nearest.
        ArgumentError: The network has no convolution, ``layer`` is none, it has no
            weights yet, or a bound is below 1.

    >>> found = filters(nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU()))
    >>> found.path, found.kind, found.weight.shape
    ('0', 'Conv2d(3, 8, 5)', (8, 3, 5, 5))
    """
    where = "filters"
    _require(where, order, most=most, most_inputs=most_inputs)
    require_layers(module, where)
    # A copy, for a spectral norm counts how often its weight is looked at.
    net = meta_copy(uncompiled(module), keep_values=True).eval()
    path, conv = _convolution(net, None if layer is None else plain_path(layer))
    weight = _applied(conv, path or layer_text(conv))
    connected = getattr(conv, "connections", None)
    return _record(
        weight,
        None if connected is None else connected.cpu().numpy().astype(bool),
        network=name or type(net).__name__,
        path=path,
        kind=layer_text(conv),
        groups=conv.groups,
        order=order,
        most=most,
        most_inputs=most_inputs,
    )


def templates(
    module: nn.Module,
    input_shape: tuple[int, ...],
    layer: str | None = None,
    *,
    order: Order | Sequence[int] = "index",
    most: int | None = None,
    name: str = "",
) -> Filters:
    """The weights of a linear layer that looks at whole inputs, as images of them.

    A linear classifier has one template for each class; the first layer of an MLP is a
    bank of them. The classes of a convolution's filters are local instead; see
    `filters`.

    Args:
        module: A network in which nothing changes the input before the layer but a
            flatten.
        input_shape: (C, H, W), (C, L) or (C, D, H, W) of one input.
        layer: Path of the linear layer; by default the first.
        order: ``index``; ``norm`` for the strongest first; or which templates to take.
        most: Templates to take, at least 1; by default 64.
        name: What to call the network; its class by default.

    Raises:
        UnknownNameError: There is no module at ``layer``; names the nearest.
        ShapeError: The layer does not take as many numbers as an input has.
        ArgumentError: The network has no linear layer, ``layer`` is none, or it has no
            weights yet.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> templates(net, (1, 8, 8)).weight.shape
    (10, 1, 8, 8)
    """
    where = "templates"
    _require(where, order, most=most)
    if not 2 <= len(input_shape) <= 4 or min(input_shape) < 1:
        raise ArgumentError(
            f"{where}: input_shape={input_shape!r} is not (C, L), (C, H, W) or "
            "(C, D, H, W)."
        )
    net = meta_copy(uncompiled(module), keep_values=True).eval()
    known = {path: m for path, m in net.named_modules() if isinstance(m, nn.Linear)}
    path = _chosen(net, layer, known, where, "linear layer")
    linear = known[path]
    found = linear.in_features
    if found != prod(input_shape):
        raise ShapeError(
            f"{where}: layer={path!r} takes {found} numbers, an input of "
            f"{tuple(input_shape)} has {prod(input_shape)}: it does not look at the "
            "whole input. Choose the first layer of a network without convolutions."
        )
    weight = _values(linear, path).reshape(-1, *input_shape)
    return _record(
        weight,
        None,
        network=name or type(net).__name__,
        path=path,
        kind=layer_text(linear),
        groups=1,
        order=order,
        most=most,
        most_inputs=input_shape[0],
        is_template=True,
    )


def _record(
    weight: Tensor,
    connected: npt.NDArray[np.bool_] | None,
    *,
    order: Order | Sequence[int],
    most: int | None,
    most_inputs: int | None,
    **rest: Any,
) -> Filters:
    values = weight.detach().to("cpu", torch.float32).numpy()
    count, channels = values.shape[:2]
    flat = values.reshape(count, -1)
    norms = np.linalg.norm(np.where(np.isfinite(flat), flat, 0), axis=1)
    rows = np.arange(count)
    if order == "norm":
        rows = np.argsort(-norms, kind="stable")
    elif not isinstance(order, str):
        rows = _given_rows(order, count)
    rows = rows[: most or (MOST if channels <= 3 or rest.get("is_template") else 32)]
    slices = values.shape[2] if values.ndim == 5 else 1
    inputs = max(most_inputs or MOST_SLICES // slices, 3)
    return Filters(
        weight=values[rows, :inputs].copy(),
        filters=tuple(rows.tolist()),
        norms=norms[rows].astype(np.float64),
        out_channels=count,
        in_channels=channels,
        order=order if isinstance(order, str) else "given",
        connected=None if connected is None else connected[rows, :inputs],
        not_finite=int((~np.isfinite(values)).sum()),
        **rest,
    )


def _given_rows(order: Sequence[int], count: int) -> npt.NDArray[np.int64]:
    for index in order:
        if not 0 <= index < count:
            raise ArgumentError(
                f"filters: order={tuple(order)!r} asks for filter {index}, the layer "
                f"has {count}. Use 0 to {count - 1}."
            )
    return np.array(order, dtype=np.int64)


def _convolution(net: nn.Module, layer: str | None) -> tuple[str, Any]:
    known = {path: m for path, m in net.named_modules() if isinstance(m, AnyConv)}
    path = _chosen(net, layer, known, "filters", "convolution")
    return path, known[path]


def _chosen(
    net: nn.Module, layer: str | None, known: dict[str, Any], where: str, what: str
) -> str:
    """The path of the layer that is meant, or of the first."""
    if layer is None:
        if not known:
            raise ArgumentError(
                f"{where}: {type(net).__name__} has no {what} among its modules. "
                "Functions that are called without a module, and scripted modules, "
                "are not seen."
            )
        return next(iter(known))
    every = dict(net.named_modules())
    if layer not in every:
        raise UnknownNameError("layer", layer, known or every)
    if layer not in known:
        inside = [path for path in known if path.startswith(f"{layer}.")]
        names = inside or list(known)
        listed = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        more = f"Choose one of {listed}." if names else "It has none."
        raise ArgumentError(
            f"{where}: layer={layer!r} is {_short_text(every[layer])}, not a {what}. "
            f"{more}"
        )
    return layer


def _short_text(module: nn.Module) -> str:
    return layer_text(module).partition("\n")[0]


def _applied(conv: Any, where: str) -> Tensor:
    """The weight (out_channels, in_channels / groups, *kernel) as applied."""
    weight = _values(conv, where)
    if isinstance(conv, Convolution):
        return conv.dense_weight()
    if conv.transposed:  # (in, out / groups, ...) there
        pairs = weight.unflatten(0, (conv.groups, -1)).transpose(1, 2)
        weight = pairs.flatten(0, 1)
        if getattr(conv, "flip", False):
            weight = weight.flip(list(range(2, weight.ndim)))
    return weight


def _values(layer: nn.Module, where: str) -> Tensor:
    """The weight, made anew by what masks or normalizes it before each forward pass."""
    if "weight" not in layer._parameters:
        for hook in _weight_hooks(layer):
            with torch.no_grad():
                hook(layer, ())
    weight: Any = layer.weight
    if isinstance(weight, nn.parameter.UninitializedParameter) or weight.is_meta:
        raise ArgumentError(
            f"filters: layer={where!r} has no weights yet. Build it on a device, and "
            "run a lazy layer once."
        )
    if weight.is_complex():
        raise ArgumentError(
            f"filters: layer={where!r} has complex weights, which have no picture. "
            "Take their real and imaginary parts."
        )
    found: Tensor = weight
    return found


def _weight_hooks(layer: nn.Module) -> Iterator[Any]:
    """What sets ``weight`` before a forward pass: torch's pruning and weight norm."""
    for hook in layer._forward_pre_hooks.values():
        if type(hook).__module__.startswith("torch.nn.utils."):
            yield hook


def _require(where: str, order: Order | Sequence[int], **bounds: int | None) -> None:
    if isinstance(order, str) and order not in get_args(Order):
        raise UnknownNameError("order", order, get_args(Order))
    if not isinstance(order, str) and not len(order):
        raise ArgumentError(f"{where}: order is empty. Name at least one filter.")
    for name, value in bounds.items():
        if value is not None and value < 1:
            raise ArgumentError(f"{where}: {name}={value} is below 1. Use 64.")
