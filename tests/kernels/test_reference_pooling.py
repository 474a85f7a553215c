import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from convscope.errors import ArgumentError
from convscope.kernels import reference
from kernels.gradients import arrays, check_against_differences, check_against_torch

MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
LP = {1: F.lp_pool1d, 2: F.lp_pool2d, 3: F.lp_pool3d}


def max_pooling(kernel_size, **arguments):
    def definition(x):
        y, winners = reference.max_pooling_forward(x, kernel_size, **arguments)
        return y, lambda grad: [
            reference.max_pooling_backward(grad, winners, x.shape[2:])
        ]

    return definition


CASES = {  # x, kernel_size, arguments
    "1-D": ((2, 3, 7), 2, {}),
    "1-D overlapping": ((2, 3, 8), 3, {"stride": 1, "padding": 1}),
    "2-D": ((2, 2, 4, 6), 2, {}),
    "2-D all": ((1, 3, 7, 6), (3, 2), {"stride": (2, 1), "padding": (1, 0)}),
    "2-D past the end": ((1, 2, 6, 5), 2, {"stride": 3, "ceil_mode": "torch"}),
    "3-D": ((1, 2, 4, 3, 4), 2, {"stride": (2, 1, 2), "padding": 1}),
    "no images": ((0, 2, 4, 4), 2, {}),
}
DILATED = ((1, 2, 7, 6), 2, {"stride": 2, "padding": 1, "dilation": (2, 3)})


def in_torch(function, kernel_size, arguments):
    chosen = dict(arguments)
    chosen["ceil_mode"] = bool(chosen.get("ceil_mode"))
    return lambda x: function[x.ndim - 2](x, kernel_size, **chosen)


def few_values(shape):
    """Small integers: every window holds ties."""
    return np.random.default_rng(2).integers(-1, 2, shape).astype(float)


def check_max_pooling(definition, make=lambda shape: arrays(shape)[0]):
    for shape, kernel_size, arguments in [*CASES.values(), DILATED]:
        check_against_torch(
            definition(kernel_size, **arguments),
            in_torch(MAX, kernel_size, arguments),
            make(shape),
        )


def test_max_pooling_and_its_gradient_are_those_of_torch():
    check_max_pooling(max_pooling)


def test_among_equals_the_first_wins_as_in_torch():
    check_max_pooling(max_pooling, few_values)


@pytest.mark.parametrize("case", ["2-D all", "2-D past the end", "3-D"])
def test_the_winners_are_those_of_torch(case):
    shape, kernel_size, arguments = CASES[case]
    x = few_values(shape)
    chosen = {**arguments, "ceil_mode": bool(arguments.get("ceil_mode"))}
    _, theirs = MAX[x.ndim - 2](
        torch.tensor(x), kernel_size, **chosen, return_indices=True
    )
    _, ours = reference.max_pooling_forward(x, kernel_size, **arguments)
    np.testing.assert_array_equal(ours, theirs)


def test_the_gradient_of_max_pooling_is_its_slope():
    check_against_differences(
        max_pooling((3, 2), stride=(2, 1), padding=(1, 0)), *arrays((1, 2, 5, 4))
    )


def last_of_equals(kernel_size, **arguments):
    def definition(x):
        back = tuple(range(2, x.ndim))
        y, backward = max_pooling(kernel_size, **arguments)(np.flip(x, back))
        return np.flip(y, back), lambda grad: [
            np.flip(backward(np.flip(grad, back))[0], back)
        ]

    return definition


def every_equal(kernel_size, **arguments):
    def definition(x):
        y, _ = max_pooling(kernel_size, **arguments)(x)

        def backward(grad):
            grad_x = np.zeros_like(x)
            for place, window in reference.each_window(
                x.shape[2:], kernel_size, **{"stride": kernel_size, **arguments}
            ):
                for _, element in window:
                    wins = x[:, :, *element] == y[:, :, *place]
                    grad_x[:, :, *element] += np.where(wins, grad[:, :, *place], 0)
            return [grad_x]

        return y, backward

    return definition


@pytest.mark.parametrize("mistake", [last_of_equals, every_equal])
def test_the_check_of_ties_rejects_a_planted_mistake(mistake):
    with pytest.raises(AssertionError):
        check_max_pooling(mistake, few_values)


def test_padding_never_wins_and_a_window_of_padding_has_no_winner():
    x = np.array([[[-3.0]]])
    y, winners = reference.max_pooling_forward(x, 2, stride=2, padding=[(2, 1)])
    assert y.tolist() == [[[-np.inf, -3.0]]]
    assert winners.tolist() == [[[-1, 0]]]
    grad = np.array([[[5.0, 7.0]]])
    assert reference.max_pooling_backward(grad, winners, (1,)).tolist() == [[[7.0]]]


def test_a_nan_wins_over_every_number_and_the_last_of_several_as_in_torch():
    x = np.array([[[1, np.nan, 9, np.nan, 2]]])
    y, winners = reference.max_pooling_forward(x, 5)
    assert np.isnan(y).all()
    assert winners.tolist() == [[[3]]]
    theirs = F.max_pool1d(torch.tensor(x), 5, return_indices=True)[1]
    assert theirs.tolist() == [[[3]]]


def average(kernel_size, **arguments):
    def definition(x):
        y = reference.average_pooling_forward(x, kernel_size, **arguments)
        return y, lambda grad: [
            reference.average_pooling_backward(
                grad, x.shape[2:], kernel_size, **arguments
            )
        ]

    return definition


def check_average(definition):
    for shape, kernel_size, arguments in CASES.values():
        for include in (True, False):
            chosen = {**arguments, "count_include_pad": include}
            check_against_torch(
                definition(kernel_size, **chosen),
                in_torch(AVERAGE, kernel_size, chosen),
                *arrays(shape),
            )


def test_average_pooling_and_its_gradient_are_those_of_torch():
    check_average(average)


def test_the_windows_of_padding_and_past_the_end_are_averaged_as_in_torch():
    arguments = {"stride": 2, "padding": 1, "ceil_mode": "torch"}
    for size in range(3, 8):
        check_against_torch(
            average(3, **arguments),
            in_torch(AVERAGE, 3, arguments),
            *arrays((1, 1, size)),
        )


def not_spread(kernel_size, **arguments):
    def definition(x):
        y, backward = average(kernel_size, **arguments)(x)
        return y, lambda grad: [backward(grad)[0] * 2]

    return definition


def padding_counted(kernel_size, **arguments):
    return average(kernel_size, **{**arguments, "count_include_pad": True})


@pytest.mark.parametrize("mistake", [not_spread, padding_counted])
def test_the_check_of_averages_rejects_a_planted_mistake(mistake):
    with pytest.raises(AssertionError):
        check_average(mistake)


def test_each_element_of_a_square_window_gets_one_share_of_its_gradient():
    grad = np.array([[[[9.0]]]])
    back = reference.average_pooling_backward(grad, (3, 3), 3)
    assert back.tolist() == [[[[1.0] * 3] * 3]]


def lp(power, kernel_size, **arguments):
    def definition(x):
        y = reference.lp_pooling_forward(x, kernel_size, power, **arguments)
        return y, lambda grad: [
            reference.lp_pooling_backward(grad, x, y, kernel_size, power, **arguments)
        ]

    return definition


@pytest.mark.parametrize("power", [1, 2, 3, 2.5])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_lp_pooling_of_magnitudes_is_that_of_torch(power, axes):
    (x,) = arrays((2, 3, *[5, 4, 4][:axes]))
    check_against_torch(lp(power, 2), lambda x: LP[axes](x, power, 2), np.abs(x))


@pytest.mark.parametrize("power", [1, 2, 3, 3.5])
def test_the_gradient_of_lp_pooling_is_its_slope_for_either_sign(power):
    check_against_differences(
        lp(power, (2, 3), stride=1, padding=(1, 0)), *arrays((1, 2, 3, 4))
    )


@pytest.mark.parametrize(("power", "passed"), [(1, 1.0), (2, 0.0), (3, 0.0)])
def test_a_window_of_zeros_passes_back_only_through_a_sum(power, passed):
    y, backward = lp(power, 2)(np.zeros((1, 1, 2)))
    assert y.tolist() == [[[0.0]]]
    assert backward(np.ones((1, 1, 1)))[0].tolist() == [[[passed, passed]]]


def test_a_large_power_comes_near_the_maximum():
    x = np.array([[[1.0, -3.0, 2.0]]])
    # (1 + (1/3)^64 + (2/3)^64)^(1/64) - 1 < 1e-12
    np.testing.assert_allclose(reference.lp_pooling_forward(x, 3, 64), 3, rtol=1e-12)


def test_a_power_below_one_is_refused():
    text = "lp_pooling_forward: power=0.5 is below 1. Use power=1 or more."
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        reference.lp_pooling_forward(np.ones((1, 1, 2)), 2, 0.5)


def subsampling(kernel_size, **arguments):
    def definition(x, coefficient, bias):
        y = reference.subsampling_forward(
            x, coefficient, bias, kernel_size, **arguments
        )
        return y, lambda grad: reference.subsampling_backward(
            grad, x, coefficient, kernel_size, **arguments
        )

    return definition


@pytest.mark.parametrize("case", [c for c in CASES if c != "2-D past the end"])
def test_subsampling_is_a_sum_scaled_and_shifted(case):
    shape, kernel_size, arguments = CASES[case]
    axes = len(shape) - 2
    kernel = kernel_size if isinstance(kernel_size, tuple) else (kernel_size,) * axes
    taps = int(np.prod(kernel))

    def theirs(x, coefficient, bias):
        sums = taps * AVERAGE[axes](x, kernel_size, **arguments)
        line = (-1, *[1] * axes)
        return coefficient.view(line) * sums + bias.view(line)

    check_against_torch(
        subsampling(kernel_size, **arguments),
        theirs,
        *arrays(shape, shape[1:2], shape[1:2]),
    )


def test_the_gradients_of_subsampling_are_its_slopes():
    check_against_differences(
        subsampling(2, stride=1, padding=1), *arrays((1, 2, 3, 2), (2,), (2,))
    )
