"""Padding along one axis: one integer for both ends, or a pair, everywhere."""

import re

import pytest

from convscope import arithmetic
from convscope.errors import ArgumentError, CallError

# Every function of one axis that takes padding, called without it.
ONE_AXIS = {
    "output_size": {"stride": 2},
    "transposed_output_size": {"stride": 2},
    "windows": {"stride": 2},
    "transposed_windows": {"stride": 2},
    "nearest_fixes": {},
    "ignored_elements": {"stride": 2},
    "exact_fixes": {"stride": 2},
    "possible_strides": {},
}
DESCRIBED = ["Window", "Bordered", "Transposed"]


@pytest.mark.parametrize("name", ONE_AXIS)
def test_an_integer_is_padding_at_both_ends(name):
    function = getattr(arithmetic, name)
    for amount in (0, 1, 3):
        pair = function(24, 7, padding=(amount, amount), **ONE_AXIS[name])
        assert function(24, 7, padding=amount, **ONE_AXIS[name]) == pair
        assert function(24, 7, padding=[amount, amount], **ONE_AXIS[name]) == pair
    uneven = function(24, 7, padding=(0, 3), **ONE_AXIS[name])
    assert uneven == function(24, 7, padding=[0, 3], **ONE_AXIS[name])


def test_the_first_layer_of_a_resnet_halves_its_image():
    assert arithmetic.output_size(224, 7, stride=2, padding=3) == 112


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_described_layer_takes_an_integer_too(name):
    kind = getattr(arithmetic, name)
    assert kind(3, 2, 1) == kind(3, 2, (1, 1))
    assert kind(3, 2, 1).output_size(9) == kind(3, 2, (1, 1)).output_size(9)


@pytest.mark.parametrize(
    ("padding", "text"),
    [
        (
            "same",
            "padding='same' is a name, which stands for a number where kernel and "
            "stride are known. Give what resolve_padding makes of it, or call "
            "output_shape.",
        ),
        (
            (1, 2, 3),
            "padding=(1, 2, 3) has 3 values for one axis. Give one integer, or a pair "
            "(before, after).",
        ),
        ((1,), "padding=(1,) has 1 value for one axis. Give one integer, or a pair "
               "(before, after)."),
        (1.5, "padding=1.5 is not an integer of at least 0. Use padding=0 or more."),
        ((0, -1), "padding=-1 is not an integer of at least 0. Use padding=0 or more."),
        (None, "padding=None is not an integer of at least 0. Use padding=0 or more."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", [*ONE_AXIS, *DESCRIBED])
def test_padding_that_is_neither_is_refused(name, padding, text):
    function = getattr(arithmetic, name)

    def call():
        if name in DESCRIBED:
            return function(7, padding=padding).output_size(24)
        return function(24, 7, padding=padding)

    with pytest.raises(ArgumentError, match=re.escape(text) + "$"):
        call()


@pytest.mark.parametrize("name", ONE_AXIS)
def test_a_misspelled_argument_is_named_with_the_one_that_was_meant(name):
    text = f"^{name}: unknown argument 'pading'. Did you mean 'padding'\\?$"
    with pytest.raises(CallError, match=text):
        getattr(arithmetic, name)(24, 7, pading=1)
