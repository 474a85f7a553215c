import json

import numpy as np
import pytest
import torch
from torch import nn

from convscope.analysis import exact_ranges, unit_field
from convscope.errors import ArgumentError, UnknownNameError
from convscope.models import build


def support(net, shape, layer, position):
    """First and last input element with a gradient, of positive weights."""
    found = []
    net.get_submodule(layer).register_forward_hook(lambda m, a, out: found.append(out))
    x = torch.rand(1, *shape, dtype=torch.float64).requires_grad_()
    net.double()(x)
    unit = found[0][0].sum(0)[position]
    (slope,) = torch.autograd.grad(unit, x)
    places = np.nonzero(slope[0].abs().sum(0).numpy())
    return tuple((int(p.min()), int(p.max())) for p in places)


def positive(net):
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()
    return net


@pytest.mark.parametrize(
    ("layer", "position"), [("0", (0, 7)), ("2", (3, 3)), ("3", (1, 0)), ("", (1, 1))]
)
def test_every_step_is_the_support_of_a_gradient(layer, position):
    def make():
        return positive(nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
            nn.Conv2d(2, 2, 3),
        ))  # fmt: skip

    found = unit_field(make(), (1, 8, 8), layer, position, samples=0)
    assert found.unit.position == position
    for step in found.steps:
        assert step.box == support(make(), (1, 8, 8), step.path, step.position)
    sizes = [np.prod(step.size) for step in found.steps]
    assert sizes == sorted(sizes)


def test_of_a_block_the_layers_inside_are_steps_and_those_behind_are_not():
    net = build("resnet18", input_size=(64, 64)).eval()
    found = unit_field(net, (3, 64, 64), "layer1", samples=1)
    paths = [step.path for step in found.steps]
    assert paths[0] == "conv1"
    assert "layer1.0.conv1" in paths
    assert paths[-1] == "layer1"
    assert not any(path.startswith("layer2") for path in paths)
    assert found.effective.theory == found.unit.box


def test_signals_and_vectors_have_a_field():
    net = nn.Sequential(nn.Conv1d(1, 2, 5), nn.Flatten(), nn.Linear(12, 3))
    assert unit_field(net, (1, 10), "0", (5,), samples=0).unit.box == ((5, 9),)
    whole = unit_field(net, (1, 10), samples=1)
    assert whole.unit.box == ((0, 9),)
    assert json.loads(json.dumps(whole.to_dict()))["steps"][-1]["size"] == [10]


def test_ranges_of_one_layer_are_as_before():
    net = nn.Sequential(nn.Conv1d(1, 1, 3, stride=2, padding=1), nn.ReLU())
    assert exact_ranges(net, (1, 5), "1") == (((0, 1), (1, 3), (3, 4)),)


NET = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        (("1x",), UnknownNameError, "unknown layer '1x'. Did you mean '1'?"),
        (("0", (6, 0)), ArgumentError, "unit_field: position=(6, 0) is outside the "
         "map, which has 6 units along the height. Use 0 to 5."),
        (("0", (1,)), ArgumentError, "unit_field: position=(1,) has 1 number, the map "
         "has 2 axes. Give 2."),
    ],
)  # fmt: skip
def test_a_unit_that_is_not_there_is_refused(arguments, kind, text):
    with pytest.raises(kind) as refused:
        unit_field(NET, (1, 8, 8), *arguments)
    assert str(refused.value) == text


def test_a_unit_without_a_gradient_has_its_field_by_arithmetic():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    with torch.no_grad():
        net[0].weight.zero_()
    found = unit_field(net, (1, 8, 8), "1", samples=1)
    assert found.unit.size == (3, 3)
    assert found.effective is None
    assert found.notes == (
        "what it uses cannot be measured: no gradient reaches the input",
    )
