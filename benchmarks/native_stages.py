"""Native stages beside torch's layers, in one run: equality first, then time.

Run ``python benchmarks/native_stages.py [threads]``. Forward of single stages, and a
whole training step (forward, loss, backward, SGD with momentum) of three small
networks. Both sides take turns; the fastest round of each counts. With one thread, time
is that of the processor, which other programs disturb less. Results go to
results/native_stages.json.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from convscope import kernels
from convscope.bench.machine import machine
from convscope.execution.allocator import keep_freed_memory
from convscope.kernels import ChainStep, StagePlan, apply_stages, numbers_of

ROUNDS = 25
ROUND_SECONDS = 0.02  # of each side, in turn
RATE, MOMENTUM = 0.01, 0.9
LAYERS = {"relu": nn.ReLU, "tanh": nn.Tanh}


def conv(
    channels: tuple[int, int], size: int, kernel: int, activation: kernels.Activation
) -> StagePlan:
    """A convolution and its activation, then the largest of 2x2."""
    return StagePlan(
        in_channels=channels[0],
        in_size=(size, size),
        out_channels=channels[1],
        kernel_size=(kernel, kernel),
        activation=activation,
        pooling="max",
        pool_size=(2, 2),
        pool_stride=(2, 2),
    )


def connected(
    inputs: tuple[int, int], outputs: int, activation: kernels.Activation = "none"
) -> StagePlan:
    """All numbers of a square map of ``inputs`` (channels, size) to ``outputs``."""
    channels, size = inputs
    return StagePlan(
        in_channels=channels,
        in_size=(size, size),
        out_channels=outputs,
        kernel_size=(size, size),
        activation=activation,
    )


NETWORKS: dict[str, tuple[list[StagePlan], tuple[int, ...]]] = {
    "digit-page LeNet": (
        [
            conv((1, 6), 32, 5, "relu"),
            conv((6, 16), 14, 5, "relu"),
            connected((16, 5), 120, "relu"),
            connected((120, 1), 100, "relu"),
            connected((100, 1), 10),
        ],
        (64, 128, 256, 512),
    ),
    "LeNet-5": (
        [
            conv((1, 6), 32, 5, "tanh"),
            conv((6, 16), 14, 5, "tanh"),
            connected((16, 5), 120, "tanh"),
            connected((120, 1), 84, "tanh"),
            connected((84, 1), 10),
        ],
        (64, 128, 256, 512),
    ),
    "Nielsen, two convolutions": (
        [
            conv((1, 20), 28, 5, "relu"),
            conv((20, 40), 12, 5, "relu"),
            connected((40, 4), 100, "relu"),
            connected((100, 1), 10),
        ],
        (10, 128),
    ),
}
STAGES = [
    conv((1, 6), 32, 5, "relu"),
    conv((6, 16), 14, 5, "relu"),
    conv((1, 20), 28, 5, "relu"),
    conv((3, 16), 32, 3, "relu"),
    conv((16, 32), 16, 3, "relu"),
    conv((16, 16), 32, 5, "relu"),
]


@dataclass
class Sides:
    """The same network twice: torch's layers, and a chain of stages."""

    plan: list[StagePlan]
    net: nn.Sequential
    x: Tensor
    targets: Tensor

    @classmethod
    def of(cls, plan: list[StagePlan], batch: int) -> "Sides":
        torch.manual_seed(0)
        x = torch.rand(batch, plan[0].in_channels, *plan[0].in_size)
        return cls(plan, layers_of(plan), x, torch.randint(0, 10, (batch,)))


def layers_of(plan: Sequence[StagePlan]) -> nn.Sequential:
    """The chain in torch's layers, fully connected stages as nn.Linear."""
    layers: list[nn.Module] = []
    for stage in plan:
        if stage.kernel_size == stage.in_size:
            inputs = stage.in_channels * stage.in_size[0] * stage.in_size[1]
            layers += [nn.Flatten(), nn.Linear(inputs, stage.out_channels)]
        else:
            layers.append(
                nn.Conv2d(stage.in_channels, stage.out_channels, stage.kernel_size)
            )
        if stage.activation in LAYERS:
            layers.append(LAYERS[stage.activation]())
        if stage.pooling == "max":
            layers.append(nn.MaxPool2d(stage.pool_size, stage.pool_stride))
    return nn.Sequential(*layers)


def require_close(ours: Tensor, theirs: Tensor, what: str) -> None:
    """Refuse to time two sides that do not compute the same."""
    size = max(1.0, theirs.abs().max().item())
    if not torch.allclose(ours.flatten(), theirs.flatten(), rtol=0, atol=2e-5 * size):
        raise SystemExit(f"{what}: the two sides differ; nothing was timed.")


def fastest(sides: Sequence[Callable[[], object]]) -> list[float]:
    """Seconds per call of each, in turns, the best round of each."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    best, calls = [float("inf")] * len(sides), [1] * len(sides)
    for _ in range(ROUNDS):
        for i, side in enumerate(sides):
            start = clock()
            for _ in range(calls[i]):
                side()
            each = (clock() - start) / calls[i]
            best[i] = min(best[i], each)
            calls[i] = max(1, min(200, int(ROUND_SECONDS / max(each, 1e-6))))
    return best


def forward(stage: StagePlan, batch: int) -> dict[str, object]:
    sides = Sides.of([stage], batch)
    parameters, numbers = list(sides.net.parameters()), numbers_of([stage])
    with torch.no_grad():
        require_close(
            apply_stages(sides.x, list(parameters), numbers), sides.net(sides.x), "out"
        )
        theirs, ours = fastest(
            [
                lambda: sides.net(sides.x),
                lambda: apply_stages(sides.x, list(parameters), numbers),
            ]
        )
    name = f"{stage.in_channels}x{stage.in_size[0]}x{stage.in_size[1]} -> "
    name += f"{stage.out_channels} @ {stage.kernel_size[0]}, {stage.activation}, pool"
    return row(name, batch, theirs, ours)


def step(name: str, plan: list[StagePlan], batch: int) -> dict[str, object]:
    theirs_, ours_ = Sides.of(plan, batch), Sides.of(plan, batch)
    optimizer = torch.optim.SGD(theirs_.net.parameters(), lr=RATE, momentum=MOMENTUM)
    chain = ChainStep(plan, list(ours_.net.parameters()))
    chain.flat.grad = chain.flat_grad
    flat_optimizer = torch.optim.SGD([chain.flat], lr=RATE, momentum=MOMENTUM)

    def their_step() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(theirs_.net(theirs_.x), theirs_.targets)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def our_step() -> Tensor:
        loss = chain(ours_.x, ours_.targets)
        flat_optimizer.step()
        return loss

    for _ in range(3):
        require_close(our_step(), their_step(), "loss")
    pairs = zip(ours_.net.parameters(), theirs_.net.parameters(), strict=True)
    for ours, theirs in pairs:
        require_close(ours.detach(), theirs.detach(), "parameters")
        if ours.grad is not None and theirs.grad is not None:
            require_close(ours.grad, theirs.grad, "gradients")
    return row(name, batch, *fastest([their_step, our_step]))


def row(name: str, batch: int, theirs: float, ours: float) -> dict[str, object]:
    result = {
        "name": name,
        "batch": batch,
        "microseconds_per_image": {
            "torch eager": round(1e6 * theirs / batch, 2),
            "convscope": round(1e6 * ours / batch, 2),
        },
        "ratio": round(theirs / ours, 2),
    }
    print(
        f"{name:<40} batch {batch:>4}: torch {1e6 * theirs / batch:7.2f}, "
        f"ours {1e6 * ours / batch:6.2f} us per image, {theirs / ours:5.2f}x",
        flush=True,
    )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("threads", type=int, nargs="?", default=1)
    threads: int = parser.parse_args().threads
    if threads < 1:
        parser.error(f"threads={threads} must be at least 1")
    if not kernels.available():
        raise SystemExit(f"There are no native kernels here: {kernels.why_not()}.")
    keep_freed_memory()  # for both sides, as training does
    torch.set_num_threads(threads)
    result = {
        "machine": machine() | {"instruction_set": kernels.instruction_set()},
        "forward": [forward(stage, 256) for stage in STAGES],
        "step": [
            step(name, plan, batch)
            for name, (plan, batches) in NETWORKS.items()
            for batch in batches
        ],
    }
    path = Path(__file__).parent / "results" / "native_stages.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    kept[f"threads_{threads}"] = result
    path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
