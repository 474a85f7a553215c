import re

import numpy as np
import pytest
import torch

from convscope.arithmetic import resolve_paddings, windows
from convscope.errors import ShapeError
from convscope.functional import conv, partial_conv
from convscope.functional.geometry import Geometry
from convscope.functional.partial import border_strips

GEOMETRIES = [  # input, kernel, stride, padding, dilation, groups
    ((2, 4, 9), (3,), (1,), ((1, 1),), (1,), 2),
    ((1, 2, 5), (3,), (1,), ((6, 7),), (1,), 1),  # windows on padding only
    ((1, 2, 40), (5,), (3,), ((4, 9),), (2,), 1),
    ((2, 4, 6, 5), (3, 2), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    ((2, 4, 9, 8), (3, 4), (2, 3), ((5, 1), (0, 4)), (2, 1), 4),
    ((1, 2, 3, 3), (5, 5), (1, 1), "same", (1, 1), 1),  # no window without padding
    ((1, 2, 4, 4), (3, 3), (1, 1), ((3, 3), (3, 3)), (1, 1), 1),  # corners see nothing
    ((1, 2, 3, 4, 3), (3, 3, 3), (1, 2, 1), ((2, 2), (1, 0), (1, 1)), (1, 1, 1), 1),
]
every_geometry = pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding", "dilation", "groups"), GEOMETRIES
)


both_ways = pytest.mark.parametrize("narrow", [0, 48], ids=["strips", "whole"])


def choose_way(monkeypatch, narrow):
    monkeypatch.setattr("convscope.functional.partial.NARROW", narrow)


def loops(x, weight, bias, mask, stride, padding, dilation, groups):
    """Liu et al., equations 1 and 2, element by element."""
    sizes, taps = x.shape[2:], weight.shape[2:]
    pairs = resolve_paddings(padding, sizes, taps, stride=stride, dilation=dilation)
    tables = [
        windows(n, k, stride=s, padding=p, dilation=d)
        for n, k, s, p, d in zip(sizes, taps, stride, pairs, dilation, strict=True)
    ]
    out = np.full((len(x), len(weight), *map(len, tables)), np.nan)
    found = np.full(out.shape, np.nan)
    for n, o, *place in np.ndindex(*out.shape):
        first = o // (len(weight) // groups) * weight.shape[1]
        total = hits = 0
        for c, *tap in np.ndindex(*weight.shape[1:]):
            under = [t[p][k] for t, p, k in zip(tables, place, tap, strict=True)]
            if None not in under and mask[(n, first + c, *under)]:
                value = x[(n, first + c, *under)] * weight[(o, c, *tap)]
                total, hits = total + value.item(), hits + 1
        found[(n, o, *place)] = hits > 0
        scale = weight[0].numel() / max(hits, 1)
        out[(n, o, *place)] = total * scale + bias[o].item() if hits else 0
    return torch.tensor(out), torch.tensor(found)


def operands(shape, kernel, groups=1):
    generator = torch.Generator().manual_seed(0)
    weight = (4, shape[1] // groups, *kernel)
    return [
        torch.randn(s, generator=generator, dtype=torch.float64)
        for s in (shape, weight, (4,))
    ]


@both_ways
@every_geometry
def test_padding_is_a_hole(
    shape, kernel, stride, padding, dilation, groups, narrow, monkeypatch
):
    choose_way(monkeypatch, narrow)
    x, weight, bias = operands(shape, kernel, groups)
    given = {"stride": stride, "dilation": dilation, "groups": groups}
    everywhere = torch.ones(shape, dtype=torch.bool)
    expected, found = loops(x, weight, bias, everywhere, padding=padding, **given)
    ours = conv(x, weight, bias, padding=padding, padding_mode="partial", **given)
    torch.testing.assert_close(ours, expected)
    assert ours[found == 0].eq(0).all()
    torch.testing.assert_close(
        partial_conv(x, weight, padding=padding, **given),
        conv(x, weight, padding=padding, padding_mode="partial", **given),
    )


@every_geometry
@pytest.mark.parametrize("shared", [True, False])
def test_holes_do_not_count(shape, kernel, stride, padding, dilation, groups, shared):
    x, weight, bias = operands(shape, kernel, groups)
    generator = torch.Generator().manual_seed(1)
    one = (shape[0], 1 if shared else shape[1], *shape[2:])
    mask = torch.rand(one, generator=generator) > 0.7
    given = {"stride": stride, "dilation": dilation, "groups": groups}
    whole = mask.expand(shape)
    expected, found = loops(x, weight, bias, whole, padding=padding, **given)
    holed = x.masked_fill(~whole, torch.nan)
    out, left = partial_conv(holed, weight, bias, mask, padding=padding, **given)
    torch.testing.assert_close(out, expected)
    assert left.dtype == torch.bool
    assert left.shape[1] == (1 if shared else 4)
    assert left.expand(found.shape).equal(found.bool())


@both_ways
@every_geometry
def test_both_derivatives_are_right(
    shape, kernel, stride, padding, dilation, groups, narrow, monkeypatch
):
    choose_way(monkeypatch, narrow)
    tensors = operands(
        (1, *shape[1:2], *(min(n, 9) for n in shape[2:])), kernel, groups
    )

    def layer(x, weight, bias):
        return conv(
            x,
            weight,
            bias,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            padding_mode="partial",
        )

    tensors = [t.requires_grad_() for t in tensors]
    assert torch.autograd.gradcheck(layer, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(layer, tensors, fast_mode=True)


def test_with_a_mask_both_derivatives_are_right_and_holes_have_none():
    x, weight, bias = (t.requires_grad_() for t in operands((1, 2, 4, 4), (3, 3)))
    mask = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(1)) > 0.5

    def layer(x, weight, bias):
        return partial_conv(x, weight, bias, mask, padding=1)[0]

    assert torch.autograd.gradcheck(layer, (x, weight, bias))
    assert torch.autograd.gradgradcheck(layer, (x, weight, bias))
    (grad,) = torch.autograd.grad(layer(x, weight, bias).sum(), x)
    assert grad[~mask.expand_as(grad)].eq(0).all()


@pytest.mark.parametrize(
    ("padding", "unseen"), [(1, 0), ("same", 0), ("full", 0), (((0, 2), (3, 0)), 6)]
)
def test_an_averaging_kernel_keeps_a_constant_image_constant(padding, unseen):
    x = torch.full((1, 1, 6, 5), 3.0, dtype=torch.float64)
    weight = torch.full((1, 1, 3, 3), 1 / 9, dtype=torch.float64)
    out = conv(x, weight, padding=padding, padding_mode="partial").flatten()
    assert out.eq(0).sum() == unseen
    seen = out[out != 0]
    torch.testing.assert_close(seen, torch.full_like(seen, 3))


def test_without_padding_it_is_convolution():
    x, weight, bias = operands((2, 3, 7, 6), (3, 2))
    assert conv(x, weight, bias, padding_mode="partial").equal(conv(x, weight, bias))


def test_a_full_mask_is_no_mask():
    x, weight, bias = operands((2, 3, 7, 6), (3, 2))
    out, mask = partial_conv(x, weight, bias, torch.ones(2, 1, 7, 6), padding=1)
    torch.testing.assert_close(out, partial_conv(x, weight, bias, padding=1))
    assert mask.equal(torch.ones(2, 1, *out.shape[2:]))


def test_a_long_input_needs_no_long_table(monkeypatch):
    asked = []

    def watched(size, *arguments, **named):
        asked.append(size)
        return windows(size, *arguments, **named)

    module = "convscope.functional.partial.windows"
    monkeypatch.setattr(module, watched)
    geometry = Geometry((2,), ((3, 3),), (1,), 1)
    strips = border_strips(torch.Size([1_000_001]), torch.Size([7]), geometry)
    assert max(asked) < 20
    assert [(s.start, s.length, s.scale) for s in strips] == [
        (0, 1, 7 / 4),
        (1, 1, 7 / 6),
        (499_999, 1, 7 / 6),
        (500_000, 1, 7 / 4),
    ]


@pytest.mark.filterwarnings("ignore:`torch.jit.script`")  # torch's own
@both_ways
@pytest.mark.parametrize(
    "mapped",
    [(0, 0, 0), (0, None, 0), (1, None, None), (None, 0, None), (None, None, 0)],
)
def test_it_maps_and_differentiates_either_way(mapped, narrow, monkeypatch):
    choose_way(monkeypatch, narrow)
    tensors = operands((2, 2, 4, 3), (3, 3))
    given = [
        t if at is None else torch.stack([t, 2 * t, -t], at)
        for t, at in zip(tensors, mapped, strict=True)
    ]

    def layer(x, weight, bias):
        return conv(x, weight, bias, padding=((1, 0), (3, 2)), padding_mode="partial")

    def loss(*tensors):
        return layer(*tensors).square().sum()

    factors = [1 if at is None else -1 for at in mapped]
    last = [f * t for f, t in zip(factors, tensors, strict=True)]
    out = torch.func.vmap(layer, mapped)(*given)
    torch.testing.assert_close(out[2], layer(*last))
    gradients = torch.func.vmap(torch.func.grad(loss, (0, 1, 2)), mapped)(*given)
    leaves = [t.clone().requires_grad_() for t in last]
    expected = torch.autograd.grad(loss(*leaves), leaves)
    for ours, one in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours[2], one)
    jacobians = torch.func.jacfwd(layer, (0, 1, 2))(*tensors)
    for ours, one in zip(
        jacobians, torch.func.jacrev(layer, (0, 1, 2))(*tensors), strict=True
    ):
        torch.testing.assert_close(ours, one)


@both_ways
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_formats_lose_only_their_own_bits(dtype, narrow, monkeypatch):
    choose_way(monkeypatch, narrow)
    tensors = [t.to(dtype) for t in operands((2, 3, 6, 5), (3, 3))]
    out = conv(*tensors, padding=1, padding_mode="partial")
    exact = conv(*[t.double() for t in tensors], padding=1, padding_mode="partial")
    assert out.dtype == dtype
    # Four roundings of half an eps: of the sum, its scale, the bias and the result.
    atol = 2 * torch.finfo(dtype).eps * exact.abs().max().item()
    torch.testing.assert_close(out.double(), exact, rtol=0, atol=atol)


@both_ways
def test_what_follows_may_work_in_place(narrow, monkeypatch):
    choose_way(monkeypatch, narrow)
    x, weight, bias = (t.requires_grad_() for t in operands((1, 2, 5, 5), (3, 3)))
    out = conv(x, weight, bias, padding=1, padding_mode="partial")
    torch.relu_(out).sum().backward()
    assert x.grad.isfinite().all()


@both_ways
def test_the_gradient_that_comes_in_is_left_as_it_is(narrow, monkeypatch):
    choose_way(monkeypatch, narrow)
    x, weight, bias = (t.requires_grad_() for t in operands((1, 2, 5, 5), (3, 3)))
    out = conv(x, weight, bias, padding=1, padding_mode="partial")
    grad = torch.ones_like(out)
    out.backward(grad)
    assert grad.eq(1).all()
    out = conv(x, weight, bias, padding=1, padding_mode="partial")
    out.sum().backward()  # an expanded scalar comes in


@pytest.mark.parametrize("with_mask", [False, True])
def test_it_compiles_and_exports_for_any_batch(with_mask):
    x, weight, bias = (t.float() for t in operands((2, 3, 6, 5), (3, 3)))

    class Layer(torch.nn.Module):
        def forward(self, x, mask):
            mask = mask if with_mask else None
            out = partial_conv(x, weight, bias, mask, padding=1, stride=2)
            return out[0] if with_mask else out

    mask = (
        torch.rand(2, 1, 6, 5, generator=torch.Generator().manual_seed(1)) > 0.5
    ) * 1
    expected = Layer()(x, mask)
    compiled = torch.compile(Layer(), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, mask), expected)
    batch = {0: torch.export.Dim("batch")}
    exported = torch.export.export(Layer(), (x, mask), dynamic_shapes=(batch, batch))
    three = torch.cat([x, x[:1]]), torch.cat([mask, mask[:1]])
    torch.testing.assert_close(exported.module()(*three)[:2], expected)


@pytest.mark.parametrize("shape", [(1, 1, 5, 4), (2, 2, 5, 5), (5, 5)])
def test_a_mask_of_another_shape_is_refused(shape):
    x, weight, bias = operands((2, 3, 5, 5), (3, 3))
    text = (
        f"partial_conv: mask has shape {shape}, and x (2, 3, 5, 5). Give it (2, 1, 5, "
        "5), or the shape of x."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        partial_conv(x, weight, bias, torch.ones(shape))
