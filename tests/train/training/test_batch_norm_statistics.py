"""Statistics taken anew: exact over the data, whatever the batches."""

import copy
import re

import pytest
import torch
from torch import nn

from conftest import make_set
from convscope.analysis import compare_statistics
from convscope.analysis.probes.batch_statistics import Moments
from convscope.data.batching.batches import plain
from convscope.errors import ArgumentError
from convscope.layers import BatchNorm2d
from convscope.train import recompute_statistics


def network(norm=nn.BatchNorm2d, channels=2):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 3, 3),
        norm(3),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Conv2d(3, 4, 3),
        norm(4),
        nn.Flatten(),
        nn.Linear(4 * 4 * 4, 5),
        nn.BatchNorm1d(5),
    ).double()


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(1)
    return 3 + 2 * torch.randn(21, 2, 8, 8, generator=generator, dtype=torch.float64)


def norms(net):
    return [m for m in net if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def test_moments_of_parts_are_those_of_the_whole():
    x = 1e4 + torch.randn(30, 3, 5, dtype=torch.float64)
    moments = Moments()
    for part in x.split([1, 7, 0, 22]):
        moments.add(part)
    torch.testing.assert_close(moments.mean, x.mean((0, 2)))
    torch.testing.assert_close(moments.variance, x.var((0, 2)))
    assert (moments.count, moments.batches) == (150, 3)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, BatchNorm2d])
@pytest.mark.parametrize("batch_size", [4, 10, 21, 256])
def test_the_first_layer_gets_the_mean_and_variance_over_all_values(
    images, norm, batch_size
):
    net = network(norm)
    recompute_statistics(net, images, batch_size=batch_size)
    reached = net[0](images)
    torch.testing.assert_close(net[1].running_mean, reached.mean((0, 2, 3)))
    torch.testing.assert_close(net[1].running_var, reached.var((0, 2, 3)))


@pytest.mark.parametrize("layer_by_layer", [True, False])
def test_with_all_data_in_one_batch_it_is_what_training_sees(images, layer_by_layer):
    net, twin = network(), network()
    for layer in norms(twin):
        layer.momentum = 1.0
        layer.train()
    twin[3].eval()  # dropout
    twin(images)
    recompute_statistics(net, images, layer_by_layer=layer_by_layer)
    for ours, theirs in zip(norms(net)[:2], norms(twin)[:2], strict=True):
        # Evaluation normalizes with the unbiased variance, training with the biased
        # one: a part of 1 / (21 * 36) apart in what reaches the second layer.
        near = {"rtol": 2 / (21 * 36), "atol": 0}
        torch.testing.assert_close(ours.running_mean, theirs.running_mean, **near)
        torch.testing.assert_close(ours.running_var, theirs.running_var, **near)


@pytest.mark.parametrize("batch_size", [4, 21])
def test_layer_by_layer_evaluation_gives_mean_0_and_variance_1_in_every_layer(
    images, batch_size
):
    net = network()
    recompute_statistics(net, images, batch_size=batch_size, layer_by_layer=True)
    net.eval()
    x = images
    for layer in net:
        x = layer(x)
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            axes = [0, *range(2, x.ndim)]
            mean, variance = x.mean(axes), x.var(axes)
            torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-9, rtol=0)
            wanted = layer.running_var / (layer.running_var + layer.eps)
            torch.testing.assert_close(variance, wanted)


def test_everything_else_is_left_as_it_was(images):
    net = network()
    net[1].eval()  # frozen by its owner
    before = copy.deepcopy(net.state_dict())
    modes = [m.training for m in net.modules()]
    state = torch.get_rng_state()
    recompute_statistics(net, images)
    assert [m.training for m in net.modules()] == modes
    assert all(layer.track_running_stats for layer in norms(net))
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in net.state_dict().items():
        if "running" not in name and "tracked" not in name:
            assert torch.equal(tensor, before[name]), name
    assert not any(m._forward_pre_hooks for m in net.modules())
    assert all(p.grad is None for p in net.parameters())


def test_a_failure_halfway_leaves_the_statistics_as_they_were(images):
    class Failing(list):
        turns = 0

        def __iter__(self):
            self.turns += 1
            if self.turns == 3:
                raise OSError("disk")
            return super().__iter__()

    net = network()
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(OSError, match="disk"):
        recompute_statistics(net, Failing([images]), layer_by_layer=True)
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    assert all(m.training for m in net.modules())


def test_a_data_set_gives_its_training_part_normalized():
    data = make_set((9, 8, 8))
    net, twin = (network(channels=1).float()[:6] for _ in range(2))
    recompute_statistics(net, data, batch_size=8)  # 25 images: the last would be alone
    batches = list(plain(data.train, data.preprocessing, 9))
    recompute_statistics(twin, batches)
    torch.testing.assert_close(net.state_dict(), twin.state_dict())
    assert net[1].num_batches_tracked == 3


def test_batches_may_be_tensors_or_pairs_with_labels(images):
    labels = torch.zeros(7)
    forms = [images.split(7), [(part, labels) for part in images.split(7)]]
    states = []
    for form in forms:
        net = network()
        recompute_statistics(net, form)
        states.append(net.state_dict())
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)


def test_the_report_shows_which_layers_were_off_and_then_none(images):
    net = network()
    off = recompute_statistics(net, images)
    assert [layer.path for layer in off.layers] == ["1", "5", "8"]
    assert [layer.values for layer in off.layers] == [21 * 36, 21 * 16, 21]
    assert off.disagreeing
    now = compare_statistics(net, images)
    assert not now.disagreeing
    for layer in now.layers:
        assert layer.mean_gap.max() < 1e-6
        assert layer.variance_ratio.max() < 1 + 1e-6


def test_the_table_names_each_layer_and_counts_channels_that_are_off():
    net = nn.Sequential(nn.BatchNorm1d(2))
    net[0].running_mean.copy_(torch.tensor([0.0, 3.0]))
    x = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]])  # mean 0, variance 1
    assert str(compare_statistics(net, x)) == (
        "layer  channels  mean gap  variance ratio  off\n"
        "0             2         3               1    1\n"
        "1 of 1 disagree: a channel's mean is off by more than 0.5\n"
        "running deviations, or its variance by more than a factor of 2."
    )
    assert not compare_statistics(net, x, mean_tolerance=3.1).disagreeing
    (row,) = compare_statistics(net, x).to_dict()["layers"]
    assert row["disagrees"]
    assert row["mean_gap"] == pytest.approx([0, 3], abs=1e-4)


def test_statistics_that_are_nan_disagree():
    net = nn.Sequential(nn.BatchNorm1d(1))
    net[0].running_var.fill_(float("nan"))
    assert compare_statistics(net, torch.randn(8, 1)).disagreeing


def test_a_network_without_batch_normalization_says_so():
    found = compare_statistics(nn.Linear(2, 2), torch.zeros(3, 2))
    assert str(found) == "no batch normalization with running statistics was reached"


def test_a_layer_that_is_called_twice_counts_both_calls():
    norm = nn.BatchNorm1d(1)
    recompute_statistics(nn.Sequential(norm, nn.Tanh(), norm), torch.randn(6, 1))
    assert norm.num_batches_tracked == 2


@pytest.mark.parametrize(
    ("text", "data", "options"),
    [
        (
            "recompute_statistics: data holds no batches. Give at least one.",
            torch.zeros(0, 2, 8, 8, dtype=torch.float64),
            {},
        ),
        (
            "recompute_statistics: '8' got 1 value per channel, which has no variance. "
            "Give two inputs or more.",
            torch.zeros(1, 2, 8, 8, dtype=torch.float64),
            {"layer_by_layer": True},
        ),
        (
            "recompute_statistics: layer_by_layer reads data several times, and data "
            "is an iterator, which can be read once. Give list(data).",
            iter([torch.zeros(4, 2, 8, 8)]),
            {"layer_by_layer": True},
        ),
        (
            "recompute_statistics: batch_size=0 must be at least 1.",
            torch.zeros(4, 2, 8, 8),
            {"batch_size": 0},
        ),
        (
            "recompute_statistics: data has a batch of type dict. Give tensors, or "
            "sequences that begin with one.",
            [{0: "image"}],
            {},
        ),
    ],
)
def test_what_gives_no_statistics_is_refused(text, data, options):
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        recompute_statistics(network(), data, **options)
