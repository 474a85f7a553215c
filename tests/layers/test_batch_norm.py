"""torch's batch normalization in everything but what it says."""

import copy
import pickle
import re

import pytest
import torch
from torch import nn

from convscope import layers
from convscope.errors import ShapeError

SHAPES = {1: (4, 3, 6), 2: (4, 3, 5, 6), 3: (4, 3, 2, 3, 4)}


@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize(
    "options",
    [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}],
    ids=str,
)
def test_numbers_gradients_and_statistics_are_torchs_to_the_bit(axes, options):
    ours = getattr(layers, f"BatchNorm{axes}d")(3, **options)
    theirs = getattr(nn, f"BatchNorm{axes}d")(3, **options)
    assert repr(ours) == repr(theirs)
    for training in (True, True, False):
        ours.train(training)
        theirs.train(training)
        x = torch.randn(SHAPES[axes])
        inputs = [x.clone().requires_grad_() for _ in range(2)]
        out, expected = ours(inputs[0]), theirs(inputs[1])
        assert torch.equal(out, expected)
        out.square().sum().backward()
        expected.square().sum().backward()
        assert torch.equal(inputs[0].grad, inputs[1].grad)
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor)
    theirs.load_state_dict(ours.state_dict())


def test_without_space_it_is_torchs_too():
    x = torch.randn(4, 3)
    assert torch.equal(layers.BatchNorm1d(3)(x), nn.BatchNorm1d(3)(x))


@pytest.mark.parametrize("axes", SHAPES)
def test_one_value_per_channel_is_refused_with_what_to_do(axes):
    layer = getattr(layers, f"BatchNorm{axes}d")(3)
    shape = (1, 3) + (1,) * axes
    text = (
        f"BatchNorm{axes}d: x of shape {shape} has 1 value per channel, which has no "
        "variance: every output would be the bias, and no gradient would come through. "
        "Give 2 or more images a batch (drop_last=True leaves out a last batch of "
        "one), or a larger map; eval() normalizes with the running statistics, one "
        "image at a time."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        layer(torch.zeros(shape))
    assert layer.num_batches_tracked == 0
    assert layer.eval()(torch.zeros(shape)).shape == shape


def test_without_running_statistics_evaluation_is_refused_too():
    layer = layers.BatchNorm1d(3, track_running_stats=False).eval()
    with pytest.raises(ShapeError, match="track_running_stats=True and eval"):
        layer(torch.zeros(1, 3))


@pytest.mark.parametrize("affine", [True, False])
def test_a_batch_of_none_leaves_the_running_statistics_alone(affine):
    layer = layers.BatchNorm2d(3, affine=affine)
    out = layer(torch.zeros(0, 3, 4, 4, requires_grad=True))
    assert out.shape == (0, 3, 4, 4)
    out.sum().backward()
    assert torch.equal(layer.running_mean, torch.zeros(3))
    assert torch.equal(layer.running_var, torch.ones(3))


@pytest.mark.parametrize(
    ("axes", "shape", "text"),
    [
        (
            2,
            (3, 4, 4),
            "BatchNorm2d: x must have shape (N, 3, H, W); got (3, 4, 4), which has 3 "
            "axes instead of 4. For 1 spatial axes take the 1d layer.",
        ),
        (
            1,
            (2, 4),
            "BatchNorm1d: x must have shape (N, 3, L); got (2, 4), which has 2 axes "
            "instead of 3. Add or remove axes with unsqueeze, flatten or unflatten.",
        ),
        (
            3,
            (2, 4, 2, 2, 2),
            "BatchNorm3d: x must have shape (N, 3, D, H, W); got (2, 4, 2, 2, 2), "
            "which has 4 channels. Build the layer for 4 channels, or give it 3.",
        ),
    ],
)
def test_another_shape_names_the_layer(axes, shape, text):
    layer = getattr(layers, f"BatchNorm{axes}d")(3)
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        layer(torch.zeros(shape))


def test_copies_and_pickles_are_whole():
    layer = layers.BatchNorm2d(3)
    layer(torch.randn(4, 3, 5, 5))
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        for name, tensor in layer.state_dict().items():
            assert torch.equal(twin.state_dict()[name], tensor)
