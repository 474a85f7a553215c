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

SHAPES = [(5, 3), (2, 3, 4), (2, 3, 3, 2), (1, 2, 2, 3, 2)]


def batch_norm(x, gamma, beta):
    y, statistics = reference.batch_norm_forward(x, gamma, beta)
    return y, lambda grad: reference.batch_norm_backward(grad, gamma, statistics)


def check_batch_norm(definition):
    for shape in SHAPES:
        check_against_torch(
            definition,
            lambda x, g, b: F.batch_norm(x, None, None, g, b, training=True),
            *arrays(shape, shape[1:2], shape[1:2]),
        )


def test_batch_norm_and_its_gradients_are_those_of_torch():
    check_batch_norm(batch_norm)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradients_of_batch_norm_are_its_slopes(shape):
    check_against_differences(batch_norm, *arrays(shape, shape[1:2], shape[1:2]))


def statistics_taken_as_constant(x, gamma, beta):
    y, backward = batch_norm(x, gamma, beta)
    _, found = reference.batch_norm_forward(x, gamma, beta)
    straight = reference.batch_norm_evaluation_backward
    return y, lambda grad: (
        straight(grad, x, gamma, found.mean, found.variance)[0],
        *backward(grad)[1:],
    )


def variance_of_a_sample(x, gamma, beta):
    m = x.size // x.shape[1]
    y, backward = batch_norm(x * np.sqrt((m - 1) / m), gamma, beta)
    return y, backward


@pytest.mark.parametrize(
    "mistake", [statistics_taken_as_constant, variance_of_a_sample]
)
def test_the_check_of_batch_norm_rejects_a_planted_mistake(mistake):
    with pytest.raises(AssertionError):
        check_batch_norm(mistake)


def test_the_running_statistics_are_those_of_torch():
    x, mean = arrays((4, 3, 2), (3,))
    variance = np.array([0.5, 1.0, 2.0])
    theirs = torch.tensor(mean), torch.tensor(variance)
    F.batch_norm(torch.tensor(x), *theirs, training=True, momentum=0.3)
    _, statistics = reference.batch_norm_forward(x, np.ones(3), np.zeros(3))
    ours = reference.running_statistics_update(mean, variance, statistics, 0.3)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=ATOL)


@pytest.mark.parametrize("shape", [*SHAPES, (1, 3)])
def test_batch_norm_in_evaluation_is_that_of_torch(shape):
    x, gamma, beta, mean = arrays(shape, *[shape[1:2]] * 3)
    variance = np.linspace(0.5, 2, shape[1])

    def definition(x, gamma, beta):
        y = reference.batch_norm_evaluation_forward(x, gamma, beta, mean, variance)
        return y, lambda grad: reference.batch_norm_evaluation_backward(
            grad, x, gamma, mean, variance
        )

    running = torch.tensor(mean), torch.tensor(variance)
    check_against_torch(
        definition, lambda x, g, b: F.batch_norm(x, *running, g, b), x, gamma, beta
    )
    check_against_differences(definition, x, gamma, beta)


def test_one_value_per_map_has_no_variance():
    text = (
        "batch_norm_forward: x=(1, 3) has 1 values per map, which have no variance. "
        "Give 2 images or more, or use batch_norm_evaluation_forward."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        reference.batch_norm_forward(np.ones((1, 3)), np.ones(3), np.zeros(3))


def contrast(window, threshold="mean", border="partial"):
    """Both steps, one after the other."""

    def definition(x):
        v = reference.subtractive_forward(x, window, border)
        y, deviation = reference.divisive_forward(v, window, threshold, border)

        def backward(grad):
            grad_v = reference.divisive_backward(
                grad, v, deviation, window, threshold, border
            )
            return [reference.subtractive_backward(grad_v, window, border)]

        return y, backward

    return definition


CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def contrast_in_torch(x, window, threshold, border):
    """The lectures' formulas, each sum a convolution over all maps."""
    maps, axes = x.shape[1], x.ndim - 2
    kernel = torch.tensor(window / window.sum() / maps)
    kernel = kernel.expand(1, maps, *kernel.shape)

    def local(values):
        sums = CONV[axes](values, kernel, padding="same")
        if border == "zeros":
            return sums
        return sums / CONV[axes](torch.ones_like(values), kernel, padding="same")

    v = x - local(x)
    deviation = local(v.square()).sqrt()
    if threshold == "mean":
        threshold = deviation.mean(tuple(range(1, x.ndim)), keepdim=True)
        return v / torch.maximum(deviation, threshold)
    return v / deviation.clamp(min=threshold)


WINDOWS = {
    (2, 3, 6): reference.gaussian_window((5,), 1.2),
    (2, 2, 4, 5): reference.gaussian_window((3, 5), 1.0),
    (1, 2, 3, 3, 2): np.arange(1.0, 28.0).reshape(3, 3, 3),  # no symmetry hides a flip
}


def check_contrast(definition):
    for shape, window in WINDOWS.items():
        for threshold in ("mean", 0.9):
            for border in ("partial", "zeros"):
                check_against_torch(
                    definition(window, threshold, border),
                    lambda x, w=window, t=threshold, b=border: contrast_in_torch(
                        x, w, t, b
                    ),
                    *arrays(shape),
                )


def test_local_contrast_normalization_is_the_lectures_formula():
    check_contrast(contrast)


@pytest.mark.parametrize("threshold", ["mean", 0.9])
@pytest.mark.parametrize("border", ["partial", "zeros"])
def test_the_gradient_of_local_contrast_normalization_is_its_slope(threshold, border):
    for shape, window in WINDOWS.items():
        check_against_differences(contrast(window, threshold, border), *arrays(shape))


CONTRAST_MISTAKES = {
    "mean of each map alone": lambda window, threshold, border: (
        lambda x: contrast(window, threshold, border)(x[:, :1] + 0 * x)
    ),
    "threshold taken as constant": lambda window, threshold, border: (
        lambda x: (
            contrast(window, threshold, border)(x)[0],
            contrast(window, 1e-9, border)(x)[1],
        )
    ),
    "borders darkened": lambda window, threshold, border: contrast(
        window, threshold, "zeros"
    ),
    "window flipped": lambda window, threshold, border: contrast(
        np.flip(window), threshold, border
    ),
}


@pytest.mark.parametrize("mistake", CONTRAST_MISTAKES)
def test_the_check_of_contrast_rejects_a_planted_mistake(mistake):
    with pytest.raises(AssertionError):
        check_contrast(CONTRAST_MISTAKES[mistake])


def test_an_image_of_one_value_has_no_contrast_and_passes_nothing_on():
    y, backward = contrast(np.ones((3, 3)))(np.full((1, 2, 4, 4), 0.5))
    assert not y.any()
    assert np.isfinite(backward(np.ones_like(y))[0]).all()


def test_the_gaussian_window_sums_to_one_and_falls_as_a_gaussian():
    window = reference.gaussian_window((7, 5), 1.5)
    assert window.sum() == pytest.approx(1, abs=1e-15)
    assert window[3, 2] == window.max()
    assert window[3, 4] / window[3, 2] == pytest.approx(np.exp(-4 / 4.5))


RESPONSE = {"size": 5, "alpha": 0.4, "beta": 0.75, "k": 2.0}


def response(size, alpha, beta, k, average=True):
    def definition(x):
        y, divisor = reference.local_response_forward(
            x, size, alpha=alpha, beta=beta, k=k, average=average
        )
        return y, lambda grad: [
            reference.local_response_backward(
                grad, x, divisor, size, alpha=alpha, beta=beta, average=average
            )
        ]

    return definition


def check_response(definition):
    for shape in [(2, 7, 3), (2, 6, 2, 3), (1, 4, 2, 1, 2)]:
        for size in (1, 2, 5):
            arguments = {**RESPONSE, "size": size}
            check_against_torch(
                definition(**arguments),
                lambda x, a=arguments: F.local_response_norm(x, **a),
                *arrays(shape),
            )


def test_local_response_normalization_is_that_of_torch():
    check_response(response)


def test_without_the_average_alpha_is_the_factor_of_the_sum():
    (x,) = arrays((2, 6, 3))
    plain, _ = response(**RESPONSE, average=False)(x)
    scaled, _ = response(**{**RESPONSE, "alpha": 5 * RESPONSE["alpha"]})(x)
    np.testing.assert_allclose(plain, scaled, rtol=0, atol=ATOL)


@pytest.mark.parametrize("average", [True, False])
def test_the_gradient_of_local_response_normalization_is_its_slope(average):
    check_against_differences(response(**RESPONSE, average=average), *arrays((1, 6, 2)))
    even = {**RESPONSE, "size": 2}
    check_against_differences(response(**even, average=average), *arrays((1, 5, 2)))


RESPONSE_MISTAKES = {
    "alpha not divided": lambda **a: response(**a, average=False),
    "neighbors after instead of before": lambda **a: (
        lambda x: (
            response(**a)(x[:, ::-1])[0][:, ::-1],
            lambda grad: [response(**a)(x[:, ::-1])[1](grad[:, ::-1])[0][:, ::-1]],
        )
    ),
    "neighbors forgotten on the way back": lambda **a: (
        lambda x: (response(**a)(x)[0], response(**{**a, "size": 1})(x)[1])
    ),
}


@pytest.mark.parametrize("mistake", RESPONSE_MISTAKES)
def test_the_check_of_responses_rejects_a_planted_mistake(mistake):
    with pytest.raises(AssertionError):
        check_response(RESPONSE_MISTAKES[mistake])
