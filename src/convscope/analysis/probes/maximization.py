"""Activation maximization: an input made so that a channel gives as much as it can."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from convscope.analysis.capturing.differentiating import gradients_of
from convscope.analysis.tracing.meta_copy import meta_copy, uncompiled
from convscope.analysis.tracing.preserve import Snapshot
from convscope.errors import ArgumentError, UnknownNameError


@dataclass(frozen=True, eq=False)
class Maximized:
    """An input that excites a channel, and how it was made.

    Attributes:
        layer: Path of the layer.
        channel: Which channel.
        input: (C, *space) float32, as the network takes it.
        before: Mean of the channel's map for the noise that it began with.
        after: The same for ``input``.
        how: Steps and regularization, as a sentence.
    """

    layer: str
    channel: int
    input: npt.NDArray[np.float32]
    before: float
    after: float
    how: str

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON."""
        values = {k: v for k, v in vars(self).items() if k != "input"}
        return {**values, "input": self.input.tolist()}


def maximize(
    net: nn.Module,
    input_shape: tuple[int, ...],
    layer: str,
    channel: int,
    *,
    steps: int = 128,
    rate: float = 0.05,
    decay: float = 0.02,
    smoothness: float = 0.2,
    shift: int = 2,
    limits: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    seed: int = 0,
) -> Maximized:
    """Change noise step by step so that a channel's mean grows.

    Each step moves the input by up to ``shift`` elements along every axis, goes up the
    gradient of the channel's mean less ``decay`` times the mean square of the input and
    ``smoothness`` times the mean absolute difference of neighbors, by Adam, and cuts
    off what is outside the limits. The same seed gives the same input.

    Args:
        net: Any network with one input; it is as before afterwards.
        input_shape: (C, *space) of the input.
        layer: Path of the layer.
        channel: Which of its channels.
        steps: At least 1.
        rate: Of Adam, above 0.
        decay: At least 0.
        smoothness: At least 0.
        shift: Elements, at least 0.
        limits: Least and largest value of the input, one number or one for each
            channel; none by default.
        seed: Of the noise and of the shifts.

    Raises:
        UnknownNameError: There is no module at ``layer``; names the nearest.
        ArgumentError: An argument is out of its range, or the layer is not called, has
            no such channel, or does not depend on the input.

    Source:
        Erhan et al. 2009, "Visualizing higher-layer features of a deep network";
        penalties as in Mahendran and Vedaldi, arXiv:1412.0035, shifts as in Olah et
        al. 2017, "Feature visualization".

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    >>> found = maximize(net, (1, 9, 9), "0", 1, steps=8)
    >>> found.after > found.before
    True
    """
    where = "maximize"
    for name, value, least in (
        ("steps", steps, 1), ("decay", decay, 0), ("smoothness", smoothness, 0),
        ("shift", shift, 0),
    ):  # fmt: skip
        if value < least:
            raise ArgumentError(f"{where}: {name}={value} is below {least}.")
    if not rate > 0:
        raise ArgumentError(f"{where}: rate={rate} is not above 0. Use 0.05.")
    names = dict(uncompiled(net).named_modules())
    if layer not in names:
        raise UnknownNameError("layer", layer, names)
    copy = meta_copy(uncompiled(net), keep_values=True).eval()
    state = Snapshot(net)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            ascent = _Ascent(copy, layer, channel, where)
            x, before, after = ascent.run(
                input_shape, steps, rate, decay, smoothness, shift, limits, seed
            )
    finally:
        state.restore()
    bounded = "" if limits is None else "; kept within the range of the data"
    how = (
        f"{steps} steps of Adam at {rate:g} from noise (seed {seed}); less {decay:g} x "
        f"mean square and {smoothness:g} x mean difference of neighbors; moved by up "
        f"to {shift} before each step{bounded}"
    )
    return Maximized(layer, channel, x.numpy(), before, after, how)


class _Ascent:
    """A network whose input is changed."""

    def __init__(self, net: nn.Module, layer: str, channel: int, where: str) -> None:
        self.net, self.layer, self.channel, self.where = net, layer, channel, where
        self.given: list[Tensor] = []
        for parameter in net.parameters():
            parameter.requires_grad_(False)

        def keep(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                self.given.append(output.clone())  # what follows may work in place

        net.get_submodule(layer).register_forward_hook(keep)

    def mean(self, x: Tensor) -> Tensor:
        """Of the channel's map."""
        self.given.clear()
        self.net(x)
        if not self.given or self.given[-1].ndim < 2:
            raise ArgumentError(
                f"{self.where}: layer={self.layer!r} is not called, or gives no (N, "
                "C, ...). Choose another."
            )
        y = self.given[-1]
        if y.is_complex():
            raise ArgumentError(
                f"{self.where}: layer={self.layer!r} gives complex numbers, of which "
                "none is the largest. Choose a layer of real ones."
            )
        if not 0 <= self.channel < y.shape[1]:
            raise ArgumentError(
                f"{self.where}: channel={self.channel} is outside the {y.shape[1]} of "
                f"layer={self.layer!r}. Use 0 to {y.shape[1] - 1}."
            )
        return y[:, self.channel].float().mean()

    def run(
        self,
        shape: tuple[int, ...],
        steps: int,
        rate: float,
        decay: float,
        smoothness: float,
        shift: int,
        limits: Any,
        seed: int,
    ) -> tuple[Tensor, float, float]:
        like = next(self.net.parameters(), torch.empty(0))
        random = torch.Generator().manual_seed(seed)
        noise = torch.randn(1, *shape, generator=random) * 0.1
        low, high = (None, None) if limits is None else (
            _bound(each, shape, like) for each in limits
        )  # fmt: skip
        x = noise.to(like.device, like.dtype)
        if low is not None and high is not None:
            x = (x + (low + high) / 2).clamp(low, high)
        before = float(self.mean(x))
        x = x.requires_grad_()
        optimizer = torch.optim.Adam([x], lr=rate)
        axes = tuple(range(2, x.ndim))
        for _ in range(steps):
            moves = torch.randint(-shift, shift + 1, (len(axes),), generator=random)
            moved = x.roll(tuple(moves.tolist()), axes)
            gain = self.mean(moved)
            if not gain.requires_grad:
                raise ArgumentError(
                    f"{self.where}: layer={self.layer!r} does not depend on the input "
                    "by a gradient. Choose another."
                )
            loss = decay * x.square().mean() - gain
            for axis in axes:
                loss = loss + smoothness * x.diff(dim=axis).abs().mean()
            (x.grad,) = gradients_of(loss, [x], self.where)
            optimizer.step()
            if low is not None and high is not None:
                with torch.no_grad():
                    x.clamp_(low, high)
        after = float(self.mean(x.detach()))
        return x.detach()[0].float().cpu(), before, after


def _bound(value: Any, shape: tuple[int, ...], like: Tensor) -> Tensor:
    found = torch.as_tensor(value, dtype=like.dtype, device=like.device).flatten()
    return found.view(1, -1, *(1,) * (len(shape) - 1))
