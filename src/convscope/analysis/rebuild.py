"""A layer of torch.nn with other arguments, to try a suggestion on a copy of a network.

``replacing(path, change)``  what `trace` calls to put the other layer in place
``layer_text(module)``       a layer as one would write it, for messages and tables
"""

from collections.abc import Callable
from typing import Any

from torch import nn

ARGUMENTS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("in_features", "out_features"),
    nn.Flatten: ("start_dim", "end_dim"),
    nn.ReLU: ("inplace",),
    nn.Dropout: ("p", "inplace"),
    nn.AdaptiveAvgPool2d: ("output_size",),
    nn.AdaptiveMaxPool2d: ("output_size",),
    nn.GroupNorm: ("num_groups", "num_channels", "eps", "affine"),
    nn.LayerNorm: ("normalized_shape", "eps", "elementwise_affine"),
}
_CONV = ("in_channels", "out_channels", "kernel_size", "stride", "padding")
_POOL = ("kernel_size", "stride", "padding")
_kind: type[nn.Module]
for _kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d):
    ARGUMENTS[_kind] = (*_CONV, "dilation", "groups", "padding_mode")
for _kind in (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d):
    ARGUMENTS[_kind] = (*_CONV, "output_padding", "groups", "dilation")
for _kind in (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d):
    ARGUMENTS[_kind] = (*_POOL, "dilation", "return_indices", "ceil_mode")
for _kind in (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d):
    ARGUMENTS[_kind] = (*_POOL, "ceil_mode", "count_include_pad")
for _kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
    ARGUMENTS[_kind] = (
        "num_features", "eps", "momentum", "affine", "track_running_stats",
    )  # fmt: skip
DEFAULTS: dict[str, Any] = {
    "padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros",
    "output_padding": 0, "ceil_mode": False, "count_include_pad": True,
    "return_indices": False, "eps": 1e-5, "momentum": 0.1, "affine": True,
    "track_running_stats": True, "start_dim": 1, "end_dim": -1, "inplace": False,
    "elementwise_affine": True,
}  # fmt: skip
WITHOUT_NAME = 2  # arguments of a convolution or a linear layer that need no name


def replacing(path: str, change: dict[str, Any]) -> Callable[[nn.Module], None] | None:
    """A function that puts the layer at ``path`` with other arguments into a network.

    None for the network itself, which has no place to be put into.
    """
    if not path:
        return None

    def change_it(root: nn.Module) -> None:
        owner, _, name = path.rpartition(".")
        old = root.get_submodule(path)
        new = rebuilt(old, change)
        if new is not None:
            new.train(old.training)
            root.get_submodule(owner)._modules[name] = new

    return change_it


def rebuilt(layer: nn.Module, change: dict[str, Any]) -> nn.Module | None:
    """The same layer with other arguments, on the meta device; None if unknown."""
    kind = next((k for k in ARGUMENTS if isinstance(layer, k)), None)
    if kind is None:
        return None
    arguments = {name: getattr(layer, name) for name in ARGUMENTS[kind]}
    arguments.update(change)
    if hasattr(layer, "bias") and not isinstance(layer, nn.GroupNorm):
        arguments["bias"] = layer.bias is not None
    if "in_channels" in change and 1 < arguments["groups"] == layer.in_channels:
        arguments["groups"] = change["in_channels"]  # depthwise stays depthwise
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        arguments.pop("bias", None)
    return kind(**arguments, **_on_meta(kind))


def _on_meta(kind: type[nn.Module]) -> dict[str, str]:
    return {} if issubclass(kind, _POOLS) else {"device": "meta"}


_POOLS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
)  # fmt: skip


def layer_text(layer: nn.Module) -> str:
    """A layer with the arguments that matter, as one would write it.

    >>> layer_text(nn.Conv2d(3, 8, 3, padding=1))
    'Conv2d(3, 8, 3, padding=1)'
    """
    kind = next((k for k in ARGUMENTS if isinstance(layer, k)), None)
    name = type(layer).__name__.removeprefix("Parametrized")
    if kind is None:
        text = layer.extra_repr() if not layer._modules else ""
        return f"{name}({text})" if text and "\n" not in text else name
    parts = []
    for place, argument in enumerate(ARGUMENTS[kind]):
        value = _short(getattr(layer, argument))
        if argument == "stride":
            unit = 1 if "Conv" in name else _short(layer.kernel_size)
            if value == unit:
                continue
        elif argument in DEFAULTS and value == DEFAULTS[argument]:
            continue
        named = place >= WITHOUT_NAME and argument != "kernel_size"
        parts.append(f"{argument}={value!r}" if named else str(value))
    if "Conv" in name or kind is nn.Linear:
        parts += [] if layer.bias is not None else ["bias=False"]
    return f"{name}({', '.join(parts)})" if parts else name


def _short(value: Any) -> Any:
    """One number where all axes have the same."""
    if isinstance(value, tuple) and value and len(set(value)) == 1:
        return value[0]
    return value
