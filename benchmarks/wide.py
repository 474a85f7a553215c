"""A training step of wide networks: torch as it comes, torch set by hand, and ours.

Run ``python benchmarks/wide.py``, or with names and batch sizes. Each contestant is a
copy with the same weights; losses and gradients are compared with those of float64
first, then steps (forward, backward, SGD with momentum) are timed in turn. Time is that
of the process, summed over threads, so that other work on the machine counts less. The
table is printed; ``--keep`` writes it to results/wide.json.
"""

import argparse
import copy
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.bench.machine import machine
from convscope.execution import Optimized, Setting, keep_freed_memory, optimize
from convscope.models import build

RESULTS = Path(__file__).parent / "results" / "wide.json"
CPU = torch.device("cpu")
SHAPE = (3, 32, 32)
HALF_LOSS = 0.05  # bfloat16's: of the loss
HALF_GRADIENT = 0.35  # and of the gradient's norm, against float64

Call = Callable[[Tensor], Tensor]


class Contestant:
    """A network, its optimizer, and how it is called."""

    def __init__(self, net: nn.Module, call: Call, layout: torch.memory_format) -> None:
        self.net, self.call, self.layout = net, call, layout
        self.optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def gradient(self, images: Tensor, labels: Tensor) -> Tensor:
        """Loss of a batch, its gradient in the parameters."""
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.call(images), labels)
        loss.backward()
        return loss.detach()

    def step(self, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """Process and wall seconds of one step."""
        cpu, wall = time.process_time(), time.perf_counter()
        self.gradient(images, labels)
        self.optimizer.step()
        return time.process_time() - cpu, time.perf_counter() - wall


def contestants(net: nn.Module, batch: int) -> dict[str, Contestant]:
    plain = copy.deepcopy(net)
    by_hand = Setting(CPU, "bfloat16", channels_last=True)
    native = Setting(CPU, "bfloat16", channels_last=True, kernels=True)
    found = {"torch": Contestant(plain, plain, torch.contiguous_format)}
    for name, setting in (("torch by hand", by_hand), ("ours, same setting", native)):
        own = setting.place(copy.deepcopy(net))
        fast = Optimized(own, setting)
        found[name] = Contestant(own, fast, setting.memory_format)
    own = copy.deepcopy(net)
    chosen = optimize(own, SHAPE, batch_size=batch, precision="auto")
    found["ours"] = Contestant(own, chosen, chosen.setting.memory_format)
    return found


def require_equal(
    net: nn.Module, entered: dict[str, Contestant], images: Tensor, labels: Tensor
) -> dict[str, dict[str, float]]:
    """Distance to float64 of each loss and gradient; an error if one is far."""
    exact = copy.deepcopy(net).double()
    expected = F.cross_entropy(exact(images.double()), labels)
    expected.backward()
    wanted = _gradients(exact)
    distances = {}
    for name, each in entered.items():
        before = copy.deepcopy(each.net.state_dict())
        loss = each.gradient(images, labels).double()
        found = _gradients(each.net)
        each.net.load_state_dict(before)
        apart = {
            "loss": float((loss - expected.detach()).abs() / expected.detach()),
            "gradient": float((found - wanted).norm() / wanted.norm()),
        }
        if not (apart["loss"] < HALF_LOSS and apart["gradient"] < HALF_GRADIENT):
            raise SystemExit(f"{name} does not compute the same: {apart}")
        distances[name] = apart
    return distances


def _gradients(net: nn.Module) -> Tensor:
    kept = [p.grad for p in net.parameters() if p.grad is not None]
    return torch.cat([g.double().flatten() for g in kept])


def measure(name: str, batch: int, repeats: int) -> dict[str, Any]:
    torch.manual_seed(0)
    net = build(name)
    images, labels = torch.randn(batch, *SHAPE), torch.randint(10, (batch,))
    entered = contestants(net, batch)
    few = min(batch, 32)
    distances = require_equal(net, entered, images[:few], labels[:few])
    inputs = {
        each: images.contiguous(memory_format=entered[each].layout) for each in entered
    }
    times: dict[str, list[tuple[float, float]]] = {each: [] for each in entered}
    for each, one in entered.items():
        one.step(inputs[each], labels)
    for _ in range(repeats):
        for each, one in entered.items():
            times[each].append(one.step(inputs[each], labels))
    rows = {
        each: {
            "cpu_ms_median": 1e3 * statistics.median(cpu for cpu, _ in pairs),
            "cpu_ms_least": 1e3 * min(cpu for cpu, _ in pairs),
            "wall_ms_median": 1e3 * statistics.median(wall for _, wall in pairs),
            "wall_ms_least": 1e3 * min(wall for _, wall in pairs),
            **{f"{what}_off": off for what, off in distances[each].items()},
        }
        for each, pairs in times.items()
    }
    setting = entered["ours"].call
    return {
        "network": name,
        "batch": batch,
        "chosen": str(setting.setting) if isinstance(setting, Optimized) else "",
        "rows": rows,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def show(result: dict[str, Any]) -> None:
    print(f"\n{result['network']}, batch {result['batch']}; ours: {result['chosen']}")
    rows = result["rows"]
    first, hand = rows["torch"], rows["torch by hand"]
    for name, row in rows.items():
        least = row["cpu_ms_least"]
        print(
            f"{name:20} {least:9.1f} ms  {first['cpu_ms_least'] / least:6.2f}x torch  "
            f"{hand['cpu_ms_least'] / least:5.2f}x by hand  "
            f"gradient off {row['gradient_off']:.1e}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=["airbench94", "resnet9"])
    parser.add_argument("--batch", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help=f"write {RESULTS.name}")
    asked = parser.parse_args()
    keep_freed_memory()  # all contestants share the process, and so the allocator
    results = [
        measure(name, batch, asked.repeats)
        for name in asked.networks
        for batch in asked.batch
    ]
    for result in results:
        show(result)
    if asked.keep:
        record = {
            "machine": machine(),
            "results": results,
        }
        RESULTS.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
