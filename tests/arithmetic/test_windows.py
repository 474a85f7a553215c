import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from arithmetic.grids import SMALL
from convscope.arithmetic import (
    adaptive_windows,
    output_size,
    resize_windows,
    transposed_output_size,
    transposed_windows,
    windows,
)
from convscope.errors import ArgumentError, ShapeError, UnknownNameError

# Whole numbers in float64: every sum is exact, so results are compared with ==.
X = torch.tensor([3, 7, 1, 9, 4, 8, 2, 6, 5], dtype=torch.float64)
WEIGHT = torch.tensor([2, -3, 5, 11], dtype=torch.float64)


def weighted(table, x, weight):
    """The operation itself, by plain loops over a table."""
    return [
        sum(x[i] * w for i, w in zip(row, weight, strict=True) if i is not None)
        for row in table
    ]


def check_convolutions(table_of):
    for case in SMALL:
        size, kernel, stride, padding, dilation = case
        x, weight = X[:size], WEIGHT[:kernel]
        try:
            table = table_of(size, kernel, **case.arguments)
        except ShapeError:
            continue
        theirs = F.conv1d(
            x[None, None], weight[None, None], None, stride, padding, dilation
        )
        ours = weighted(table, x.tolist(), weight.tolist())
        assert ours == theirs.flatten().tolist(), case


def check_transposed(table_of):
    for case in SMALL:
        size, kernel, stride, padding, dilation = case
        x, weight = X[:size], WEIGHT[:kernel]
        more = max(stride, dilation) - 1
        try:
            table = table_of(size, kernel, output_padding=more, **case.arguments)
        except ShapeError:
            continue
        theirs = F.conv_transpose1d(
            x[None, None], weight[None, None], None, stride, padding, more, 1, dilation
        )
        ours = weighted(table, x.tolist(), weight.tolist())
        assert ours == theirs.flatten().tolist(), case


def test_the_table_of_every_small_convolution_computes_what_torch_computes():
    check_convolutions(windows)


def test_the_table_of_every_small_transposed_convolution_computes_the_same():
    check_transposed(transposed_windows)


MISTAKES = {
    "taps in reverse": lambda table: [row[::-1] for row in table],
    "last window missing": lambda table: table[:-1],
    "padding repeats the border": lambda table: [
        [0 if i is None else i for i in row] for row in table
    ],
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_checks_reject_a_planted_mistake(mistake):
    spoil = MISTAKES[mistake]
    with pytest.raises(AssertionError):
        check_convolutions(lambda *a, **k: spoil(windows(*a, **k)))
    with pytest.raises(AssertionError):
        check_transposed(lambda *a, **k: spoil(transposed_windows(*a, **k)))


@pytest.mark.parametrize("ceil_mode", [False, "torch"])
def test_the_table_of_every_small_pooling_computes_what_torch_computes(ceil_mode):
    for case in SMALL:
        size, kernel, stride, padding, dilation = case
        if padding > kernel // 2:
            continue
        try:
            table = windows(size, kernel, **case.arguments, ceil_mode=ceil_mode)
        except ShapeError:
            continue
        # with dilation a window of torch may hold no element at all: -inf
        ours = [
            max((float(X[i]) for i in row if i is not None), default=float("-inf"))
            for row in table
        ]
        theirs = F.max_pool1d(
            X[None, None, :size],
            kernel,
            stride,
            padding,
            dilation,
            ceil_mode=bool(ceil_mode),
        )
        assert ours == theirs.flatten().tolist(), case


arguments = st.fixed_dictionaries(
    {
        "stride": st.integers(1, 5),
        "padding": st.tuples(st.integers(0, 6), st.integers(0, 6)),
        "dilation": st.integers(1, 4),
    }
)


@given(
    size=st.integers(1, 40),
    kernel=st.integers(1, 7),
    arguments=arguments,
    ceil_mode=st.sampled_from([False, "torch", "onnx"]),
)
def test_there_is_one_window_per_output(size, kernel, arguments, ceil_mode):
    try:
        outputs = output_size(size, kernel, ceil_mode=ceil_mode, **arguments)
    except ShapeError:
        with pytest.raises(ShapeError):
            windows(size, kernel, ceil_mode=ceil_mode, **arguments)
        return
    table = windows(size, kernel, ceil_mode=ceil_mode, **arguments)
    assert len(table) == outputs
    assert all(len(row) == kernel for row in table)


@given(size=st.integers(1, 20), kernel=st.integers(1, 7), arguments=arguments)
def test_the_transposed_table_is_the_table_of_the_convolution_it_transposes(
    size, kernel, arguments
):
    try:
        outputs = transposed_output_size(size, kernel, **arguments)
    except ShapeError:
        return
    table = transposed_windows(size, kernel, **arguments)
    assert len(table) == outputs
    links = {
        (i, o, tap)
        for o, row in enumerate(table)
        for tap, i in enumerate(row)
        if i is not None
    }
    forward = windows(outputs, kernel, **arguments)
    assert links == {
        (i, o, tap)
        for i, row in enumerate(forward)
        for tap, o in enumerate(row)
        if o is not None
    }


def support(operation, size):
    """Inputs that reach each output, by the gradient of a positive operation."""
    x = torch.ones(1, 1, size, dtype=torch.float64, requires_grad=True)
    y = operation(x).flatten()
    rows = [torch.autograd.grad(one, x, retain_graph=True)[0].flatten() for one in y]
    # a weight that is 0 on paper may be a rounding error of 1 in 2**53, seldom 16
    return [torch.nonzero(row.abs() > 2**-49).flatten().tolist() for row in rows]


@pytest.mark.parametrize("size", range(1, 12))
def test_adaptive_windows_are_those_that_torch_averages(size):
    for outputs in range(1, 15):
        theirs = support(lambda x, o=outputs: F.adaptive_avg_pool1d(x, o), size)
        assert adaptive_windows(size, outputs) == theirs


@pytest.mark.parametrize("align_corners", [False, True])
def test_linear_resize_windows_are_those_that_torch_mixes(align_corners):
    for size in range(1, 10):
        for outputs in range(1, 25):
            ours = resize_windows(
                size, outputs, mode="linear", align_corners=align_corners
            )
            theirs = support(
                lambda x, o=outputs: F.interpolate(
                    x, o, mode="linear", align_corners=align_corners
                ),
                size,
            )
            assert ours == theirs, (size, outputs)


def test_nearest_resize_windows_are_those_that_torch_copies():
    for size in range(1, 12):
        for outputs in range(1, 40):
            theirs = F.interpolate(
                torch.arange(size, dtype=torch.float64)[None, None], outputs
            )
            rows = resize_windows(size, outputs)
            assert [row[0] for row in rows] == theirs.flatten().tolist()


@pytest.mark.parametrize("align_corners", [False, True])
def test_cubic_resize_windows_hold_every_element_that_torch_mixes(align_corners):
    def cubic(x, outputs):
        rows = x[..., None].expand(-1, -1, -1, 2)
        resized = F.interpolate(
            rows, (outputs, 2), mode="bicubic", align_corners=align_corners
        )
        return resized[..., 0]

    for size in range(1, 9):
        for outputs in range(1, 18):
            ours = resize_windows(
                size, outputs, mode="cubic", align_corners=align_corners
            )
            theirs = support(lambda x, o=outputs: cubic(x, o), size)
            # weights of one clamped element may cancel, so theirs may be fewer
            assert all(set(t) <= set(o) for t, o in zip(theirs, ours, strict=True))
            inner = [
                (t, o) for t, o in zip(theirs, ours, strict=True) if len(o) in (1, 4)
            ]
            assert all(t == o for t, o in inner)


def test_an_unknown_resize_mode_is_refused():
    with pytest.raises(
        UnknownNameError,
        match=r"^unknown mode 'bilinear'\. Did you mean 'linear'\?$",
    ):
        resize_windows(4, 8, mode="bilinear")


def test_adaptive_pooling_to_nothing_is_refused():
    with pytest.raises(
        ArgumentError,
        match=r"^adaptive_windows: outputs=0 is not an integer of at least 1\. "
        r"Use outputs=1 or more\.$",
    ):
        adaptive_windows(4, 0)
