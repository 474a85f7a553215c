"""What layers are to the kernels, read from the layers as they are at a call."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from convscope import layers
from convscope.layers.conv import ConvGeometry, plain_geometry


class Linear(NamedTuple):
    """A fully connected layer."""

    weight: tuple[int, ...]
    biased: bool


class Pool(NamedTuple):
    """A pooling; ``whole`` is False for one that no kernel of ours computes."""

    kind: Literal["max", "average"]
    kernel_size: Any
    stride: Any
    padding: Any
    ceil_mode: Any
    whole: bool


class Flatten(NamedTuple):
    """Maps to vectors."""

    start: int
    end: int


Layer = ConvGeometry | Linear | Pool | Flatten | str | None  # None: not known here


def is_watched(module: nn.Module) -> bool:
    """Whether hooks are to be called: then the module has to run by itself."""
    own = module.__dict__
    return bool(
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
        or own.get("_compiled_call_impl")
    )


def describe(modules: Sequence[nn.Module | None]) -> tuple[Layer, ...]:
    """What the layers are to the kernels, as they are now.

    >>> describe([nn.Linear(2, 3), nn.Tanh(), nn.Dropout()])
    (Linear(weight=(3, 2), biased=True), 'tanh', None)
    """
    found: list[Layer] = []
    for module in modules:
        read = _READERS.get(type(module))
        unknown = module is None or read is None or is_watched(module)
        found.append(None if unknown or read is None else read(module))
    return tuple(found)


def _linear(module: nn.Module) -> Layer:
    own = module._parameters
    weight = own.get("weight")
    if weight is None:
        return None
    return Linear(tuple(weight.shape), own.get("bias") is not None)


def _max_pool(module: Any) -> Pool:
    whole = not module.return_indices and module.dilation in (1, (1, 1))
    window = module.kernel_size, module.stride, module.padding
    return Pool("max", *window, module.ceil_mode, whole)


def _average_pool(module: Any) -> Pool:
    whole = module.__dict__.get("divisor_override") is None
    window = module.kernel_size, module.stride, module.padding
    return Pool("average", *window, module.ceil_mode, whole)


def _gelu_name(module: Any) -> Layer:
    return "gelu" if module.approximate == "none" else None


_READERS: dict[type, Callable[[Any], Layer]] = {
    nn.Conv2d: plain_geometry,
    layers.Conv2d: plain_geometry,
    nn.Linear: _linear,
    nn.MaxPool2d: _max_pool,
    layers.MaxPool2d: _max_pool,
    nn.AvgPool2d: _average_pool,
    layers.AvgPool2d: _average_pool,
    nn.Flatten: lambda module: Flatten(module.start_dim, module.end_dim),
    nn.ReLU: lambda _: "relu",
    nn.Tanh: lambda _: "tanh",
    nn.Sigmoid: lambda _: "sigmoid",
    nn.GELU: _gelu_name,
    **dict.fromkeys(
        (
            nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d,
            layers.BatchNorm1d, layers.BatchNorm2d, layers.BatchNorm3d,
        ),
        lambda _: "norm",
    ),
}  # fmt: skip


def is_ordinary(x: Any) -> bool:
    """Whether ``x`` is a tensor of numbers, not of a class with rules of its own."""
    return type(x) in (Tensor, nn.Parameter)


def is_float32(x: Tensor) -> bool:
    """Whether the kernels of chains take its numbers."""
    return x.dtype == torch.float32 and x.device.type == "cpu"


def per_two_axes(value: Any) -> tuple[int, int] | None:
    """One integer for both axes, or one for each; None for other forms.

    >>> per_two_axes(2), per_two_axes((1, 3)), per_two_axes("same")
    ((2, 2), (1, 3), None)
    """
    if isinstance(value, int):
        return value, value
    if isinstance(value, tuple | list) and len(value) == 2:
        first, second = value
        if isinstance(first, int) and isinstance(second, int):
            return first, second
    return None


def window_of(pool: Pool) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Size and step."""
    size = per_two_axes(pool.kernel_size)
    step = size if pool.stride is None else per_two_axes(pool.stride)
    return None if size is None or step is None else (size, step)
