import itertools

import pytest
import torch
from torch.nn import functional as F

from convscope.errors import ArgumentError
from convscope.functional import avg_pool, lp_pool, max_pool
from functional.pooling import plain_reduce

SIZES = {1: (9,), 2: (7, 6), 3: (5, 4, 6)}
TORCH = {1: F.lp_pool1d, 2: F.lp_pool2d, 3: F.lp_pool3d}
every_rank = pytest.mark.parametrize("axes", [1, 2, 3])
every_p = pytest.mark.parametrize("p", [0.5, 1, 1.5, 2, 3, 4])


def signed_root(total, p):
    return abs(total) ** (1 / p) * (1 if total >= 0 else -1)


@every_rank
@every_p
def test_it_is_the_root_of_the_sum_of_powers(axes, p):
    x = torch.randn(2, 2, *SIZES[axes], dtype=torch.float64)
    if p < 1:
        x = x.abs()  # no sum of signed terms near 0, whose root has a steep slope

    def norm(elements):
        whole = p == int(p)
        return signed_root(sum((e if whole else abs(e)) ** p for e in elements), p)

    for padding, ceil_mode in itertools.product((0, 1, "same"), (False, "torch")):
        settings = {"stride": 2, "padding": padding, "ceil_mode": ceil_mode}
        expected = plain_reduce(x, norm, 3, **settings)
        # 27 roundings in a sum, and a cube root near 0 takes a third of the digits
        torch.testing.assert_close(
            lp_pool(x, p, 3, **settings), expected, rtol=1e-9, atol=1e-5
        )


@every_rank
@every_p
def test_without_signs_it_is_the_norm_of_magnitudes(axes, p):
    x = torch.randn(2, 2, *SIZES[axes], dtype=torch.float64)

    def norm(elements):
        return sum(abs(e) ** p for e in elements) ** (1 / p)

    for padding in (0, 1):
        ours = lp_pool(x, p, 3, 2, padding=padding, signed=False)
        expected = plain_reduce(x, norm, 3, stride=2, padding=padding)
        torch.testing.assert_close(ours, expected)
    assert torch.equal(lp_pool(-x, p, 3, signed=False), lp_pool(x, p, 3, signed=False))
    if p % 2 == 1:  # the two conventions differ by sign here, and only here
        assert torch.equal(lp_pool(-x, p, 3), -lp_pool(x, p, 3))
    else:
        assert torch.equal(lp_pool(x, p, 3), lp_pool(x, p, 3, signed=False))


@every_rank
@pytest.mark.parametrize("p", [1, 3])
def test_gradients_without_signs_are_those_of_finite_differences(axes, p):
    x = torch.randn(1, 1, *[4] * axes, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda x: lp_pool(x, p, 2, signed=False), x)


@every_rank
def test_the_bits_are_torchs_where_torch_gives_a_number(axes):
    x = torch.randn(2, 3, *SIZES[axes])
    for p, kernel, stride in itertools.product((1, 2, 3, 4), (2, 3), (None, 1)):
        for one in (x.abs(), x) if p in (1, 2, 4) else (x.abs(),):
            ours = lp_pool(one, p, kernel, stride)
            theirs = TORCH[axes](one, p, kernel, stride)
            if p == 2:
                assert torch.equal(ours, theirs)
            torch.testing.assert_close(ours, theirs)


@every_rank
def test_p_of_one_is_the_sum_and_a_large_p_the_maximum(axes):
    x = torch.randn(2, 3, *SIZES[axes], dtype=torch.float64)
    total = avg_pool(x, 2, divisor_override=1)
    torch.testing.assert_close(lp_pool(x, 1, 2), total)
    largest = max_pool(x.abs(), 2)
    # of 8 taps, between the largest and 8 ** (1 / 200) times it
    ours = lp_pool(x, 200, 2)
    assert (ours >= largest * (1 - 1e-12)).all()
    assert (ours <= largest * 8 ** (1 / 200) * (1 + 1e-12)).all()


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12, 1e30])
def test_powers_that_leave_the_range_of_floats_do_no_harm(scale):
    # one window after another, of very different sizes
    x = torch.tensor([[[3.0, 4.0, 3 * scale, 4 * scale]]]).requires_grad_()
    for p in (2, 9, 64):
        expected = (3.0**p + 4.0**p) ** (1 / p)
        out = lp_pool(x, p, 2)
        wanted = torch.tensor([[[expected, expected * scale]]])
        torch.testing.assert_close(out, wanted, rtol=1e-5, atol=0)
        (gradient,) = torch.autograd.grad(out.sum(), x)
        slopes = [(one / expected) ** (p - 1) for one in (3, 4)]
        torch.testing.assert_close(
            gradient, torch.tensor([[slopes * 2]]), rtol=1e-4, atol=1e-30
        )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_does_not_overflow_in_between(dtype):
    x = torch.tensor([[[300.0, 400.0]]], dtype=dtype)
    out = lp_pool(x, 2, 2)
    assert out.dtype == dtype
    assert abs(float(out) - 500) <= 500 * torch.finfo(dtype).eps


@every_rank
@every_p
def test_gradients_are_those_of_finite_differences_twice(axes, p):
    x = 0.5 + torch.rand(1, 2, *[4] * axes, dtype=torch.float64)
    if p in (1, 2, 1.5):
        x = x * torch.where(torch.rand_like(x) < 0.5, -1, 1)
    x.requires_grad_()

    def function(x):
        return lp_pool(x, p, 3, 1, padding=1) ** 2

    torch.autograd.gradcheck(function, x, fast_mode=True)
    torch.autograd.gradgradcheck(function, x, fast_mode=True)


def test_a_window_of_zeros_gets_no_gradient_but_in_a_sum():
    for p, slope in ((1, 1.0), (1.5, 0.0), (2, 0.0), (3, 0.0)):
        x = torch.zeros(1, 1, 4, requires_grad=True)
        (gradient,) = torch.autograd.grad(lp_pool(x, p, 2).sum(), x)
        assert gradient.tolist() == [[[slope] * 4]]


def test_nan_and_infinity_go_through():
    x = torch.tensor([[[torch.nan, 1.0, torch.inf, 1.0]]])
    for p in (1, 1.5, 2, 3):
        out = lp_pool(x, p, 2)[0, 0]
        assert out[0].isnan()
        assert out[1] == torch.inf


def test_vmap_layout_and_an_empty_batch():
    stack = torch.randn(3, 2, 3, 6, 4)
    expected = torch.stack([lp_pool(x, 2, 2) for x in stack])
    torch.testing.assert_close(torch.vmap(lambda x: lp_pool(x, 2, 2))(stack), expected)
    gradient = torch.func.grad(lambda x: lp_pool(x, 2, 3, 1).sum())
    expected = torch.stack([gradient(x) for x in stack])
    torch.testing.assert_close(torch.vmap(gradient)(stack), expected)
    x = stack[0].contiguous(memory_format=torch.channels_last)
    out = lp_pool(x, 2, 2)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert lp_pool(x[:0], 2, 2).shape == (0, 3, 3, 2)


def test_an_impossible_p_is_refused_with_a_remedy():
    with pytest.raises(ArgumentError) as caught:
        lp_pool(torch.zeros(1, 1, 4), float("inf"), 2)
    assert str(caught.value) == (
        "lp_pool: norm_type=inf is the largest magnitude of the window. Take max "
        "pooling of x.abs()."
    )
    with pytest.raises(ArgumentError) as caught:
        lp_pool(torch.zeros(1, 1, 4), -1, 2)
    assert str(caught.value) == (
        "lp_pool: norm_type=-1 is not above 0. Use 1 for the sum, 2 for the root of "
        "the energy."
    )
