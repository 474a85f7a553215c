"""What the models refuse, and in which words."""

import re

import pytest

from convscope.errors import ArgumentError, ShapeError, UnknownNameError
from convscope.models import build, options

REFUSED = [
    ("resnet9", {"width": 0}, "resnet9: width=0 must be at least 1."),
    ("mlp", {"hidden": 0}, "mlp: hidden=0 must be at least 1."),
    ("mlp", {"dropout": 1.0}, "mlp: dropout=1.0 must be in [0, 1)."),
    ("vgg11", {"width": 0}, "vgg11: width=0 and hidden=4096 must be at least 1."),
    ("resnet50", {"width": 0}, "resnet50: width=0 must be at least 1."),
    ("resnet20", {"width": 0}, "resnet20: width=0 must be at least 1."),
    (
        "resnet18",
        {"stride_on_1x1": True},
        "resnet18: stride_on_1x1=True needs bottlenecks; this one has blocks of two "
        "3x3 convolutions. Leave it out, or take resnet50.",
    ),
    ("alexnet_2012", {"hidden": 0}, "alexnet_2012: hidden=0 must be at least 1."),
    ("alexnet_2014", {"hidden": 0}, "alexnet_2014: hidden=0 must be at least 1."),
    ("nin", {"width": 1}, "nin: width=1 must be at least 2."),
    ("all_conv", {"width": 0}, "all_conv: width=0 must be at least 1."),
    (
        "mobilenet_v2",
        {"multiplier": 0},
        "mobilenet_v2: multiplier=0 must be above 0.",
    ),
    ("unet", {"width": 0}, "unet: width=0 must be at least 1."),
    ("fcn", {"stride": 4}, "fcn: stride=4 must be 8, 16 or 32."),
    ("fcn", {"hidden": 0}, "fcn: width=64 and hidden=0 must be at least 1."),
    ("jarrett", {"stages": 3}, "jarrett: stages=3 must be 1 or 2."),
    ("jarrett", {"maps": (4, 0)}, "jarrett: maps=(4, 0) must be two numbers from 1."),
    ("nielsen", {"dropout": 1.0}, "nielsen: dropout=1.0 must be in [0, 1)."),
    (
        "nielsen",
        {"maps": (4, 4, 4)},
        "nielsen: maps=(4, 4, 4) and hidden=(1000, 1000) must be at least 1 each, of "
        "two convolutions at most.",
    ),
]


@pytest.mark.parametrize(("name", "option", "text"), REFUSED)
def test_options_out_of_range_are_refused(name, option, text):
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        build(name, **option)


@pytest.mark.parametrize(
    ("name", "option", "text"),
    [
        (
            "nielsen",
            {"configuration": "drop"},
            "unknown configuration of nielsen 'drop'. Did you mean 'dropout'?",
        ),
        (
            "nielsen",
            {"activation": "relo"},
            "unknown activation 'relo'. Did you mean 'relu'?",
        ),
        ("jarrett", {"pool": "avrage"}, "unknown pool 'avrage'. Did you mean 'average"),
        (
            "vgg16",
            {"padding_mode": "partail"},
            "unknown padding_mode 'partail'. Did you mean 'partial'?",
        ),
        ("vgg16", {"depth": 11}, "unknown option of model vgg16 'depth'."),
    ],
)
def test_names_that_are_not_known_get_a_suggestion(name, option, text):
    with pytest.raises(UnknownNameError, match=f"^{re.escape(text)}"):
        build(name, **option)


def test_a_number_of_axes_that_a_model_has_not_is_refused():
    text = (
        "lenet5: input_size=(100,) has 1 number; this model takes 2, one for each "
        "spatial axis. Give as many, or take another model."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        build("lenet5", input_size=(100,))


def test_axes_that_contradict_the_size_are_refused():
    text = (
        "nin: axes=3 and input_size=(32, 32), which has 2, contradict each other. "
        "Leave one of them out."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        build("nin", input_size=(32, 32), axes=3)


def test_a_short_signal_says_how_long_it_must_be():
    text = (
        "nin: input_size=(7,) is too small; this model takes inputs from 8 elements. "
        "Give longer ones."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        build("nin", input_size=(7,))


def test_the_options_of_a_model_are_told_with_what_they_are_otherwise():
    assert options("unet") == {"width": 64, "dropout": 0.5, "padding_mode": "zeros"}
    assert options("softmax_regression") == {}
