import re
from itertools import product

import numpy as np
import pytest
import torch
from scipy import ndimage, signal
from torch.nn import functional as F

from convscope import functional
from convscope.arithmetic import PADDING_MODES, resolve_paddings, windows
from convscope.errors import ArgumentError, CallError, ShapeError, UnknownNameError
from convscope.functional import conv, conv1d, conv2d, conv3d

TORCH = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
GEOMETRIES = [  # input, kernel, stride, padding, dilation, groups
    ((2, 4, 9), (3,), (2,), ((0, 3),), (2,), 2),
    ((2, 4, 9), (4,), (1,), "causal", (2,), 1),
    ((2, 4, 9), (4,), (3,), "same_lower", (1,), 4),
    ((2, 4, 7, 6), (3, 2), (1, 2), ((2, 1), (0, 0)), (1, 2), 1),
    ((2, 4, 7, 6), (4, 3), (2, 3), "same", (1, 2), 2),
    ((2, 4, 5, 4), (3, 3), (1, 1), "full", (1, 1), 1),
    ((1, 4, 4, 3, 4), (2, 3, 1), (1, 1, 2), ((1, 0), (1, 1), (0, 2)), (2, 1, 1), 2),
]


def loops(x, weight, stride, pairs, dilation, groups, value=0.0):
    """The definition, element by element, with ``value`` on the padding."""
    sizes, taps = x.shape[2:], weight.shape[2:]
    tables = [
        windows(n, k, stride=s, padding=p, dilation=d)
        for n, k, s, p, d in zip(sizes, taps, stride, pairs, dilation, strict=True)
    ]
    out = np.full((len(x), len(weight), *map(len, tables)), np.nan)
    per_group = len(weight) // groups
    for n, o, *place in np.ndindex(*out.shape):
        first = o // per_group * weight.shape[1]
        total = 0.0
        for c, *tap in np.ndindex(*weight.shape[1:]):
            under = [t[p][k] for t, p, k in zip(tables, place, tap, strict=True)]
            inside = None not in under
            seen = x[(n, first + c, *under)].item() if inside else value
            total += seen * weight[(o, c, *tap)].item()
        out[(n, o, *place)] = total
    return torch.tensor(out)


def operands(shape, kernel, groups=1, out_channels=4):
    generator = torch.Generator().manual_seed(0)
    weight = (out_channels, shape[1] // groups, *kernel)
    return [
        torch.randn(s, generator=generator, dtype=torch.float64)
        for s in (shape, weight, (out_channels,))
    ]


@pytest.mark.parametrize(("shape", "kernel", "s", "p", "d", "g"), GEOMETRIES)
@pytest.mark.parametrize("value", [0.0, 1.5])
def test_it_is_the_sum_of_products_under_each_window(shape, kernel, s, p, d, g, value):
    x, weight, bias = operands(shape, kernel, g)
    pairs = resolve_paddings(p, shape[2:], kernel, stride=s, dilation=d)
    expected = loops(x, weight, s, pairs, d, g, value)
    ours = conv(
        x,
        weight,
        bias,
        stride=s,
        padding=p,
        dilation=d,
        groups=g,
        padding_mode="constant" if value else "zeros",
        padding_value=value,
    )
    torch.testing.assert_close(ours, expected + bias.view(-1, *[1] * len(kernel)))


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("batched", [True, False])
def test_with_torch_s_arguments_the_bits_are_torch_s(axes, padding, batched):
    x, weight, bias = (
        t.float() for t in operands((3, 4, *(7, 6, 5)[:axes]), (3,) * axes, 2)
    )
    x = x if batched else x[0]
    ours = conv(x, weight, bias, stride=2, padding=padding, groups=2)
    assert ours.equal(TORCH[axes](x, weight, bias, 2, padding, 1, 2))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_same_without_a_stride_has_torch_s_bits(kernel):
    x, weight, bias = (t.float() for t in operands((2, 4, 8, 9), (kernel, 3)))
    ours = conv(x, weight, bias, padding="same", dilation=2)
    assert ours.equal(F.conv2d(x, weight, bias, 1, "same", 2))


@pytest.mark.parametrize("mode", ["full", "valid", "same"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_scipy_convolves_with_the_flip_and_correlates_without(mode, axes):
    x, weight, _ = operands((1, 1, *(7, 6, 5)[:axes]), (3, 5, 3)[:axes], 1, 1)
    for flip, scipy in ((True, signal.convolve), (False, signal.correlate)):
        expected = scipy(x[0, 0].numpy(), weight[0, 0].numpy(), mode)
        ours = conv(x, weight, padding=mode, flip=flip)[0, 0]
        torch.testing.assert_close(ours, torch.tensor(expected))


@pytest.mark.parametrize(
    ("mode", "theirs"),
    [
        ("constant", "constant"),
        ("reflect", "mirror"),
        ("symmetric", "reflect"),
        ("replicate", "nearest"),
        ("circular", "wrap"),
    ],
)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_scipy_fills_the_border_the_same(mode, theirs, axes):
    x, weight, _ = operands((1, 1, *(7, 6, 5)[:axes]), (3, 5, 3)[:axes], 1, 1)
    expected = ndimage.correlate(x[0, 0], weight[0, 0], mode=theirs, cval=0.7)
    ours = conv(x, weight, padding="same", padding_mode=mode, padding_value=0.7)
    torch.testing.assert_close(ours[0, 0], torch.tensor(expected))


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_a_delta_kernel_copies(mode):
    x = torch.randn(2, 1, 6, 5)
    delta = torch.zeros(1, 1, 3, 3)
    delta[..., 1, 1] = 1
    out = conv(x, delta, padding=1, padding_mode=mode, padding_value=9)
    inner = (..., slice(1, -1), slice(1, -1))
    assert out[inner].equal(x[inner])
    assert mode == "partial" or out.equal(x)


@pytest.mark.parametrize("flip", [False, True])
def test_going_round_it_moves_with_its_input(flip):
    x, weight, bias = operands((2, 3, 7, 6), (3, 3))

    def around(x):
        return conv(x, weight, bias, padding=1, padding_mode="circular", flip=flip)

    moved = around(x.roll((2, -1), (2, 3)))
    torch.testing.assert_close(moved, around(x).roll((2, -1), (2, 3)))


def test_a_causal_output_sees_no_later_input():
    x = torch.randn(1, 2, 9, requires_grad=True)
    weight = torch.ones(1, 2, 3)
    out = conv(x, weight, padding="causal", dilation=2, stride=2)
    for place in range(out.shape[-1]):
        (grad,) = torch.autograd.grad(out[0, 0, place], x, retain_graph=True)
        seen = grad[0, 0].nonzero().flatten().tolist()
        assert seen == [t for t in (2 * place - 4, 2 * place - 2, 2 * place) if t >= 0]


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_both_derivatives_are_right(mode, axes):
    shapes = (1, 2, *(4, 3, 3)[:axes]), (2,) * axes
    tensors = [t.requires_grad_() for t in operands(*shapes, 1, 2)]
    pairs = ((1, 2), (1, 0), (0, 1))[:axes]

    def layer(x, weight, bias):
        return conv(x, weight, bias, padding=pairs, padding_mode=mode, flip=True)

    assert torch.autograd.gradcheck(layer, tensors)
    assert torch.autograd.gradgradcheck(layer, tensors)


@pytest.mark.parametrize(
    ("mode", "mapped"),
    [(mode, (0, None, None)) for mode in PADDING_MODES]
    + [("partial", mapped) for mapped in product([0, None], repeat=3) if 0 in mapped],
)
def test_it_maps_over_any_of_its_tensors(mode, mapped):
    shapes = (3, 2, 2, 5, 4), (3, 4, 2, 3, 3), (3, 4)
    tensors = [torch.randn(s, dtype=torch.float64) for s in shapes]
    given = [t if m == 0 else t[0] for t, m in zip(tensors, mapped, strict=True)]

    def layer(*tensors):
        return conv(*tensors, padding=((1, 0), (1, 2)), padding_mode=mode)

    def of(index):
        pairs = zip(given, mapped, strict=True)
        return [t[index] if m == 0 else t for t, m in pairs]

    each = torch.stack([layer(*of(index)) for index in range(3)])
    torch.testing.assert_close(torch.func.vmap(layer, mapped)(*given), each)

    def loss(*tensors):
        return layer(*tensors).square().sum()

    gradients = torch.func.vmap(torch.func.grad(loss, (0, 1, 2)), mapped)(*given)
    leaves = [t.clone().requires_grad_() for t in of(1)]
    expected = torch.autograd.grad(loss(*leaves), leaves)
    for ours, one in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours[1], one)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`")  # torch's own
@pytest.mark.parametrize("mode", PADDING_MODES)
def test_forward_derivatives_agree_with_backward_ones(mode):
    x, weight, bias = operands((1, 2, 5, 4), (3, 3))

    def layer(x):
        return conv(x, weight, bias, padding=((1, 0), (1, 2)), padding_mode=mode)

    forward = torch.func.jacfwd(layer)(x)
    torch.testing.assert_close(forward, torch.func.jacrev(layer)(x))


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_formats_lose_only_their_own_bits(mode, dtype):
    tensors = [t.to(dtype) for t in operands((2, 3, 6, 5), (3, 3))]
    out = conv(*tensors, padding=1, padding_mode=mode, padding_value=0.5)
    exact = conv(
        *[t.double() for t in tensors],
        padding=1,
        padding_mode=mode,
        padding_value=0.5,
    )
    assert out.dtype == dtype
    # Four roundings of half an eps: of the sum, its scale, the bias and the result.
    atol = 2 * torch.finfo(dtype).eps * exact.abs().max().item()
    torch.testing.assert_close(out.double(), exact, rtol=0, atol=atol)


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_what_lies_otherwise_in_memory_gives_the_same(mode):
    x, weight, bias = (t.float() for t in operands((2, 8, 6, 5), (3, 3)))

    def layer(x):
        return conv(x, weight, bias, padding=((1, 1), (2, 1)), padding_mode=mode)

    expected = layer(x)
    last = layer(x.to(memory_format=torch.channels_last))
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last, expected)
    torch.testing.assert_close(layer(x.mT.contiguous().mT), expected)


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_no_images_give_no_images_and_one_element_is_enough(mode):
    weight = torch.ones(4, 2, 1, 1)
    assert conv(torch.ones(0, 2, 5, 4), weight, padding_mode=mode).shape == (0, 4, 5, 4)
    assert conv(torch.ones(3, 2, 1, 1), weight, padding_mode=mode).shape == (3, 4, 1, 1)


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_it_compiles_to_one_graph(mode):
    x, weight, bias = (t.float() for t in operands((2, 3, 6, 5), (3, 3)))

    def layer(x, weight, bias):
        return conv(x, weight, bias, padding=((1, 0), (2, 1)), padding_mode=mode)

    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, weight, bias), layer(x, weight, bias))


@pytest.mark.parametrize(
    ("shape", "kernel", "arguments", "text"),
    [
        (
            (1, 1, 4, 9),
            (1, 1, 7, 3),
            {"padding": 1},
            "conv2d, height: kernel_size=7 spans 7 elements, the input has 6 (4 + "
            "padding 1 + 1). Use an input of at least 5, 1 more padding on each side, "
            "or kernel_size at most 6.",
        ),
        (
            (1, 5, 4, 9),
            (4, 3, 3, 3),
            {},
            "conv2d: x has 5 channels, and weight (4, 3, 3, 3) with groups=1 takes 3. "
            "Give x that many, or weight 5 on its second axis.",
        ),
        (
            (1, 6, 4, 9),
            (4, 2, 3, 3),
            {"groups": 3},
            "conv2d: out_channels=4 is not a multiple of groups=3. Use 3 or 6 "
            "channels, or groups that divide both numbers of channels.",
        ),
        (
            (1, 1, 1, 4, 9),
            (1, 1, 3, 3),
            {},
            "conv2d: x has shape (1, 1, 1, 4, 9), which is 5 axes, and the weight has "
            "2 spatial axes. Give x 4 axes, or 3 without a batch.",
        ),
        (
            (1, 1, 9),
            (1, 1, 3),
            {},
            "conv2d: weight has shape (1, 1, 3), which is 3 axes. Give (C_out, C_in / "
            "groups, *kernel) with 2 spatial axes.",
        ),
        (
            (1, 1, 4, 3),
            (1, 1, 3, 7),
            {"padding": "same", "padding_mode": "reflect"},
            "conv2d, width: padding=(3, 3) with padding_mode='reflect' needs 4 "
            "elements, the input has 3. Use padding at most 2, or "
            "padding_mode='replicate'.",
        ),
        (
            (1, 1, 0, 3),
            (1, 1, 1, 1),
            {},
            "conv2d, height: size=0 is not an integer of at least 1. Use size=1 or "
            "more.",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(shape, kernel, arguments, text):
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        conv2d(torch.ones(shape), torch.ones(kernel), **arguments)


def test_a_misspelled_name_never_chooses():
    x, weight = torch.ones(1, 1, 5), torch.ones(1, 1, 3)
    with pytest.raises(UnknownNameError, match=r"padding 'smae'\. Did you mean 'same'"):
        conv1d(x, weight, padding="smae")
    with pytest.raises(UnknownNameError, match="Did you mean 'circular'"):
        conv1d(x, weight, padding_mode="circlar")
    with pytest.raises(ShapeError, match=r"^conv3d: weight has shape"):
        conv3d(x, weight)
    with pytest.raises(ShapeError, match=r"^conv: weight .* with 1, 2 or 3 spatial"):
        conv(x, torch.ones(1, 1))


POSITIONAL = {  # what torch.nn.functional takes by position, of two channels and groups
    "conv": (None, 2, 1, 2, 2),
    "conv_transpose": (None, 3, 1, 1, 2, 2),
}


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("family", POSITIONAL)
def test_arguments_are_taken_by_position_as_torch_takes_them(family, axes):
    name = f"{family}{axes}d"
    x = torch.randn(1, 2, *(7,) * axes, dtype=torch.float64)
    weight = torch.randn(2, 1, *(2,) * axes, dtype=torch.float64)
    arguments = (x, weight, *POSITIONAL[family])
    expected = getattr(F, name)(*arguments)
    assert torch.equal(getattr(functional, name)(*arguments), expected)
    assert torch.equal(getattr(functional, family)(*arguments), expected)


@pytest.mark.parametrize(
    "name",
    [f"{family}{axes}d" for family in POSITIONAL for axes in (1, 2, 3)],
)
def test_a_misspelled_argument_is_named_with_the_one_that_was_meant(name):
    x, weight = torch.zeros(1, 1, 5), torch.zeros(1, 1, 3)
    text = f"^{name}: unknown argument 'strid'. Did you mean 'stride'\\?$"
    with pytest.raises(CallError, match=text):
        getattr(functional, name)(x, weight, strid=2)
    with pytest.raises(TypeError, match=rf"^{name}: missing a required argument: 'w"):
        getattr(functional, name)(x)
