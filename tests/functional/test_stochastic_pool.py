import pytest
import torch

from convscope.errors import ShapeError
from convscope.functional import max_pool, stochastic_pool
from functional.pooling import plain_reduce

SIZES = {1: (9,), 2: (7, 6), 3: (5, 4, 6)}
every_rank = pytest.mark.parametrize("axes", [1, 2, 3])


def weighted_mean(elements):
    positive = [max(0.0, e) for e in elements]
    total = sum(positive)
    return sum(e * e for e in positive) / total if total else 0.0


@every_rank
def test_evaluation_is_the_mean_weighted_by_the_chances(axes):
    x = torch.randn(2, 2, *SIZES[axes], dtype=torch.float64) - 0.5
    for padding in (0, 1, "same"):
        ours = stochastic_pool(x, 2, 2, padding, training=False)
        expected = plain_reduce(x, weighted_mean, 2, 2, padding)
        torch.testing.assert_close(ours, expected)


def test_elements_are_drawn_in_proportion_to_their_activation():
    x = torch.tensor([1.0, 4.0, -2.0, 3.0]).expand(1, 20_000, 4)
    drawn = stochastic_pool(x, 4, generator=torch.Generator().manual_seed(0))
    assert set(drawn.unique().tolist()) == {1.0, 3.0, 4.0}
    for value, chance in ((1.0, 1 / 8), (3.0, 3 / 8), (4.0, 4 / 8)):
        share = (drawn == value).double().mean()
        spread = (chance * (1 - chance) / 20_000) ** 0.5
        assert abs(share - chance) < 4 * spread


@every_rank
def test_what_is_drawn_lies_in_its_window_and_gets_the_whole_gradient(axes):
    x = torch.rand(2, 3, *SIZES[axes]).requires_grad_()
    out = stochastic_pool(x, 2)  # windows do not overlap
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert set(gradient.unique().tolist()) == {0.0, 1.0}
    won = (x * gradient).detach()
    torch.testing.assert_close(max_pool(won, 2), out.detach(), rtol=0, atol=0)
    assert gradient.sum() == out.numel()


@every_rank
def test_padding_is_never_drawn(axes):
    x = torch.ones(2, 3, *SIZES[axes])
    assert (stochastic_pool(x, 3, 1, "same") == 1).all()


def test_samples_choose_the_first_share_that_passes_them():
    x = torch.tensor([[[0.0, 1.0, 0.0, 3.0]]])
    for sample, expected in ((0.0, 1), (0.24, 1), (0.26, 3), (1 - 2**-24, 3)):
        samples = torch.tensor([[[sample]]])
        assert float(stochastic_pool(x, 4, random_samples=samples)) == expected


def test_one_generator_gives_one_result():
    x = torch.rand(2, 3, 8, 8)
    first, second = (
        stochastic_pool(x, 2, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert torch.equal(first, second)


def test_nothing_positive_gives_zero_and_no_gradient():
    x = torch.tensor([[[-1.0, 0.0]]], requires_grad=True)
    for training in (True, False):
        out = stochastic_pool(x, 2, training=training)
        assert out.tolist() == [[[0.0]]]
        (gradient,) = torch.autograd.grad(out.sum(), x)
        assert gradient.tolist() == [[[0.0, 0.0]]]


def test_large_activations_do_not_overflow_in_evaluation():
    x = torch.tensor([[[1e30, 3e30]]])
    out = stochastic_pool(x, 2, training=False)
    torch.testing.assert_close(out, torch.tensor([[[2.5e30]]]))


@every_rank
def test_gradients_are_those_of_finite_differences_twice(axes):
    x = 0.1 + torch.rand(1, 2, *[4] * axes, dtype=torch.float64)
    x.requires_grad_()
    samples = torch.rand(1, 2, *[3] * axes)
    for settings in ({"training": False}, {"random_samples": samples}):

        def function(x, settings=settings):
            return stochastic_pool(x, 2, 2, 1, **settings) ** 2

        torch.autograd.gradcheck(function, x, fast_mode=True)
        torch.autograd.gradgradcheck(function, x, fast_mode=True)


def test_vmap_layout_precision_and_an_empty_batch():
    stack, samples = torch.rand(3, 2, 3, 6, 4), torch.rand(3, 2, 3, 3, 2)

    def drawn(x, samples):
        return stochastic_pool(x, 2, random_samples=samples)

    expected = torch.stack(list(map(drawn, stack, samples)))
    assert torch.equal(torch.vmap(drawn)(stack, samples), expected)
    last = torch.channels_last
    x = stack[0].contiguous(memory_format=last).to(torch.bfloat16)
    for training in (True, False):
        out = stochastic_pool(x, 2, training=training)
        assert out.dtype == torch.bfloat16
        assert out.is_contiguous(memory_format=last)
        assert stochastic_pool(x[:0], 2, training=training).shape == (0, 3, 3, 2)


def test_samples_of_another_shape_are_refused():
    with pytest.raises(ShapeError) as caught:
        stochastic_pool(torch.ones(1, 1, 4), 2, random_samples=torch.zeros(1, 1, 4))
    assert str(caught.value) == (
        "stochastic_pool: random_samples has shape (1, 1, 4), the output (1, 1, 2). "
        "Give one sample for each output."
    )
