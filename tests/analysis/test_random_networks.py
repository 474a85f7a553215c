"""Networks nobody thought of: the summary must equal a real forward and backward."""

import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from analysis.support import require_support
from convscope.analysis import check, summary
from convscope.errors import ShapeError

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
BACK = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOL = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
CHANNELS = 2


class Both(nn.Module):
    """Two branches, added or concatenated after the longer is cropped."""

    def __init__(self, one: nn.Module, other: nn.Module, axes: int, join: str) -> None:
        super().__init__()
        self.one, self.other = one, other
        self.mix = None if join == "add" else CONV[axes](2 * CHANNELS, CHANNELS, 1)

    def forward(self, x):
        a, b = self.one(x), self.other(x)
        sizes = [min(p, q) for p, q in zip(a.shape[2:], b.shape[2:], strict=True)]
        for axis, size in enumerate(sizes):
            a, b = a.narrow(2 + axis, 0, size), b.narrow(2 + axis, 0, size)
        return a + b if self.mix is None else self.mix(torch.cat([a, b], dim=1))


class Resize(nn.Module):
    def forward(self, x):
        return F.interpolate(x, scale_factor=2)


@st.composite
def layers(draw, axes):
    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    kind = draw(st.sampled_from(["conv", "conv", "pool", "norm", "relu", "up", "back"]))
    if kind == "conv":
        return CONV[axes](
            CHANNELS, CHANNELS, each(1, 3), stride=each(1, 2), padding=each(0, 2),
            dilation=each(1, 2), groups=draw(st.sampled_from([1, 2])),
        )  # fmt: skip
    if kind == "pool":
        return POOL[axes](
            each(2, 3), stride=each(1, 3), padding=draw(st.integers(0, 1))
        )
    if kind == "back":
        return BACK[axes](CHANNELS, CHANNELS, each(1, 3), stride=each(1, 2))
    return {"norm": NORM[axes](CHANNELS), "relu": nn.ReLU(), "up": Resize()}[kind]


@st.composite
def bodies(draw, axes, depth=2):
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        if depth and draw(st.booleans()):
            one, other = draw(bodies(axes, depth - 1)), draw(bodies(axes, depth - 1))
            parts.append(Both(one, other, axes, draw(st.sampled_from(["add", "cat"]))))
        else:
            parts.append(draw(layers(axes)))
    return nn.Sequential(*parts)


@st.composite
def cases(draw):
    axes = draw(st.sampled_from([1, 2, 2, 3]))
    largest = {1: 20, 2: 10, 3: 6}[axes]
    sizes = tuple(draw(st.integers(4, largest)) for _ in range(axes))
    return draw(bodies(axes)), (CHANNELS, *sizes)


def runs(net, shape):
    try:
        with torch.no_grad():
            return net.eval()(torch.zeros(1, *shape))
    except RuntimeError:
        return None


COMMON = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much],
}


@settings(max_examples=60, **COMMON)
@given(cases())
def test_check_refuses_exactly_what_torch_refuses(case):
    net, shape = case
    real = runs(net, shape)
    try:
        check(net, shape)
    except ShapeError:
        assert real is None
    else:
        assert real is not None


@settings(max_examples=60, **COMMON)
@given(cases())
def test_summary_equals_a_real_forward_pass(case):
    net, shape = case
    assume(runs(net, shape) is not None)
    seen = {}
    for path, module in net.named_modules():
        module.register_forward_hook(
            lambda m, a, out, path=path: seen.update({path: tuple(out.shape[1:])})
        )
    runs(net, shape)
    for module in net.modules():
        module._forward_hooks.clear()
    with FlopCounterMode(display=False) as counter:
        runs(net, shape)
    record = summary(net, shape)
    assert {r.path: r.output_shape for r in record.rows if not _is_function(r)} == seen
    assert 2 * record.multiply_adds == counter.get_total_flops()
    assert record.parameters == sum(p.numel() for p in net.parameters())


@settings(max_examples=40, **COMMON)
@given(cases())
def test_every_range_is_the_support_of_a_real_gradient(case):
    net, shape = case
    assume(runs(net, shape) is not None)
    require_support(net, shape)


def _is_function(row):
    return row.name != (row.path.rpartition(".")[2] or "Sequential")
