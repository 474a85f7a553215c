"""Max pooling: which elements win their windows, and where the gradient goes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from convscope.analysis.capturing.capture import capture
from convscope.analysis.capturing.target import Target
from convscope.analysis.checking.rebuild import layer_text
from convscope.analysis.tracing.meta_copy import meta_copy, uncompiled
from convscope.errors import ArgumentError, ShapeError, UnknownNameError

MOST = 4096  # windows in one map
Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PoolingWinners:
    """One map before and after a max pooling.

    Attributes:
        network: Class of the network, or what it was called by.
        layer: Path of the pooling.
        kind: The layer as one would write it.
        channel: Which map.
        before: (*space) what went in.
        after: (*space out) what came out.
        winner: (*space out, axes) which element won each window; -1 where none did.
        wins: (*space) how many windows each element won.
        gradient_after: (*space out) of the target; None without one.
        gradient_before: (*space) of the target; None without one.
        target: What the gradient is of, in words.
    """

    network: str
    layer: str
    kind: str
    channel: int
    before: Array
    after: Array
    winner: npt.NDArray[np.int64]
    wins: npt.NDArray[np.int64]
    gradient_after: Array | None = None
    gradient_before: Array | None = None
    target: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
        }


def pooling_winners(
    net: nn.Module,
    inputs: Tensor,
    layer: str | None = None,
    channel: int = 0,
    *,
    target: Target = None,
    name: str = "",
) -> PoolingWinners:
    """Which elements of a map win their windows, and where the gradient goes.

    Found by the layer's own gradient, one window after the other: the gradient of a
    maximum is 1 at the element that won and 0 elsewhere.

    Args:
        net: Any network; it is as before afterwards.
        inputs: (1, C, *space).
        layer: Path of a max pooling; by default the first.
        channel: Which of its maps.
        target: As `capture` takes it: what to go back from, such as a class. By default
            there is no gradient.
        name: What to call the network; its class by default.

    Raises:
        ShapeError: ``inputs`` is not one input, or the network does not work on it.
        UnknownNameError: There is no module at ``layer``; names the nearest.
        ArgumentError: The network has no max pooling, ``layer`` is none or a random
            one, there is no such channel, or there are more than 4,096 windows.

    >>> x = torch.tensor([[[[1.0, 5.0], [3.0, 2.0]]]])
    >>> found = pooling_winners(nn.MaxPool2d(2), x)
    >>> found.winner.tolist(), found.wins.tolist()
    ([[[0, 1]]], [[0, 1], [0, 0]])
    """
    where = "pooling_winners"
    if inputs.ndim < 3 or len(inputs) != 1:
        raise ShapeError(
            f"{where}: inputs has shape {tuple(inputs.shape)}, where one input "
            "(1, C, *space) is needed. Give x[:1]."
        )
    copy = meta_copy(uncompiled(net), keep_values=True).eval()
    path = _chosen(copy, layer, where)
    pool = copy.get_submodule(path)
    gradients = target is not None
    found = capture(
        net, inputs, [path], layer_inputs=True, gradients=gradients, target=target
    )
    each = found[path]
    if not each.inputs or not each.outputs:
        raise ArgumentError(f"{where}: layer={path!r} takes or gives no tensor.")
    x, y = each.inputs[0].detach(), each.outputs[0].detach()
    if not 0 <= channel < x.shape[1]:
        raise ArgumentError(
            f"{where}: channel={channel} is outside the {x.shape[1]} of "
            f"layer={path!r}. Use 0 to {x.shape[1] - 1}."
        )
    if y[0, 0].numel() > MOST:
        raise ArgumentError(
            f"{where}: layer={path!r} has {y[0, 0].numel()} windows, more than {MOST}. "
            "Choose a later one, or a smaller input."
        )
    winner = _winners(pool, x[:, channel : channel + 1])
    wins = np.zeros(tuple(x.shape[2:]), np.int64)
    for place in winner.reshape(-1, winner.shape[-1]):
        if (place >= 0).all():
            wins[tuple(place)] += 1
    slope = each.gradient if isinstance(each.gradient, Tensor) else None
    back = each.input_gradients[0] if each.input_gradients else None
    return PoolingWinners(
        network=name or found.name,
        layer=path,
        kind=layer_text(pool),
        channel=channel,
        before=_plane(x, channel),
        after=_plane(y, channel),
        winner=winner,
        wins=wins,
        gradient_after=None if slope is None else _plane(slope, channel),
        gradient_before=None if back is None else _plane(back, channel),
        target=found.target,
    )


def _chosen(net: nn.Module, layer: str | None, where: str) -> str:
    every = dict(net.named_modules())
    known = [str(path) for path, module in every.items() if _is_max(module)]
    if layer is None:
        if not known:
            raise ArgumentError(
                f"{where}: {type(net).__name__} has no max pooling among its modules. "
                "Functions that are called without a module are not seen."
            )
        return known[0]
    if layer not in every:
        raise UnknownNameError("layer", layer, known or every)
    if layer not in known:
        listed = f"Choose one of {', '.join(known[:6])}." if known else "It has none."
        text = layer_text(every[layer]).partition("\n")[0]
        raise ArgumentError(
            f"{where}: layer={layer!r} is {text}, not a max pooling. {listed}"
        )
    return layer


def _is_max(module: nn.Module) -> bool:
    name = type(module).__name__
    return "MaxPool" in name and "Fractional" not in name


def _winners(pool: nn.Module, x: Tensor) -> npt.NDArray[np.int64]:
    """For each window the element that its maximum has a gradient at."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = x.clone().requires_grad_()
        given = pool(leaf)
        out = given[0] if isinstance(given, tuple) else given
        flat = out.reshape(-1)
        made = np.full((len(flat), x.ndim - 2), -1, np.int64)
        for number, value in enumerate(flat):
            (slope,) = torch.autograd.grad(value, leaf, retain_graph=True)
            places = slope[0, 0].nonzero()
            if len(places) == 1:
                made[number] = places[0].cpu().numpy()
    return made.reshape(*out.shape[2:], x.ndim - 2)


def _plane(values: Tensor, channel: int) -> Array:
    return values[0, channel].detach().float().cpu().numpy().copy()
