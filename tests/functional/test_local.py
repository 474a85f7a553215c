"""Locally connected maps against plain loops, torch and identities."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.func import grad, vmap
from torch.nn import functional as F

from convscope.errors import ArgumentError, ShapeError, UnknownNameError
from convscope.functional import locally_connected
from convscope.functional.local import _boxes

DOUBLE = torch.float64
# axes: sizes, kernel, other arguments, output sizes by hand
CASES = {
    "1-D": ((9,), (3,), {"stride": 2, "padding": ((2, 1),)}, (5,)),
    "1-D, causal": ((6,), (3,), {"padding": "causal", "dilation": 2}, (6,)),
    "2-D": (
        (7, 6),
        (3, 3),
        {"stride": (2, 1), "padding": ((1, 2), (0, 1)), "dilation": (1, 2)},
        (4, 3),
    ),
    "2-D, same": ((5, 4), (2, 3), {"stride": 2, "padding": "same"}, (3, 2)),
    "3-D": ((4, 3, 5), (2, 1, 3), {"stride": (1, 1, 2), "padding": 1}, (5, 5, 3)),
}
every_case = pytest.mark.parametrize("case", CASES)
AMOUNTS = {  # what the names in CASES come to
    "causal": ((4, 0),),
    "same": ((0, 1), (0, 1)),
}


def tensors(case, groups=2, batch=(2,), seed=0):
    sizes, kernel, arguments, places = CASES[case]
    torch.manual_seed(seed)
    x = torch.randn(*batch, 4, *sizes, dtype=DOUBLE)
    weight = torch.randn(*places, 6, 4 // groups, *kernel, dtype=DOUBLE)
    bias = torch.randn(6, *places, dtype=DOUBLE)
    return x, weight, bias, {**arguments, "groups": groups}


def by_loops(x, weight, bias, *, stride=1, padding=0, dilation=1, groups=1):
    axes = x.ndim - 2
    padding = AMOUNTS.get(padding, padding)
    if isinstance(padding, int):
        padding = ((padding, padding),) * axes
    steps = (stride,) * axes if isinstance(stride, int) else stride
    spread = (dilation,) * axes if isinstance(dilation, int) else dilation
    x = F.pad(x, [amount for pair in reversed(padding) for amount in pair])
    places, kernel = weight.shape[:axes], weight.shape[axes + 2 :]
    outputs, channels = weight.shape[axes : axes + 2]
    y = torch.full((x.shape[0], outputs, *places), torch.nan, dtype=x.dtype)
    for n, o, *place in itertools.product(*map(range, y.shape)):
        first = o // (outputs // groups) * channels
        total = bias[(o, *place)].clone()
        for c, *tap in itertools.product(range(channels), *map(range, kernel)):
            at = [
                p * s + t * d
                for p, s, t, d in zip(place, steps, tap, spread, strict=True)
            ]
            total += x[(n, first + c, *at)] * weight[(*place, o, c, *tap)]
        y[(n, o, *place)] = total
    return y


def check(function, case):
    x, weight, bias, arguments = tensors(case)
    # float64, sums of at most 2 * 9 + 1 products of normal numbers: far below 1e-12
    torch.testing.assert_close(
        function(x, weight, bias, **arguments),
        by_loops(x, weight, bias, **arguments),
        rtol=0,
        atol=1e-12,
    )


@every_case
def test_it_is_the_plain_loops(case):
    check(locally_connected, case)


def flipped(x, weight, bias, **arguments):
    return locally_connected(x, weight.flip(-1), bias, **arguments)


def first_place_everywhere(x, weight, bias, **arguments):
    shared = weight[(slice(1),) * (x.ndim - 2)].expand_as(weight)
    return locally_connected(x, shared, bias, **arguments)


def groups_exchanged(x, weight, bias, **arguments):
    return locally_connected(x.roll(2, 1), weight, bias, **arguments)


@pytest.mark.parametrize("mistake", [flipped, first_place_everywhere, groups_exchanged])
def test_the_check_rejects_a_planted_mistake(mistake):
    with pytest.raises(AssertionError):
        check(mistake, "2-D")


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "circular", "replicate"])
def test_with_equal_weights_at_all_places_it_is_torch_s_convolution(axes, mode):
    convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1](
        4, 6, 3, stride=2, padding=1, groups=2, padding_mode=mode, dtype=DOUBLE
    )
    x = torch.randn(2, 4, *(7, 6, 5)[:axes], dtype=DOUBLE)
    expected = convolution(x)
    weight = convolution.weight.expand(*expected.shape[2:], *convolution.weight.shape)
    ours = locally_connected(
        x,
        weight,
        convolution.bias,
        stride=2,
        padding=1,
        groups=2,
        padding_mode=mode,
    )
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


def test_a_window_over_all_of_the_input_is_fully_connected():
    x, linear = torch.randn(5, 3, 4, 2), nn.Linear(24, 7)
    weight = linear.weight.view(1, 1, 7, 3, 4, 2)
    ours = locally_connected(x, weight, linear.bias)
    torch.testing.assert_close(ours[:, :, 0, 0], linear(x.flatten(1)))


@every_case
def test_its_gradients_and_theirs_are_those_of_finite_differences(case):
    x, weight, bias, arguments = tensors(case, batch=(1,))
    inputs = [t.requires_grad_() for t in (x, weight, bias)]

    def function(*inputs):
        return locally_connected(*inputs, **arguments)

    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize(
    "mapped", [m for m in itertools.product([0, None], repeat=3) if 0 in m]
)
def test_vmap_gives_what_a_loop_gives(mapped):
    many = [tensors("2-D", seed=seed) for seed in range(3)]
    arguments = many[0][3]
    stacks = [
        torch.stack(ones) if dim == 0 else ones[0]
        for ones, dim in zip(list(zip(*many, strict=True))[:3], mapped, strict=True)
    ]

    def one(*inputs):
        return locally_connected(*inputs, **arguments)

    def each(number):
        pairs = zip(stacks, mapped, strict=True)
        return [s[number] if dim == 0 else s for s, dim in pairs]

    expected = torch.stack([one(*each(number)) for number in range(3)])
    torch.testing.assert_close(vmap(one, mapped)(*stacks), expected)


@pytest.mark.parametrize("wanted", [0, 1])
@pytest.mark.parametrize("mapped", [(0, None), (None, 0), (0, 0)])
def test_vmap_over_gradients_gives_what_a_loop_gives(wanted, mapped):
    xs = torch.randn(3, 2, 4, 9, dtype=DOUBLE)
    weights = torch.randn(3, 4, 6, 2, 3, dtype=DOUBLE)
    pairs = list(zip((xs, weights), mapped, strict=True))
    inputs = [s if dim == 0 else s[0] for s, dim in pairs]

    def energy(x, weight):
        return locally_connected(x, weight, stride=2, groups=2).square().sum()

    slope = grad(energy, wanted)
    expected = torch.stack(
        [slope(*(s[n] if dim == 0 else s[0] for s, dim in pairs)) for n in range(3)]
    )
    torch.testing.assert_close(vmap(slope, mapped)(*inputs), expected)


def test_vmap_along_another_axis_and_within_another_vmap():
    x, weight = torch.randn(2, 5, 4, 3, 9), torch.randn(7, 6, 4, 3)
    inner = vmap(locally_connected, (1, None), 1)
    outer = vmap(inner, (3, None), 2)
    expected = torch.stack(
        [
            torch.stack(
                [locally_connected(x[:, i, :, j], weight) for j in range(3)], dim=1
            )
            for i in range(5)
        ],
        dim=1,
    )
    torch.testing.assert_close(outer(x, weight), expected)


def test_it_compiles_to_one_graph_forward_and_backward():
    torch._dynamo.reset()
    x, weight, bias, arguments = tensors("2-D")
    inputs = [t.requires_grad_() for t in (x, weight, bias)]

    def function(*inputs):
        return locally_connected(*inputs, **arguments)

    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    ours, expected = compiled(*inputs), function(*inputs)
    torch.testing.assert_close(ours, expected)
    for one, other in zip(
        torch.autograd.grad(ours.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_unbatched_empty_and_strided_inputs_give_the_same():
    x, weight, bias, arguments = tensors("2-D")
    expected = locally_connected(x, weight, bias, **arguments)
    alone = locally_connected(x[1], weight, bias, **arguments)
    torch.testing.assert_close(alone, expected[1])
    none = x[:0].requires_grad_()
    empty = locally_connected(none, weight, bias, **arguments)
    assert empty.shape == (0, *expected.shape[1:])
    empty.sum().backward()
    assert none.grad.shape == none.shape
    for layout in (
        x.to(memory_format=torch.channels_last),
        x.transpose(0, 3).contiguous().transpose(0, 3),
    ):
        assert not layout.is_contiguous()
        ours = locally_connected(layout, weight, bias, **arguments)
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_the_rounded_result(dtype):
    x, weight, bias, arguments = tensors("2-D")
    ours = locally_connected(*(t.to(dtype) for t in (x, weight, bias)), **arguments)
    exact = by_loops(*(t.to(dtype).double() for t in (x, weight, bias)), **arguments)
    assert ours.dtype == dtype
    # 18 products of about 1: 18 roundings at worst, and one for the bias
    atol = 20 * torch.finfo(dtype).eps * exact.abs().max().item()
    torch.testing.assert_close(ours.double(), exact, rtol=0, atol=atol)


def kept_bytes(function):
    """Bytes of distinct memory that autograd keeps."""
    kept = {}

    def keep(tensor):
        memory = tensor.untyped_storage()
        kept[memory.data_ptr()] = memory.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        function()
    return sum(kept.values())


def test_backward_keeps_input_and_weight_and_no_patches():
    x = torch.randn(64, 1, 28, 28, requires_grad=True)
    weight = torch.randn(24, 24, 8, 1, 5, 5, requires_grad=True)
    ours = kept_bytes(lambda: locally_connected(x, weight))
    assert ours == 4 * (x.numel() + weight.numel())
    patches = kept_bytes(
        lambda: torch.einsum(
            "nchwij,hwocij->nohw", x.unfold(2, 5, 1).unfold(3, 5, 1), weight
        )
    )
    assert patches > 6 * ours


@pytest.mark.parametrize(
    ("x", "y", "taps"),
    [
        ((1, 1, 1, 28, 28), (1, 1, 8, 24, 24), 25),
        ((3, 2, 4, 9), (3, 2, 1, 7), 3),
        ((1, 1, 2, 6, 6, 6), (1, 1, 1, 2, 2, 2), 125),
        ((0, 1, 1, 5, 5), (0, 1, 1, 1, 1), 25),
        ((1, 1, 3, 40, 4), (1, 1, 1, 36, 4), 5),
    ],
)
def test_boxes_cover_each_place_once_and_their_patches_fit_the_room(x, y, taps):
    x, y = torch.empty(x), torch.empty(y)
    places = torch.zeros(y.shape[3:])
    room = x[:1].expand(1, *x.shape[1:]).numel() if len(x) else 25
    room += y[:1].numel() if len(y) else 1
    for box in _boxes(x, y, taps):
        places[box] += 1
        patches = places[box].numel() * x.shape[1] * x.shape[2] * taps
        assert patches <= room or places[box].numel() == 1
    assert (places == 1).all()


REFUSED = {
    "weight's rank": (
        lambda x, w, b: locally_connected(x, w[0], b),
        ShapeError,
        "locally_connected: weight=(2, 4, 3, 3, 2) has 5 axes. Give 4, 6 or 8: places, "
        "output channels, input channels, taps.",
    ),
    "x's rank": (
        lambda x, w, b: locally_connected(x[0, 0], w, b),
        ShapeError,
        "locally_connected: x=(5, 3) has 2 axes; the weight has 2 spatial ones. Give x "
        "4 axes, or 3 without a batch.",
    ),
    "channels": (
        lambda x, w, b: locally_connected(x[:, :2], w, b),
        ShapeError,
        "locally_connected: x has 2 channels; weight=(3, 2, 4, 3, 3, 2) in groups=1 is "
        "for 3. Give x 3 channels.",
    ),
    "groups": (
        lambda x, w, b: locally_connected(x, w, b, groups=3),
        ShapeError,
        "locally_connected: out_channels=4 is not a multiple of groups=3. Use 3 or 6 "
        "channels, or groups that divide both numbers of channels.",
    ),
    "places": (
        lambda x, w, b: locally_connected(x, w, b, padding=1),
        ShapeError,
        "locally_connected: weight=(3, 2, 4, 3, 3, 2) has kernels for (3, 2) places; "
        "an input of (5, 3) has (5, 4). Give one kernel for each place.",
    ),
    "bias": (
        lambda x, w, b: locally_connected(x, w, b[:, 0]),
        ShapeError,
        "locally_connected: bias=(4, 2) does not fit the output. Give (4, 3, 2), one "
        "for each output, or (4,), one for each channel.",
    ),
    "stride": (
        lambda x, w, b: locally_connected(x, w, b, stride=0),
        ArgumentError,
        "locally_connected: stride=0 is not an integer of at least 1. Use stride=1 or "
        "more.",
    ),
    "padding mode": (
        lambda x, w, b: locally_connected(x, w, b, padding_mode="reflects"),
        UnknownNameError,
        "unknown padding_mode 'reflects'. Did you mean 'reflect'?",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_in_words(name):
    call, error, text = REFUSED[name]
    tensors = (torch.zeros(2, 3, 5, 3), torch.zeros(3, 2, 4, 3, 3, 2))
    with pytest.raises(error) as caught:
        call(*copy.deepcopy(tensors), torch.zeros(4, 3, 2))
    assert str(caught.value) == text
