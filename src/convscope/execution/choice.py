"""Which setting is fastest for a network: measured on its shapes, and remembered."""

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convscope import kernels
from convscope.execution import remembered
from convscope.execution.optimized import Optimized
from convscope.execution.rewrite import rewrite
from convscope.execution.setting import Setting, choose_device, has_native_bfloat16

_USUAL_BATCH = 128
SECONDS = 2.0  # for measuring, about
PAYS = 1.05  # times faster than a plainer setting, or it is not taken
PAYS_BFLOAT16 = 1.2  # the same for fewer bits
FLOAT32_TOLERANCE = 1e-3  # of the largest logit; sums in another order
BFLOAT16_TOLERANCE = 0.1  # 8 bits, through the layers of a deep network
_FEWEST = 16  # images that a shape is measured with, if the batch holds as many
_HOPELESS = 1.6  # times the best with few images: not measured with many


@dataclass(frozen=True)
class Timing:
    """What a step in one setting takes."""

    setting: Setting
    milliseconds: float


@dataclass(frozen=True)
class Choice:
    """The setting for a network, and what it was chosen against.

    Attributes:
        setting: The one to use.
        timings: All that were measured, the plainest first; empty where nothing was.
            Those far from the best were timed with fewer images, and scaled.
        images: In the batch that was measured.
        training: Whether backward passes were measured too.
        why: How the choice was made, in words.
    """

    setting: Setting
    timings: tuple[Timing, ...]
    images: int
    training: bool
    why: str


def batch_and_image(
    input_size: Sequence[int], batch_size: int | None
) -> tuple[int, tuple[int, ...]]:
    """Images in a batch and the shape of one, as given apart or as one shape.

    >>> batch_and_image((3, 32, 32), 64), batch_and_image((256, 3, 32, 32), None)
    ((64, (3, 32, 32)), (256, (3, 32, 32)))
    """
    shape = tuple(input_size)
    if len(shape) == 4:
        return batch_size or shape[0], shape[1:]
    return batch_size or _USUAL_BATCH, shape


def choose(net: nn.Module, *arguments: Any, **options: Any) -> Setting:
    """The setting that ``consider`` finds, with its arguments.

    >>> str(choose(nn.Linear(2, 2), device="cpu"))
    'cpu, float32'
    """
    return consider(net, *arguments, **options).setting


def consider(
    net: nn.Module,
    input_shape: Sequence[int] | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = _USUAL_BATCH,
    training: bool = True,
    optimize: bool = True,
    seconds: float = SECONDS,
) -> Choice:
    """The setting for this network on this machine, and what it was chosen against.

    On the CPU every setting is timed on a copy of the network, a second or two in all,
    and the answer is kept in the user's cache for this machine, these versions and
    shapes. A setting whose outputs are not those of plain float32, within the
    tolerances of this file, is not taken.

    Args:
        net: Stays as it is.
        input_shape: (C, H, W) of one image; without it nothing is measured.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto`` takes bfloat16 only where the hardware multiplies it itself
            and a step is 1.2 times faster.
        batch_size: Images in a step.
        training: Whether steps have a backward pass.
        optimize: Off: the network as it is, in float32 unless ``precision`` names
            another.
        seconds: To measure for, about.

    Raises:
        ArgumentError: The device is not there.

    >>> consider(nn.Linear(2, 2), device="cpu", optimize=False).why
    'as asked for'
    """
    where = choose_device(device)
    plain = Setting(where, "bfloat16" if precision == "bfloat16" else "float32", False)
    if not optimize:
        return Choice(plain, (), 0, training, "as asked for")
    if where.type != "cpu":
        native = precision == "auto" and has_native_bfloat16(where)
        kind = "bfloat16" if native else plain.precision
        setting = Setting(where, kind, _has_images(net))
        return Choice(setting, (), 0, training, "by rule")
    kernels.say_once_that_it_is_slower()
    settings = candidates(net, precision)
    if input_shape is None or len(settings) == 1:
        return Choice(settings[0], (), 0, training, "nothing to choose")
    key = remembered.key_of(net, input_shape, batch_size, training, precision, settings)
    known = remembered.recall(key)
    if known is None:
        known = _measured(net, settings, (batch_size, *input_shape), training, seconds)
        remembered.keep(key, known)
    images, times = known
    timings = [
        Timing(setting, times[str(setting)])
        for setting in settings
        if str(setting) in times
    ]
    if not timings:
        return Choice(settings[0], (), 0, training, "no step could be measured")
    return Choice(fastest(timings), tuple(timings), images, training, "measured")


def candidates(net: nn.Module, precision: str = "auto") -> list[Setting]:
    """What there is to choose from on the CPU, the plainest first."""
    cpu = torch.device("cpu")
    formats = {"float32": ("float32",), "bfloat16": ("bfloat16",)}.get(
        precision,
        ("float32", "bfloat16") if has_native_bfloat16(cpu) else ("float32",),
    )
    layouts = (False, True) if _has_images(net) else (False,)
    settings = [
        Setting(cpu, "bfloat16" if kind == "bfloat16" else "float32", last, native)
        for kind in formats
        for last in layouts
        for native in ((False, True) if kernels.available() else (False,))
    ]
    return [each for each in settings if not each.kernels or _gains(net, each)]


def _gains(net: nn.Module, setting: Setting) -> bool:
    """Whether this setting's kernels have something to do; chains are float32."""
    chains = "chain" in setting.kinds
    if chains and setting.precision != "float32":
        return False
    return rewrite(net, setting.kinds)[0] is not net


def fastest(timings: Sequence[Timing]) -> Setting:
    """The fastest setting; a plainer one, unless the gain is clear."""
    best = timings[0]
    for timing in timings[1:]:
        fewer_bits = timing.setting.precision != best.setting.precision
        needed = PAYS_BFLOAT16 if fewer_bits else PAYS
        if timing.milliseconds * needed <= best.milliseconds:
            best = timing
    return best.setting


def _has_images(net: nn.Module) -> bool:
    return any(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in net.modules())


def _measured(
    net: nn.Module,
    settings: Sequence[Setting],
    shape: Sequence[int],
    training: bool,
    seconds: float,
) -> remembered.Times:
    """Milliseconds of a step in each setting that works, and the images in it."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        few = min(shape[0], _FEWEST)
        x = torch.randn(few, *shape[1:])
        steps = {str(setting): _Step(net, setting, training) for setting in settings}
        steps = _agreeing(steps, x)
        if not steps:
            return 0, {}
        times = _interleaved(steps, x, seconds=seconds / 6)
        best = min(times.values())
        near = {name: steps[name] for name in times if times[name] < _HOPELESS * best}
        round_seconds = sum(times[name] for name in near)
        images = math.floor(few * seconds / 6 / round_seconds)
        # A multiple of 16, as batches are: some kernels take images by groups.
        images = max(few, min(shape[0], images // _FEWEST * _FEWEST))
        times = {name: each * images / few for name, each in times.items()}
        if images > few:
            x = torch.randn(images, *shape[1:])
            times |= _interleaved(near, x, seconds=seconds / 2)
        return images, {name: 1e3 * each for name, each in times.items()}


def _interleaved(
    steps: dict[str, "_Step"], x: Tensor, seconds: float
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


def strip_hooks(net: nn.Module) -> nn.Module:
    """The same network, a copy of one, that tells nobody what it does."""
    for module in net.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()
    return net


class _Step:
    """A forward pass, and a backward pass if wanted, of a copy of a network."""

    def __init__(self, net: nn.Module, setting: Setting, training: bool) -> None:
        own = strip_hooks(copy.deepcopy(net))
        self.net = Optimized(setting.place(own), setting)
        self.setting, self.training = setting, training

    def __call__(self, x: Tensor) -> float:
        """Seconds of one step."""
        self.net.train(self.training)
        x = x.contiguous(memory_format=self.setting.memory_format)
        began = time.perf_counter()
        with torch.set_grad_enabled(self.training):
            y = self.net(x)
            if self.training:
                y.square().mean().backward()
        seconds = time.perf_counter() - began
        self.net.zero_grad()
        return seconds

    @torch.no_grad()
    def outputs(self, x: Tensor) -> Tensor:
        self.net.eval()
        y: Tensor = self.net(x)
        return y


def _agreeing(steps: dict[str, _Step], x: Tensor) -> dict[str, _Step]:
    """Those that run, and compute what the first one computes."""
    kept: dict[str, _Step] = {}
    expected: Tensor | None = None
    for name, step in steps.items():
        try:
            found = step.outputs(x)
            step(x)
        except (RuntimeError, TypeError, ValueError, NotImplementedError):
            if not kept:
                return {}  # the network itself fails, and will say why when it runs
            continue
        if expected is None:
            expected = found
        if agrees(found, expected, step.setting.precision):
            kept[name] = step
    return kept


def agrees(found: Tensor, expected: Tensor, precision: str) -> bool:
    """Whether outputs are the same within what the number format allows."""
    share = FLOAT32_TOLERANCE if precision == "float32" else BFLOAT16_TOLERANCE
    apart = (found - expected).abs().max() if found.numel() else torch.tensor(0.0)
    return bool(apart <= share * expected.abs().max().clamp(min=1e-6))
