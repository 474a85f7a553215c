"""GELU by itself against torch in float64."""

import pytest
import torch
from torch.nn import functional as F

from convscope.kernels import gelu, library
from convscope.kernels.gelu import serves_gelu

pytestmark = pytest.mark.skipif(not library.available(), reason="no native kernels")

LAST = torch.channels_last
DTYPES = (torch.float32, torch.bfloat16)


@pytest.fixture(params=list(library.built()), autouse=True)
def instruction_set(request, monkeypatch):
    """Every library that was built and that this machine runs."""
    chosen = library.choose(request.param)
    monkeypatch.setattr(library, "found", lambda: chosen)


def check(dtype, compute=gelu.gelu):
    # From the left tail through every bend to the right one, in two and four axes.
    line = torch.linspace(-12, 12, 4001).to(dtype)
    for x in (line, line[:3840].view(4, 6, 16, 10).contiguous(memory_format=LAST)):
        ours = x.clone().requires_grad_()
        theirs = x.double().requires_grad_()
        y, expected = compute(ours), F.gelu(theirs)
        gradient = torch.linspace(-1, 1, x.numel()).view(x.shape).to(dtype)
        y.backward(gradient)
        expected.backward(gradient.double())
        half = torch.finfo(dtype).eps / 2
        # As gelu.py states for bfloat16; 7.5e-8 of x, and of x's density, for float32.
        close, slope = (8e-5, 2.3e-4) if dtype is torch.bfloat16 else (1e-6, 1e-6)
        torch.testing.assert_close(y.double(), expected, rtol=half, atol=close)
        torch.testing.assert_close(
            ours.grad.double(), theirs.grad, rtol=half, atol=slope
        )
        assert y.stride() == x.stride()


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_and_slopes_are_those_of_float64(dtype):
    check(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_check_rejects_the_other_gelu(dtype):
    with pytest.raises(AssertionError):
        check(dtype, lambda x: F.gelu(x, approximate="tanh"))


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite_goes_as_in_float64(dtype):
    x = torch.tensor([float("nan"), float("inf"), -float("inf")]).to(dtype)
    expected = F.gelu(x.double())  # torch's vectors make NaN of infinity, too
    torch.testing.assert_close(gelu.gelu(x).double(), expected, equal_nan=True)


def test_what_it_does_not_serve_is_left_to_torch():
    x = torch.randn(4, 6)
    assert serves_gelu(x)
    assert not serves_gelu(x[:, ::2])
    assert not serves_gelu(x[:1].expand(4, 6))
    assert not serves_gelu(x.double())
    assert not serves_gelu(x[:0])


def test_torch_finds_an_ordinary_operation():
    x = torch.randn(2, 5, 8, 9).contiguous(memory_format=torch.channels_last)
    torch.library.opcheck(torch.ops.convscope.gelu.default, (x.requires_grad_(),))
