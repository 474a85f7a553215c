import numpy as np
import pytest
import torch
from torch import nn

from analysis import networks
from convscope.analysis import effective_receptive_field
from convscope.errors import ArgumentError, UnknownNameError


def test_the_support_is_what_arithmetic_allows():
    torch.manual_seed(0)
    field = effective_receptive_field(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, (5, 3), stride=2)),
        (1, 20, 17),
    )
    assert field.support == field.theory
    assert field.energy.sum() == pytest.approx(1)


def test_a_stack_of_averages_has_the_energy_of_a_binomial():
    net = nn.Sequential(*(nn.Conv1d(1, 1, 2, bias=False) for _ in range(6)))
    for layer in net:
        nn.init.constant_(layer.weight, 0.5)
    field = effective_receptive_field(net, (1, 21), samples=1)
    row = np.array([1, 6, 15, 20, 15, 6, 1]) ** 2  # Pascal's triangle
    first, last = field.support[0]
    np.testing.assert_allclose(
        field.energy[first : last + 1], row / row.sum(), rtol=1e-6
    )
    assert field.width(1.0) == (7,)
    assert field.width(0.95) == (4,)  # 36 + 225 + 400 + 225 of 924


def test_the_network_and_the_random_numbers_are_left_alone():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout()).train()
    state = torch.get_rng_state()
    one = effective_receptive_field(net, (1, 9, 9), layer="1")
    two = effective_receptive_field(net, (1, 9, 9), layer="1")
    assert net.training
    assert net[1].num_batches_tracked == 0
    assert net[0].weight.grad is None
    assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_array_equal(one.energy, two.energy)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"samples": 0}, ArgumentError, "samples=0 is below 1"),
        ({"layer": "conv"}, UnknownNameError, "unknown layer 'conv'"),
        ({"output_index": (9, 0)}, ArgumentError, "Use 0 to 6"),
        ({"output_index": (1,)}, ArgumentError, "Give 2"),
    ],
)
def test_wrong_questions_are_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        effective_receptive_field(
            nn.Sequential(nn.Conv2d(1, 2, 3)), (1, 9, 9), **arguments
        )


def test_a_network_without_weights_is_refused():
    with torch.device("meta"):
        net = networks.lenet5()
    with pytest.raises(ArgumentError, match="has no weights"):
        effective_receptive_field(net, (1, 32, 32))
