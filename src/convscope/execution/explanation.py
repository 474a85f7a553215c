"""What was chosen for a network and for each of its layers, with measured times."""

import copy
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convscope.execution.compare import (
    SECONDS,
    USUAL_BATCH,
    Comparison,
    compare_settings,
)
from convscope.execution.description import describe
from convscope.execution.fusion import Compute, Kind, fused_steps
from convscope.execution.measure import hookless_copy, remove_hooks
from convscope.execution.optimized import Optimized, rows_of
from convscope.execution.sample_inputs import (
    Inputs,
    Shape,
    given_inputs,
    random_inputs,
    require_shape,
)
from convscope.execution.setting import Setting

_ROUNDS = 5


@dataclass(frozen=True)
class LayerTiming:
    """One layer, or neighbours that are computed as one.

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


@dataclass(frozen=True, repr=False)
class Explanation:
    """A choice of setting, and what it does to each layer; prints as a table."""

    choice: Comparison
    layers: tuple[LayerTiming, ...]

    def __repr__(self) -> str:
        native = sum(each.chosen == "native" for each in self.layers)
        return (
            f"<Explanation: {self.choice.setting} ({self.choice.why}); {native} of "
            f"{len(self.layers)} rows native; print it for the tables>"
        )

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
    input_shape: Shape | None = None,
    training: bool = True,
    *,
    batch_size: int = USUAL_BATCH,
    device: str = "cpu",
    precision: str = "float32",
    optimize: bool = True,
    seconds: float = SECONDS,
    example_inputs: Any = None,
) -> Explanation:
    """What ``optimize`` chooses for ``net``, against what, and the measured times.

    Arguments as for ``optimize``; ``optimize=False`` explains the plain setting. Layers
    that take more than one tensor have no row.

    >>> net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    >>> found = explain(net, (1, 8, 8), batch_size=2)
    >>> found.layers[0].layers
    'Conv2d'
    """
    if input_shape is not None:
        require_shape(net, input_shape, "explain")
    choice = compare_settings(
        net,
        input_shape,
        device=device,
        precision=precision,
        batch_size=batch_size,
        training=training,
        optimize=optimize,
        seconds=seconds,
        example_inputs=example_inputs,
    )
    if example_inputs is not None:
        inputs = given_inputs(example_inputs)
    elif input_shape is not None:
        images = choice.images or min(batch_size, 16)
        inputs = random_inputs(net, input_shape, images)
    else:
        return Explanation(choice, ())
    if choice.setting.device.type != "cpu":
        return Explanation(choice, ())
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        own = hookless_copy(net).train(training)
        layers = tuple(_layers(own, inputs, choice.setting, training))
    return Explanation(choice, layers)


def _layers(
    net: nn.Module, inputs: Inputs, setting: Setting, training: bool
) -> Iterator[LayerTiming]:
    names = {module: name for name, module in net.named_modules()}
    rows = _joined_rows(net, setting.kinds)
    plain = Setting(setting.device, "float32", False)
    inside: set[nn.Module] = set()
    for layer, seen in _inputs(net, inputs, setting):
        if layer in inside:
            continue
        modules, compute = rows.get(layer, ((layer,), None))
        with torch.no_grad(), setting.autocast():
            native = compute is not None and compute(modules, seen.clone()) is not None
        modules = modules if native else (layer,)
        inside.update(modules)
        usual = copy.deepcopy(nn.Sequential(*modules))
        step: Callable[[Tensor], Any] = nn.Sequential(*modules)
        if native and compute is not None:
            step = functools.partial(compute, modules)
        yield LayerTiming(
            names[layer],
            " + ".join(type(module).__name__ for module in modules),
            "native" if native else "torch",
            1e3 * _seconds(step, seen, setting, training),
            1e3 * _seconds(usual, _as_usual(usual, seen), plain, training),
        )


def _as_usual(layer: nn.Module, x: Tensor) -> Tensor:
    """``x`` as torch has it without a setting, in the layer's own number format."""
    kinds = (p.dtype for p in layer.parameters() if p.is_floating_point())
    return x.to(next(kinds, x.dtype)).contiguous()


def _joined_rows(
    net: nn.Module, kinds: tuple[Kind, ...]
) -> dict[nn.Module, tuple[tuple[nn.Module, ...], Compute]]:
    """Layers that a kernel may compute as one, by the first of them."""
    found: dict[nn.Module, tuple[tuple[nn.Module, ...], Compute]] = {}
    for row in rows_of(net):
        modules, at = tuple(row.children()), 0
        for length, compute in fused_steps(describe(modules), kinds):
            if compute is not None:
                found[modules[at]] = modules[at : at + length], compute
            at += length
    return found


def _inputs(
    net: nn.Module, inputs: Inputs, setting: Setting
) -> list[tuple[nn.Module, Tensor]]:
    """Every layer that takes one tensor of numbers, and what reaches it, in order."""
    seen: dict[nn.Module, Tensor] = {}

    def note(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        (x, *more) = arguments or (None,)
        if not more and isinstance(x, Tensor) and x.is_floating_point():
            seen.setdefault(module, x.detach().clone())

    for module in net.modules():
        if not module._modules:
            module.register_forward_pre_hook(note)
    positional, named = inputs.copied()
    with torch.no_grad():
        Optimized(net, setting)(*positional, **named)
    remove_hooks(net)
    return list(seen.items())


def _seconds(
    step: Callable[[Tensor], Any], x: Tensor, setting: Setting, training: bool
) -> float:
    """The least of several times of a forward pass, and a backward pass if trained."""
    least = float("inf")
    x = x.requires_grad_(training)
    for _ in range(_ROUNDS):
        fresh = x.clone()  # a layer may write into its input
        began = time.perf_counter()
        with torch.set_grad_enabled(training), setting.autocast():
            y = step(fresh)
        if training and isinstance(y, Tensor) and y.requires_grad:
            y.backward(torch.ones_like(y))
        least = min(least, time.perf_counter() - began)
    return least
