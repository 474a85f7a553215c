"""Which setting is fastest for a network: measured on its shapes, and remembered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from convscope import kernels
from convscope.errors import ArgumentError
from convscope.execution import timing_cache
from convscope.execution.description import describe
from convscope.execution.fusion import Kind, fused_steps
from convscope.execution.measure import FAILURES, hookless_copy, measured
from convscope.execution.optimized import plain_network, rows_of
from convscope.execution.sample_inputs import (
    Inputs,
    Shape,
    given_inputs,
    random_inputs,
    require_shape,
)
from convscope.execution.setting import Setting, choose_device, has_native_bfloat16

USUAL_BATCH = 128
SECONDS = 2.0  # for measuring, about
PAYS = 1.05  # times faster than a plainer setting, or it is not taken
PAYS_BFLOAT16 = 1.2  # the same for fewer bits


@dataclass(frozen=True)
class Timing:
    """What a step in one setting takes."""

    setting: Setting
    milliseconds: float


@dataclass(frozen=True)
class Comparison:
    """The setting for a network, and what it was chosen against.

    Attributes:
        setting: The one to use.
        timings: All that were measured, the plainest first; empty where nothing was.
            Those far from the best were timed with fewer images, and scaled.
        images: In the batch that was measured.
        training: Whether backward passes were measured too.
        why: How it was chosen, in words.
    """

    setting: Setting
    timings: tuple[Timing, ...]
    images: int
    training: bool
    why: str


def choose(
    net: nn.Module,
    input_shape: Shape | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = USUAL_BATCH,
    training: bool = True,
    optimize: bool = True,
    seconds: float = SECONDS,
    example_inputs: Any = None,
) -> Setting:
    """The setting that ``compare_settings`` finds; arguments as there.

    >>> str(choose(nn.Linear(2, 2), device="cpu"))
    'cpu, float32'
    """
    return compare_settings(
        net,
        input_shape,
        device=device,
        precision=precision,
        batch_size=batch_size,
        training=training,
        optimize=optimize,
        seconds=seconds,
        example_inputs=example_inputs,
    ).setting


def compare_settings(
    net: nn.Module,
    input_shape: Shape | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = USUAL_BATCH,
    training: bool = True,
    optimize: bool = True,
    seconds: float = SECONDS,
    example_inputs: Any = None,
) -> Comparison:
    """The setting for this network on this machine, and what it was chosen against.

    On the CPU every setting is timed on a copy of the network, a second or two in all,
    and the answer is kept in the user's cache for this machine, these versions and
    shapes. A setting whose outputs are not those of the plain network, within the
    tolerances of this file, is not taken; nor is any where there is nothing to compare.

    Args:
        net: Stays as it is.
        input_shape: (C, *space) of one image, or one such shape for each input; without
            it nothing is measured.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``float32``, ``bfloat16``, or ``auto``, which takes bfloat16 only
            where the hardware multiplies it itself and a step is 1.2 times faster.
        batch_size: Images in a step.
        training: Whether steps have a backward pass. In a group of processes
            (``torch.distributed``) all then take what the first one finds.
        optimize: Off: the network as it is, in float32 unless ``precision`` names
            another.
        seconds: To measure for, about.
        example_inputs: Instead of a shape, a batch to measure with: a tuple of inputs;
            ``Inputs(positional, named)``; or the one input, of any structure.

    Raises:
        ArgumentError: The device is not there; ``input_shape`` holds a batch size; or a
            lazy layer has not seen an input yet.

    >>> compare_settings(nn.Linear(2, 2), device="cpu", optimize=False).why
    'as asked for'
    """
    where = choose_device(device)
    plain = Setting(where, "bfloat16" if precision == "bfloat16" else "float32", False)
    if not optimize:
        return Comparison(plain, (), 0, training, "as asked for")
    if input_shape is not None:
        require_shape(net, input_shape, "optimize")
    if where.type != "cpu":
        native = precision == "auto" and has_native_bfloat16(where)
        kind = "bfloat16" if native else plain.precision
        setting = Setting(where, kind, _has_images(net))
        return _common(Comparison(setting, (), 0, training, "by rule"))
    kernels.warn_if_missing()
    _require_initialized(net)
    settings = possible_settings(net, precision)
    batch: Callable[[int], Inputs] | None = None
    if example_inputs is not None:
        given = given_inputs(example_inputs)
        batch, batch_size = (lambda _: given), given.images
    elif input_shape is not None:
        shape = input_shape
        batch = lambda images: random_inputs(net, shape, images)  # noqa: E731
    if batch is None or len(settings) == 1:
        return Comparison(settings[0], (), 0, training, "nothing to choose")
    if not training or _is_first():
        trial = _Trial(net, settings, batch, batch_size, training)
        found = trial.answer(seconds, precision)
    else:
        found = Comparison(settings[0], (), 0, training, "")
    return _common(found)


def _require_initialized(net: nn.Module) -> None:
    lazy = [name for name, p in net.named_parameters() if is_lazy(p)]
    if lazy:
        raise ArgumentError(
            f"optimize: net has a lazy layer that has not seen an input, so that "
            f"{lazy[0]} has no size yet. Call the network once first."
        )


def _is_grouped() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _is_first() -> bool:
    return not _is_grouped() or torch.distributed.get_rank() == 0


def _common(found: Comparison) -> Comparison:
    """What the first process of a group found, on the own device."""
    if not found.training or not _is_grouped():
        return found
    box: list[Any] = [found if _is_first() else None]
    torch.distributed.broadcast_object_list(box, src=0)
    theirs: Comparison = box[0]
    here = replace(theirs.setting, device=found.setting.device)
    return replace(theirs, setting=here)


def possible_settings(net: nn.Module, precision: str = "auto") -> list[Setting]:
    """What there is to choose from on the CPU, the plainest first."""
    cpu = torch.device("cpu")
    formats = {"float32": ("float32",), "bfloat16": ("bfloat16",)}.get(
        precision,
        ("float32", "bfloat16") if has_native_bfloat16(cpu) else ("float32",),
    )
    layouts = (False, True) if may_be_channels_last(net) else (False,)
    settings = [
        Setting(cpu, "bfloat16" if kind == "bfloat16" else "float32", last, native)
        for kind in formats
        for last in layouts
        for native in ((False, True) if kernels.available() else (False,))
    ]
    return [each for each in settings if not each.kernels or _gains(net, each)]


def _gains(net: nn.Module, setting: Setting) -> bool:
    """Whether this setting's kernels have something to do; chains are float32."""
    if "chain" in setting.kinds and setting.precision != "float32":
        return False
    return any(_joins(m, setting.kinds) for m in rows_of(net))


def _joins(row: nn.Module, kinds: tuple[Kind, ...]) -> bool:
    try:
        steps = fused_steps(describe(tuple(row._modules.values())), kinds)
    except TypeError:
        return False
    return any(step.compute is not None for step in steps)


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


def may_be_channels_last(net: nn.Module) -> bool:
    """Whether images may be laid out so on a CPU, where it is mostly faster.

    >>> may_be_channels_last(nn.Conv2d(3, 8, 3)), may_be_channels_last(nn.Linear(3, 8))
    (True, False)
    """
    return _has_images(net) and not _has_narrow_pointwise(net)


def _has_narrow_pointwise(net: nn.Module) -> bool:
    """Whether a channels-last step may write outside of its memory.

    oneDNN, as it comes with PyTorch 2.13, does so in the backward pass of a ResNet
    whose 1 x 1 convolutions have 8 channels (AVX-512, float32); with 16 it does not.
    """
    return any(
        isinstance(m, nn.Conv2d)
        and m.kernel_size == (1, 1)
        and min(m.in_channels, m.out_channels) < 16
        for m in net.modules()
    )


class _Trial:
    """Steps of a copy of a network, in each of several settings."""

    def __init__(
        self,
        net: nn.Module,
        settings: Sequence[Setting],
        batch: Callable[[int], Inputs],
        batch_size: int,
        training: bool,
    ) -> None:
        self.net, self.settings, self.batch = net, settings, batch
        self.batch_size, self.training = batch_size, training

    def answer(self, seconds: float, precision: str) -> Comparison:
        """The comparison, measured now or before."""
        plain = Comparison(self.settings[0], (), 0, self.training, "")
        shapes = [(str(x.dtype), *x.shape) for x in self.batch(1).tensors]
        key = timing_cache.key_of(
            plain_network(self.net),
            [self.batch_size, shapes],
            self.training,
            precision,
            self.settings,
        )
        known = timing_cache.recall(key)
        if known is None:
            try:
                own = hookless_copy(self.net)
            except FAILURES as error:
                why = (
                    f"the network cannot be copied to be measured: {_first_line(error)}"
                )
                return replace(plain, why=why)
            known = measured(
                own, self.settings, self.batch, self.batch_size, self.training, seconds
            )
            timing_cache.keep(key, known)
        images, times = known
        timings = tuple(
            Timing(setting, times[str(setting)])
            for setting in self.settings
            if str(setting) in times
        )
        if not timings:
            return replace(plain, why="no step could be measured")
        return Comparison(fastest(timings), timings, images, self.training, "measured")


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:100]}"
