"""Convolution as a matrix against the convolution, torch, SciPy and its own form."""

import pytest
import torch
from scipy.linalg import toeplitz
from torch.nn import functional as F

from convscope.errors import ArgumentError, ShapeError, UnknownNameError
from convscope.functional import conv, conv_matrix
from convscope.functional.matrix import MATRIX_PADDINGS

DOUBLE = torch.float64
SIZES = {1: (9,), 2: (6, 5), 3: (4, 3, 5)}
ARGUMENTS = [
    {},
    {"stride": 2, "padding": "same"},
    {"padding": "full", "flip": True},
    {"padding": 1, "dilation": 2},
    {"stride": 3, "padding": "same_lower", "groups": 2},
]


def random(*shape):
    generator = torch.Generator().manual_seed(len(shape))
    return torch.randn(*shape, dtype=DOUBLE, generator=generator)


def times(matrix, x, shape):
    return (matrix @ x.flatten(1).T).T.reshape(shape)


def check(make, axes, arguments):
    """The matrix that ``make`` gives, times the input, is the convolution."""
    weight = random(4, 4 // arguments.get("groups", 1), *(2, 3, 2)[:axes])
    x = random(3, 4, *SIZES[axes])
    expected = conv(x, weight, **arguments)
    matrix = make(weight, SIZES[axes], **arguments)
    # sums of at most 48 products of normal numbers in float64
    ours = times(matrix, x, expected.shape)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_times_the_input_it_is_the_convolution(axes, arguments):
    check(conv_matrix, axes, arguments)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("mode", MATRIX_PADDINGS)
def test_it_is_so_with_every_padding_mode(axes, mode):
    pairs = ((2, 1), (0, 2), (1, 1))[:axes]
    check(conv_matrix, axes, {"padding": pairs, "padding_mode": mode, "stride": 2})


MISTAKES = {
    "flipped": lambda w, s, **a: conv_matrix(w, s, **{**a, "flip": True}),
    "input channels exchanged": lambda w, s, **a: conv_matrix(w.roll(1, 1), s, **a),
    "columns shifted": lambda w, s, **a: conv_matrix(w, s, **a).to_dense().roll(1, 1),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_check_rejects_a_planted_mistake(mistake):
    with pytest.raises(AssertionError):
        check(MISTAKES[mistake], 2, {"padding": 1})


def test_in_one_dimension_it_is_the_toeplitz_matrix_of_scipy():
    taps = torch.tensor([1.0, 2.0, 3.0], dtype=DOUBLE)
    ours = conv_matrix(taps[None, None], 6).to_dense()
    expected = toeplitz([1, 0, 0, 0], [1, 2, 3, 0, 0, 0])
    torch.testing.assert_close(ours, torch.tensor(expected).to(DOUBLE))


def test_with_circular_padding_each_row_is_the_one_above_moved_on():
    ours = conv_matrix(
        random(1, 1, 3), 7, padding="same", padding_mode="circular"
    ).to_dense()
    for row in range(6):
        torch.testing.assert_close(ours[row + 1], ours[row].roll(1), rtol=0, atol=0)


def test_in_two_dimensions_it_is_toeplitz_by_blocks_that_are_toeplitz():
    ours = conv_matrix(random(1, 1, 3, 3), (5, 4), padding=1).to_dense()
    blocks = ours.reshape(5, 4, 5, 4).transpose(1, 2)  # (5, 5) blocks of (4, 4)
    torch.testing.assert_close(blocks[1:, 1:], blocks[:-1, :-1])
    torch.testing.assert_close(blocks[..., 1:, 1:], blocks[..., :-1, :-1])


TRANSPOSED = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"stride": 2, "padding": 1, "output_padding": 1},
        {"stride": 2, "groups": 2, "dilation": 3, "output_padding": 2},
    ],
    ids=str,
)
def test_transposed_it_is_torch_s_transposed_convolution(axes, arguments):
    weight, x = random(4, 3, *(3, 2, 3)[:axes]), random(2, 4, *SIZES[axes])
    expected = TRANSPOSED[axes](x, weight, **arguments)
    matrix = conv_matrix(weight, SIZES[axes], transposed=True, **arguments)
    ours = times(matrix, x, expected.shape)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_its_transpose_is_the_matrix_of_the_transposed_convolution(axes):
    arguments = {"stride": 2, "padding": 1, "groups": 2}
    weight = random(4, 3, *(3, 3, 3)[:axes])
    sizes = (7, 5, 9)[:axes]  # odd, so that stride 2 leaves none over
    forward = conv_matrix(weight, sizes, **arguments)
    smaller = tuple((size + 1) // 2 for size in sizes)
    back = conv_matrix(weight, smaller, transposed=True, **arguments)
    torch.testing.assert_close(back.to_dense(), forward.to_dense().T, rtol=0, atol=0)


def test_it_holds_one_entry_for_each_tap_on_input_and_no_more():
    matrix = conv_matrix(torch.ones(2, 3, 3, 3), (5, 4), padding=1)
    assert matrix.is_coalesced()
    # 3 taps less one at each border: 3 * 5 - 2 and 3 * 4 - 2, of 2 * 3 channels
    assert matrix._nnz() == 6 * 13 * 10
    assert (matrix.values() == 1).all()
    torch.testing.assert_close(matrix, matrix.clone().coalesce())


def test_where_padding_repeats_the_input_what_meets_is_summed():
    ours = conv_matrix(torch.tensor([[[1.0, 2.0, 4.0]]]), 2, padding=1,
                       padding_mode="replicate")  # fmt: skip
    expected = torch.tensor([[3.0, 4.0], [1.0, 6.0]])
    torch.testing.assert_close(ours.to_dense(), expected)


def test_a_window_that_sees_padding_only_has_an_empty_row_with_partial():
    ours = conv_matrix(
        torch.ones(1, 1, 2), 3, padding=2, padding_mode="partial"
    ).to_dense()
    assert ours.sum(1).tolist() == [0, 2, 2, 2, 2, 0]


@pytest.mark.parametrize("mode", ["zeros", "reflect", "partial"])
def test_its_gradient_reaches_the_weight(mode):
    weight = random(2, 1, 3, 2).requires_grad_()
    x = random(3, 2, 4, 5)

    def product(weight):
        matrix = conv_matrix(
            weight, (4, 5), padding=1, groups=2, padding_mode=mode, stride=2
        )
        return matrix @ x.flatten(1).T

    assert torch.autograd.gradcheck(product, (weight,))


REFUSED = {
    "too large": (
        lambda: conv_matrix(torch.zeros(64, 3, 7, 7), 224, stride=2, padding=3),
        ArgumentError,
        "conv_matrix: weight=(64, 3, 7, 7) on input_size=(224, 224) makes 116,214,528 "
        "non-zeros, 2,324,290,560 bytes, and max_bytes=1,073,741,824. Raise max_bytes, "
        "or use the convolution itself, which needs no matrix.",
    ),
    "constant": (
        lambda: conv_matrix(torch.zeros(1, 1, 3), 5, padding_mode="constant"),
        ArgumentError,
        "conv_matrix: padding_mode='constant' adds to the output what is not a product "
        "with the input, which no matrix does. Use 'zeros'.",
    ),
    "mode of a transposed": (
        lambda: conv_matrix(
            torch.zeros(1, 1, 3), 5, padding_mode="reflect", transposed=True
        ),
        ArgumentError,
        "conv_matrix: padding_mode='reflect' fills what padding adds, and in a "
        "transposed convolution it cuts. Use padding_mode='zeros'.",
    ),
    "mode": (
        lambda: conv_matrix(torch.zeros(1, 1, 3), 5, padding_mode="reflection"),
        UnknownNameError,
        "unknown padding_mode 'reflection'. Did you mean 'reflect'?",
    ),
    "rank": (
        lambda: conv_matrix(torch.zeros(1, 3), 5),
        ShapeError,
        "conv_matrix: weight has shape (1, 3), which is 2 axes. Give 3, 4 or 5: two of "
        "channels, the others of taps.",
    ),
    "groups": (
        lambda: conv_matrix(torch.zeros(3, 2, 3), 5, groups=2),
        ShapeError,
        "conv_matrix: out_channels=3 is not a multiple of groups=2. Use 2 or 4 "
        "channels, or groups that divide both numbers of channels.",
    ),
    "size": (
        lambda: conv_matrix(torch.zeros(1, 1, 3, 3), (5, 5, 5)),
        ArgumentError,
        "conv_matrix: input_size=(5, 5, 5) has 3 values for 2 spatial axes. Give one "
        "integer, or 2.",
    ),
    "output padding": (
        lambda: conv_matrix(torch.zeros(1, 1, 3), 5, output_padding=1),
        ArgumentError,
        "conv_matrix: output_padding=1 belongs to a transposed convolution. Set "
        "transposed=True, or leave it out.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_in_words(name):
    call, error, text = REFUSED[name]
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == text
