import re

import pytest
import torch
from torch.nn import functional as F

from convscope.arithmetic import resolve_paddings, transposed_output_shape
from convscope.errors import ArgumentError, ShapeError, UnknownNameError
from convscope.functional import (
    conv,
    conv_transpose,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)

TORCH = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
GEOMETRIES = [  # output of the convolution that is undone, kernel, stride, padding, ...
    ((9,), (3,), (2,), ((0, 3),), (2,), 2),
    ((8, 6), (3, 2), (1, 2), ((2, 1), (0, 0)), (1, 2), 1),
    ((8, 6), (4, 3), (2, 3), "same", (1, 2), 2),
    ((8, 6), (2, 1), (4, 3), "same", (1, 1), 1),  # kernels that do not touch
    ((9, 6), (4, 3), (3, 2), "same_lower", (1, 2), 1),
    ((5, 4), (3, 3), (1, 1), "full", (1, 1), 4),
    ((4, 3, 5), (2, 3, 1), (1, 1, 2), ((1, 0), (1, 1), (0, 2)), (2, 1, 1), 2),
]


def operands(sizes, kernel, groups=1):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(s, generator=generator, dtype=torch.float64)
        for s in ((2, 4, *sizes), (4, 4 // groups, *kernel), (4,))
    ]


@pytest.mark.parametrize(("sizes", "kernel", "s", "p", "d", "g"), GEOMETRIES)
@pytest.mark.parametrize("flip", [False, True])
def test_it_is_the_gradient_of_the_convolution(sizes, kernel, s, p, d, g, flip):
    image, weight, _ = operands(sizes, kernel, g)
    image.requires_grad_()
    given = {"stride": s, "dilation": d, "groups": g, "flip": flip}
    out = conv(image, weight, padding=p, **given)
    x = torch.randn_like(out)
    (expected,) = torch.autograd.grad(out, image, x)
    ours = conv_transpose(x, weight, padding=p, **given)
    missing = [want - got for want, got in zip(sizes, ours.shape[2:], strict=True)]
    assert not any(missing) or isinstance(p, tuple)
    added = {} if not any(missing) else {"output_padding": missing}
    ours = conv_transpose(x, weight, padding=p, **given, **added)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(("padding", "more"), [(0, 0), (1, 1), (2, 0)])
@pytest.mark.parametrize("batched", [True, False])
def test_with_torch_s_arguments_the_bits_are_torch_s(axes, padding, more, batched):
    x, weight, bias = (t.float() for t in operands((5, 4, 3)[:axes], (3,) * axes, 2))
    x = x if batched else x[0]
    ours = conv_transpose(
        x, weight, bias, stride=2, padding=padding, output_padding=more, groups=2
    )
    assert ours.equal(TORCH[axes](x, weight, bias, 2, padding, more, 2, 1))


@pytest.mark.parametrize("name", ["same", "same_lower"])
@pytest.mark.parametrize("kernel", range(1, 6))
@pytest.mark.parametrize("stride", range(1, 5))
def test_same_gives_the_size_times_the_stride(name, kernel, stride):
    x, weight = torch.randn(1, 1, 7), torch.randn(1, 1, kernel)
    out = conv_transpose(x, weight, stride=stride, padding=name)
    assert out.shape == (1, 1, 7 * stride)
    (pair,) = resolve_paddings(name, (7 * stride,), kernel, stride=stride)
    whole = conv_transpose(x, weight, stride=stride, output_padding=stride - 1)
    assert out.equal(whole[..., pair[0] : pair[0] + 7 * stride])


def test_a_delta_kernel_spreads_the_input_out():
    x = torch.randn(2, 1, 3, 4)
    delta = torch.zeros(1, 1, 2, 3)
    delta[..., 0, 0] = 1
    out = conv_transpose(x, delta, stride=(2, 3))
    assert out[..., ::2, ::3].equal(x)
    assert out.count_nonzero() == x.count_nonzero()


@pytest.mark.parametrize(("sizes", "kernel", "s", "p", "d", "g"), GEOMETRIES)
def test_both_derivatives_are_right(sizes, kernel, s, p, d, g):
    small = tuple(min(size, 3) for size in sizes)
    tensors = [t.requires_grad_() for t in operands(small, kernel, g)]

    def layer(x, weight, bias):
        named = {"stride": s, "padding": 1 if p == "full" else p}
        return conv_transpose(x, weight, bias, dilation=d, groups=g, **named)

    assert torch.autograd.gradcheck(layer, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(layer, tensors, fast_mode=True)


def test_it_maps_compiles_and_keeps_channels_last():
    x, weight, bias = (t.float() for t in operands((5, 4), (3, 3)))

    def layer(x):
        return conv_transpose(
            x, weight, bias, stride=2, padding=((0, 1), (2, 0)), flip=True
        )

    expected = layer(x)
    mapped = torch.func.vmap(layer)(torch.stack([x, x]))
    torch.testing.assert_close(mapped, torch.stack([expected, expected]))
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), expected)
    last = layer(x.to(memory_format=torch.channels_last))
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last, expected)
    assert layer(x[:0]).shape == (0, *expected.shape[1:])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_formats_lose_only_their_own_bits(dtype):
    x, weight, bias = (t.to(dtype) for t in operands((5, 4), (3, 3)))
    out = conv_transpose(x, weight, bias, padding=((0, 1), (2, 0)))
    exact = conv_transpose(
        x.double(), weight.double(), bias.double(), padding=((0, 1), (2, 0))
    )
    # Two roundings of half an eps: of the sum, and of the sum with the bias.
    atol = torch.finfo(dtype).eps * exact.abs().max().item()
    torch.testing.assert_close(out.double(), exact, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("sizes", "arguments", "text"),
    [
        (
            (5,),
            {"padding": "causal"},
            "conv_transpose: padding='causal' would let a transposed convolution see "
            "only later inputs. To see none of them, cut the end: padding=((0, 2),).",
        ),
        (
            (5, 4),
            {"padding": "same", "output_padding": 1, "stride": 2},
            "conv_transpose: output_padding=1 and padding='same' both fix the size of "
            "the output. Use output_padding=0, or padding as numbers.",
        ),
        (
            (5, 4),
            {"output_padding": (0, 1)},
            "conv_transpose, width: output_padding=1 is not below stride=1 or "
            "dilation=1. Use output_padding at most 0.",
        ),
        (
            (5, 2),
            {"padding": ((0, 0), (2, 2))},
            "conv_transpose, width: padding=(2, 2) cuts 4 elements off an output of 4, "
            "which leaves 0. Use an input of at least 3, or padding of at most 3 in "
            "all.",
        ),
        (
            (5, 4),
            {"groups": 3},
            "conv_transpose: in_channels=4 is not a multiple of groups=3. Use 3 or 6 "
            "channels, or groups that divide both numbers of channels.",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(sizes, arguments, text):
    x, weight, bias = operands(sizes, (3,) * len(sizes))
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        conv_transpose(x, weight, bias, **arguments)


def test_operands_that_do_not_belong_together_are_refused():
    text = (
        "conv_transpose2d: x has 3 channels, and weight (4, 4, 2, 2) takes 4. Give x "
        "that many, or weight 3 on its first axis."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        conv_transpose2d(torch.ones(1, 3, 5, 5), torch.ones(4, 4, 2, 2))
    with pytest.raises(ShapeError, match=r"^conv_transpose1d: weight has shape"):
        conv_transpose1d(torch.ones(1, 4, 5), torch.ones(4, 4, 2, 2))
    with pytest.raises(ShapeError, match=r"^conv_transpose3d: x has shape"):
        conv_transpose3d(torch.ones(1, 4, 5), torch.ones(4, 4, 2, 2, 2))
    with pytest.raises(UnknownNameError, match="Did you mean 'same'"):
        conv_transpose(torch.ones(1, 4, 5), torch.ones(4, 4, 2), padding="sam")


def test_its_size_is_that_of_the_arithmetic():
    x, weight, _ = operands((5, 4), (3, 2))
    pairs = ((0, 2), (1, 0))
    out = conv_transpose(x, weight, stride=(3, 2), padding=pairs, output_padding=(2, 1))
    assert out.shape[2:] == transposed_output_shape(
        (5, 4), (3, 2), stride=(3, 2), padding=pairs, output_padding=(2, 1)
    )
