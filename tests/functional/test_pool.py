import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from convscope.errors import ArgumentError, ShapeError
from convscope.functional import (
    avg_pool,
    conv,
    max_pool,
    max_pool_with_indices,
    pool_winners,
)
from functional.pooling import plain_max, plain_reduce

SIZES = {1: (9,), 2: (7, 6), 3: (5, 4, 6)}
TORCH_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
TORCH_AVG = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
SETTINGS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 1, "padding": 2},  # torch refuses it
    {"kernel_size": 3, "stride": 2, "padding": "same"},
    {"kernel_size": 2, "stride": 1, "padding": "same_lower"},
    {"kernel_size": 3, "stride": 2, "padding": "full"},
    {"kernel_size": 3, "stride": 2, "ceil_mode": "torch"},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": "onnx"},
]
SPREAD = [
    {"kernel_size": 2, "stride": 1, "dilation": 2},
    {"kernel_size": 2, "stride": 2, "padding": "same", "dilation": 3},
]
every_rank = pytest.mark.parametrize("axes", [1, 2, 3])


def ties(axes, kind, dtype=torch.float32, channels=3):
    """Few different values, so that most windows have several maxima."""
    generator = torch.Generator().manual_seed(axes)
    shape = (2, channels, *SIZES[axes])
    x = torch.randint(-1, 2, shape, generator=generator).to(dtype)
    rare = torch.rand(shape, generator=generator)
    if kind == "nan":
        x[rare < 0.3] = torch.nan
    if kind == "-inf":
        x[rare < 0.9] = -torch.inf
    if kind == "signed zeros":
        x = torch.where(rare < 0.5, 0.0, -0.0).to(dtype)
    return x


def layouts(x):
    """The same tensor, laid out in memory otherwise."""
    yield x
    yield x.transpose(0, -1).contiguous().transpose(0, -1)
    yield x.movedim(1, -1).contiguous().movedim(-1, 1)


def check_winners(pool, x, expected, settings):
    values, index = pool(x, **settings)
    torch.testing.assert_close(values, expected[0], rtol=0, atol=0, equal_nan=True)
    assert torch.equal(index, expected[1])


@every_rank
@pytest.mark.parametrize("kind", ["numbers", "nan", "-inf", "signed zeros"])
def test_the_first_maximum_in_row_order_wins_however_memory_is_laid_out(axes, kind):
    x = ties(axes, kind)
    for settings in SETTINGS + SPREAD:
        expected = plain_max(x, **settings)
        for one in layouts(x):
            check_winners(max_pool_with_indices, one, expected, settings)


@every_rank
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_first_maximum_wins_in_every_precision(axes, dtype):
    # 19 channels: one vector of 16 and a rest, where the kernels have two loops
    x = ties(axes, "numbers", dtype, channels=19)
    settings = {"kernel_size": 2, "stride": 2}
    for one in layouts(x):
        check_winners(max_pool_with_indices, one, plain_max(x, **settings), settings)


MISTAKES = {
    "last of equals": lambda x, **s: max_pool_with_indices(x.flip(-1), **s),
    "first NaN": lambda x, **s: max_pool_with_indices(x.nan_to_num(0), **s),
    "no index": lambda x, **s: (max_pool(x, **s), torch.zeros(1)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_check_of_winners_rejects_a_planted_mistake(mistake):
    x, settings = ties(2, "nan"), {"kernel_size": 2}
    with pytest.raises(AssertionError):
        check_winners(MISTAKES[mistake], x, plain_max(x, **settings), settings)


@every_rank
def test_only_the_winner_gets_the_gradient(axes):
    for kind, settings in itertools.product(["numbers", "-inf"], SETTINGS + SPREAD):
        plain = ties(axes, kind)
        _, index = plain_max(plain, **settings)
        expected = torch.zeros(plain.flatten(2).shape)
        expected.scatter_add_(-1, index.flatten(2), torch.ones(index.flatten(2).shape))
        for one in layouts(plain):
            x = one.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(max_pool(x, **settings).sum(), x)
            assert torch.equal(gradient, expected.view(plain.shape)), settings


@every_rank
def test_where_torch_has_it_the_bits_are_torchs(axes):
    x = torch.randn(2, 3, *SIZES[axes])
    for arguments in [(2, None, 0), (3, 2, 1), (3, 1, 1)]:
        ours, theirs = max_pool(x, *arguments), TORCH_MAX[axes](x, *arguments)
        assert torch.equal(ours, theirs)
        for more in itertools.product([False, True], [False, True]):
            ours = avg_pool(x, *arguments, *more)
            theirs = TORCH_AVG[axes](x, *arguments, *more)
            assert torch.equal(ours, theirs), (arguments, more)


@every_rank
@pytest.mark.parametrize("settings", SETTINGS[:-1])
def test_the_average_is_that_of_the_loops_by_both_divisors(axes, settings):
    x = torch.randn(2, 2, *SIZES[axes], dtype=torch.float64)

    def mean(elements):
        return sum(elements) / len(elements)

    close = {"rtol": 1e-12, "atol": 1e-12}  # sums of 27 terms below 10 in float64
    ours = avg_pool(x, **settings, count_include_pad=False)
    torch.testing.assert_close(ours, plain_reduce(x, mean, **settings), **close)
    ours = avg_pool(x, **settings, divisor_override=5)
    expected = plain_reduce(x, lambda elements: sum(elements) / 5, **settings)
    torch.testing.assert_close(ours, expected, **close)


@every_rank
def test_the_average_with_padding_is_convolution_with_a_box(axes):
    x = torch.randn(2, 3, *SIZES[axes], dtype=torch.float64)
    box = torch.full((3, 1, *[3] * axes), 1 / 3**axes, dtype=torch.float64)
    for padding in (0, 1, 2, "same", "same_lower", "full"):
        expected = conv(x, box, stride=2, padding=padding, groups=3)
        torch.testing.assert_close(avg_pool(x, 3, 2, padding), expected)


def test_what_a_last_window_has_beyond_the_padding_counts_in_no_divisor():
    x = torch.ones(1, 1, 4)
    ours = avg_pool(x, 3, 3, [(1, 0)], ceil_mode=True)
    # windows: padding, 1, 1 | 1, 1, nothing
    torch.testing.assert_close(ours, torch.tensor([[[2 / 3, 1.0]]]))


@every_rank
def test_gradients_are_those_of_finite_differences_twice(axes):
    values = torch.randperm(2 * 4**axes, dtype=torch.float64)  # no ties
    x = values.view(1, 2, *[4] * axes).requires_grad_()
    for padding in (0, 2, "same"):
        for pool in (max_pool, avg_pool):

            def function(x, pool=pool, padding=padding):
                return pool(x, 3, 2, padding) ** 2

            torch.autograd.gradcheck(function, x, fast_mode=True)
            torch.autograd.gradgradcheck(function, x, fast_mode=True)


@every_rank
def test_vmap_gives_the_same_as_a_loop(axes):
    stack = torch.randn(3, 2, 2, *SIZES[axes])
    for pool, padding in itertools.product((max_pool, avg_pool), (1, 2, "same")):

        def function(x, pool=pool, padding=padding):
            return pool(x, 3, 2, padding)

        expected = torch.stack([function(x) for x in stack])
        torch.testing.assert_close(torch.vmap(function)(stack), expected)
        gradient = torch.func.grad(lambda x: function(x).square().sum())
        expected = torch.stack([gradient(x) for x in stack])
        torch.testing.assert_close(torch.vmap(gradient)(stack), expected)


@pytest.mark.parametrize("axes", [2, 3])
def test_channels_last_stays_channels_last(axes):
    last = torch.channels_last if axes == 2 else torch.channels_last_3d
    x = torch.randn(2, 3, *SIZES[axes]).contiguous(memory_format=last)
    for settings in SETTINGS:
        for out in (*max_pool_with_indices(x, **settings), avg_pool(x, **settings)):
            assert out.is_contiguous(memory_format=last), settings


def test_one_element_and_no_image_are_pooled_too():
    assert max_pool(torch.ones(1, 1, 1, 1), 1).shape == (1, 1, 1, 1)
    assert max_pool(torch.ones(2, 3, 1, 7), (1, 2), padding="same").shape == (
        2,
        3,
        1,
        4,
    )
    for padding in (1, 2):
        assert max_pool(torch.ones(0, 3, 8), 3, 2, padding).shape[0] == 0
        assert avg_pool(torch.ones(0, 3, 8), 3, 2, padding).shape[0] == 0


@every_rank
def test_pool_winners_are_coordinates_of_the_maxima(axes):
    x = torch.randn(2, 3, *SIZES[axes])
    places = pool_winners(x, 3, 2, "same")
    images = torch.arange(2).view(2, *[1] * (axes + 1))
    channels = torch.arange(3).view(1, 3, *[1] * axes)
    won = x[(images, channels, *places.unbind(-1))]
    assert torch.equal(won, max_pool(x, 3, 2, "same"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_and_is_close(dtype):
    x = torch.randn(2, 3, 7, 6).to(dtype)
    for padding in (1, 2):
        ours = avg_pool(x, 3, 2, padding)
        assert ours.dtype == dtype
        # one rounding of the mean and one of the share, of values below 4
        atol = 8 * torch.finfo(dtype).eps
        wide = avg_pool(x.double(), 3, 2, padding)
        torch.testing.assert_close(ours.double(), wide, rtol=0, atol=atol)


def test_export_keeps_the_divisor():
    class Sum(torch.nn.Module):
        def forward(self, x):
            return avg_pool(x, 2, divisor_override=1)

    x = torch.randn(1, 2, 4, 4)
    exported = torch.export.export(Sum(), (x,)).module()(x)
    torch.testing.assert_close(exported, Sum()(x))


ERRORS = [
    (
        lambda: max_pool(torch.zeros(1, 1, 4), 2, 1, [(2, 0)]),
        ShapeError,
        "max_pool, length: window 0 of 5 holds padding only, with padding=(2, 0) "
        "around 4 elements and kernel_size=2. Use less padding, or a larger kernel.",
    ),
    (
        lambda: avg_pool(torch.zeros(1, 1, 4), 2, 1, 2, count_include_pad=False),
        ShapeError,
        "avg_pool, length: window 0 of 7 holds padding only, with padding=(2, 2) "
        "around 4 elements and kernel_size=2. Use less padding, or a larger kernel.",
    ),
    (
        lambda: max_pool(torch.zeros(4, 4), 2),
        ShapeError,
        "max_pool: x must have shape (N, C, L), (N, C, H, W) or (N, C, D, H, W); got "
        "(4, 4). Add or remove axes with unsqueeze or flatten.",
    ),
    (
        lambda: avg_pool(torch.zeros(1, 1, 4), 2, divisor_override=0),
        ArgumentError,
        "avg_pool: divisor_override=0 is not an integer of at least 1. Use "
        "divisor_override=1 or more.",
    ),
    (
        lambda: max_pool(torch.zeros(1, 1, 4), 2, ceil_mode="troch"),
        ArgumentError,
        "unknown ceil_mode 'troch'. Did you mean 'torch'?",
    ),
    (
        lambda: max_pool(torch.zeros(1, 1, 4, 4), (2, 2, 2)),
        ArgumentError,
        "max_pool: kernel_size=(2, 2, 2) has 3 values for 2 spatial axes. Give one "
        "integer, or 2.",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS)
def test_what_cannot_be_pooled_is_refused_with_a_remedy(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == text


def test_a_window_that_does_not_fit_names_the_axis():
    with pytest.raises(ShapeError, match=r"^max_pool, height: kernel_size=5 spans 5 "):
        max_pool(torch.zeros(1, 1, 4, 9), 5)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("last", [False, True])
def test_short_formats_hold_half_the_indices_and_torch_s_bits(axes, last):
    x = torch.randn(2, 3, *(6, 7, 5)[:axes]).bfloat16()
    if last and axes > 1:
        form = torch.channels_last if axes == 2 else torch.channels_last_3d
        x = x.contiguous(memory_format=form)
    theirs = getattr(torch.nn.functional, f"max_pool{axes}d")
    held = []

    def pack(tensor):
        held.append(tensor.nbytes)
        return tensor

    gradients = []
    for pool in (max_pool, theirs):
        leaf = x.clone().requires_grad_()
        held.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = pool(leaf, 3, 2, 1)
        if pool is max_pool:
            assert sum(held) == 2 * out.nbytes
        (grad,) = torch.autograd.grad(out.square().sum(), leaf)
        gradients += [out, grad]
    assert torch.equal(gradients[0], gradients[2])
    assert torch.equal(gradients[1], gradients[3])
    if last and axes == 3:
        return  # torch maps no change of such a layout
    single = torch.func.grad(lambda x: max_pool(x, 3, 2, 1).square().sum())
    each = torch.vmap(single)(x.unsqueeze(1)).squeeze(1)
    assert torch.equal(each, gradients[1])


def test_one_more_element_at_the_end_needs_no_padded_copy(monkeypatch):
    x = torch.randn(2, 3, 8, 6)
    x[0, :, -2:] = -torch.inf
    around = F.pad(x, (0, 1, 0, 1), value=-torch.inf)
    expected = F.max_pool2d(around, 3, 2)

    def refuse(*_, **__):
        raise AssertionError("copied")

    monkeypatch.setattr("convscope.functional.pool._max_by_gather", refuse)
    values, index = max_pool_with_indices(x, 3, 2, "same")
    assert torch.equal(values, expected)
    winners = x.flatten(2).gather(2, index.flatten(2))
    assert torch.equal(winners.view_as(values), values)


@pytest.mark.parametrize("count_include_pad", [True, False])
def test_a_map_that_only_padding_makes_large_enough_is_averaged_in_3d(
    count_include_pad,
):
    x = torch.rand(2, 3, 4, 4, 1, dtype=torch.float64)
    ours = avg_pool(x, 3, 1, 1, count_include_pad=count_include_pad)
    flat = F.avg_pool2d(
        x[..., 0].flatten(0, 1)[:, None], 3, 1, 1, count_include_pad=True
    )
    assert ours.shape == x.shape
    counts = F.avg_pool3d(F.pad(torch.ones_like(x), [1] * 6), 3, 1)
    expected = F.avg_pool3d(F.pad(x, [1] * 6), 3, 1)
    torch.testing.assert_close(
        ours, expected if count_include_pad else expected / counts
    )
    assert torch.allclose(expected[..., 0].flatten(0, 1)[:, None] * 3, flat)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_padding_up_to_half_of_a_dilated_kernel_is_pooled_with_and_without_indices(
    axes: int,
) -> None:
    x = torch.randn(1, 2, *(7,) * axes)
    lowest = F.pad(x, (2, 2) * axes, value=-math.inf)
    wanted = TORCH_MAX[axes](lowest, 3, stride=1, dilation=2)
    values, _ = max_pool_with_indices(x, 3, stride=1, padding=2, dilation=2)
    assert torch.equal(max_pool(x, 3, stride=1, padding=2, dilation=2), wanted)
    assert torch.equal(values, wanted)
