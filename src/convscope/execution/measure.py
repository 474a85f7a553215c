"""Steps of a network timed in several settings, those that compute the same."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convscope.execution.optimized import Optimized, plain_network
from convscope.execution.outputs import tensors_in
from convscope.execution.sample_inputs import Inputs
from convscope.execution.setting import Setting
from convscope.execution.timing_cache import Times

FLOAT32_TOLERANCE = 1e-3  # of the largest logit; sums in another order
BFLOAT16_TOLERANCE = 0.1  # 8 bits, through the layers of a deep network
_FEWEST = 16  # images that a shape is measured with, if the batch holds as many
_HOPELESS = 1.6  # times the best with few images: not measured with many
FAILURES = (
    RuntimeError, TypeError, ValueError, AttributeError, LookupError,
    NotImplementedError, ArithmeticError, AssertionError,
)  # fmt: skip


def measured(
    net: nn.Module,
    settings: Sequence[Setting],
    batch: Callable[[int], Inputs],
    batch_size: int,
    training: bool,
    seconds: float,
) -> Times:
    """Milliseconds of a step in each setting that works, and the images in it.

    Args:
        net: Changes as by training; give a copy.
        settings: The first is the one that the others have to agree with.
        batch: Inputs of as many images.
        batch_size: Images in a step.
        training: Whether a step has a backward pass.
        seconds: To measure for, about.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        few = min(batch_size, _FEWEST)
        x = batch(few)
        few = x.images
        steps = {str(s): _Step(net, s, training) for s in settings}
        steps = _agreeing(steps, x)
        if not steps:
            return 0, {}
        times = _interleaved(steps, x, seconds=seconds / 6)
        best = min(times.values())
        near = {name: steps[name] for name in times if times[name] < _HOPELESS * best}
        round_seconds = sum(times[n] for n in near)
        images = math.floor(few * seconds / 6 / round_seconds)
        # A multiple of 16, as batches are: some kernels take images by groups.
        images = max(few, min(batch_size, images // _FEWEST * _FEWEST))
        times = {name: each * images / few for name, each in times.items()}
        if images > few:
            times |= _interleaved(near, batch(images), seconds=seconds / 2)
        return images, {name: 1e3 * each for name, each in times.items()}


def _interleaved(
    steps: dict[str, "_Step"], x: Inputs, seconds: float
) -> dict[str, float]:
    """The least of several times of each step, taken in turn."""
    times = {name: step(x) for name, step in steps.items()}  # the first is a rehearsal
    until = time.perf_counter() + seconds
    times = {name: step(x) for name, step in steps.items()}
    for _ in range(20):
        if time.perf_counter() > until:
            break
        times = {name: min(times[name], step(x)) for name, step in steps.items()}
    return times


def hookless_copy(net: nn.Module) -> nn.Module:
    """A copy of a network that tells nobody what it does.

    What a hook has computed, as old weight norm does, is a constant in the copy.
    """
    net = plain_network(net)
    memo: dict[int, Any] = {
        id(x): x.detach().clone()
        for module in net.modules()
        for x in module.__dict__.values()
        if isinstance(x, Tensor) and not x.is_leaf
    }
    own: nn.Module = copy.deepcopy(net, memo)
    remove_hooks(own)
    return own


def remove_hooks(net: nn.Module) -> None:
    """Of every layer, in place."""
    for module in net.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()


class _Step:
    """A forward pass, and a backward pass if wanted, of a network."""

    def __init__(self, net: nn.Module, setting: Setting, training: bool) -> None:
        self.net = Optimized(net, setting)
        self.setting, self.training = setting, training

    def __call__(self, inputs: Inputs) -> float:
        """Seconds of one step."""
        self.net.train(self.training)
        positional, named = inputs.copied()
        positional = tuple(map(self.setting.lay_out, positional))
        began = time.perf_counter()
        with torch.set_grad_enabled(self.training):
            y = self.net(*positional, **named)
            if self.training:
                losses = [_loss(x) for x in tensors_in(y) if x.requires_grad]
                if losses:
                    torch.stack(losses).sum().backward()
        seconds = time.perf_counter() - began
        self.net.zero_grad()
        return seconds

    @torch.no_grad()
    def outputs(self, inputs: Inputs) -> list[Tensor]:
        """Every tensor that comes out."""
        self.net.eval()
        positional, named = inputs.copied()
        return [x.clone() for x in tensors_in(self.net(*positional, **named))]


def _loss(y: Tensor) -> Tensor:
    return y.abs().square().mean().float()


def _agreeing(steps: dict[str, _Step], x: Inputs) -> dict[str, _Step]:
    """Those that run, and compute what the first one computes."""
    expected: list[Tensor] | None = None
    same: dict[str, _Step] = {}
    for name, step in steps.items():
        try:
            found = step.outputs(x)
        except FAILURES:
            if expected is None:
                return {}  # the network itself fails, and will say why when it runs
            continue
        expected = found if expected is None else expected
        if expected and agree(found, expected, step.setting.precision):
            same[name] = step
    return dict(_running(same, x))


def _running(steps: dict[str, _Step], x: Inputs) -> Iterator[tuple[str, _Step]]:
    for name, step in steps.items():
        try:
            step(x)
        except FAILURES:
            continue
        yield name, step


def agree(found: Sequence[Tensor], expected: Sequence[Tensor], precision: str) -> bool:
    """Whether outputs are the same within what the number format allows."""
    if [(x.shape, x.dtype) for x in found] != [(x.shape, x.dtype) for x in expected]:
        return False
    share = FLOAT32_TOLERANCE if precision == "float32" else BFLOAT16_TOLERANCE
    return all(_close(a, b, share) for a, b in zip(found, expected, strict=True))


def _close(found: Tensor, expected: Tensor, share: float) -> bool:
    if not expected.is_floating_point() and not expected.is_complex():
        return bool(torch.equal(found, expected))
    if not expected.numel():
        return True
    apart = (found - expected).abs().max()
    return bool(apart <= share * expected.abs().max().clamp(min=1e-6))
