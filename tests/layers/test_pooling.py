import copy
import pickle

import pytest
import torch
from torch import nn

from convscope import layers
from convscope.errors import ArgumentError, ShapeError

SIZES = {1: (9,), 2: (8, 6), 3: (4, 6, 5)}
SAME_AS_TORCH = [
    ("MaxPool", (2,)),
    ("MaxPool", (3, 2, 1, 1, True)),
    ("MaxPool", (2, 1, 0, 2, False, True)),
    ("AvgPool", (2,)),
    ("AvgPool", (3, 2, 1, True, False)),
    ("LPPool", (2, 2)),
    ("AdaptiveAvgPool", (3,)),
    ("AdaptiveMaxPool", (3, True)),
]
OURS = [
    ("MaxPool", (3, 2, "same")),
    ("AvgPool", (3, 2, "same")),
    ("StochasticPool", (2,)),
    ("FractionalMaxPool", (2, 2)),
    ("GlobalMaxPool", ()),
    ("GlobalAvgPool", (True,)),
]


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(("name", "arguments"), SAME_AS_TORCH)
def test_the_bits_and_the_arguments_are_those_of_torch_nn(name, arguments, axes):
    ours = getattr(layers, f"{name}{axes}d")(*arguments)
    theirs = getattr(nn, f"{name}{axes}d")(*arguments)
    for shape in ((2, 3, *SIZES[axes]), (3, *SIZES[axes])):
        x = torch.randn(shape)
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)
    for argument in vars(theirs).keys() - vars(nn.Module()).keys():
        assert hasattr(ours, argument)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(("name", "arguments"), SAME_AS_TORCH + OURS)
def test_an_image_alone_gives_what_a_batch_of_one_gives(name, arguments, axes):
    layer = getattr(layers, f"{name}{axes}d")(*arguments)
    for twin in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        x = torch.rand(3, *SIZES[axes])
        torch.manual_seed(0)
        alone = twin(x)
        torch.manual_seed(0)
        batch = twin(x[None])
        if isinstance(alone, torch.Tensor):
            alone, batch = (alone,), (batch,)
        for one, many in zip(alone, batch, strict=True):
            assert torch.equal(one, many[0])


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_unpooling_undoes_pooling_with_and_without_a_batch(axes):
    pool = getattr(layers, f"MaxPool{axes}d")(2, return_indices=True)
    unpool = getattr(layers, f"MaxUnpool{axes}d")(2)
    x = torch.rand(2, 3, *SIZES[axes])
    back = unpool(*pool(x), output_size=x.shape)
    assert torch.equal(back[back != 0], x[back != 0])
    assert torch.equal(unpool(*pool(x[0]), output_size=x[0].shape), back[0])
    assert torch.equal(unpool(*pool(x[0]), output_size=SIZES[axes]), back[0])


def test_stochastic_pooling_draws_in_training_only_and_from_the_generator():
    layer, x = layers.StochasticPool2d(2), torch.rand(2, 3, 8, 8)
    first = layer(x, torch.Generator().manual_seed(0))
    assert torch.equal(first, layer(x, torch.Generator().manual_seed(0)))
    assert not torch.equal(first, layer(x, torch.Generator().manual_seed(1)))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


def test_fractional_pooling_takes_samples_as_torch_nn_does():
    x, samples = torch.randn(2, 3, 9, 8), torch.rand(2, 3, 2)
    arguments = {"output_size": 5, "return_indices": True, "_random_samples": samples}
    ours = layers.FractionalMaxPool2d(2, **arguments)(x)
    theirs = nn.FractionalMaxPool2d(2, **arguments)(x)
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])


def test_subsampling_begins_as_the_average_and_learns_both_numbers():
    layer, x = layers.Subsampling2d(6), torch.randn(2, 6, 28, 28)
    torch.testing.assert_close(layer(x), layers.AvgPool2d(2)(x))
    with torch.no_grad():
        layer.weight.fill_(2)
        layer.bias.fill_(3)
    torch.testing.assert_close(layer(x), 8 * layers.AvgPool2d(2)(x) + 3)
    assert set(layer.state_dict()) == {"weight", "bias"}
    # LeNet-5: S2 has 12 parameters, S4 has 32 (LeCun et al. 1998, section II.B)
    counts = [
        sum(p.numel() for p in layers.Subsampling2d(maps).parameters())
        for maps in (6, 16)
    ]
    assert counts == [12, 32]


REPRS = [
    (
        layers.MaxPool1d(2, return_indices=True, ceil_mode=True),
        "MaxPool1d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=True, "
        "return_indices=True)",
    ),
    (
        layers.AvgPool3d(2, padding="same"),
        "AvgPool3d(kernel_size=2, stride=2, padding='same', ceil_mode=False, "
        "count_include_pad=True, divisor_override=None)",
    ),
    (
        layers.LPPool2d(2, (2, 3)),
        "LPPool2d(norm_type=2, kernel_size=(2, 3), stride=(2, 3), ceil_mode=False, "
        "padding=0)",
    ),
    (
        layers.StochasticPool2d(2, 1),
        "StochasticPool2d(kernel_size=2, stride=1, padding=0, ceil_mode=False)",
    ),
    (
        layers.FractionalMaxPool2d(2, output_ratio=0.5),
        "FractionalMaxPool2d(kernel_size=2, output_size=None, output_ratio=0.5, "
        "return_indices=False)",
    ),
]


@pytest.mark.parametrize(("layer", "text"), REPRS)
def test_the_repr_tells_every_argument(layer, text):
    assert repr(layer) == text


ERRORS = [
    (
        lambda: layers.MaxPool2d(0),
        ArgumentError,
        "MaxPool2d: kernel_size=0 is not an integer of at least 1. Use kernel_size=1 "
        "or more.",
    ),
    (
        lambda: layers.MaxPool2d(2, dilation=(1, 2, 3)),
        ArgumentError,
        "MaxPool2d: dilation=(1, 2, 3) has 3 values for 2 spatial axes. Give one "
        "integer, or 2.",
    ),
    (
        lambda: layers.AvgPool2d(2, padding="smae"),
        ArgumentError,
        "unknown padding 'smae'. Did you mean 'same'?",
    ),
    (
        lambda: layers.LPPool1d(0, 2),
        ArgumentError,
        "LPPool1d: norm_type=0 is not above 0. Use 1 for the sum, 2 for the root of "
        "the energy.",
    ),
    (
        lambda: layers.AdaptiveMaxPool1d((1, 2)),
        ArgumentError,
        "AdaptiveMaxPool1d: output_size=(1, 2) has 2 values for 1 spatial axis. Give "
        "one integer, or 1.",
    ),
    (
        lambda: layers.FractionalMaxPool3d(2),
        ArgumentError,
        "FractionalMaxPool3d: output_size=None and output_ratio=None must not both be "
        "given or both be None. Give one of them.",
    ),
    (
        lambda: layers.Subsampling2d(0),
        ArgumentError,
        "Subsampling2d: channels=0 is not an integer of at least 1. Use channels=1 or "
        "more.",
    ),
    (
        lambda: layers.Subsampling2d(6)(torch.zeros(1, 4, 8, 8)),
        ShapeError,
        "Subsampling2d: x must have shape (N, 6, H, W) or (6, H, W); got "
        "(1, 4, 8, 8), which has 4 channels. Build the layer for 4 channels, or give "
        "it 6.",
    ),
    (
        lambda: layers.MaxPool2d(2, padding=[(2, 0), (0, 0)])(torch.zeros(1, 4, 4)),
        ShapeError,
        "MaxPool2d, height: window 0 of 3 holds padding only, with padding=(2, 0) "
        "around 4 elements and kernel_size=2. Use less padding, or a larger kernel.",
    ),
    (
        lambda: layers.MaxUnpool2d(2)(torch.zeros(1, 4, 4), torch.zeros(4, 4)),
        ShapeError,
        "MaxUnpool2d: indices have shape (4, 4), x has (1, 4, 4). Give both as one "
        "pooling returned them.",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS)
def test_a_mistake_is_told_by_the_layer_with_a_remedy(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == text


def test_a_size_that_does_not_fit_names_layer_and_axis():
    with pytest.raises(ShapeError, match=r"^AvgPool3d, depth: kernel_size=5 spans 5 "):
        layers.AvgPool3d(5)(torch.zeros(1, 4, 9, 9))


@pytest.mark.parametrize(
    "layer",
    [
        layers.MaxPool2d(3, 2, "same"),
        layers.AvgPool2d(3, 2, "same"),
        layers.LPPool2d(2, 2),
        layers.StochasticPool2d(2).eval(),
        layers.GlobalMaxPool2d(),
        layers.Subsampling2d(3),
    ],
    ids=repr,
)
def test_an_exported_layer_gives_the_same_for_a_batch_of_any_size(layer):
    x = torch.randn(5, 3, 9, 8)
    sizes = {0: torch.export.Dim("batch", min=2)}
    program = torch.export.export(layer, (x[:3],), dynamic_shapes=(sizes,))
    torch.testing.assert_close(program.module()(x), layer(x))
