import pytest
import torch
from torch.nn import functional as F

from convscope.errors import ArgumentError, ShapeError
from convscope.functional import max_pool, max_pool_with_indices, max_unpool

SIZES = {1: (8,), 2: (8, 6), 3: (4, 6, 8)}
TORCH = {1: F.max_unpool1d, 2: F.max_unpool2d, 3: F.max_unpool3d}
every_rank = pytest.mark.parametrize("axes", [1, 2, 3])


@every_rank
def test_winners_are_put_back_where_they_were(axes):
    x = torch.rand(2, 3, *SIZES[axes])
    values, index = max_pool_with_indices(x, 2)
    back = max_unpool(values, index, 2)
    assert back.shape == x.shape
    kept = back != 0
    assert torch.equal(back[kept], x[kept])
    assert int(kept.sum()) == values.numel()
    assert torch.equal(max_pool(back, 2), values)


@every_rank
def test_the_bits_are_torchs(axes):
    x = torch.randn(2, 3, *SIZES[axes])
    for window in ((2,), (3, 2, 1)):
        values, index = max_pool_with_indices(x, *window)
        ours = max_unpool(values, index, *window, output_size=SIZES[axes])
        theirs = TORCH[axes](values, index, *window, output_size=SIZES[axes])
        assert torch.equal(ours, theirs)
        whole = max_unpool(values, index, *window, output_size=x.shape)
        assert torch.equal(whole, ours)


@every_rank
def test_uneven_padding_can_be_undone(axes):
    x = torch.rand(2, 3, *[7] * axes)
    window = (2, 2, [(1, 0)] * axes)
    values, index = max_pool_with_indices(x, *window)
    back = max_unpool(values, index, *window)
    assert back.shape == x.shape
    assert torch.equal(back[back != 0], x[back != 0])


@every_rank
def test_gradients_are_those_of_finite_differences_twice(axes):
    pooled = torch.rand(1, 2, *[4] * axes, dtype=torch.float64)
    values, index = max_pool_with_indices(pooled, 2)
    x = values.requires_grad_()

    def function(x):
        return max_unpool(x, index, 2) ** 2

    torch.autograd.gradcheck(function, x, fast_mode=True)
    torch.autograd.gradgradcheck(function, x, fast_mode=True)


def test_vmap_layout_precision_and_an_empty_batch():
    values, index = max_pool_with_indices(torch.randn(2, 3, 8, 6), 2)
    stack = torch.stack([values, 2 * values])
    ours = torch.vmap(lambda x: max_unpool(x, index, 2))(stack)
    assert torch.equal(ours[1], 2 * ours[0])
    last = torch.channels_last
    out = max_unpool(values.contiguous(memory_format=last), index, 2)
    assert out.is_contiguous(memory_format=last)
    assert max_unpool(values.bfloat16(), index, 2).dtype == torch.bfloat16
    assert max_unpool(values[:0], index[:0], 2).shape == (0, 3, 8, 6)


@every_rank
@pytest.mark.parametrize(
    "wrong", ["another size", "another stride", "shuffled", "below 0"]
)
def test_indices_of_another_pooling_are_refused_not_misplaced(axes, wrong):
    x = torch.rand(2, 3, *[9] * axes)
    values, index = max_pool_with_indices(x, 3)
    kernel, size = 3, None
    if wrong == "another size":  # rows of 10 where the indices count rows of 9
        size = (10,) * axes
        index = index if axes > 1 else index + 3
    elif wrong == "another stride":
        kernel = 2
    elif wrong == "shuffled":
        values, index = values.flip(2), index.flip(2)
    else:
        index = index - 5
    with pytest.raises(ShapeError, match=r"^max_unpool: (indices\[|an index of )"):
        max_unpool(values, index, kernel, output_size=size)


def test_a_size_that_the_pooling_did_not_have_is_refused():
    values, index = max_pool_with_indices(torch.rand(1, 1, 9, 9), 2)
    text = r"^max_unpool: (indices\[|an index of )"
    with pytest.raises(ShapeError, match=text):
        max_unpool(values, index, 2)  # without output_size: 8 x 8
    assert max_unpool(values, index, 2, output_size=(9, 9)).shape == (1, 1, 9, 9)


def test_indices_are_whole_numbers_of_any_kind():
    values, index = max_pool_with_indices(torch.rand(1, 1, 8), 2)
    expected = max_unpool(values, index, 2)
    assert torch.equal(max_unpool(values, index.int(), 2), expected)
    text = r"^max_unpool: indices are of type torch\.float32\. Give them as pooling "
    with pytest.raises(ArgumentError, match=text):
        max_unpool(values, index.float(), 2)


ONE, TWO = torch.ones(1, 1, 2), torch.tensor([[[0, 3]]])
ERRORS = [
    (
        lambda: max_unpool(ONE, TWO[..., :1], 2),
        ShapeError,
        "max_unpool: indices have shape (1, 1, 1), x has (1, 1, 2). Give both as one "
        "pooling returned them.",
    ),
    (
        lambda: max_unpool(ONE, TWO + 1, 2),
        ShapeError,
        "max_unpool: an index of 4 lies outside an output of (4,), which has 4 "
        "elements. Give output_size, the size before pooling.",
    ),
    (
        lambda: max_unpool(ONE, TWO, 2, output_size=(9,)),
        ShapeError,
        "max_unpool: output_size=(9,) is not less than stride=(2,) beside (4,), which "
        "the arguments of the pooling give. Use the size before pooling.",
    ),
    (
        lambda: max_unpool(ONE, TWO, 2, padding="same"),
        ArgumentError,
        "max_unpool: padding='same' is a name, which a transposed convolution does "
        "not take. Give numbers.",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS)
def test_what_cannot_be_put_back_is_refused_with_a_remedy(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == text
