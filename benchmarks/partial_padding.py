"""Partial padding beside zero padding, the same layer otherwise, in one run.

Run ``python benchmarks/partial_padding.py``. The two are first compared away from the
border, then timed in turn, forward and backward with a gradient for everything; the
table is printed and written to results/partial_padding.json. Partial padding written
plainly, as a multiplication of the whole output, is timed beside them.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.bench.machine import machine
from convscope.execution import keep_freed_memory
from convscope.layers import Conv1d, Conv2d, Conv3d

GOAL = 1.10
CASES: list[tuple[tuple[int, ...], int, int]] = [  # input, output channels, taps
    ((32, 64, 56, 56), 64, 3),
    ((128, 16, 28, 28), 16, 3),
    ((32, 128, 28, 28), 128, 3),
    ((64, 256, 14, 14), 256, 3),
    ((16, 64, 64, 64), 64, 5),
    ((16, 64, 4096), 64, 9),
    ((4, 16, 24, 32, 32), 32, 3),
]
LAYERS = {1: Conv1d, 2: Conv2d, 3: Conv3d}
LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
Run = Callable[[Tensor], Tensor]


def plainly(layer: Any, x: Tensor) -> Run:
    """Partial padding as the papers' code has it: the whole output is multiplied."""
    axes, convs = layer.axes, {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
    functional: Callable[..., Tensor] = convs[axes]
    ones = torch.ones(1, 1, *x.shape[2:])
    taps = torch.ones(1, 1, *layer.kernel_size)
    hits = functional(ones, taps, padding=layer.padding)
    scale = taps.numel() / hits

    def run(x: Tensor) -> Tensor:
        out = functional(x, layer.weight, padding=layer.padding) * scale
        bias: Tensor = layer.bias
        return out + bias.view(-1, *(1,) * axes)

    return run


def timed(run: Run, x: Tensor, layer: torch.nn.Module, grad: Tensor) -> list[float]:
    """Seconds of the processor in the forward and in the backward pass."""
    x.grad = None
    layer.zero_grad()
    began = time.process_time()
    out = run(x)
    middle = time.process_time()
    out.backward(grad)
    return [middle - began, time.process_time() - middle]


def measured(
    shape: tuple[int, ...], out: int, taps: int, last: bool, repeats: int
) -> dict[str, Any]:
    """The fastest of each, timed in turn so that other work hits all alike."""
    axes, half = len(shape) - 2, taps // 2
    x = torch.randn(shape)
    zeros = LAYERS[axes](shape[1], out, taps, padding=half)
    partial = LAYERS[axes](shape[1], out, taps, padding=half, padding_mode="partial")
    partial.load_state_dict(zeros.state_dict())
    if last:
        x = x.to(memory_format=LAST[axes])
        for layer in (zeros, partial):
            layer.to(memory_format=LAST[axes])  # type: ignore[call-overload]  # as torch's stubs have it
    runs: dict[str, tuple[Run, torch.nn.Module]] = {
        "zeros": (zeros, zeros),
        "partial": (partial, partial),
        "plainly": (plainly(partial, x), partial),
    }
    inner = (..., *(slice(half, -half),) * axes)
    expected = runs["plainly"][0](x)
    torch.testing.assert_close(partial(x)[inner], zeros(x)[inner])
    torch.testing.assert_close(partial(x), expected, rtol=1e-4, atol=1e-5)
    x.requires_grad_()
    grad = torch.randn_like(expected)
    best = {name: [float("inf")] * 2 for name in runs}
    for _ in range(repeats):
        for name, (run, module) in runs.items():
            seconds = timed(run, x, module, grad)
            best[name] = [min(pair) for pair in zip(best[name], seconds, strict=True)]
    total = {name: sum(pair) for name, pair in best.items()}
    return {
        "input": shape,
        "out_channels": out,
        "kernel_size": taps,
        "channels_last": last,
        "milliseconds": {
            name: [round(1e3 * s, 2) for s in pair] for name, pair in best.items()
        },
        "forward": round(best["partial"][0] / best["zeros"][0], 3),
        "forward_and_backward": round(total["partial"] / total["zeros"], 3),
        "plainly": round(total["plainly"] / total["zeros"], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    asked = parser.parse_args()
    keep_freed_memory()  # as `convscope train` does
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = []
    print(f"times zero padding, forward and backward; the goal is {GOAL:.2f}")
    for shape, out, taps in CASES:
        for last in (False, True) if len(shape) > 3 else (False,):
            row = measured(shape, out, taps, last, asked.repeats)
            rows.append(row)
            layout = "channels-last" if last else "contiguous"
            print(
                f"{shape!s:22} -> {out:3}, {taps} taps, {layout:13}: "
                f"{row['forward_and_backward']:.3f} (forward {row['forward']:.3f}; "
                f"plainly {row['plainly']:.3f})",
                flush=True,
            )
    record = {
        "goal": GOAL,
        "rows": rows,
        "repeats": asked.repeats,
        "machine": machine(),
    }
    path = Path(__file__).parent / "results" / "partial_padding.json"
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
