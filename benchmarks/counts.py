"""Multiply-adds of ten networks, counted by us and by three others.

``python benchmarks/counts.py`` writes ``benchmarks/results/counts.json`` and the table
in ``docs/explanation/counting.md``. It needs torchinfo and fvcore, at any version.
Before anything is compared, our count of every network is checked against one that
knows nothing of sizes: each convolution and matrix product of a real forward pass on an
input of ones with weights of ones sums its own outputs, and a sum of ones is a count.
"""

import argparse
import importlib.util
import json
import logging
import platform
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from convscope.analysis import summary

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "explanation" / "counting.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
COUNTERS = ("convscope", "torchinfo", "fvcore", "torch")


def _networks() -> dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]]:
    """The networks of our tests, each with the size of its input."""
    n = _tests()
    return {
        "LeNet-5": (n.lenet5, (1, 32, 32)),
        "AlexNet (2014)": (n.alexnet_2014, (3, 224, 224)),
        "VGG16": (lambda: n.vgg(16), (3, 224, 224)),
        "VGG19": (lambda: n.vgg(19), (3, 224, 224)),
        "ResNet-18": (n.resnet18, (3, 224, 224)),
        "ResNet-50": (lambda: n.resnet50(stride_on_1x1=False), (3, 224, 224)),
        "MobileNet": (n.mobilenet_v1, (3, 224, 224)),
        "U-Net, small": (n.UNet, (3, 64, 64)),
        "patches with attention": (n.Patches, (3, 32, 32)),
        "volume, 3-D": (n.volume, (1, 16, 32, 32)),
    }


def _tests() -> ModuleType:
    path = HERE.parent / "tests" / "analysis" / "networks.py"
    spec = importlib.util.spec_from_file_location("networks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def count_ours(net: nn.Module, size: tuple[int, ...]) -> int:
    return summary(net, size).multiply_adds


def count_torchinfo(net: nn.Module, size: tuple[int, ...]) -> int:
    import torchinfo

    return int(torchinfo.summary(net, (1, *size), verbose=0).total_mult_adds)


def count_fvcore(net: nn.Module, size: tuple[int, ...]) -> int:
    from fvcore.nn import FlopCountAnalysis

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    analysis = FlopCountAnalysis(net, torch.zeros(1, *size))
    return int(analysis.unsupported_ops_warnings(False).total())


def count_torch(net: nn.Module, size: tuple[int, ...]) -> int:
    """torch counts a multiplication and an addition as two.

    With gradients, because without them attention takes a fused path in evaluation that
    torch's counter does not know.
    """
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, *size))
    return int(counter.get_total_flops()) // 2


def count_by_ones(net: nn.Module, size: tuple[int, ...]) -> int:
    """Sums of ones: what every layer with weights adds up, padding included.

    Padding is made one as well, so that its products are counted, and a transposed
    convolution is summed before its padding cuts.
    """
    total = 0.0

    def hook(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal total
        total += _ones_of(layer, args[0])

    kinds = (nn.Linear, *_CONVOLUTIONS, *_TRANSPOSED)
    handles = [
        layer.register_forward_pre_hook(hook)
        for layer in net.modules()
        if isinstance(layer, kinds) and type(layer) in kinds
    ]
    attention = [m for m in net.modules() if isinstance(m, nn.MultiheadAttention)]
    handles += [m.register_forward_pre_hook(hook_for(m)) for m in attention]
    found = [0.0]
    with torch.no_grad(), _collecting(found):
        net(torch.zeros(1, *size))
    for handle in handles:
        handle.remove()
    return round(total + found[0])


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_FOUND: list[list[float]] = []


@contextmanager
def _collecting(found: list[float]) -> Iterator[None]:
    _FOUND.append(found)
    yield
    _FOUND.pop()


def hook_for(layer: nn.MultiheadAttention) -> Callable[..., None]:
    """The two linear maps of an attention, which it does not call as layers."""

    def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert layer.in_proj_weight is not None
        for weight in (layer.in_proj_weight, layer.out_proj.weight):
            x = torch.ones(*args[0].shape[:-1], weight.shape[1], dtype=torch.float64)
            _FOUND[-1][0] += F.linear(x, torch.ones_like(weight).double()).sum().item()

    return hook


def _ones_of(layer: nn.Module, x: Tensor) -> float:
    weight: Any = layer.weight
    ones = torch.ones(x.shape, dtype=torch.float64)
    taps = torch.ones(weight.shape, dtype=torch.float64)
    if isinstance(layer, nn.Linear):
        return F.linear(ones, taps).sum().item()
    options: Any = layer
    if isinstance(layer, _TRANSPOSED):
        back = {3: F.conv_transpose1d, 4: F.conv_transpose2d, 5: F.conv_transpose3d}
        made = back[x.ndim](ones, taps, None, options.stride, groups=options.groups)
        return float(made.sum().item())
    pads = [p for pad in reversed(options.padding) for p in (pad, pad)]
    forth = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
    padded = F.pad(ones, pads, value=1.0)
    made = forth[x.ndim](
        padded, taps, None, options.stride, 0, options.dilation, options.groups
    )
    return float(made.sum().item())


def measure() -> dict[str, dict[str, int]]:
    """The four counts of each network, ours checked first."""
    table = {}
    for name, (build, size) in _networks().items():
        net = build().eval()
        ours = count_ours(net, size)
        real = count_by_ones(net, size)
        if ours != real:
            raise SystemExit(f"{name}: we count {ours:,}, ones add up to {real:,}")
        table[name] = {
            "convscope": ours,
            "torchinfo": count_torchinfo(net, size),
            "fvcore": count_fvcore(net, size),
            "torch": count_torch(net, size),
        }
    return table


def as_markdown(table: dict[str, dict[str, int]]) -> str:
    """Ours in full, the others as the difference from ours."""
    lines = [
        "| network | convscope | torchinfo | fvcore | torch |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, counts in table.items():
        ours = counts["convscope"]
        others = [
            "equal" if counts[c] == ours else f"{counts[c] - ours:+,}"
            for c in COUNTERS[1:]
        ]
        lines.append(f"| {name} | {ours:,} | {' | '.join(others)} |")
    return "\n".join(lines)


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    warnings.simplefilter("ignore")
    table = measure()
    record = {
        "versions": {p: version(p) for p in ("torch", "torchinfo", "fvcore")},
        "python": platform.python_version(),
        "multiply_adds": table,
    }
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "counts.json").write_text(json.dumps(record, indent=2) + "\n")
    text = as_markdown(table)
    print(text)
    if DOCUMENT.exists():
        old = DOCUMENT.read_text()
        head, _, rest = old.partition(BEGIN)
        tail = rest.partition(END)[2]
        DOCUMENT.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")


if __name__ == "__main__":
    main()
