"""Every combination of rectification, normalization and pooling."""

import itertools

import pytest
import torch

from convscope.layers import AvgPool2d, LocalContrastNorm2d, MaxPool2d, Rectification
from convscope.models import build

COMBINATIONS = list(
    itertools.product((1, 2), (True, False), (True, False), ("average", "max"))
)


@pytest.mark.parametrize(("stages", "rectify", "normalize", "pool"), COMBINATIONS)
def test_every_combination_is_built_and_runs(stages, rectify, normalize, pool):
    net = build(
        "jarrett",
        input_size=(28, 28),
        stages=stages,
        rectify=rectify,
        normalize=normalize,
        pool=pool,
        maps=(20, 8),
    )
    kinds = [type(layer) for layer in net.modules()]
    assert kinds.count(Rectification) == stages * rectify
    assert kinds.count(LocalContrastNorm2d) == stages * normalize
    assert kinds.count(AvgPool2d) == stages * (pool == "average")
    assert kinds.count(MaxPool2d) == stages * (pool == "max")
    assert net(torch.randn(2, 1, 28, 28)).shape == (2, 10)


def test_polarity_does_not_matter_to_rectified_filters():
    torch.manual_seed(0)
    net = build("jarrett", input_size=(28, 28), stages=1, normalize=False)
    features, x = net[:-1], torch.randn(1, 1, 28, 28)
    with torch.no_grad():
        features[0].filters.bias.zero_()
        assert torch.equal(features(-x), features(x))
