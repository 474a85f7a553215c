"""Response normalization against torch, and against the paper's sum."""

import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from convscope.errors import ArgumentError, ShapeError
from convscope.functional import local_response_norm

SHAPES = [(2, 7, 5), (2, 7, 4, 3), (2, 7, 3, 2, 4)]


def noise(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 12])
@pytest.mark.parametrize("beta", [0.75, 0.5, 1.3])
def test_it_is_torchs(shape, size, beta):
    x = noise(shape)
    ours = local_response_norm(x, size, 0.3, beta, 2.0)
    torch.testing.assert_close(ours, F.local_response_norm(x, size, 0.3, beta, 2.0))


@pytest.mark.parametrize("maps", [256, 257])
def test_few_and_many_maps_are_summed_the_same(maps):
    x = noise((1, maps, 3))
    ours = local_response_norm(x, 5, 0.3, 0.75, 2.0)
    torch.testing.assert_close(ours, F.local_response_norm(x, 5, 0.3, 0.75, 2.0))


def test_without_average_it_is_the_sum_of_the_paper():
    x = noise((1, 8, 3)).numpy()
    n, alpha, beta, k, maps = 5, 0.2, 0.75, 2.0, 8
    expected = np.full_like(x, np.nan)
    for i in range(maps):
        near = range(max(0, i - n // 2), min(maps - 1, i + n // 2) + 1)
        squares = sum(x[:, j] ** 2 for j in near)
        expected[:, i] = x[:, i] / (k + alpha * squares) ** beta
    ours = local_response_norm(torch.from_numpy(x), n, alpha, beta, k, average=False)
    torch.testing.assert_close(ours, torch.from_numpy(expected))


def test_both_derivatives_are_those_of_finite_differences():
    x = noise((1, 5, 3)).requires_grad_()

    def function(x):
        return local_response_norm(x, 3, 0.5, 0.75, 1.0)

    torch.autograd.gradcheck(function, x)
    torch.autograd.gradgradcheck(function, x)


@pytest.mark.parametrize("maps", [5, 300])
def test_the_gradient_of_an_even_window_is_torchs(maps):
    ours = noise((2, maps, 3)).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    local_response_norm(ours, 4, 0.9, 0.6, 1.5).pow(3).sum().backward()
    F.local_response_norm(theirs, 4, 0.9, 0.6, 1.5).pow(3).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_nothing_but_the_input_is_held_for_the_way_back():
    held = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        return tensor

    x = noise((2, 64, 8, 8)).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        local_response_norm(x, 5)
    assert held == {x.data_ptr(): x.nbytes}


def test_vmap_goes_through_images_one_by_one():
    x = noise((3, 2, 7, 4, 3))
    ours = torch.vmap(lambda x: local_response_norm(x, 3))(x)
    torch.testing.assert_close(ours, local_response_norm(x.flatten(0, 1), 3).view_as(x))
    each = torch.vmap(torch.func.grad(lambda x: local_response_norm(x, 3).sum()))(x)
    (expected,) = torch.autograd.grad(
        local_response_norm(x.requires_grad_().flatten(0, 1), 3).sum(), x
    )
    torch.testing.assert_close(each, expected)


def test_half_precision_squares_do_not_overflow():
    x = torch.full((1, 3, 2), 300.0, dtype=torch.float16)  # its square is 90,000
    expected = local_response_norm(x.float(), 3)
    torch.testing.assert_close(local_response_norm(x, 3), expected.half())


def test_autocast_changes_nothing():
    x = noise((2, 7, 4)).float()
    with torch.autocast("cpu", torch.bfloat16):
        ours = local_response_norm(x, 3, 0.5)
    torch.testing.assert_close(ours, local_response_norm(x, 3, 0.5))


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (
            "local_response_norm: size=0 is not an integer of at least 1. Use size=1 "
            "or more.",
            {"size": 0},
        ),
        (
            "local_response_norm: alpha=-1.0 makes the divisor negative or infinite. "
            "Use alpha=0 or more.",
            {"size": 3, "alpha": -1.0},
        ),
        (
            "local_response_norm: beta=nan is not a number. Use beta=0.75, for "
            "example.",
            {"size": 3, "beta": float("nan")},
        ),
    ],
)
def test_numbers_out_of_range_are_refused(text, arguments):
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        local_response_norm(torch.zeros(1, 3, 4), **arguments)


def test_an_input_without_space_is_refused():
    text = (
        "local_response_norm: x must have shape (N, C, ...) with one to three spatial "
        "axes; got (2, 3). Add or remove axes with unsqueeze or flatten."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        local_response_norm(torch.zeros(2, 3), 3)


def test_integers_are_refused():
    text = (
        "local_response_norm: x is of type torch.int64, which cannot hold the "
        "quotients. Give x.float()."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        local_response_norm(torch.ones(1, 3, 4, dtype=torch.long), 3)
