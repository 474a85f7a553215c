import pytest
import torch

from convscope.functional import conv, subsample

SIZES = {1: (9,), 2: (8, 6), 3: (4, 6, 5)}


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_it_is_a_depthwise_convolution_whose_weights_are_all_the_coefficient(axes):
    x = torch.randn(2, 3, *SIZES[axes], dtype=torch.float64)
    weight, bias = torch.randn(2, 3, dtype=torch.float64)
    shared = weight.view(3, 1, *[1] * axes).expand(3, 1, *[2] * axes)
    for stride in (None, 1):
        expected = conv(x, shared, bias, stride=stride or 2, groups=3)
        torch.testing.assert_close(subsample(x, weight, bias, 2, stride), expected)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_gradients_are_those_of_finite_differences_twice(axes):
    x = torch.randn(1, 2, *[4] * axes, dtype=torch.float64)
    parts = (x, *torch.randn(2, 2, dtype=torch.float64))
    inputs = [part.requires_grad_() for part in parts]
    torch.autograd.gradcheck(subsample, inputs, fast_mode=True)
    torch.autograd.gradgradcheck(subsample, inputs, fast_mode=True)


def test_vmap_gives_the_same_as_a_loop():
    stack, (weight, bias) = torch.randn(3, 2, 3, 6, 4), torch.randn(2, 3)

    def function(x):
        return subsample(x, weight, bias)

    expected = torch.stack([function(x) for x in stack])
    torch.testing.assert_close(torch.vmap(function)(stack), expected)
