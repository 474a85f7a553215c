import math

import pytest
import torch
from torch.nn import functional as F

from convscope.errors import ArgumentError, ShapeError
from convscope.functional import (
    fractional_max_pool,
    fractional_max_pool_with_indices,
)

SIZES = {1: (11,), 2: (9, 11), 3: (7, 6, 8)}
TORCH = {2: F.fractional_max_pool2d, 3: F.fractional_max_pool3d}
every_rank = pytest.mark.parametrize("axes", [1, 2, 3])


def starts(size, kernel, outputs, sample):
    """Where windows begin: Graham's pseudorandom sequence, the last at the end."""
    alpha = (size - kernel) / (outputs - 1)
    begins = [
        math.floor((o + sample) * alpha) - math.floor(sample * alpha)
        for o in range(outputs - 1)
    ]
    return [*begins, size - kernel]


def test_windows_begin_where_the_sequence_says_and_the_first_maximum_wins():
    x = torch.randint(0, 3, (2, 4, 11)).double()
    samples = torch.rand(2, 4, 1, dtype=torch.float64)
    values, index = fractional_max_pool_with_indices(x, 3, 5, random_samples=samples)
    for image in range(2):
        for channel in range(4):
            row = x[image, channel].tolist()
            begins = starts(11, 3, 5, float(samples[image, channel]))
            best = [max(row[b : b + 3]) for b in begins]
            first = [
                b + row[b : b + 3].index(m) for b, m in zip(begins, best, strict=True)
            ]
            assert values[image, channel].tolist() == best
            assert index[image, channel].tolist() == first


@pytest.mark.parametrize("axes", [2, 3])
def test_the_bits_are_torchs_with_the_same_samples(axes):
    x, samples = torch.randn(2, 3, *SIZES[axes]), torch.rand(2, 3, axes)
    for target in ({"output_size": 4}, {"output_ratio": (0.5, 0.6, 0.7)[:axes]}):
        ours = fractional_max_pool(x, 2, **target, random_samples=samples)
        theirs = TORCH[axes](x, 2, **target, _random_samples=samples)
        assert torch.equal(ours, theirs)


def test_one_axis_agrees_with_two_of_which_one_is_a_single_element():
    x, samples = torch.randn(2, 3, 9), torch.rand(2, 3, 1)
    ours = fractional_max_pool(x, 2, 5, random_samples=samples)
    both = torch.cat([samples, torch.zeros(2, 3, 1)], -1)
    same = fractional_max_pool(x.unsqueeze(2), (1, 2), (1, 5), random_samples=both)
    assert torch.equal(ours, same.squeeze(2))


@every_rank
def test_one_generator_gives_one_result_and_values_are_at_their_indices(axes):
    x = torch.randn(2, 3, *SIZES[axes])
    values, index = fractional_max_pool_with_indices(
        x, 2, output_ratio=0.7, generator=torch.Generator().manual_seed(5)
    )
    again = fractional_max_pool(
        x, 2, output_ratio=0.7, generator=torch.Generator().manual_seed(5)
    )
    assert torch.equal(values, again)
    won = x.flatten(2).gather(-1, index.flatten(2))
    assert torch.equal(won, values.flatten(2))


@every_rank
def test_gradients_are_those_of_finite_differences_twice(axes):
    values = torch.randperm(2 * 5**axes, dtype=torch.float64)
    x = values.view(1, 2, *[5] * axes).requires_grad_()
    samples = torch.rand(1, 2, axes, dtype=torch.float64)

    def function(x):
        return fractional_max_pool(x, 2, 3, random_samples=samples) ** 2

    torch.autograd.gradcheck(function, x, fast_mode=True)
    torch.autograd.gradgradcheck(function, x, fast_mode=True)


@every_rank
def test_vmap_gives_the_same_as_a_loop(axes):
    stack = torch.randn(3, 2, 3, *SIZES[axes])
    samples = torch.rand(2, 3, axes)

    def function(x):
        return fractional_max_pool(x, 2, 4, random_samples=samples)

    expected = torch.stack([function(x) for x in stack])
    assert torch.equal(torch.vmap(function)(stack), expected)


def test_layout_stays_and_an_empty_batch_gives_one():
    last = torch.channels_last
    x = torch.randn(2, 3, 9, 8).contiguous(memory_format=last)
    assert fractional_max_pool(x, 2, 5).is_contiguous(memory_format=last)
    assert fractional_max_pool(x[:0], 2, 5).shape == (0, 3, 5, 5)


ERRORS = [
    (
        lambda: fractional_max_pool(torch.zeros(1, 1, 5), 2),
        ArgumentError,
        "fractional_max_pool: output_size=None and output_ratio=None must not both be "
        "given or both be None. Give one of them.",
    ),
    (
        lambda: fractional_max_pool(torch.zeros(1, 1, 5), 2, output_ratio=1.5),
        ArgumentError,
        "fractional_max_pool: output_ratio=1.5 is not one share above 0 and below 1 "
        "for each of 1 spatial axis. Give one number, or 1.",
    ),
    (
        lambda: fractional_max_pool(torch.zeros(1, 1, 5), 2, 5),
        ShapeError,
        "fractional_max_pool, length: 5 outputs of kernel_size=2 need 6 elements, the "
        "input has 5. Use at most 4 outputs, and at least 1.",
    ),
    (
        lambda: fractional_max_pool(torch.zeros(1, 1, 5, 6, 6), 2, 4),
        ShapeError,
        "fractional_max_pool, depth: 4 outputs of kernel_size=2 need 6 elements, the "
        "input has 5. Use at most 3 outputs, and at least 1.",
    ),
    (
        lambda: fractional_max_pool(
            torch.zeros(1, 1, 5), 2, 3, random_samples=torch.zeros(1, 1, 2)
        ),
        ShapeError,
        "fractional_max_pool: random_samples has shape (1, 1, 2) instead of (1, 1, 1). "
        "Give one sample for each image, channel and axis.",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS)
def test_what_cannot_be_pooled_is_refused_with_a_remedy(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == text
