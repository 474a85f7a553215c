"""Fused batch norm against torch in float64, for every machine this one can be."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from convscope.kernels import library, norm
from convscope.kernels.norm import batch_norm, frozen_norm, serves_norm

pytestmark = pytest.mark.skipif(not library.available(), reason="no native kernels")

DTYPES = (torch.float32, torch.bfloat16)
AFTER = {"none": lambda z: z, "relu": F.relu, "gelu": F.gelu}
CHANNELS = (1, 3, 12, 16, 24, 40, 100)  # each side of, and across, the vector of 16
CHOICES = list(itertools.product(DTYPES, norm.SERVED, norm.RESIDUALS))


@pytest.fixture(params=list(library.built()), autouse=True)
def instruction_set(request, monkeypatch):
    """Every library that was built and that this machine runs."""
    chosen = library.choose(request.param)
    monkeypatch.setattr(library, "found", lambda: chosen)
    return request.param


def case(channels, dtype, *, rows=(5, 7, 9), seed=0, offset=3.0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    images, *space = rows
    x = (2 * draw(images, channels, *space) + offset).to(dtype)
    other, gradient = draw(*x.shape).to(dtype), draw(*x.shape).to(dtype)
    return x, draw(channels) + 1.5, draw(channels), other, gradient


def exact(x, weight, bias, other, activation, residual):
    """torch in float64."""
    z = F.batch_norm(x, None, None, weight, bias, training=True)
    z = z + other if residual == "before" else z
    y = AFTER[activation](z)
    return y + other if residual == "after" else y


def leaves(*tensors, dtype=None):
    return [t.detach().to(dtype or t.dtype).requires_grad_() for t in tensors]


def check(dtype, channels, activation, residual, compute=batch_norm):
    x, weight, bias, other, gradient = case(channels, dtype)
    ours = leaves(x, weight, bias, other)
    used = ours[3] if residual != "none" else None
    y = compute(*ours[:3], used, activation=activation, residual=residual)[0]
    y.backward(gradient)
    theirs = leaves(x, weight, bias, other, dtype=torch.float64)
    expected = exact(*theirs, activation, residual)
    expected.backward(gradient.double())
    # A result of size s is off by a few roundings of its parts, all of size 1 + s here,
    # and by the stored format's half unit; GELU and its slope by what norm.py states.
    eps = torch.finfo(torch.float32).eps
    half = torch.finfo(dtype).eps / 2
    close, slope = (8e-5, 2.3e-4) if dtype is torch.bfloat16 else (2e-7, 4e-7)
    gelu, gelu_slope = (close, slope) if activation == "gelu" else (0.0, 0.0)
    atol = 16 * eps * max(bias.abs().max().item(), weight.abs().max().item(), 1) + gelu
    close_to(y, expected, rtol=half + 4 * eps, atol=atol)
    scale = (weight.abs() / x.double().std((0, 2, 3))).max().item()
    largest = gradient.double().abs().max().item()
    atol = (32 * eps + 2 * gelu_slope) * max(scale, 1) * largest
    close_to(ours[0].grad, theirs[0].grad, rtol=half, atol=atol)
    if residual != "none":
        close_to(ours[3].grad, theirs[3].grad, rtol=half, atol=atol)
    # A sum of n terms is off by n roundings of the sum of their sizes at most; such a
    # worst case does not happen, one rounding for each block of it does.
    places = gradient.numel() // channels
    atol = (32 * eps + gelu_slope) * places * largest
    close_to(ours[1].grad, theirs[1].grad, rtol=0, atol=atol)
    close_to(ours[2].grad, theirs[2].grad, rtol=0, atol=atol)


def close_to(found, expected, *, rtol, atol):
    torch.testing.assert_close(found.double(), expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize(("dtype", "activation", "residual"), CHOICES)
def test_results_and_gradients_are_those_of_float64(dtype, activation, residual):
    for channels in CHANNELS:
        check(dtype, channels, activation, residual)


def mistaken(**changes):
    def compute(x, weight, bias, other, **options):
        return batch_norm(x, weight, bias, other, **{**options, **changes})

    return compute


MISTAKES = {
    "an epsilon of 0.01": mistaken(epsilon=0.01),
    "no activation": mistaken(activation="none"),
    "the residual last": mistaken(residual="after"),
    "a bias of 0": lambda x, w, b, o, **kw: batch_norm(x, w, 0 * b, o, **kw),
    "an image left out": lambda x, *rest, **kw: batch_norm(
        torch.cat([x[:-1], x[:1]]), *rest, **kw
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_check_rejects_a_planted_mistake(mistake, dtype):
    with pytest.raises(AssertionError):
        check(dtype, 24, "relu", "before", compute=MISTAKES[mistake])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [(2,), (33, 5), (2, 3, 2, 5), (40, 30, 30)])
def test_any_rank_and_any_number_of_rows(dtype, rows):
    x, weight, bias, *_ = case(12, dtype, rows=rows)
    y, mean, variance = batch_norm(x, weight, bias, activation="relu")
    places = [axis for axis in range(x.ndim) if axis != 1]
    exact_mean = x.double().mean(places)
    exact_variance = x.double().var(places, correction=0)
    torch.testing.assert_close(mean.double(), exact_mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(variance.double(), exact_variance, rtol=4e-6, atol=0)
    expected = F.relu(
        F.batch_norm(
            x.double(), None, None, weight.double(), bias.double(), training=True
        )
    )
    rtol = 2**-8 if dtype is torch.bfloat16 else 1e-5
    torch.testing.assert_close(y.double(), expected, rtol=rtol, atol=1e-5)


def test_an_offset_of_ten_thousand_deviations_leaves_the_variance_four_digits():
    x = 1e4 + torch.randn(64, 24, 20, 20, generator=torch.Generator().manual_seed(0))
    variance = batch_norm(x)[2]
    expected = x.double().var((0, 2, 3), correction=0)
    # A block's mean lies 0.09 from the whole mean (128 numbers) and is rounded to half
    # a unit of 1e4, 5e-4: its square is off by 2 * 0.09 * 5e-4. The mean of squares
    # less the square of the mean would be off by 1e8 * 6e-8 = 6.
    torch.testing.assert_close(variance.double(), expected, rtol=9e-5, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_of_threads_gives_the_same_bits(dtype):
    x, weight, bias, _, gradient = case(40, dtype, rows=(32, 13, 11))
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            inputs = leaves(x, weight, bias)
            y, mean, variance = batch_norm(*inputs, activation="gelu")
            y.backward(gradient)
            results.append([y, mean, variance, *(each.grad for each in inputs)])
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(map(torch.equal, result, results[0]))


@pytest.mark.parametrize("activation", norm.SERVED)
def test_running_statistics_take_the_place_of_the_batch_in_evaluation(activation):
    x, weight, bias, other, gradient = case(24, torch.float32)
    mean, variance = torch.randn(24), torch.rand(24) + 0.5
    ours = leaves(x, weight, bias, other)
    y = frozen_norm(*ours, mean, variance, activation=activation, residual="before")
    y.backward(gradient)
    theirs = leaves(x, weight, bias, other, dtype=torch.float64)
    z = F.batch_norm(theirs[0], mean.double(), variance.double(), *theirs[1:3])
    expected = AFTER[activation](z + theirs[3])
    expected.backward(gradient.double())
    close_to(y, expected, rtol=1e-5, atol=1e-5)
    for mine, reference in zip(ours, theirs, strict=True):
        # Sums over 315 places of terms up to 3 * 3.
        close_to(mine.grad, reference.grad, rtol=1e-5, atol=315 * 9 * 1.2e-7)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_number_that_is_not_finite_spoils_its_channel_and_no_other(bad, dtype):
    x, weight, bias, *_ = case(5, dtype)
    x[1, 2, 3, 4] = bad
    y, mean, variance = batch_norm(x, weight, bias, activation="relu")
    finite = torch.tensor([True, True, False, True, True])
    assert torch.equal(variance.isfinite(), finite)
    assert torch.equal(mean.isfinite(), finite)
    assert torch.equal(y.isfinite().all(dim=(0, 2, 3)), finite)


def test_tensors_of_any_layout_are_taken():
    x, weight, bias, other, _ = case(12, torch.float32)
    expected = batch_norm(x, weight, bias, other, residual="before")[0]
    wide = torch.zeros(5, 24, 7, 18)
    wide[:, ::2, :, ::2] = x
    odd = wide[:, ::2, :, ::2].requires_grad_()
    y = batch_norm(odd, weight, bias, other.mT.contiguous().mT, residual="before")[0]
    torch.testing.assert_close(y, expected, rtol=0, atol=0)
    y.sum().backward()  # a gradient of stride 0
    # Of normalized numbers the sum does not depend on the input: each term is 0 up to
    # roundings of the scale, the mean of a gradient of 1 and its slope.
    assert odd.grad.abs().max() < 32 * 1.2e-7 * weight.abs().max()


def test_weights_that_are_not_there_are_one_and_zero():
    x = case(24, torch.float32)[0].requires_grad_()
    y = batch_norm(x)[0]
    expected = exact(x.double(), None, None, None, "none", "none")
    close_to(y, expected, rtol=1e-5, atol=1e-5)
    y.square().sum().backward()
    assert x.grad.isfinite().all()


def test_what_it_does_not_serve_is_left_to_torch():
    x, weight, bias, *_ = case(24, torch.float32)
    assert serves_norm(x, weight, bias)
    assert not serves_norm(x.double(), weight, bias)
    assert not serves_norm(x, weight.bfloat16(), bias)
    assert not serves_norm(x[:0], weight, bias)
    assert not serves_norm(x[:1, :, :1, :1], weight, bias)  # one value per channel
    assert not serves_norm(x.to("meta"), weight, bias)


@pytest.mark.parametrize("residual", [0, 1, 2])
def test_torch_finds_an_ordinary_operation(residual, instruction_set):
    x, weight, bias, other, _ = case(6, torch.float32)
    inputs = leaves(x, weight, bias, other)
    if not residual:
        inputs[3] = None
    arguments = (*inputs, 1e-5, 1, residual)
    torch.library.opcheck(torch.ops.convscope.norm.default, arguments)
    statistics = (torch.zeros(6), torch.ones(6))
    arguments = (*inputs, *statistics, 1e-5, 1, residual)
    torch.library.opcheck(torch.ops.convscope.norm_frozen.default, arguments)
