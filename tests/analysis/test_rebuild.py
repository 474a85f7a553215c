"""Layers written as one would, and built again with other arguments."""

import importlib
from pathlib import Path

import pytest
from torch import nn

from convscope import layers
from convscope.analysis.checking.rebuild import layer_text, rebuilt

FOLDER = Path(__file__).parents[1] / "contracts" / "layer_cases"
CASES = [
    case
    for path in sorted(FOLDER.glob("*.py"))
    for case in importlib.import_module(f"contracts.layer_cases.{path.stem}").CASES
]
WRITTEN = [
    "Conv2d(3, 8, 3)",
    "Conv2d(3, 8, (3, 5), stride=2, padding='same', padding_mode='partial')",
    "Conv2d(3, 8, 3, padding=((0, 2), (1, 0)), flip=True)",
    "ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, bias=False)",
    "DepthwiseConv2d(3, 3, depth_multiplier=2)",
    "PointwiseConv1d(3, 4, bias=False)",
    "SeparableConv2d(3, 8, 3, padding='same', bias=False, depthwise_bias=True)",
    "LocallyConnected2d(1, 4, 5, 28, padding=1, bias='channel')",
    "MaxPool2d(4)",
    "MaxPool3d(4, stride=2, ceil_mode='onnx')",
    "LPPool1d(2, 3)",
    "FractionalMaxPool2d(2, output_ratio=0.5)",
    "Subsampling2d(6, 2)",
    "LocalContrastNorm2d(9)",
    "LocalContrastNorm2d(9, sigma=2.0, padding_mode='zeros')",
    "LocalResponseNorm(5, k=2.0, average=False)",
    "BatchNorm2d(16, momentum=0.5)",
    "Gain(4, axes=1)",
    "Rectification",
]


@pytest.mark.parametrize("text", WRITTEN)
def test_a_layer_is_written_as_it_was_built(text):
    call = text if "(" in text else f"{text}()"
    layer = eval(call, vars(layers))  # noqa: S307  # our own text
    assert layer_text(layer) == text


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.Conv2d(4, 8, (3, 1), 2, 1, bias=False, groups=2),
         "Conv2d(4, 8, (3, 1), stride=2, padding=1, groups=2, bias=False)"),
        (nn.MaxPool2d(3, 2), "MaxPool2d(3, stride=2)"),
        (nn.AdaptiveAvgPool2d([1, 1]), "AdaptiveAvgPool2d([1, 1])"),
        (nn.BatchNorm1d(4, affine=False), "BatchNorm1d(4, affine=False)"),
        (nn.Dropout(), "Dropout(0.5)"),
        (nn.Flatten(), "Flatten"),
        (nn.LSTM(3, 4), "LSTM(3, 4)"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), "Linear(3, 2)"),
        (layers.Stage2d(3, 8, 5), "Stage2d"),
    ],
)  # fmt: skip
def test_what_is_written_is_what_matters(layer, text):
    assert layer_text(layer) == text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_layer_of_ours_can_be_built_again_as_it_is(case):
    layer = case.make()
    if getattr(layer, "connections", None) is not None:
        pytest.skip("the table has no values in a shadow")
    made = rebuilt(layer, {})
    if isinstance(layer, nn.Sequential):  # built from its first part
        assert repr(made) == repr(layer)
        return
    assert isinstance(layer, type(made))  # some cases are subclasses
    assert repr(made) == repr(layer)
    shapes = {name: p.shape for name, p in layer.named_parameters()}
    assert shapes == {name: p.shape for name, p in made.named_parameters()}
    assert all(p.is_meta for p in made.parameters())


def test_a_layer_of_ours_stays_one_with_all_that_torch_has_not():
    layer = layers.Conv2d(3, 8, 3, padding=((1, 0), (0, 1)), padding_mode="symmetric")
    made = rebuilt(layer, {"in_channels": 5})
    assert layer_text(made) == (
        "Conv2d(5, 8, 3, padding=((1, 0), (0, 1)), padding_mode='symmetric')"
    )
    assert type(made) is layers.Conv2d


def test_what_follows_from_an_argument_follows_again():
    assert rebuilt(layers.MaxPool2d(4), {"kernel_size": 2}).stride == 2
    assert rebuilt(nn.MaxPool2d(4, 3), {"kernel_size": 2}).stride == 3
    assert rebuilt(layers.LocalContrastNorm1d(9), {"kernel_size": 4}).sigma == (1.0,)
    assert rebuilt(nn.Conv2d(4, 8, 3, groups=4), {"in_channels": 8}).groups == 8


def test_a_stage_takes_what_its_filters_take():
    stage = layers.Stage2d(3, 8, 5, pooling="max")
    made = rebuilt(stage, {"in_channels": 4})
    assert (made.in_channels, made.filters.in_channels) == (4, 4)
    assert (stage.in_channels, stage.filters.in_channels) == (3, 3)
    assert made.pooling is stage.pooling


def test_a_layer_that_has_no_such_argument_is_not_built():
    assert rebuilt(nn.ReLU(), {"in_channels": 4}) is None
    assert rebuilt(nn.LSTM(3, 4), {"input_size": 4}) is None
