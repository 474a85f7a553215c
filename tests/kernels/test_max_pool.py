"""Max pooling against torch: the same numbers, the same winners."""

import pytest
import torch
from torch.nn import functional as F

from convscope.kernels import library, max_pool
from convscope.kernels.max_pool import serves_max_pool

pytestmark = pytest.mark.skipif(not library.available(), reason="no native kernels")

DTYPES = (torch.float32, torch.bfloat16)
CHANNELS = (1, 3, 12, 16, 29)  # vectors of 16, 8 and 4, and what is left
WINDOWS = [  # kernel, stride, padding, whether to round up
    ((2, 2), (2, 2), (0, 0), False),
    ((2, 2), (2, 2), (0, 0), True),
    ((2, 2), (2, 2), (1, 1), False),
    ((2, 2), (1, 1), (0, 0), False),
    ((3, 3), (2, 2), (1, 1), False),
    ((3, 3), (2, 2), (0, 0), True),
    ((3, 3), (3, 3), (0, 0), False),
    ((3, 3), (1, 1), (1, 1), False),
    ((2, 2), (3, 3), (0, 0), False),
    ((1, 3), (1, 2), (0, 1), False),
    ((5, 4), (2, 3), (2, 1), True),
    ((13, 11), (13, 11), (0, 0), False),
]


@pytest.fixture(params=list(library.built()), autouse=True)
def instruction_set(request, monkeypatch):
    """Every library that was built and that this machine runs."""
    chosen = library.choose(request.param)
    monkeypatch.setattr(library, "found", lambda: chosen)
    return request.param


def images(channels, dtype, size=(13, 11)):
    """Few different numbers, so that windows hold ties; one NaN, one infinity."""
    generator = torch.Generator().manual_seed(channels)
    x = torch.randint(-3, 4, (3, channels, *size), generator=generator).to(dtype)
    x[0, 0, 3, 3], x[1, 0, 0, 0] = float("nan"), -float("inf")
    return x.requires_grad_()


def check(dtype, window, pool=max_pool.max_pool):
    kernel, stride, padding, ceil_mode = window
    for channels in CHANNELS:
        ours, theirs = images(channels, dtype), images(channels, torch.float64)
        y = pool(ours, kernel, stride, padding, ceil_mode=ceil_mode)
        expected = F.max_pool2d(theirs, kernel, stride, padding, 1, ceil_mode)
        same = y.double().nan_to_num(9), expected.nan_to_num(9)
        torch.testing.assert_close(*same, rtol=0, atol=0)
        gradient = torch.randn(y.shape).to(dtype)
        y.backward(gradient)
        expected.backward(gradient.double())
        # Each element is rounded once; the sum of up to 9 terms, 9 times more.
        terms = -(-kernel[0] // stride[0]) * -(-kernel[1] // stride[1])
        eps = torch.finfo(dtype).eps / 2 if terms > 1 else 0.0
        atol = terms * 4 * torch.finfo(torch.float32).eps if terms > 1 else 0.0
        found = ours.grad.double()
        torch.testing.assert_close(found, theirs.grad, rtol=eps, atol=atol)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_and_winners_are_those_of_torch(dtype, window):
    check(dtype, window)


def last_of_equals(x, kernel, stride, padding, *, ceil_mode):
    return max_pool.max_pool(x.flip(-1), kernel, stride, padding).flip(-1)


def average(x, kernel, stride, padding, *, ceil_mode):
    return F.avg_pool2d(x, kernel, stride, padding)


@pytest.mark.parametrize("mistake", [last_of_equals, average])
def test_the_check_rejects_a_planted_mistake(mistake):
    with pytest.raises(AssertionError):
        check(torch.float32, ((1, 11), (1, 11), (0, 0), False), pool=mistake)


@pytest.mark.parametrize("kernel", [(2, 2), (3, 3)])
def test_every_element_of_the_gradient_is_written(kernel, monkeypatch):
    def spoiled(*shape, memory_format=torch.contiguous_format, **options):
        empty = torch.full(*shape, 77, **options)
        return empty.contiguous(memory_format=memory_format)

    monkeypatch.setattr(max_pool.torch, "empty", spoiled)
    x = torch.randn(2, 5, 8, 10).requires_grad_()
    max_pool.max_pool(x, kernel).sum().backward()
    assert set(x.grad.unique().tolist()) == {0.0, 1.0}


def test_without_gradients_no_winners_are_kept():
    x = torch.randn(2, 5, 8, 8)
    y, winners = torch.ops.convscope.max_pool(x, (2, 2), (2, 2), (0, 0), False, False)
    assert winners.numel() == 0
    assert torch.equal(y, F.max_pool2d(x, 2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_of_threads_gives_the_same_bits(dtype):
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            torch.manual_seed(0)
            x = torch.randn(16, 20, 27, 25).to(dtype).requires_grad_()
            y = max_pool.max_pool(x, (3, 3), (2, 2))
            y.backward(torch.randn(y.shape).to(dtype))
            results.append((y, x.grad))
    finally:
        torch.set_num_threads(before)
    for y, gradient in results[1:]:
        assert torch.equal(y, results[0][0])
        assert torch.equal(gradient, results[0][1])


def test_what_it_does_not_serve_is_left_to_torch():
    x = torch.randn(2, 5, 8, 8)
    assert serves_max_pool(x, (2, 2), (2, 2))
    assert not serves_max_pool(x.double(), (2, 2), (2, 2))
    assert not serves_max_pool(x[0], (2, 2), (2, 2))
    assert not serves_max_pool(x[:0], (2, 2), (2, 2))
    assert not serves_max_pool(x, (16, 16), (2, 2))  # more taps than a byte counts
    assert not serves_max_pool(x, (9, 9), (1, 1))  # too many windows over one element


def test_torch_finds_an_ordinary_operation():
    x = torch.randn(2, 5, 8, 9).contiguous(memory_format=torch.channels_last)
    arguments = (x.requires_grad_(), (3, 3), (2, 2), (1, 1), True, True)
    torch.library.opcheck(torch.ops.convscope.max_pool.default, arguments)
