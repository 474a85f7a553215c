"""How the cost of a training step grows with batch, channels, size, depth, threads."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.analysis import summary
from convscope.bench.machine import machine

Axis = Literal["batch", "channels", "size", "depth", "threads"]
Progress = Callable[[str], None]
STEPS = {
    "batch": (1, 4, 16, 64, 256, 1024),
    "channels": (2, 4, 8, 16, 32, 64),
    "size": (8, 16, 32, 64, 128),
    "depth": (1, 2, 4, 8),
}


@dataclass(frozen=True)
class Point:
    """One network and batch: a plain chain of stages, and one linear layer.

    The first stage halves the image; the others keep it.

    Attributes:
        batch: Images in a step.
        channels: Maps of each stage.
        size: Height and width of the images, in pixels; they are gray.
        depth: Stages of 3x3 convolution and ReLU.
        threads: That may work on it.
    """

    batch: int = 64
    channels: int = 8
    size: int = 28
    depth: int = 2
    threads: int = 1

    def network(self) -> nn.Sequential:
        """The network with fresh weights."""
        layers: list[nn.Module] = []
        for stage in range(self.depth):
            entering = self.channels if stage else 1
            layers += [nn.Conv2d(entering, self.channels, 3, padding=1), nn.ReLU()]
            layers += [] if stage else [nn.MaxPool2d(2)]
        features = self.channels * (self.size // 2) ** 2
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 10))


@dataclass
class Curve:
    """Time along one axis.

    Attributes:
        axis: What grows.
        values: Its values.
        multiply_adds: Of one image, forward, for each of them.
        microseconds: Per image and training step, for each way of running it.
    """

    axis: Axis
    values: list[int]
    multiply_adds: list[int] = field(default_factory=list)
    microseconds: dict[str, list[float]] = field(default_factory=dict)


def growth(
    axes: Sequence[Axis] = get_args(Axis),
    *,
    start: Point | None = None,
    seconds: float = 0.2,
    repeats: int = 5,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Times a training step along each axis, all else as in ``start``.

    Ours and PyTorch's take turns. A step is forward, cross-entropy, backward and SGD
    with momentum.

    Args:
        axes: What to let grow.
        start: Where all axes meet; `Point()` if not given.
        seconds: About how long one timing lasts.
        repeats: Turns; the median counts.
        progress: Told what happens now.

    Returns:
        ``{"machine": ..., "start": ..., "curves": [...]}`` for JSON.
    """
    start = start or Point()
    before = torch.get_num_threads()
    curves = []
    try:
        for axis in axes:
            values = list(STEPS.get(axis, range(1, (os.cpu_count() or 1) + 1)))
            curve = Curve(axis, values)
            for value in values:
                progress(f"{axis} {value}")
                point = replace(start, **{axis: value})
                counted = summary(point.network(), (1, point.size, point.size))
                curve.multiply_adds.append(counted.multiply_adds)
                for name, took in timed(point, seconds, repeats).items():
                    each = took * 1e6 / point.batch
                    curve.microseconds.setdefault(name, []).append(each)
            curves.append(curve)
    finally:
        torch.set_num_threads(before)
    return {
        "machine": machine(),
        "start": asdict(start),
        "curves": [asdict(curve) for curve in curves],
    }


def timed(point: Point, seconds: float, repeats: int) -> dict[str, float]:
    """Seconds for one step of each way of running it, the median over the turns."""
    from convscope.execution import optimize

    torch.set_num_threads(point.threads)
    images = torch.randn(point.batch, 1, point.size, point.size)
    labels = torch.randint(10, (point.batch,))
    plain = point.network()
    fast = point.network()
    ways = {
        "PyTorch": _stepper(plain, plain, images, labels),
        "convscope": _stepper(
            fast,
            optimize(
                fast,
                tuple(images.shape[1:]),
                batch_size=point.batch,
                precision="auto",
            ),
            images,
            labels,
        ),
    }
    steps = {}
    for name, step in ways.items():
        step()
        began = time.perf_counter()
        step()
        steps[name] = max(1, round(seconds / max(time.perf_counter() - began, 1e-6)))
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, step in ways.items():
            began = time.perf_counter()
            for _ in range(steps[name]):
                step()
            took[name].append((time.perf_counter() - began) / steps[name])
    return {name: statistics.median(times) for name, times in took.items()}


def _stepper(
    net: nn.Module, call: nn.Module, images: Tensor, labels: Tensor
) -> Callable[[], None]:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(call(images), labels).backward()
        optimizer.step()

    return step


def growth_table(record: dict[str, Any]) -> str:
    """The curves of a record, one block each, aligned.

    >>> curve = {"axis": "batch", "values": [1, 16], "multiply_adds": [90, 90],
    ...          "microseconds": {"PyTorch": [50.0, 9.0], "convscope": [25.0, 3.0]}}
    >>> print(growth_table({"curves": [curve]}))
    batch        multiply-adds     PyTorch   convscope        x
    1                       90        50.0        25.0     2.00
    16                      90         9.0         3.0     3.00
    """
    blocks = []
    for curve in record["curves"]:
        names = list(curve["microseconds"])
        head = "".join(f"{name:>12}" for name in names)
        lines = [f"{curve['axis']:<10} {'multiply-adds':>15}{head} {'x':>8}"]
        for row, value in enumerate(curve["values"]):
            times = [curve["microseconds"][name][row] for name in names]
            cells = "".join(f"{each:>12.1f}" for each in times)
            lines.append(
                f"{value:<10} {curve['multiply_adds'][row]:>15,}{cells} "
                f"{times[0] / times[-1]:>8.2f}"
            )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
