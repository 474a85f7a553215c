"""Building by name: what is refused, what is chosen."""

import re

import pytest

from convscope.errors import ArgumentError, ShapeError, UnknownNameError
from convscope.models import build, choose, find, lenet5


def test_lenet5_on_28_pixels_has_as_many_parameters_as_on_32():
    nets = [lenet5(10, 1, size) for size in ((28, 28), (32, 32))]
    counts = {sum(p.numel() for p in net.parameters()) for net in nets}
    assert counts == {61_706}


def test_an_image_that_is_too_small_says_what_to_do():
    text = (
        "lenet5: input_size=(8, 8) is too small; this model takes images from 12 x 12 "
        "pixels. Resize the images to 32 x 32 (size=32), or take another model."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        build("lenet5", input_size=(8, 8))


def test_an_unknown_model_gets_a_suggestion():
    text = "unknown model 'lenet-5'. Did you mean 'lenet5'?"
    with pytest.raises(UnknownNameError, match=f"^{re.escape(text)}$"):
        find("lenet-5")


def test_an_unknown_option_gets_a_suggestion():
    text = "unknown option of model resnet9 'widht'. Did you mean 'width'?"
    with pytest.raises(UnknownNameError, match=f"^{re.escape(text)}$"):
        build("resnet9", widht=3)


@pytest.mark.parametrize("argument", ["num_classes", "in_channels"])
def test_counts_below_one_are_refused(argument):
    text = f"mlp: {argument}=0 must be at least 1."
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        build("mlp", **{argument: 0})


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ((1, 28, 28), "lenet5"),
        ((1, 8, 8), "resnet9"),
        ((3, 32, 32), "resnet9"),
        ((1, 128, 128), "resnet9"),
        ((3, 5, 5), "mlp"),
    ],
)
def test_the_model_is_chosen_by_size_and_channels(shape, name):
    choice = choose(shape)
    assert choice.name == name
    assert choice.why.startswith(name)
    assert f"{shape[1]} x {shape[2]} " in choice.why
    build(name, in_channels=shape[0], input_size=shape[1:], **choice.options)
