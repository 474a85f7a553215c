"""A network rewritten layer by layer so that it slides: behind `to_convolutional`.

The network runs once on an image of the size that it was built for. What is on the
way is a `Computed`: a value, and, once it is flat, the map that it was flattened from.
Each layer gives its successor and the next value; what the rules do not know is traced
with torch.fx and rewritten operation by operation (``by_operation.py``).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor, nn

from convscope.errors import ArgumentError
from convscope.layers.batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d

Shape: TypeAlias = tuple[int, ...]

_CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_OUR_NORM = (BatchNorm1d, BatchNorm2d, BatchNorm3d)
_POOL = {
    "Avg": (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    "Max": (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
}
_SOFTMAX = (nn.Softmax, nn.LogSoftmax, nn.Softmin)
# each element by itself, so that a map is as good as what it flattens to
_ELEMENTWISE = (
    nn.Identity, nn.Dropout, nn.AlphaDropout, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU,
    nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.LogSigmoid,
    nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Softplus, nn.Softsign,
    nn.Softshrink, nn.Hardshrink, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip
_WHOLE = re.compile(r"(Adaptive|Global)(Avg|Max)Pool[123]d")  # torch.nn's and ours


@dataclass(frozen=True)
class Computed:
    """What is computed at one place of the network.

    Attributes:
        data: As the network computes it, for a batch of two.
        flat_from: The map (C, *sizes) that it is the flattened form of; None for what
            is a map itself, or no tensor.
    """

    data: Any
    flat_from: Shape | None = None


RewriteForward: TypeAlias = Callable[
    ["Conversion", nn.Module, Computed, str], tuple[nn.Module, Computed]
]


class Conversion:
    """One pass over a network.

    Attributes:
        axes: Spatial axes of its maps.
        rewrite_forward: What rewrites a module that no rule knows.
        origin: The layer that each new one stands for.
    """

    def __init__(self, axes: int, rewrite_forward: "RewriteForward") -> None:
        self.axes, self.rewrite_forward = axes, rewrite_forward
        self.origin: dict[nn.Module, nn.Module] = {}
        self._done: dict[nn.Module, tuple[nn.Module, Shape | None]] = {}

    def step(
        self, layer: nn.Module, value: Computed, path: str
    ) -> tuple[nn.Module, Computed]:
        """The layer that takes its place, and what comes out of the present one."""
        if type(layer) is nn.Sequential:
            return self._sequence(layer, value, path)
        if layer in self._done:
            new, seen = self._done[layer]
            if seen != value.flat_from:
                raise refusal(
                    path, layer, "is used twice, on maps of different sizes",
                    "Give each place a layer of its own",
                )  # fmt: skip
            return new, self._replaced(layer, value, path)[1]
        new, out = self._replaced(layer, value, path)
        self.origin[new] = layer
        self._done[layer] = new, value.flat_from
        return new, out

    def _sequence(
        self, layers: nn.Sequential, value: Computed, path: str
    ) -> tuple[nn.Module, Computed]:
        for name, layer in list(layers._modules.items()):  # children twice in it too
            if layer is None:
                continue
            new, value = self.step(layer, value, f"{path}.{name}" if path else name)
            setattr(layers, name, new)
        return layers, value

    def _replaced(
        self, layer: nn.Module, value: Computed, path: str
    ) -> tuple[nn.Module, Computed]:
        if value.flat_from is None:
            return self._on_map(layer, value, path)
        return self._on_flat(layer, value, value.flat_from, path)

    def is_map(self, data: Any) -> bool:
        """Whether it has batch, channels and space."""
        return isinstance(data, Tensor) and data.ndim == self.axes + 2

    def _on_map(
        self, layer: nn.Module, value: Computed, path: str
    ) -> tuple[nn.Module, Computed]:
        if isinstance(layer, nn.Flatten):
            if layer.start_dim != 1 or layer.end_dim not in (-1, self.axes + 1):
                raise refusal(
                    path, layer,
                    f"flattens axes {layer.start_dim} to {layer.end_dim} only",
                    "Flatten all but the batch axis",
                )  # fmt: skip
            flat_from = tuple(value.data.shape[1:])
            return nn.Identity(), Computed(layer(value.data), flat_from)
        if _WHOLE.fullmatch(type(layer).__name__):
            return self._whole_pool(layer, value, path)
        if isinstance(layer, nn.Linear):
            raise refusal(
                path, layer,
                f"works along the last axis of a map {shape_text(value.data)}",
                "Flatten the map before it",
            )  # fmt: skip
        data, plain = _watched(layer, value.data.clone())
        if plain and self.is_map(data):
            return layer, Computed(data)
        return self.rewrite_forward(self, layer, value, path)

    def _on_flat(
        self, layer: nn.Module, value: Computed, flat_from: Shape, path: str
    ) -> tuple[nn.Module, Computed]:
        if isinstance(layer, nn.Linear):
            new = convolution_of(layer, flat_from)
            one = (layer.out_features, *(1,) * self.axes)
            return new, Computed(layer(value.data), one)
        if isinstance(layer, nn.Flatten) and layer.start_dim == 1:
            return nn.Identity(), value
        if isinstance(layer, _ELEMENTWISE):
            return layer, Computed(layer(value.data), flat_from)
        by_channel = self._by_channel(layer)
        if by_channel is not None:
            self.require_one_place(layer, flat_from, path)
            return by_channel, Computed(layer(value.data), flat_from)
        if type(layer).__module__.startswith("torch.nn."):
            raise refusal(
                path, layer, "has no form that works at each place of a map",
                "Take it out, or convert what comes before it",
            )  # fmt: skip
        return self.rewrite_forward(self, layer, value, path)

    def _by_channel(self, layer: nn.Module) -> nn.Module | None:
        """The form on maps of what treats features apart; None where it has none."""
        if isinstance(layer, nn.BatchNorm1d):
            return _norm_of(layer, self.axes)
        if isinstance(layer, nn.PReLU):
            return layer
        if isinstance(layer, _SOFTMAX) and layer.dim in (None, 1, -1):
            return type(layer)(dim=1)
        return None

    def require_one_place(self, layer: Any, flat_from: Shape, path: str) -> None:
        """Refuse what tells the places of a flattened map from each other."""
        if any(size != 1 for size in flat_from[1:]):
            raise refusal(
                path, layer,
                f"tells the places of the flattened map {flat_from} from each other",
                "Put a Linear layer before it",
            )  # fmt: skip

    def _whole_pool(
        self, layer: nn.Module, value: Computed, path: str
    ) -> tuple[nn.Module, Computed]:
        """Adaptive or global pooling, as pooling with the windows it has here."""
        if getattr(layer, "return_indices", False):
            raise refusal(
                path, layer, "returns indices, which count from the border of a crop",
                "Set return_indices=False",
            )  # fmt: skip
        data = layer(value.data)
        sizes = tuple(value.data.shape[2:])
        flat = not self.is_map(data)
        outputs = (1,) * self.axes if flat else tuple(data.shape[2:])
        new = self.pool(_kind(layer), sizes, outputs, layer, path)
        flat_from = (value.data.shape[1], *outputs) if flat else None
        return new, Computed(data, flat_from)

    def pool(
        self, kind: str, sizes: Shape, outputs: Shape, layer: Any, path: str
    ) -> nn.Module:
        """Pooling whose equal windows cover ``sizes`` in ``outputs``."""
        if any(size % count for size, count in zip(sizes, outputs, strict=True)):
            raise refusal(
                path, layer,
                f"makes {outputs} of {sizes}, with windows of different lengths",
                "Choose an output size that divides the map, or 1",
            )  # fmt: skip
        window = tuple(s // count for s, count in zip(sizes, outputs, strict=True))
        if set(window) == {1}:
            return nn.Identity()
        stride = tuple(
            1 if count == 1 else one for one, count in zip(window, outputs, strict=True)
        )
        pool: nn.Module = _POOL[kind][self.axes - 1](window, stride)
        return pool


def convolution_of(layer: nn.Linear, flat_from: Shape) -> nn.Module:
    """A Linear on a flattened map, as the convolution with a kernel of its size."""
    kind: Any = _CONV[len(flat_from) - 2]
    conv: nn.Module = kind(
        flat_from[0],
        layer.out_features,
        flat_from[1:],
        bias=layer.bias is not None,
        device="meta",
    )
    weight = layer.weight.detach().reshape(layer.out_features, *flat_from)
    conv.weight = nn.Parameter(weight, layer.weight.requires_grad)
    if layer.bias is not None:
        conv.bias = layer.bias
    return conv.train(layer.training)


def refusal(path: str, layer: Any, reason: str, remedy: str) -> ArgumentError:
    """What cannot be converted, named."""
    name = layer if isinstance(layer, str) else type(layer).__name__
    place = f"{path} ({name})" if path else name
    return ArgumentError(f"to_convolutional: {place} {reason}. {remedy}.")


def shape_text(data: Any) -> str:
    """A shape, with the batch axis as a letter."""
    return f"(N, {', '.join(map(str, data.shape[1:]))})"


def _norm_of(layer: nn.BatchNorm1d, axes: int) -> nn.Module:
    ours = isinstance(layer, BatchNorm1d)
    kind: Any = (_OUR_NORM if ours else _NORM)[axes - 1]
    new: nn.Module = kind(
        layer.num_features,
        layer.eps,
        layer.momentum,
        layer.affine,
        layer.track_running_stats,
    )
    for name, parameter in layer.named_parameters():
        setattr(new, name, parameter)
    for name, buffer in layer.named_buffers():
        setattr(new, name, buffer)
    return new


def _kind(layer: nn.Module) -> str:
    found = _WHOLE.fullmatch(type(layer).__name__)
    return found[2] if found else ""


def _watched(layer: nn.Module, data: Any) -> tuple[Any, bool]:
    """The output, and whether nothing in the layer looks at a whole image."""
    plain = True

    def look(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal plain
        heads = nn.Linear | nn.Flatten | nn.Bilinear
        if isinstance(module, heads) or _WHOLE.fullmatch(type(module).__name__):
            plain = False

    hooks = [part.register_forward_hook(look) for part in layer.modules()]
    try:
        return layer(data), plain
    finally:
        for hook in hooks:
            hook.remove()
