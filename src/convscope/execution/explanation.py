"""What was chosen for a network and for each of its layers, with measured times."""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convscope.execution.choice import Choice, batch_and_image, consider, strip_hooks
from convscope.execution.runs import Kind, Run, find_runs
from convscope.execution.setting import Setting

_ROUNDS = 5


@dataclass(frozen=True)
class LayerTiming:
    """One layer, or a run of layers that is computed as one.

    Attributes:
        name: Of its first layer in the network.
        layers: What they are, as ``BatchNorm2d + ReLU``.
        chosen: Who computes them, ``native`` or ``torch``.
        milliseconds: Forward, and backward if trained, as chosen.
        plain: The same by torch in float32 and its usual layout.
    """

    name: str
    layers: str
    chosen: str
    milliseconds: float
    plain: float


@dataclass(frozen=True)
class Explanation:
    """A choice of setting, and what it does to each layer; prints as a table."""

    choice: Choice
    layers: tuple[LayerTiming, ...]

    def __str__(self) -> str:
        """A table of settings, then one of layers."""
        choice = self.choice
        what = "step" if choice.training else "forward pass"
        lines = [f"setting: {choice.setting} ({choice.why})"]
        if choice.timings:
            first = choice.timings[0].milliseconds
            lines.append(f"\nmilliseconds of a {what} with {choice.images} images")
            rows = [
                (
                    str(timing.setting),
                    f"{timing.milliseconds:.2f}",
                    f"{first / timing.milliseconds:.2f}x",
                    "chosen" if timing.setting == choice.setting else "",
                )
                for timing in choice.timings
            ]
            lines += table(("setting", "ms", "faster", ""), rows)
        if self.layers:
            lines.append("\nlayer by layer, against torch in float32")
            details = [
                (
                    each.name,
                    each.layers,
                    each.chosen,
                    f"{each.milliseconds:.3f}",
                    f"{each.plain:.3f}",
                    f"{each.plain / each.milliseconds:.2f}x",
                )
                for each in self.layers
            ]
            head = ("name", "layers", "computed by", "ms", "torch", "faster")
            lines += table(head, details)
        return "\n".join(lines)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need; numbers to the right.

    >>> table(("name", "ms"), [("conv", "1.5")])
    ['name   ms', 'conv  1.5']
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if _is_number(row[i]) or _is_number(rows[0][i])
            else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]  # fmt: skip


def _is_number(text: str) -> bool:
    return text[:1].isdigit() and text.rstrip("x").replace(".", "").isdigit()


def explain(
    net: nn.Module,
    input_size: Sequence[int],
    training: bool = True,
    *,
    batch_size: int | None = None,
    device: str = "cpu",
    precision: str = "auto",
    optimize: bool = True,
) -> Explanation:
    """What ``optimize`` chooses for ``net``, against what, and the measured times.

    Arguments as for ``optimize``; ``optimize=False`` explains the plain setting.

    >>> net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    >>> found = explain(net, (1, 8, 8), batch_size=2)
    >>> found.layers[0].layers
    'Conv2d'
    """
    batch_size, input_shape = batch_and_image(input_size, batch_size)
    choice = consider(
        net,
        input_shape,
        device=device,
        precision=precision,
        batch_size=batch_size,
        training=training,
        optimize=optimize,
    )
    if choice.setting.device.type != "cpu":
        return Explanation(choice, ())
    images = choice.images or min(batch_size, 16)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        x = torch.randn(images, *input_shape)
        layers = tuple(_layers(net, x, choice.setting, training))
    return Explanation(choice, layers)


def _layers(
    net: nn.Module, x: Tensor, setting: Setting, training: bool
) -> Iterator[LayerTiming]:
    own = setting.place(strip_hooks(copy.deepcopy(net))).train(training)
    names = {module: name for name, module in own.named_modules()}
    runs = _runs(own, setting.kinds)
    inside = {each for run in runs.values() for each in run.modules[1:]}
    plain = Setting(setting.device, "float32", False)
    for layer, seen in _inputs(own, x, setting):
        if layer in inside:
            continue
        run = runs.get(layer, Run("norm", (layer,)))
        with torch.no_grad(), setting.autocast():
            native = layer in runs and run.compute(seen) is not None
        step: Callable[[Tensor], Tensor] = (
            run if native else nn.Sequential(*run.modules)
        )
        usual = nn.Sequential(*copy.deepcopy(run.modules)).to(
            memory_format=torch.contiguous_format  # type: ignore[call-overload]
        )
        yield LayerTiming(
            names[layer],
            " + ".join(type(module).__name__ for module in run.modules),
            "native" if native else "torch",
            1e3 * _seconds(step, seen, setting, training),
            1e3 * _seconds(usual, seen.float().contiguous(), plain, training),
        )


def _runs(net: nn.Module, kinds: Sequence[Kind]) -> dict[nn.Module, Run]:
    """Every run of the network, by its first layer."""
    return {
        step.modules[0]: step
        for module in net.modules()
        if type(module) is nn.Sequential
        for step in find_runs(tuple(module), kinds)
        if isinstance(step, Run)
    }


def _inputs(
    net: nn.Module, x: Tensor, setting: Setting
) -> list[tuple[nn.Module, Tensor]]:
    """Every layer that takes one tensor of numbers, and what reaches it, in order."""
    seen: dict[nn.Module, Tensor] = {}

    def note(module: nn.Module, arguments: tuple[object, ...]) -> None:
        (x, *others) = arguments
        if not others and isinstance(x, Tensor) and x.is_floating_point():
            seen.setdefault(module, x.detach())

    for module in net.modules():
        if not module._modules:
            module.register_forward_pre_hook(note)
    with torch.no_grad():
        setting.forward(net, x.contiguous(memory_format=setting.memory_format))
    strip_hooks(net)
    return list(seen.items())


def _seconds(
    step: Callable[[Tensor], Tensor], x: Tensor, setting: Setting, training: bool
) -> float:
    """The least of several times of a forward pass, and a backward pass if trained."""
    least = float("inf")
    x = x.requires_grad_(training)
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        with torch.set_grad_enabled(training), setting.autocast():
            y = step(x)
        if training and isinstance(y, Tensor) and y.requires_grad:
            y.backward(torch.ones_like(y))
        least = min(least, time.perf_counter() - began)
    return least
