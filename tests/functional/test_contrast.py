"""Contrast normalization against loops, and what must not change it."""

import re

import numpy as np
import pytest
import torch
from scipy import ndimage

from convscope.errors import ArgumentError, ConvscopeError, ShapeError, UnknownNameError
from convscope.functional import gaussian_taps, local_contrast_norm
from convscope.functional.contrast import CONTRAST_PADDINGS

SHAPES = {1: (2, 3, 11), 2: (2, 3, 7, 6), 3: (2, 2, 5, 4, 6)}


def noise(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def loops(x, size, *, subtractive=True, divisive=True, threshold="mean", partial=True):
    """The formula of the paper, place by place, with one weight per map and offset."""
    x = x.numpy()
    maps, space = x.shape[1], x.shape[2:]
    taps = gaussian_taps(size).numpy()

    def window_sum(image, values):
        out = np.full(space, np.nan)
        for place in np.ndindex(*space):
            total = weight = 0.0
            for offset in np.ndindex(*[size] * len(space)):
                at = tuple(
                    p + o - (size - 1) // 2 for p, o in zip(place, offset, strict=True)
                )
                if not all(0 <= a < n for a, n in zip(at, space, strict=True)):
                    continue
                w = np.prod(taps[list(offset)]) / maps
                for i in range(maps):
                    total += w * values[image, i][at]
                    weight += w
            out[place] = total / weight if partial else total
        return out

    y = np.full(x.shape, np.nan)
    for image in range(len(x)):
        v = x[image] - window_sum(image, x) if subtractive else x[image]
        y[image] = v
        if divisive:
            held = np.array([v] * len(x))
            deviation = np.sqrt(window_sum(image, held**2))
            c = deviation.mean() if threshold == "mean" else threshold
            y[image] = v / np.maximum(c, deviation)
    return torch.from_numpy(y)


def check(ours, expected):
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize("size", [3, 4])
@pytest.mark.parametrize("threshold", ["mean", 0.9])
@pytest.mark.parametrize("partial", [True, False])
def test_it_is_the_formula_of_the_paper(axes, size, threshold, partial):
    x = noise(SHAPES[axes])
    mode = "partial" if partial else "zeros"
    ours = local_contrast_norm(x, size, threshold=threshold, padding_mode=mode)
    check(ours, loops(x, size, threshold=threshold, partial=partial))


@pytest.mark.parametrize("part", ["subtractive", "divisive"])
def test_either_part_can_be_left_out(part):
    x = noise(SHAPES[2])
    check(local_contrast_norm(x, 3, **{part: False}), loops(x, 3, **{part: False}))


@pytest.mark.parametrize(
    "mistake",
    [{"threshold": 0.1}, {"partial": False}, {"subtractive": False}],
    ids=lambda mistake: next(iter(mistake)),
)
def test_the_check_rejects_another_formula(mistake):
    x = noise(SHAPES[2])
    with pytest.raises(AssertionError):
        check(local_contrast_norm(x, 3), loops(x, 3, **mistake))


SCIPY = {
    "zeros": "constant",
    "reflect": "mirror",
    "replicate": "nearest",
    "circular": "wrap",
    "symmetric": "reflect",
}


@pytest.mark.parametrize("mode", SCIPY)
@pytest.mark.parametrize("sigma", [1.0, (0.5, 2.0)])
def test_the_mean_is_scipys_correlation_for_each_border(mode, sigma):
    x = noise((1, 3, 8, 9))
    across, along = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    window = np.outer(gaussian_taps(5, across), gaussian_taps(7, along))
    mean = ndimage.correlate(x[0].mean(0).numpy(), window, mode=SCIPY[mode], cval=0.0)
    ours = local_contrast_norm(x, (5, 7), sigma, divisive=False, padding_mode=mode)
    check(ours, x - torch.from_numpy(mean))


@pytest.mark.parametrize("value", [0.0, 0.1, 3.0, 255.0, -1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("maps", [1, 3, 7])
@pytest.mark.parametrize("threshold", ["mean", 1e-9])
def test_an_image_of_one_value_gives_exactly_zero(value, dtype, maps, threshold):
    x = torch.full((2, maps, 9, 10), max(value, -6e4), dtype=dtype)
    assert not local_contrast_norm(x, 5, threshold=threshold).any()


def test_padding_with_zeros_gives_an_image_of_one_value_a_frame():
    out = local_contrast_norm(torch.ones(1, 1, 9, 9), 3, padding_mode="zeros")
    assert out[0, 0, 0].min() > 0.5
    assert out[0, 0, 2:-2, 2:-2].abs().max() < 1e-5


@pytest.mark.parametrize("mode", [m for m in CONTRAST_PADDINGS if m != "zeros"])
def test_a_brighter_image_with_more_contrast_gives_the_same(mode):
    x = noise((2, 3, 8, 9))
    ours = local_contrast_norm(7 * x - 100, 5, padding_mode=mode)
    torch.testing.assert_close(ours, local_contrast_norm(x, 5, padding_mode=mode))


def test_below_the_threshold_contrast_is_kept_in_proportion():
    x = noise((1, 2, 8, 9))
    weak = local_contrast_norm(1e-3 * x, 5, threshold=1.0)
    even_weaker = local_contrast_norm(1e-4 * x, 5, threshold=1.0)
    torch.testing.assert_close(weak, 10 * even_weaker)


def test_no_result_is_further_from_zero_than_its_weight_in_the_window_allows():
    # deviation^2 >= w v^2 at the place itself, so |y| <= 1 / sqrt(w), w the middle one
    middle = (gaussian_taps(5)[2] ** 2 / 3).item()
    out = local_contrast_norm(noise((4, 3, 16, 16)) ** 5, 5, padding_mode="reflect")
    assert out.abs().max() <= middle**-0.5


def test_rolling_the_image_rolls_the_result():
    x = noise((2, 3, 8, 9))
    options = {"kernel_size": 5, "padding_mode": "circular"}
    ours = local_contrast_norm(x.roll((2, 3), (2, 3)), **options)
    check(ours, local_contrast_norm(x, **options).roll((2, 3), (2, 3)))


def test_a_window_larger_than_the_image_and_axes_of_one_element():
    x = noise((2, 3, 1, 4))
    check(local_contrast_norm(x, 9), loops(x, 9))
    single = noise((2, 3, 1, 1))
    v = single - single.mean(1, keepdim=True)
    deviation = v.square().mean(1, keepdim=True).sqrt()
    check(local_contrast_norm(single, 9), v / deviation)


@pytest.mark.parametrize("mode", CONTRAST_PADDINGS)
def test_the_largest_window_that_a_border_allows_runs(mode):
    size = 9 if mode == "reflect" else 11
    assert (
        local_contrast_norm(noise((1, 1, 5, 5)), size, padding_mode=mode)
        .isfinite()
        .all()
    )


@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize("threshold", ["mean", 0.9])
def test_both_derivatives_are_those_of_finite_differences(axes, threshold):
    x = noise(SHAPES[axes])[:1, :2].requires_grad_()

    def function(x):
        return local_contrast_norm(x, 3, threshold=threshold)

    torch.autograd.gradcheck(function, x, fast_mode=True)
    torch.autograd.gradgradcheck(function, x, fast_mode=True)


@pytest.mark.parametrize("mode", CONTRAST_PADDINGS)
@pytest.mark.parametrize("size", [3, 4])
def test_a_long_axis_gives_what_a_short_one_gives(mode, size, monkeypatch):
    x, weights = noise((2, 3, 7, 6)), noise((2, 3, 7, 6), seed=1)

    def value_and_gradients():
        x.requires_grad_()
        out = local_contrast_norm(x, size, padding_mode=mode)
        (first,) = torch.autograd.grad((out * weights).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((first * weights).sum(), x)
        return out, first, second

    short = value_and_gradients()
    monkeypatch.setattr("convscope.functional.contrast.SHORT", 0)
    for ours, expected in zip(value_and_gradients(), short, strict=True):
        check(ours, expected)


def test_it_holds_its_input_alone_for_the_way_back():
    held = []

    def pack(tensor):
        held.append(tensor.shape)
        return tensor

    x = noise((2, 3, 7, 6)).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        local_contrast_norm(x, 3)
    assert held == [x.shape]


@pytest.mark.parametrize("threshold", ["mean", 0.5])
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_the_gradient_of_an_image_of_one_value_is_finite(threshold, value):
    x = torch.full((1, 2, 6, 6), value, requires_grad=True)
    local_contrast_norm(x, 3, threshold=threshold).sum().backward()
    assert x.grad.isfinite().all()


def test_vmap_goes_through_images_one_by_one():
    x = noise((3, 2, 3, 8, 9))
    for mode in CONTRAST_PADDINGS:
        ours = torch.vmap(
            lambda x, mode=mode: local_contrast_norm(x, 3, padding_mode=mode)
        )(x)
        expected = torch.stack(
            [local_contrast_norm(one, 3, padding_mode=mode) for one in x]
        )
        check(ours, expected)


def test_half_precision_and_autocast_are_computed_in_float32():
    x = 1000 + noise((2, 3, 8, 9)).float()
    exact = local_contrast_norm(x, 5)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(local_contrast_norm(x, 5), exact)
    for dtype in (torch.bfloat16, torch.float16):
        rounded = x.to(dtype)
        ours = local_contrast_norm(rounded, 5)
        assert ours.dtype == dtype
        torch.testing.assert_close(
            ours, local_contrast_norm(rounded.float(), 5).to(dtype)
        )


X = torch.zeros(1, 1, 5, 5)


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (
            ShapeError,
            "local_contrast_norm: x must have shape (N, C, ...) with one to three "
            "spatial axes, and only N may be 0; got (5, 5). Add axes that are missing "
            "with unsqueeze.",
            lambda: local_contrast_norm(X[0, 0]),
        ),
        (
            ShapeError,
            "local_contrast_norm: x must have shape (N, C, ...) with one to three "
            "spatial axes, and only N may be 0; got (1, 1, 0, 5). Add axes that are "
            "missing with unsqueeze.",
            lambda: local_contrast_norm(X[:, :, :0]),
        ),
        (
            ShapeError,
            "local_contrast_norm: kernel_size=11 reaches 5 elements beyond the border, "
            "and padding_mode='reflect' finds 4 to put there along an axis of 5. Use "
            "kernel_size=9 or less, or padding_mode='partial'.",
            lambda: local_contrast_norm(X, 11, padding_mode="reflect"),
        ),
        (
            ShapeError,
            "local_contrast_norm: kernel_size=12 reaches 6 elements beyond the border, "
            "and padding_mode='circular' finds 5 to put there along an axis of 5. Use "
            "kernel_size=11 or less, or padding_mode='partial'.",
            lambda: local_contrast_norm(X, 12, padding_mode="circular"),
        ),
        (
            ArgumentError,
            "local_contrast_norm: x is of type torch.int64, which holds no contrasts "
            "below 1. Give x.float().",
            lambda: local_contrast_norm(X.long()),
        ),
        (
            UnknownNameError,
            "unknown padding_mode 'zero'. Did you mean 'zeros'?",
            lambda: local_contrast_norm(X, padding_mode="zero"),
        ),
        (
            UnknownNameError,
            "unknown threshold 'means'. Did you mean 'mean'?",
            lambda: local_contrast_norm(X, threshold="means"),
        ),
        (
            ArgumentError,
            "local_contrast_norm: threshold=0 is not a number above 0. Use 'mean', or "
            "a deviation below which nothing is amplified.",
            lambda: local_contrast_norm(X, threshold=0),
        ),
        (
            ArgumentError,
            "local_contrast_norm: subtractive=False and divisive=False leave nothing "
            "to do. Set one of them.",
            lambda: local_contrast_norm(X, subtractive=False, divisive=False),
        ),
        (
            ArgumentError,
            "local_contrast_norm: sigma=(1.0,) is not one number above 0, or 2 of "
            "them. Leave it out for a quarter of the window.",
            lambda: local_contrast_norm(X, sigma=(1.0,)),
        ),
        (
            ArgumentError,
            "local_contrast_norm: kernel_size=0 is not an integer of at least 1. Use "
            "kernel_size=1 or more.",
            lambda: local_contrast_norm(X, 0),
        ),
    ],
)
def test_what_cannot_be_is_refused_in_full_sentences(error, text, call):
    with pytest.raises(ConvscopeError, match=f"^{re.escape(text)}$") as caught:
        call()
    assert type(caught.value) is error
