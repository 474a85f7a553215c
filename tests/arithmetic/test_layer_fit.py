import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convscope.arithmetic import explain_fit, ignored_elements, output_size
from convscope.arithmetic.layer_fit import decimal
from convscope.errors import ArgumentError

SENTENCES = [
    (
        ((7, 7), 3),
        {"stride": 3},
        "7x7 with 3x3 and stride 3 does not fit: (7 - 3) / 3 + 1 = 2.33; one row and "
        "column would be ignored; pad by 1, or use stride 1, 2 or 4",
    ),
    (
        ((7, 7), 3),
        {"stride": 2},
        "7x7 with 3x3 and stride 2 fits: (7 - 3) / 2 + 1 = 3",
    ),
    (
        (7, 3),
        {"stride": 3},
        "7 with 3 and stride 3 does not fit: (7 - 3) / 3 + 1 = 2.33; one element "
        "would be ignored; pad by 1, or use stride 1, 2 or 4",
    ),
    (
        ((7, 8), 3),
        {"stride": 3},
        "7x8 with 3x3 and stride 3 does not fit: height (7 - 3) / 3 + 1 = 2.33, width "
        "(8 - 3) / 3 + 1 = 2.67; one row and 2 columns would be ignored; pad the "
        "height by 1 and the width by 2, or use stride 1",
    ),
    (
        ((9, 7), 3),
        {"stride": 3},
        "9x7 with 3x3 and stride 3 does not fit: height (9 - 3) / 3 + 1 = 3, width "
        "(7 - 3) / 3 + 1 = 2.33; one column would be ignored; pad the width by 1, or "
        "use stride 1 or 2",
    ),
    (
        ((8, 8), 3),
        {"stride": 3},
        "8x8 with 3x3 and stride 3 does not fit: (8 - 3) / 3 + 1 = 2.67; 2 rows and "
        "columns would be ignored; pad by 2, or use stride 1 or 5",
    ),
    (
        ((8, 8), 3),
        {"stride": 2, "padding": 1},
        "8x8 padded by 1 with 3x3 and stride 2 does not fit: (8 + 2 - 3) / 2 + 1 = "
        "4.5; one row and column would be ignored; pad by 1 before and 2 after "
        "instead of 1, or use stride 1",
    ),
    (
        ((9, 9), 3),
        {"stride": 3, "dilation": 2},
        "9x9 with 3x3, dilation 2 (spans 5x5) and stride 3 does not fit: (9 - 5) / 3 "
        "+ 1 = 2.33; one row and column would be ignored; pad by 1, or use stride 1, "
        "2 or 4",
    ),
    (
        ((7, 8, 9), (3, 3, 5)),
        {"stride": (3, 4, 2), "padding": ((0, 0), (0, 0), (1, 1))},
        "7x8x9 padded by 0x0x1 with 3x3x5 and stride 3x4x2 does not fit: depth (7 - "
        "3) / 3 + 1 = 2.33, height (8 - 3) / 4 + 1 = 2.25, width (9 + 2 - 5) / 2 + 1 "
        "= 4; one slice and row would be ignored; pad the depth by 1 and the height "
        "by 0 before and 3 after, or use stride 1, 2 or 4 for the depth and stride 1 "
        "or 5 for the height",
    ),
    (
        ((5, 5), 3),
        {"stride": 2, "padding": "same"},
        "5x5 padded by 1 with 3x3 and stride 2 fits: (5 + 2 - 3) / 2 + 1 = 3",
    ),
    (
        ((3, 9), 5),
        {},
        "3x9 with 5x5 and stride 1 does not fit: height: a window spans 5 elements, "
        "the input has 3; use an input of at least 5, 1 more padding on each side, or "
        "kernel_size at most 3",
    ),
    (
        ((3, 3, 3, 4), 2),
        {"stride": 2},
        "3x3x3x4 with 2x2x2x2 and stride 2 does not fit: axis 0 (3 - 2) / 2 + 1 = "
        "1.5, axis 1 (3 - 2) / 2 + 1 = 1.5, axis 2 (3 - 2) / 2 + 1 = 1.5, axis 3 (4 "
        "- 2) / 2 + 1 = 2; one line of axis 0, line of axis 1 and line of axis 2 "
        "would be ignored; pad the axis 0 by 0 before and 1 after, the axis 1 by 0 "
        "before and 1 after and the axis 2 by 0 before and 1 after, or use stride 1",
    ),
]


@pytest.mark.parametrize(("arguments", "named", "sentence"), SENTENCES)
def test_the_sentence_names_the_formula_the_loss_and_the_nearest_fixes(
    arguments, named, sentence
):
    assert explain_fit(*arguments, **named) == sentence


@given(
    size=st.integers(1, 60),
    kernel=st.integers(1, 9),
    stride=st.integers(1, 9),
    padding=st.integers(0, 4),
    dilation=st.integers(1, 3),
)
def test_what_the_sentence_advises_works(size, kernel, stride, padding, dilation):
    text = explain_fit(size, kernel, stride=stride, padding=padding, dilation=dilation)
    pads = (padding, padding)

    def ignored(**changes):
        arguments = {"stride": stride, "padding": pads, "dilation": dilation}
        return ignored_elements(size, kernel, **{**arguments, **changes})

    if "a window spans" in text:
        assert dilation * (kernel - 1) + 1 > size + 2 * padding
        return
    if " fits: " in text:
        outputs = output_size(
            size, kernel, stride=stride, padding=pads, dilation=dilation
        )
        assert ignored() == 0
        assert text.endswith(f" = {outputs}")
        return
    assert ignored() > 0
    fix = re.search(r"; pad by (\d+)(?: before and (\d+) after)?", text)
    before = int(fix[1])
    assert ignored(padding=(before, int(fix[2] or before))) == 0
    strides = [int(one) for one in re.findall(r"\d+", text.rsplit("stride", 1)[1])]
    assert 1 in strides or len(strides) == 5
    assert all(ignored(stride=one) == 0 for one in strides)


@given(value=st.fractions(min_value=0, max_value=500))
def test_a_number_is_shown_as_whole_only_if_it_is(value):
    shown = Fraction(decimal(value))
    assert (shown.denominator == 1) is (value.denominator == 1)
    assert abs(shown - value) <= Fraction(1, 100)


def test_a_wrong_number_of_axes_is_refused():
    with pytest.raises(
        ArgumentError,
        match=r"^explain_fit: stride=\(1, 2\) has 2 values for 1 spatial axis\. "
        r"Give one integer, or 1\.$",
    ):
        explain_fit(7, 3, stride=(1, 2))
