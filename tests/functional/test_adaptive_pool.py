import itertools

import pytest
import torch
from torch.nn import functional as F

from convscope.arithmetic import adaptive_windows
from convscope.errors import ArgumentError, ShapeError
from convscope.functional import (
    adaptive_avg_pool,
    adaptive_max_pool,
    adaptive_max_pool_with_indices,
    global_avg_pool,
    global_max_pool,
)

SIZES = {1: (9,), 2: (7, 6), 3: (5, 4, 6)}
AVG = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
every_rank = pytest.mark.parametrize("axes", [1, 2, 3])


def plain_adaptive(x, outputs):
    """Index of the first maximum and the mean of each window, by plain loops."""
    sizes = tuple(x.shape[2:])
    tables = [adaptive_windows(s, o) for s, o in zip(sizes, outputs, strict=True)]
    index = torch.full((*x.shape[:2], *outputs), -1)
    mean = torch.full(index.shape, torch.nan, dtype=torch.float64)
    places = torch.arange(x[0, 0].numel()).view(sizes)
    for output in itertools.product(*map(range, index.shape)):
        rows = [table[o] for table, o in zip(tables, output[2:], strict=True)]
        found = list(itertools.product(*rows))
        values = [float(x[output[:2]][place]) for place in found]
        index[output] = places[found[values.index(max(values))]]
        mean[output] = sum(values) / len(values)
    return index, mean


@every_rank
def test_windows_are_those_of_arithmetic_and_the_first_maximum_wins(axes):
    x = torch.randint(0, 3, (2, 19, *SIZES[axes])).float()
    outputs = (2, 3, 4)[:axes]
    index, mean = plain_adaptive(x, outputs)
    for one in (
        x,
        x.transpose(0, -1).contiguous().transpose(0, -1),
        x.movedim(1, -1).contiguous().movedim(-1, 1),
    ):
        values, ours = adaptive_max_pool_with_indices(one, outputs)
        assert torch.equal(ours, index)
        won = x.flatten(2).gather(-1, index.flatten(2)).view(index.shape)
        assert torch.equal(values, won)
        torch.testing.assert_close(adaptive_avg_pool(one, outputs).double(), mean)


@every_rank
def test_the_bits_are_torchs(axes):
    x = torch.randn(2, 3, *SIZES[axes])
    for size in (1, 3, (2, None, 3)[:axes]):
        assert torch.equal(adaptive_avg_pool(x, size), AVG[axes](x, size))


@every_rank
def test_global_pooling_does_not_see_where_things_are(axes):
    x = torch.randint(-9, 9, (2, 3, *SIZES[axes])).double()  # sums are exact
    rolled = x.roll(tuple(range(1, axes + 1)), tuple(range(2, axes + 2)))
    assert torch.equal(global_max_pool(x), global_max_pool(rolled))
    assert torch.equal(global_avg_pool(x), global_avg_pool(rolled))
    assert global_avg_pool(x, keepdim=True).shape == (2, 3, *[1] * axes)
    torch.testing.assert_close(global_avg_pool(x), x.flatten(2).mean(-1))
    assert torch.equal(global_max_pool(x), x.flatten(2).amax(-1))


@every_rank
def test_of_equal_maxima_of_a_map_the_first_gets_all_gradient(axes):
    x = torch.zeros(1, 2, *SIZES[axes], requires_grad=True)
    (gradient,) = torch.autograd.grad(global_max_pool(x).sum(), x)
    assert gradient.flatten(2).sum(-1).tolist() == [[1.0, 1.0]]
    assert gradient.flatten(2)[..., 0].tolist() == [[1.0, 1.0]]


@every_rank
def test_gradients_are_those_of_finite_differences_twice(axes):
    values = torch.randperm(2 * 4**axes, dtype=torch.float64)
    x = values.view(1, 2, *[4] * axes).requires_grad_()
    for pool in (adaptive_max_pool, adaptive_avg_pool):
        for size in (1, 3):

            def function(x, pool=pool, size=size):
                return pool(x, size) ** 2

            torch.autograd.gradcheck(function, x, fast_mode=True)
            torch.autograd.gradgradcheck(function, x, fast_mode=True)


def test_an_empty_batch_gives_one_and_vmap_a_loop():
    assert global_max_pool(torch.ones(0, 3, 4, 4)).shape == (0, 3)
    assert adaptive_avg_pool(torch.ones(0, 3, 4, 4), 2).shape == (0, 3, 2, 2)
    stack = torch.randn(3, 2, 3, 5, 4)
    for function in (global_max_pool, global_avg_pool):
        expected = torch.stack([function(x) for x in stack])
        torch.testing.assert_close(torch.vmap(function)(stack), expected)


ERRORS = [
    (
        lambda: adaptive_avg_pool(torch.zeros(1, 1, 4, 4), (2, 2, 2)),
        ArgumentError,
        "adaptive_avg_pool: output_size=(2, 2, 2) has 3 values for 2 spatial axes. "
        "Give one integer, or 2.",
    ),
    (
        lambda: adaptive_max_pool(torch.zeros(1, 1, 4), 0),
        ArgumentError,
        "adaptive_max_pool: output_size=0 is not an integer of at least 1. Use "
        "output_size=1 or more.",
    ),
    (
        lambda: global_max_pool(torch.zeros(1, 1, 0, 4)),
        ArgumentError,
        "global_max_pool, height: size=0 is not an integer of at least 1. Use size=1 "
        "or more.",
    ),
    (
        lambda: global_avg_pool(torch.zeros(3, 4)),
        ShapeError,
        "global_avg_pool: x must have shape (N, C, L), (N, C, H, W) or "
        "(N, C, D, H, W); got (3, 4). Add or remove axes with unsqueeze or flatten.",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS)
def test_what_cannot_be_pooled_is_refused_with_a_remedy(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == text
