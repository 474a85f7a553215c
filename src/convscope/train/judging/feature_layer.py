"""Which layer of a network says most of an image, and one vector of what it gives."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import ArgumentError, UnknownNameError
from convscope.private_torch import AnyBatchNorm, AnyConv

_NORMS = (AnyBatchNorm, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class FeatureLayer:
    """A place in a network where features are taken.

    Attributes:
        name: The layer, as ``named_modules`` calls it; ``""`` is the network itself.
        before: Whether what reaches the layer is taken, and not what it gives.

    >>> str(FeatureLayer("classifier", before=True)), str(FeatureLayer("blocks.2"))
    ('what reaches classifier', 'blocks.2')
    """

    name: str
    before: bool = False

    def __str__(self) -> str:
        name = self.name or "the network's output"
        return f"what reaches {name}" if self.before else name

    @contextlib.contextmanager
    def watched(self, net: nn.Module) -> Iterator[dict[str, Any]]:
        """Inside, each call of ``net`` puts what passes here under ``"value"``.

        Of a layer that is called several times the last call counts.
        """
        module = net.get_submodule(self.name)
        seen: dict[str, Any] = {}

        def before(_: nn.Module, arguments: Any, named: dict[str, Any]) -> None:
            first = next(iter((*arguments, *named.values())), None)
            seen["value"] = _vectors(first, module, self)

        def after(_: nn.Module, __: Any, output: Any) -> None:
            seen["value"] = _vectors(output, module, self)

        if self.before:
            hook = module.register_forward_pre_hook(before, with_kwargs=True)
        else:
            hook = module.register_forward_hook(after)
        try:
            yield seen
        finally:
            hook.remove()


def named_layer(net: nn.Module, name: str) -> FeatureLayer:
    """The place after the layer of that name.

    Raises:
        UnknownNameError: The network has no such layer; names the nearest.

    >>> named_layer(nn.Sequential(nn.Linear(4, 3)), "0")
    FeatureLayer(name='0', before=False)
    """
    names = {path for path, _ in net.named_modules(remove_duplicate=False)}
    if name not in names:
        raise UnknownNameError("layer", name, names - {""})
    return FeatureLayer(name)


def before_last_linear(net: nn.Module) -> FeatureLayer:
    """The place before the last linear layer, in the order in which it was built.

    Raises:
        ArgumentError: There is none.

    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> net.get_submodule(before_last_linear(net).name)
    Linear(in_features=3, out_features=2, bias=True)
    """
    names = [name for name, m in net.named_modules() if isinstance(m, nn.Linear)]
    if not names:
        raise ArgumentError(
            f"features: {type(net).__name__} has no linear layer, so that none can be "
            "fitted to features. Take a network that ends in one."
        )
    return FeatureLayer(names[-1], before=True)


def last_layer(net: nn.Module, example: Tensor) -> FeatureLayer:
    """Where features are taken if nobody says: before the layer that tells classes.

    That is the last linear layer or convolution that is called, transposed ones left
    out. A convolution counts as such where it looks at one position or at all at once,
    and no normalization follows; else the network has no such layer, and its output is
    taken.

    Args:
        net: In evaluation mode.
        example: One input, on the network's device.

    Shape:
        example: (1, C, ...)

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> str(last_layer(net, torch.zeros(1, 4)))
    'what reaches 3'
    """
    called: list[tuple[str, nn.Module, bool]] = []
    hooks = []
    kinds: tuple[Any, ...] = (nn.Linear, AnyConv, *_NORMS)

    def watch(name: str, module: nn.Module) -> None:
        def note(_: nn.Module, __: Any, output: Any) -> None:
            called.append((name, module, _is_head(module, output)))

        hooks.append(module.register_forward_hook(note))

    for name, module in net.named_modules():
        if isinstance(module, kinds) and not getattr(module, "transposed", False):
            watch(name, module)
    try:
        with torch.no_grad():
            net(example)
    finally:
        for hook in hooks:
            hook.remove()
    norms: Any = _NORMS
    normalized = False
    for name, module, is_head in reversed(called):
        if isinstance(module, norms):
            normalized = True
        elif isinstance(module, nn.Linear) or (is_head and not normalized):
            return FeatureLayer(name, before=True)
        else:
            break
    return FeatureLayer("")


def _is_head(module: nn.Module, output: Any) -> bool:
    """Whether a layer makes each of its outputs of one position, or of all of them."""
    if not isinstance(output, Tensor):
        return False
    pointwise = set(getattr(module, "kernel_size", (0,))) == {1}
    return pointwise or set(output.shape[2:]) <= {1}


def _vectors(value: Any, module: nn.Module, place: FeatureLayer) -> Tensor:
    """A copy of (N, F) in float32: the mean over positions of a map."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise ArgumentError(
            f"features: layer={place.name!r} ({type(module).__name__}) gives a {kind}, "
            "not a tensor of floating-point numbers. Name another layer."
        )
    if value.ndim < 2:
        raise ArgumentError(
            f"features: layer={place.name!r} ({type(module).__name__}) gives a tensor "
            f"of shape {tuple(value.shape)}, not (N, F) or (N, C, ...). Name another "
            "layer."
        )
    found = value.detach().to(torch.float32, copy=True)
    if _has_channels_last(module):
        found = found.movedim(-1, 1)
    return found.flatten(2).mean(2) if found.ndim > 2 else found


def _has_channels_last(module: nn.Module) -> bool:
    """Whether its channels are the last axis: torch's layers for sequences."""
    if isinstance(module, nn.LayerNorm):
        return len(module.normalized_shape) == 1
    return isinstance(module, nn.Linear | nn.TransformerEncoderLayer)
