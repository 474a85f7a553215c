import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from convscope.arithmetic import (
    PADDING_NAMES,
    output_size,
    parse_padding,
    resolve_padding,
    resolve_paddings,
    windows,
)
from convscope.errors import ArgumentError, UnknownNameError

sizes = st.integers(1, 200)
kernels = st.integers(1, 12)
steps = st.integers(1, 6)


@given(size=sizes, kernel=kernels, stride=steps, dilation=steps)
def test_same_gives_the_size_over_the_stride_rounded_up(size, kernel, stride, dilation):
    pairs = [
        resolve_padding(name, size, kernel, stride=stride, dilation=dilation)
        for name in ("same", "same_lower")
    ]
    for pair in pairs:
        outputs = output_size(
            size, kernel, stride=stride, padding=pair, dilation=dilation
        )
        assert outputs == -(-size // stride)
    upper, lower = pairs
    assert upper == lower[::-1]
    assert upper[1] - upper[0] in (0, 1)


@given(size=sizes, kernel=kernels, stride=steps, dilation=steps)
def test_same_adds_no_more_than_it_must(size, kernel, stride, dilation):
    before, after = resolve_padding(
        "same", size, kernel, stride=stride, dilation=dilation
    )
    if after:
        fewer = size + before + after - 1 - dilation * (kernel - 1) - 1
        assert fewer // stride + 1 < -(-size // stride)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kernel", range(1, 7))
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_same_without_a_stride_computes_what_torch_computes(kernel, dilation):
    x = torch.arange(1.0, 12.0, dtype=torch.float64)[None, None]
    weight = torch.arange(1.0, kernel + 1.0, dtype=torch.float64)[None, None]
    theirs = F.conv1d(x, weight, padding="same", dilation=dilation)
    pair = resolve_padding("same", 11, kernel, dilation=dilation)
    assert F.conv1d(F.pad(x, pair), weight, dilation=dilation).equal(theirs)


@given(size=st.integers(1, 40), kernel=kernels, stride=steps, dilation=steps)
def test_causal_never_looks_ahead(size, kernel, stride, dilation):
    pair = resolve_padding("causal", size, kernel, stride=stride, dilation=dilation)
    table = windows(size, kernel, stride=stride, padding=pair, dilation=dilation)
    assert all(row[-1] == output * stride for output, row in enumerate(table))


@given(size=st.integers(1, 40), kernel=kernels, dilation=steps)
def test_full_is_every_window_that_touches_the_input(size, kernel, dilation):
    pair = resolve_padding("full", size, kernel, dilation=dilation)
    table = windows(size, kernel, padding=pair, dilation=dilation)
    assert table[0][:-1] == [None] * (kernel - 1)
    assert table[0][-1] == 0
    assert table[-1][0] == size - 1
    assert len(table) == size + pair[0]


def test_valid_adds_nothing_and_numbers_pass_unchanged():
    assert resolve_padding("valid", 9, 5) == (0, 0)
    assert resolve_padding((3, 1), 9, 5, stride=2) == (3, 1)


@pytest.mark.parametrize(
    ("padding", "axes", "expected"),
    [
        (2, 3, ((2, 2),) * 3),
        ((1, 2), 2, ((1, 1), (2, 2))),
        ([[0, 1], [2, 3]], 2, ((0, 1), (2, 3))),
        (((0, 1),), 1, ((0, 1),)),
        ("same", 2, ("same", "same")),
        ("causal", 1, ("causal",)),
    ],
)
def test_every_form_of_padding_is_read(padding, axes, expected):
    assert parse_padding(padding, axes) == expected


def test_paddings_by_name_are_resolved_per_axis():
    pairs = resolve_paddings("same", (7, 8), (3, 4), stride=(1, 2), dilation=(2, 1))
    assert pairs == ((2, 2), (1, 1))
    assert resolve_paddings(((1, 0), (0, 2)), (7, 8), 3) == ((1, 0), (0, 2))


def test_a_misspelled_name_is_refused_and_never_chooses():
    with pytest.raises(
        UnknownNameError, match=r"^unknown padding 'vaild'\. Did you mean 'valid'\?$"
    ):
        parse_padding("vaild", 2)
    with pytest.raises(UnknownNameError, match=r"^unknown padding 'SAME'\. K"):
        resolve_padding("SAME", 8, 3)
    assert all(parse_padding(name, 1) == (name,) for name in PADDING_NAMES)


@pytest.mark.parametrize(
    ("padding", "axes", "text"),
    [
        (
            "causal",
            2,
            "Conv2d: padding='causal' needs one spatial axis in which time runs, and "
            "there are 2. Use 'same', or pairs (before, after).",
        ),
        (
            ((1, 2),),
            2,
            "Conv2d: padding=((1, 2),) is not one pair (before, after) for each of 2 "
            "spatial axes. Give a name, one integer, one integer per axis, or one "
            "pair per axis.",
        ),
        (
            ((1, 2, 3), 4),
            2,
            "Conv2d: padding=((1, 2, 3), 4) is not one pair (before, after) for each "
            "of 2 spatial axes. Give a name, one integer, one integer per axis, or "
            "one pair per axis.",
        ),
        (
            (1, 2),
            1,
            "Conv2d: padding=(1, 2) has 2 values for 1 spatial axis. "
            "Give one integer, or 1.",
        ),
        (
            -1,
            2,
            "Conv2d: padding=-1 is not an integer of at least 0. "
            "Use padding=0 or more.",
        ),
        (
            ((0, -2),),
            1,
            "Conv2d: padding=-2 is not an integer of at least 0. "
            "Use padding=0 or more.",
        ),
    ],
)
def test_a_padding_in_no_such_form_is_refused(padding, axes, text):
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        parse_padding(padding, axes, where="Conv2d")


@pytest.mark.parametrize("padding", ["same", "full", 2, [(0, 1), (2, 3)]])
def test_what_was_parsed_once_can_be_parsed_again(padding):
    once = parse_padding(padding, 2)
    assert parse_padding(once, 2) == once
