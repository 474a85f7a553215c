"""The commands on networks that the data do not fit."""

import pytest

from convscope.data import load
from convscope.models import cards
from convscope.train import recipes


def test_images_too_small_are_refused_with_the_size_to_take(convscope, tmp_path):
    arguments = ("--model", "vgg11", "--size", "16", "--run", str(tmp_path / "run"))
    outcome = convscope("train", "digits", *arguments)
    assert outcome.code == 2
    assert outcome.err.endswith(
        "Error: vgg11: input_size=(16, 16) is too small; this model takes images from "
        "32 x 32 pixels. Resize the images to 32 x 32 (--size 32), or take another "
        "model.\n"
    )
    assert not (tmp_path / "run").exists()


def test_networks_for_pixels_are_refused_before_data_are_read(convscope):
    outcome = convscope("train", "digits", "--model", "unet")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "Error: train: unet gives classes for each pixel, and training takes images "
        "with one label each. Take a model whose `convscope models MODEL` says that it "
        "gives classification.\n"
    )


def test_a_summary_of_a_signal_is_one_number_long(convscope):
    outcome = convscope("summary", "nin", "--input", "2,500", "--depth", "1")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("nin on 2x500\n")
    assert "Conv1d(2, 192, 5" in outcome.out


@pytest.mark.parametrize("name", recipes.GENTLE)
def test_networks_that_high_rates_drive_apart_begin_with_lower_ones(name):
    assert name in cards()
    digits = load("digits")
    assert recipes.suited(digits, name).learning_rate == recipes.GENTLE[name]
    assert recipes.suited(digits, "resnet18").learning_rate == 0.1
