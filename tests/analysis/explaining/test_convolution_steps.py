import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from convscope import functional
from convscope.analysis import convolution_steps
from convscope.errors import ArgumentError, ShapeError, UnknownNameError

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def numbers(axes, seed, size=5, kernel=3):
    rng = np.random.default_rng(seed)
    channels = 1 + seed % 2
    space = [size + i for i in range(axes)] if axes < 3 else [3, 4, 3]
    taps = [kernel, 2, 2][:axes]
    return rng.normal(size=(channels, *space)), rng.normal(size=(channels, *taps))


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation"),
    list(itertools.product((1, 2, 3), (0, 2), (1, 2))),
)
def test_the_sums_are_torchs(axes, stride, padding, dilation):
    x, w = numbers(axes, stride + padding)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    tensors = torch.from_numpy(x)[None], torch.from_numpy(w)[None]
    try:
        expected = CONV[axes](*tensors, **options)[0, 0].numpy()
    except RuntimeError:
        with pytest.raises(ShapeError):
            convolution_steps(x, w, axes=axes, **options)
        return
    found = convolution_steps(x, w, axes=axes, **options)
    np.testing.assert_allclose(found.output, expected, atol=1e-12)
    as_matrix = (found.matrix() @ x.ravel()).reshape(expected.shape)
    np.testing.assert_allclose(as_matrix, expected, atol=1e-12)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(
    ("stride", "padding", "more"), [(1, 0, 0), (2, 1, 1), (3, 0, 2), (2, 0, 0)]
)
def test_the_sums_of_transposed_ones_too(axes, stride, padding, more):
    x, w = numbers(axes, stride)
    options = {"stride": stride, "padding": padding, "output_padding": more}
    tensors = torch.from_numpy(x)[None], torch.from_numpy(w)[:, None]
    expected = TRANSPOSED[axes](*tensors, **options)[0, 0].numpy()
    found = convolution_steps(x, w, axes=axes, transposed=True, **options)
    np.testing.assert_allclose(found.output, expected, atol=1e-12)
    as_matrix = (found.matrix() @ x.ravel()).reshape(expected.shape)
    np.testing.assert_allclose(as_matrix, expected, atol=1e-12)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_what_is_drawn_under_a_tap_is_what_is_multiplied(transposed, stride):
    x, w = numbers(2, 3)
    found = convolution_steps(x, w, stride=stride, padding=1, transposed=transposed)
    drawn = found.kernel.reshape(len(w), -1)
    for step in found.steps:
        for channel in range(len(x)):
            under = [found.grid[(channel, *cell)] for cell in step.cells]
            np.testing.assert_array_equal(under, step.values[channel])
            laid = drawn[channel][::-1] if transposed else drawn[channel]
            np.testing.assert_allclose(under * laid, step.products[channel])


@pytest.mark.parametrize("mode", ["reflect", "symmetric", "replicate", "circular"])
def test_borders_are_those_of_numpy(mode):
    x, w = numbers(2, 0)
    name = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    padded = np.pad(x[0], 2, mode=name)[None]
    found = convolution_steps(x, w, padding=2, padding_mode=mode)
    np.testing.assert_allclose(found.output, convolution_steps(padded, w).output)
    np.testing.assert_allclose(found.grid, padded)


def test_partial_padding_weighs_up_what_is_there():
    x, w = numbers(2, 1)
    found = convolution_steps(x, w, padding=1, padding_mode="partial")
    expected = functional.conv2d(
        torch.from_numpy(x)[None], torch.from_numpy(w)[None], padding=1,
        padding_mode="partial",
    )  # fmt: skip
    np.testing.assert_allclose(found.output, expected[0, 0].numpy(), atol=1e-12)


def test_a_flipped_kernel_is_the_convolution_of_signal_processing():
    signal = pytest.importorskip("scipy.signal")
    x, w = numbers(2, 2)
    found = convolution_steps(x[0], w[0], flip=True, padding="full")
    np.testing.assert_allclose(found.output, signal.convolve2d(x[0], w[0]), atol=1e-12)


def test_a_sum_can_be_read_aloud():
    found = convolution_steps([[1, 1, 0], [0, 1, 2], [3, 0, 1]], [[1, 0], [0, 2]])
    assert str(found.steps[1]) == "1×1 + 2×2 = 5"
    assert found.settings == "stride 1, no padding"
    more = convolution_steps(np.ones((5, 5)), np.ones((3, 3)), stride=2, padding=1)
    assert more.settings == "stride 2, padding 1"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (([[1.0]], [1.0]), ShapeError, "image has shape"),
        ((np.ones((2, 4, 4)), np.ones((3, 2, 2))), ShapeError, "has 2 channels"),
        (([1.0, np.nan], [1.0]), ArgumentError, "not finite"),
        ((np.ones((99, 99)), np.ones((1, 1))), ArgumentError, "9,801 windows"),
        (([1.0, 2.0], [1.0, 1.0, 1.0]), ShapeError, "kernel"),
    ],
)
def test_wrong_input_says_what_to_change(arguments, error, text):
    with pytest.raises(error, match=text):
        convolution_steps(*arguments)


def test_wrong_settings_say_what_to_change():
    with pytest.raises(UnknownNameError, match="reflect"):
        convolution_steps([1.0], [1.0], padding_mode="reflekt")
    with pytest.raises(ArgumentError, match="has no meaning"):
        convolution_steps([1.0], [1.0], padding_mode="reflect", transposed=True)
    with pytest.raises(ShapeError, match="axes=3"):
        convolution_steps([1.0], [1.0], axes=3)


def test_negative_factors_stand_in_brackets_and_fractions_have_four_digits():
    (step,) = convolution_steps([1.0, 3.0], [-2.0, 1 / 3]).steps
    assert str(step) == "1×(−2) + 3×0.3333 = −1"


@pytest.mark.parametrize("mode", ["reflect", "symmetric", "circular"])
def test_padding_that_a_layer_refuses_is_refused_in_the_same_words(mode):
    image, kernel = np.ones((3, 3)), np.ones((3, 3))
    with pytest.raises(ShapeError, match=f"padding_mode='{mode}' needs"):
        convolution_steps(image, kernel, padding=4, padding_mode=mode)
