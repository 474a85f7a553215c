"""Every operation of `convscope.functional` equals its definition, there and back.

Settings are drawn by seed; the definition's own test holds it to torch.
"""

import numpy as np
import pytest
import torch

from convscope import functional
from convscope.kernels import reference
from kernels.gradients import check_against_torch

SEEDS = range(6)
AXES = [1, 2, 3]


class Draw:
    """One random setting: sizes that fit, and arguments."""

    def __init__(self, seed, axes):
        self.rng = np.random.default_rng([seed, axes])
        self.axes = axes
        self.kernel = self.integers(1, 3)
        self.dilation = self.integers(1, 2)
        self.stride = self.integers(1, 3)
        self.padding = list(zip(self.integers(0, 2), self.integers(0, 2), strict=True))
        self.groups = int(self.rng.integers(1, 3))
        self.sizes = tuple(
            max(1, d * (k - 1) + 1 - sum(p)) + extra
            for k, d, p, extra in zip(
                self.kernel,
                self.dilation,
                self.padding,
                self.integers(0, 2),
                strict=True,
            )
        )

    def integers(self, low, high):
        return tuple(int(i) for i in self.rng.integers(low, high + 1, self.axes))

    def normal(self, *shapes):
        return [self.rng.standard_normal(shape) for shape in shapes]

    @property
    def windows(self):
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }


def pair(forward, backward, **arguments):
    """Definitions whose way back takes x and the weight again."""

    def definition(x, weight, bias):
        y = forward(x, weight, bias, **arguments)
        return y, lambda grad: backward(grad, x, weight, **arguments)

    return definition


def conv(draw, flip=False):
    channels, maps = 2 * draw.groups, 3 * draw.groups
    forward, backward = (
        (reference.convolution_forward, reference.convolution_backward)
        if flip
        else (reference.correlation_forward, reference.correlation_backward)
    )
    return (
        pair(forward, backward, **draw.windows),
        lambda x, w, b: functional.conv(x, w, b, flip=flip, **draw.windows),
        draw.normal((2, channels, *draw.sizes), (maps, 2, *draw.kernel), (maps,)),
    )


def partial_conv(draw, masked=False):
    channels, maps = 2 * draw.groups, 3 * draw.groups
    shape = (2, channels, *draw.sizes)
    mask = draw.rng.integers(0, 2, shape) if masked else None

    def definition(x, weight, bias):
        y, hits = reference.partial_convolution_forward(
            x, weight, bias, mask, **draw.windows
        )
        return y, lambda grad: reference.partial_convolution_backward(
            grad, x, weight, hits, mask, **draw.windows
        )

    def fast(x, w, b):
        if not masked:
            return functional.partial_conv(x, w, b, **draw.windows)
        return functional.partial_conv(x, w, b, torch.tensor(mask), **draw.windows)[0]

    return definition, fast, draw.normal(shape, (maps, 2, *draw.kernel), (maps,))


def conv_transpose(draw):
    more = tuple(
        int(draw.rng.integers(0, max(s, d)))
        for s, d in zip(draw.stride, draw.dilation, strict=True)
    )
    arguments = {**draw.windows, "output_padding": more}
    sizes = tuple(size + 3 for size in draw.sizes)  # something is left of the output
    return (
        pair(
            reference.transposed_convolution_forward,
            reference.transposed_convolution_backward,
            **arguments,
        ),
        lambda x, w, b: functional.conv_transpose(x, w, b, **arguments),
        draw.normal(
            (2, 2 * draw.groups, *sizes),
            (2 * draw.groups, 3, *draw.kernel),
            (3 * draw.groups,),
        ),
    )


def locally_connected(draw):
    channels, maps = 2 * draw.groups, 3 * draw.groups
    x, kernel = draw.normal((2, channels, *draw.sizes), (maps, 2, *draw.kernel))
    places = reference.correlation_forward(x, kernel, **draw.windows).shape[2:]
    return (
        pair(
            reference.locally_connected_forward,
            reference.locally_connected_backward,
            **draw.windows,
        ),
        lambda x, w, b: functional.locally_connected(x, w, b, **draw.windows),
        [x, *draw.normal((*places, *kernel.shape), (maps, *places))],
    )


def pooled(draw):
    """x that holds a window, and arguments that every pooling takes."""
    arguments = {
        "kernel_size": draw.kernel,
        "stride": draw.stride,
        "padding": tuple(k // 2 for k in draw.kernel),
        "ceil_mode": "torch" if draw.rng.integers(0, 2) else False,
    }
    return (2, 3, *[size + 2 for size in draw.sizes]), arguments


def max_pool(draw):
    shape, arguments = pooled(draw)

    def definition(x):
        y, winners = reference.max_pooling_forward(x, **arguments)
        return y, lambda grad: [
            reference.max_pooling_backward(grad, winners, x.shape[2:])
        ]

    ties = draw.rng.integers(-1, 2, shape).astype(float)
    return definition, lambda x: functional.max_pool(x, **arguments), [ties]


def max_unpool(draw):
    sizes = tuple(2 * size + 2 for size in draw.sizes)
    (x,) = draw.normal((2, 3, *sizes))
    pooled, winners = reference.max_pooling_forward(x, 2)

    def definition(y):
        back = reference.max_unpooling_forward(y, winners, sizes)
        return back, lambda grad: [reference.max_unpooling_backward(grad, winners)]

    return (
        definition,
        lambda y: functional.max_unpool(y, torch.tensor(winners), 2),
        draw.normal(pooled.shape),
    )


def avg_pool(draw):
    shape, arguments = pooled(draw)
    arguments["count_include_pad"] = bool(draw.rng.integers(0, 2))

    def definition(x):
        y = reference.average_pooling_forward(x, **arguments)
        return y, lambda grad: [
            reference.average_pooling_backward(grad, x.shape[2:], **arguments)
        ]

    return definition, lambda x: functional.avg_pool(x, **arguments), draw.normal(shape)


def lp_pool(draw):
    shape, arguments = pooled(draw)
    power = float(draw.rng.choice([1, 2, 2.5, 4]))

    def definition(x):
        y = reference.lp_pooling_forward(x, power=power, **arguments)
        return y, lambda grad: [
            reference.lp_pooling_backward(grad, x, y, power=power, **arguments)
        ]

    return (
        definition,
        lambda x: functional.lp_pool(x, power, **arguments),
        draw.normal(shape),
    )


def adaptive_avg_pool(draw):
    outputs = draw.integers(1, 4)
    return (
        lambda x: (
            reference.adaptive_average_forward(x, outputs),
            lambda grad: [reference.adaptive_average_backward(grad, x.shape[2:])],
        ),
        lambda x: functional.adaptive_avg_pool(x, outputs),
        draw.normal((2, 3, *[size + 2 for size in draw.sizes])),
    )


def adaptive_max_pool(draw):
    outputs = draw.integers(1, 4)
    shape = (2, 3, *[size + 2 for size in draw.sizes])

    def definition(x):
        y, winners = reference.adaptive_max_forward(x, outputs)
        return y, lambda grad: [
            reference.max_pooling_backward(grad, winners, x.shape[2:])
        ]

    ties = draw.rng.integers(-1, 2, shape).astype(float)
    return definition, lambda x: functional.adaptive_max_pool(x, outputs), [ties]


def global_pool(draw, kind):
    """The average or the maximum of a whole map is adaptive pooling to one output."""
    function = {
        "average": functional.global_avg_pool,
        "maximum": functional.global_max_pool,
    }[kind]
    adaptive = {"average": adaptive_avg_pool, "maximum": adaptive_max_pool}[kind]
    draw.integers = lambda low, high: (1,) * draw.axes
    definition, _, inputs = adaptive(draw)
    return definition, lambda x: function(x, keepdim=True), inputs


def subsample(draw):
    shape, arguments = pooled(draw)
    del arguments["padding"], arguments["ceil_mode"]

    def definition(x, coefficient, bias):
        y = reference.subsampling_forward(x, coefficient, bias, **arguments)
        return y, lambda grad: reference.subsampling_backward(
            grad, x, coefficient, **arguments
        )

    return (
        definition,
        lambda x, c, b: functional.subsample(x, c, b, **arguments),
        draw.normal(shape, (3,), (3,)),
    )


def rectify(draw):
    return (
        lambda x: (
            reference.absolute_forward(x),
            lambda grad: [reference.absolute_backward(grad, x)],
        ),
        functional.rectify,
        draw.normal((2, 3, *draw.sizes)),
    )


def gain(draw):
    return (
        lambda x, g: (
            reference.gain_forward(x, g),
            lambda grad: reference.gain_backward(grad, x, g),
        ),
        functional.gain,
        draw.normal((2, 3, *draw.sizes), (3,)),
    )


def local_contrast_norm(draw):
    sizes = tuple(int(k) for k in draw.rng.choice([1, 3, 5], draw.axes))
    sizes = (*sizes[:-1], 3)  # a window of one tap would leave nothing
    threshold = "mean" if draw.rng.integers(0, 2) else 0.7
    border = "partial" if draw.rng.integers(0, 2) else "zeros"
    window = reference.gaussian_window(sizes, 1.3)

    def definition(x):
        v = reference.subtractive_forward(x, window, border)
        y, deviation = reference.divisive_forward(v, window, threshold, border)

        def backward(grad):
            grad_v = reference.divisive_backward(
                grad, v, deviation, window, threshold, border
            )
            return [reference.subtractive_backward(grad_v, window, border)]

        return y, backward

    return (
        definition,
        lambda x: functional.local_contrast_norm(
            x, sizes, 1.3, threshold=threshold, padding_mode=border
        ),
        draw.normal((2, 2, *[size + 1 for size in draw.sizes])),
    )


def local_response_norm(draw):
    size, average = int(draw.rng.integers(1, 6)), bool(draw.rng.integers(0, 2))
    numbers = {"alpha": 0.3, "beta": 0.75, "average": average}

    def definition(x):
        y, divisor = reference.local_response_forward(x, size, k=2.0, **numbers)
        return y, lambda grad: [
            reference.local_response_backward(grad, x, divisor, size, **numbers)
        ]

    return (
        definition,
        lambda x: functional.local_response_norm(x, size, k=2.0, **numbers),
        draw.normal((2, 5, *draw.sizes)),
    )


MODES = ["zeros", "constant", "reflect", "symmetric", "replicate", "circular"]


def pad(draw, mode):
    value = 1.5 if mode == "constant" else 0.0

    def definition(x):
        y = reference.pad_forward(x, draw.padding, mode, value)
        return y, lambda grad: [
            reference.pad_backward(grad, x.shape[2:], draw.padding, mode)
        ]

    return (
        definition,
        lambda x: functional.pad(x, draw.padding, mode, value),
        draw.normal((2, 2, *[size + 2 for size in draw.sizes])),
    )


OPERATIONS = {
    "conv": conv,
    "conv, flipped": lambda draw: conv(draw, flip=True),
    "conv_transpose": conv_transpose,
    "partial_conv": partial_conv,
    "partial_conv, with holes": lambda draw: partial_conv(draw, masked=True),
    "locally_connected": locally_connected,
    "max_pool": max_pool,
    "max_unpool": max_unpool,
    "avg_pool": avg_pool,
    "lp_pool": lp_pool,
    "adaptive_avg_pool": adaptive_avg_pool,
    "adaptive_max_pool": adaptive_max_pool,
    "global_avg_pool": lambda draw: global_pool(draw, "average"),
    "global_max_pool": lambda draw: global_pool(draw, "maximum"),
    "subsample": subsample,
    "rectify": rectify,
    "gain": gain,
    "local_contrast_norm": local_contrast_norm,
    "local_response_norm": local_response_norm,
    **{f"pad, {mode}": lambda draw, mode=mode: pad(draw, mode) for mode in MODES},
}


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_equals_its_definition(name, axes):
    for seed in SEEDS:
        definition, fast, inputs = OPERATIONS[name](Draw(seed, axes))
        check_against_torch(definition, fast, *inputs)


MISTAKES = {
    "one part in a thousand million": lambda y: y * (1 + 1e-9),
    "twice the gradient": lambda y: 2 * y - y.detach(),
    "the gradient turned around": lambda y: 2 * y.detach() - y,
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_comparison_rejects_a_planted_mistake(name, mistake):
    definition, fast, inputs = OPERATIONS[name](Draw(0, 2))
    with pytest.raises(AssertionError):
        check_against_torch(definition, lambda *t: MISTAKES[mistake](fast(*t)), *inputs)
