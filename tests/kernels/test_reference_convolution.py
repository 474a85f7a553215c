import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from convscope.errors import ShapeError
from convscope.kernels import reference
from kernels.gradients import (
    ATOL,
    arrays,
    check_against_differences,
    check_against_torch,
)

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def of(forward, backward, **arguments):
    """A pair of functions as one definition of (x, weight, bias)."""

    def definition(x, weight, bias):
        y = forward(x, weight, bias, **arguments)
        return y, lambda grad: backward(grad, x, weight, **arguments)

    return definition


def correlation(**arguments):
    return of(
        reference.correlation_forward, reference.correlation_backward, **arguments
    )


CASES = {  # x, weight, arguments
    "1-D": ((2, 3, 7), (4, 3, 3), {}),
    "1-D strided": ((2, 1, 8), (2, 1, 3), {"stride": 3, "padding": 1}),
    "2-D": ((2, 2, 5, 4), (3, 2, 3, 2), {}),
    "2-D all": (
        (2, 4, 7, 6),
        (6, 2, 3, 2),
        {"stride": (2, 1), "padding": (2, 1), "dilation": (2, 3), "groups": 2},
    ),
    "2-D depthwise": ((1, 3, 4, 5), (6, 1, 2, 3), {"groups": 3, "padding": 1}),
    "2-D one tap": ((2, 3, 2, 3), (4, 3, 1, 1), {}),
    "3-D": ((1, 2, 3, 4, 4), (2, 2, 2, 3, 2), {"stride": (1, 2, 1), "padding": 1}),
    "no images": ((0, 2, 4, 4), (3, 2, 3, 3), {"padding": 1}),
}


def check_correlation(definition):
    for x, weight, arguments in CASES.values():
        check_against_torch(
            definition(**arguments),
            lambda *t, arguments=arguments: CONV[t[0].ndim - 2](*t, **arguments),
            *arrays(x, weight, weight[:1]),
        )


def test_correlation_and_its_gradients_are_those_of_torch():
    check_correlation(correlation)


@pytest.mark.parametrize("case", ["1-D strided", "2-D depthwise", "3-D"])
def test_the_gradients_of_correlation_are_its_slopes(case):
    x, weight, arguments = CASES[case]
    check_against_differences(correlation(**arguments), *arrays(x, weight, weight[:1]))


def spoiled(change_y=None, change_grads=None):
    """Correlation with a mistake in it."""

    def make(**arguments):
        def definition(x, weight, bias):
            y, backward = correlation(**arguments)(x, weight, bias)
            y = change_y(y, x, weight, bias, arguments) if change_y else y
            if change_grads is None:
                return y, backward
            return y, lambda grad: change_grads(*backward(grad))

        return definition

    return make


MISTAKES = {
    "flipped": spoiled(
        lambda y, x, w, b, a: reference.convolution_forward(x, w, b, **a)
    ),
    "bias forgotten": spoiled(
        lambda y, x, w, b, a: reference.correlation_forward(x, w, None, **a)
    ),
    "a place is not written": spoiled(
        lambda y, *_: np.where(np.arange(y.size).reshape(y.shape) == 0, np.nan, y)
    ),
    "gradient of the weight flipped": spoiled(
        None, lambda x, w, b: (x, np.flip(w, -1), b)
    ),
    "gradient of the bias averaged": spoiled(None, lambda x, w, b: (x, w, b / 2)),
    "gradient of x from one map": spoiled(None, lambda x, w, b: (x[:, ::-1], w, b)),
    "a gradient is missing": spoiled(None, lambda x, w, b: (x, w)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_check_against_torch_rejects_a_planted_mistake(mistake):
    with pytest.raises(AssertionError):
        check_correlation(MISTAKES[mistake])


@pytest.mark.parametrize("mistake", [m for m in MISTAKES if "gradient" in m])
def test_the_check_against_differences_rejects_a_planted_mistake(mistake):
    x, weight, arguments = CASES["2-D all"]
    with pytest.raises(AssertionError):
        check_against_differences(
            MISTAKES[mistake](**arguments), *arrays((1, *x[1:]), weight, weight[:1])
        )


def test_asymmetric_padding_is_that_of_a_padded_image():
    x, weight, bias = arrays((1, 2, 5, 4), (3, 2, 3, 3), (3,))
    check_against_torch(
        correlation(padding=((2, 0), (1, 3))),
        lambda x, w, b: F.conv2d(F.pad(x, (1, 3, 2, 0)), w, b),
        x,
        weight,
        bias,
    )


@pytest.mark.parametrize("case", CASES)
def test_convolution_is_correlation_with_the_flipped_kernel(case):
    x, weight, arguments = CASES[case]
    check_against_torch(
        of(reference.convolution_forward, reference.convolution_backward, **arguments),
        lambda x, w, b: CONV[x.ndim - 2](
            x, w.flip(tuple(range(2, w.ndim))), b, **arguments
        ),
        *arrays(x, weight, weight[:1]),
    )


def test_convolution_is_that_of_numpy():
    x, weight = arrays((1, 1, 9), (1, 1, 4))
    y = reference.convolution_forward(x, weight, padding="full")
    np.testing.assert_allclose(y[0, 0], np.convolve(x[0, 0], weight[0, 0]), atol=1e-14)


TRANSPOSED_CASES = {
    "1-D": ((2, 3, 4), (3, 2, 3), {}),
    "1-D more dilation than stride": (
        (1, 1, 3),
        (1, 1, 2),
        {"stride": 1, "dilation": 3, "output_padding": 2},
    ),
    "2-D all": (
        (2, 4, 3, 4),
        (4, 3, 3, 2),
        {
            "stride": (2, 3),
            "padding": (1, 2),
            "output_padding": (1, 0),
            "dilation": (2, 3),
            "groups": 2,
        },
    ),
    "3-D": ((1, 2, 2, 3, 2), (2, 1, 2, 2, 3), {"stride": (2, 1, 2)}),
}


@pytest.mark.parametrize("case", TRANSPOSED_CASES)
def test_transposed_convolution_and_its_gradients_are_those_of_torch(case):
    x, weight, arguments = TRANSPOSED_CASES[case]
    definition = of(
        reference.transposed_convolution_forward,
        reference.transposed_convolution_backward,
        **arguments,
    )
    inputs = arrays(x, weight, weight[1] * arguments.get("groups", 1))
    check_against_torch(
        definition, lambda *t: TRANSPOSED[t[0].ndim - 2](*t, **arguments), *inputs
    )
    check_against_differences(
        definition, *(a[:1] if a is inputs[0] else a for a in inputs)
    )


def test_transposed_convolution_is_the_way_back_of_a_correlation():
    x, weight, grad = arrays((1, 2, 7, 6), (3, 2, 3, 2), (1, 3, 3, 5))
    back, _, _ = reference.correlation_backward(grad, x, weight, stride=(2, 1))
    forward = reference.transposed_convolution_forward(grad, weight, stride=(2, 1))
    np.testing.assert_allclose(back, forward, rtol=0, atol=ATOL)


LOCAL_CASES = {  # x, places, kernel of one place, arguments
    "1-D": ((2, 2, 6), (4,), (3, 2, 3), {}),
    "2-D all": (
        (2, 4, 6, 5),
        (3, 3),
        (6, 2, 3, 2),
        {"stride": (2, 2), "padding": (1, 1), "dilation": (1, 2), "groups": 2},
    ),
    "3-D": ((1, 1, 3, 3, 2), (2, 2, 2), (2, 1, 2, 2, 1), {}),
}


def local_in_torch(x, weight, bias, **arguments):
    """Place by place the one value that an ordinary convolution has there."""
    axes = x.ndim - 2
    places = weight.shape[:axes]
    values = [
        CONV[axes](x, weight[place], **arguments)[(..., *place)]
        for place in np.ndindex(*places)
    ]
    return torch.stack(values, -1).unflatten(-1, places) + bias


@pytest.mark.parametrize("case", LOCAL_CASES)
def test_locally_connected_is_a_convolution_at_each_place(case):
    x, places, kernel, arguments = LOCAL_CASES[case]
    definition = of(
        reference.locally_connected_forward,
        reference.locally_connected_backward,
        **arguments,
    )
    inputs = arrays(x, (*places, *kernel), (kernel[0], *places))
    check_against_torch(definition, lambda *t: local_in_torch(*t, **arguments), *inputs)


def test_the_gradients_of_locally_connected_are_its_slopes():
    definition = of(
        reference.locally_connected_forward,
        reference.locally_connected_backward,
        padding=1,
    )
    check_against_differences(
        definition, *arrays((1, 2, 2, 3), (2, 3, 2, 2, 3, 3), (2, 2, 3))
    )


def test_locally_connected_with_one_kernel_everywhere_is_correlation():
    x, kernel = arrays((2, 3, 5, 4), (2, 3, 3, 3))
    weight = np.broadcast_to(kernel, (3, 2, *kernel.shape))
    np.testing.assert_array_equal(
        reference.locally_connected_forward(x, weight),
        reference.correlation_forward(x, kernel),
    )


REFUSED = {
    "channels": (
        lambda: reference.correlation_forward(
            np.ones((1, 3, 4, 4)), np.ones((2, 1, 3, 3))
        ),
        "correlation_forward: x has shape (1, 3, 4, 4), the weight is for (N, 1, H, "
        "W). Give 1 channels on axis 1 and 2 spatial axes.",
    ),
    "rank": (
        lambda: reference.transposed_convolution_forward(
            np.ones((3, 4)), np.ones((3, 1, 3))
        ),
        "transposed_convolution_forward: x has shape (3, 4), the weight is for "
        "(N, 3, L). Give 3 channels on axis 1 and 1 spatial axis.",
    ),
    "groups": (
        lambda: reference.correlation_forward(
            np.ones((1, 4, 4)), np.ones((3, 2, 3)), groups=2
        ),
        "correlation_forward: groups=2 does not divide 4 input and 3 output channels. "
        "Use a divisor of both.",
    ),
    "places": (
        lambda: reference.locally_connected_forward(
            np.ones((1, 1, 5)), np.ones((4, 2, 1, 3))
        ),
        "locally_connected_forward: weight has kernels for (4,) places, the input has "
        "(3,). Give a weight of shape (3, 2, 1, 3).",
    ),
    "size": (
        lambda: reference.correlation_forward(np.ones((1, 1, 2)), np.ones((1, 1, 3))),
        "correlation_forward, length: kernel_size=3 spans 3 elements, the input has 2. "
        "Use an input of at least 3, 1 more padding on each side, or kernel_size at "
        "most 2.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_the_remedy(case):
    call, text = REFUSED[case]
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        call()
