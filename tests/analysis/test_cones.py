import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.field_networks import NETWORKS
from analysis.support import positive
from convscope.analysis import unit_cones
from convscope.analysis.operations import registry
from convscope.errors import ArgumentError, ShapeError, UnknownNameError
from convscope.models import build


class Maps:
    """Every module's output in one pass of a copy with positive weights."""

    def __init__(self, net, shape):
        self.net = positive(net)
        self.maps, self.add = {}, {}
        for path, module in self.net.named_modules():
            if hasattr(module, "inplace"):
                module.inplace = False
            module.register_forward_hook(self._kept(path))
        torch.manual_seed(0)
        self.x = torch.rand(1, *shape, dtype=torch.float64) + 0.5

    def _kept(self, path):
        def hook(module, args, output):
            self.turns[path] += 1
            turn = self.turns[path]
            label = path if turn == 1 else f"{path}:{turn}"
            if label in self.add:
                output = output + self.add[label]
            self.maps[label] = output
            return output

        return hook

    def run(self, **add):
        self.maps, self.add, self.turns = {}, add, Counter()
        x = self.x + add.get("input", 0)
        x.requires_grad_()
        self.net(x)
        return {"input": x, **self.maps}


def elements(changed):
    """The places along each axis at which anything is True, channels first."""
    found = np.nonzero(changed)
    return tuple(tuple(sorted(set(axis.tolist()))) for axis in found)


def units(shape, count=5):
    generator = np.random.default_rng(0)
    corners = [tuple(0 for _ in shape), tuple(size - 1 for size in shape)]
    return corners + [
        tuple(int(generator.integers(size)) for size in shape) for _ in range(count)
    ]


def require_equal(region, real, loose, where):
    """Only along ``loose`` axes it may hold more than what is real."""
    assert region.known
    for axis, there in enumerate(real):
        said = region.elements(axis)
        assert set(said) >= set(there), (*where, axis)
        if axis not in loose:
            assert said == there, (*where, axis)
            assert region.box[axis] == (there[0], there[-1]), (*where, axis)


def require_same_map(one, other):
    """A block has the map of its last layer."""
    assert one.startswith(other) or other.startswith(one)


def require_fields(net, shape, loose=()):
    """What units see of every map before is the support of their gradient."""
    cones, maps = unit_cones(net, shape), Maps(net, shape).run()
    for layer in [name for name in maps if name in cones.shapes]:
        for index in units(cones.shapes[layer]):
            before = cones.sees(layer, index)
            others = [one for one in maps if one != layer and one in cones.shapes]
            slopes = torch.autograd.grad(
                maps[layer][(0, *index)], [maps[one] for one in others],
                retain_graph=True, allow_unused=True,
            )  # fmt: skip
            for other, slope in zip(others, slopes, strict=True):
                if slope is None or not slope.any():
                    assert loose or other not in before
                elif other in before:
                    real = elements(slope[0].numpy())
                    require_equal(before[other], real, loose, (layer, index, other))
                else:
                    require_same_map(layer, other)


def require_cones(net, shape, loose=()):
    """Units see those, and only those, whose change changes them."""
    cones, oracle = unit_cones(net, shape), Maps(net, shape)
    plain = oracle.run()
    for layer in [name for name in plain if name in cones.shapes]:
        for index in units(cones.shapes[layer], count=3):
            change = torch.zeros_like(plain[layer])
            change[(0, *index)] = 1.0
            moved, after = oracle.run(**{layer: change}), cones.seen_by(layer, index)
            for other, value in moved.items():
                different = (value != plain[other])[0].detach().numpy()
                if other == layer or other not in cones.shapes:
                    continue
                if not different.any():
                    assert loose or other not in after
                elif other in after:
                    real = elements(different)
                    require_equal(after[other], real, loose, (layer, index, other))
                else:
                    require_same_map(layer, other)


class Branches(nn.Module):
    """Two branches of unequal reach, added, and a third beside them."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.wide = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2)
        self.narrow = nn.Conv2d(4, 4, 1)
        self.beside = nn.Conv2d(4, 3, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.last = nn.Linear(7, 3)

    def forward(self, x):
        x = self.stem(x)
        both = torch.cat([self.wide(x) + self.narrow(x), self.beside(x)], 1)
        return self.last(self.pool(both).flatten(1))


OTHERS = {
    "branches": (Branches(), (2, 11, 9)),
    "gaps": (
        nn.Sequential(
            nn.Conv1d(1, 2, 3, stride=2, dilation=2), nn.Conv1d(2, 2, 2, stride=3),
            nn.ConvTranspose1d(2, 1, 2, stride=4),
        ),
        (1, 32),
    ),
    "reflected gaps": (
        nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=2, dilation=2, padding_mode="reflect"),
            nn.Conv2d(2, 2, 3, stride=2, padding=1, padding_mode="circular"),
        ),
        (1, 9, 8),
    ),
    "depthwise": (
        nn.Sequential(
            nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4),
            nn.Conv2d(4, 6, 1, groups=2),
        ),
        (4, 7, 6),
    ),
    "volume with a decoder": (
        nn.Sequential(
            nn.Conv3d(1, 2, 3, stride=(1, 2, 2)), nn.ReLU(inplace=True),
            nn.ConvTranspose3d(2, 1, 2, stride=2), nn.Upsample(scale_factor=2),
        ),
        (1, 4, 7, 8),
    ),
    "flat": (
        nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.Flatten(), nn.ReLU(), nn.Linear(30, 4), nn.ReLU(),
            nn.Linear(4, 2),
        ),
        (1, 5, 7),
    ),
}  # fmt: skip
EVERY = {**NETWORKS, **OTHERS}
LOOSE = {"rearranged": (0, 1, 2), "shuffled": (0,)}  # behind a shuffle of channels


@pytest.mark.parametrize("name", EVERY)
def test_what_a_unit_sees_of_every_map_is_the_support_of_its_gradient(name):
    require_fields(*EVERY[name], LOOSE.get(name, ()))


@pytest.mark.parametrize("name", EVERY)
def test_what_sees_a_unit_is_what_changes_with_it(name):
    require_cones(*EVERY[name], LOOSE.get(name, ()))


def test_the_checks_reject_a_planted_mistake(monkeypatch):
    row = registry.by_torch("convolution")

    def blind_to_padding(arguments, shape):
        axes = len(arguments["stride"])
        padding = [(2, 0)] * axes if any(arguments["padding"]) else [0] * axes
        return row.sees({**arguments, "padding": padding}, shape)

    wrong = replace(row, sees=blind_to_padding)
    monkeypatch.setitem(registry._BY_TORCH, "convolution", wrong)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU())
    with pytest.raises(AssertionError):
        require_fields(net, (1, 6, 6))
    with pytest.raises(AssertionError):
        require_cones(net, (1, 6, 6))


class Functions(nn.Module):
    """Functions and a second output, without a module for either."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x):
        one, two = self.conv(x).chunk(2, 1)
        return {"sum": F.relu(one) + two, "mean": two.mean((2, 3))}


def test_functions_and_further_outputs_have_maps():
    cones = unit_cones(Functions(), (1, 6, 6))
    assert list(cones.shapes) == [
        "input", "conv", "chunk_1", "chunk_1[1]", "relu_1", "add_1", "mean_1", "",
        "[1]",
    ]  # fmt: skip
    found = cones.seen_by("conv", (3, 2, 2))
    assert found["chunk_1[1]"].box == ((1, 1), (2, 2), (2, 2))
    assert found["mean_1"].box == ((1, 1),)
    assert "chunk_1" not in found
    assert "relu_1" not in found
    assert cones.sees("add_1", (1, 0, 5))["conv"].elements(0) == (1, 3)


def test_a_unit_that_sees_only_padding_sees_nothing():
    cones = unit_cones(nn.Conv2d(1, 1, 1, padding=1), (1, 4, 4))
    assert cones.sees("", (0, 0, 2)) == {}
    assert cones.sees("", (0, 1, 2))["input"].box == ((0, 0), (0, 0), (1, 1))


def test_what_is_not_understood_is_said_to_be_unknown():
    class Sorted(nn.Module):
        def forward(self, x):
            return x.sort(-1).values * 2

    cones = unit_cones(Sorted(), (1, 5))
    region = cones.seen_by("input", (0, 2))["mul_1"]
    assert not region.known
    assert region.box == ((0, 0), (0, 4))
    assert region.elements(1) == (0, 1, 2, 3, 4)
    assert "sort" in cones.notes[0]


def test_several_inputs_are_told_apart():
    class Two(nn.Module):
        def forward(self, left, right):
            return left[..., 1:] + right[..., :-1]

    cones = unit_cones(Two(), [(1, 5), (1, 5)])
    assert cones.inputs == ("input_1", "input_2")
    seen = cones.sees("add_1", (0, 2))
    assert seen["input_1"].box == ((0, 0), (3, 3))
    assert seen["input_2"].box == ((0, 0), (2, 2))


def test_records_are_json():
    region = unit_cones(nn.Conv1d(1, 1, 3), (1, 8)).sees("", (0, 2))["input"]
    assert json.loads(json.dumps(region.to_dict())) == {
        "layer": "input", "shape": [1, 8], "known": True, "box": [[0, 0], [2, 4]],
    }  # fmt: skip
    assert region.size == (1, 3)


def test_wrong_questions_are_refused_in_words():
    cones = unit_cones(nn.Sequential(nn.Conv2d(1, 2, 3)), (1, 8, 8))
    with pytest.raises(UnknownNameError, match="unknown layer 'conv'"):
        cones.sees("conv", (0, 0, 0))
    with pytest.raises(ArgumentError) as caught:
        cones.sees("0", (0, 6, 0))
    assert str(caught.value) == (
        "UnitCones.sees: index=(0, 6, 0) is outside of the map of layer='0', which is "
        "(2, 6, 6). Indices begin at 0."
    )
    with pytest.raises(ArgumentError) as caught:
        cones.seen_by("0", (1, 1))
    assert str(caught.value) == (
        "UnitCones.seen_by: index=(1, 1) has 2 numbers, the map of layer='0' has 3 "
        "axes, (2, 6, 6). Give 3, the channel first."
    )
    with pytest.raises(ShapeError, match="reaches it"):
        unit_cones(nn.Conv2d(3, 2, 3), (1, 8, 8))


def test_blocks_of_a_large_network_have_the_map_of_their_last_layer():
    cones = unit_cones(build("resnet50"), (3, 224, 224))
    found = cones.sees("layer4.2", (5, 3, 3))
    assert found["layer4.1"].box == ((0, 2047), (2, 4), (2, 4))
    assert found["layer4.1.relu:3"].places == found["layer4.1"].places
    assert found["input"].box == ((0, 2), (0, 223), (0, 223))
