import re

import pytest
import torch

from convscope.errors import ShapeError
from convscope.functional import gain, rectify


def test_both_polarities_of_an_edge_count_the_same():
    x = torch.randn(2, 3, 4)
    assert torch.equal(rectify(x), rectify(-x))
    assert torch.equal(rectify(x), torch.maximum(x, -x))


def test_the_derivative_of_the_absolute_value_is_its_sign_and_0_at_0():
    x = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    rectify(x).sum().backward()
    assert x.grad.tolist() == [-1, 0, 1]


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 2, 2, 2)])
def test_each_map_has_its_gain(shape):
    x = torch.randn(shape, dtype=torch.float64)
    weight = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    out = gain(x, weight)
    for image in range(2):
        for map_ in range(3):
            expected = weight[map_] * torch.tanh(x[image, map_])
            torch.testing.assert_close(out[image, map_], expected)


def test_both_derivatives_of_the_gain_are_those_of_finite_differences():
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(gain, (x, weight))
    torch.autograd.gradgradcheck(gain, (x, weight))


def test_a_gain_for_other_maps_is_refused():
    text = (
        "gain: weight must have shape (C,) for x of shape (N, C, ...); got (4,) for "
        "(2, 3, 5). Give one gain per map."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        gain(torch.zeros(2, 3, 5), torch.ones(4))
