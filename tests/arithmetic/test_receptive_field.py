from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from arithmetic.chains import chains, windows
from convscope.arithmetic import (
    Adaptive,
    Transposed,
    Upsample,
    Window,
    chain_sizes,
    identity_ranges,
    input_range,
    ranges_through,
    receptive_field,
    union_ranges,
)
from convscope.arithmetic.receptive_field import ReceptiveField
from convscope.errors import ArgumentError, ShapeError

VGG_STAGES = [2, 2, 3, 3, 3]
CONVOLUTION = Window(3, padding=(1, 1))
POOL = Window(2, stride=2)


def taps_of(layers, size):
    """The set of input elements behind each output, element by element."""
    seen = [{element} for element in range(size)]
    for layer in layers:
        seen = [
            set().union(*(seen[element] for element in row if element is not None))
            for row in layer.table(len(seen))
        ]
    return seen


def fits(layers, size):
    try:
        return all(length >= 1 for length in chain_sizes(layers, size))
    except (ShapeError, ArgumentError):
        return False


def ranges_of_all(layers, size):
    """The input range of every output of a chain, each layer's table read once."""
    ranges = identity_ranges(size)
    for layer in layers:
        ranges = ranges_through(layer.table(len(ranges)), ranges)
    return ranges


def hull(taps):
    return (min(taps), max(taps)) if taps else None


def check_ranges(ranges_of, layers, size):
    for output, taps in enumerate(taps_of(layers, size)):
        assert ranges_of(layers, size, output) == hull(taps)


@settings(deadline=None)
@given(layers=chains, size=st.integers(1, 20))
def test_the_input_range_of_every_output_is_the_hull_of_its_taps(layers, size):
    if not fits(layers, size):
        return
    taps = taps_of(layers, size)
    assert ranges_of_all(layers, size) == [hull(one) for one in taps]
    assert input_range(layers, size, len(taps) - 1) == hull(taps[-1])


@settings(deadline=None)
@given(layers=chains)
def test_far_from_the_borders_the_field_is_the_hull_of_the_taps(layers):
    size = 144
    if not fits(layers, size):
        return
    lengths = chain_sizes(layers, size)
    for layer, before, after in zip(layers, lengths, lengths[1:], strict=False):
        if isinstance(layer, Upsample) and after != before * layer.scale:
            return  # torch stretches a rounded length evenly: no fixed ratio
    field = receptive_field(layers)
    for output, taps in enumerate(taps_of(layers, size)):
        ours = field.range(output)
        if ours is None or (size // 3 <= ours[0] and ours[1] < 2 * size // 3):
            assert ours == hull(taps)


@given(layers=st.lists(windows, max_size=6))
def test_three_numbers_say_it_all_without_upsampling(layers):
    field = receptive_field(layers)
    size, stride, offset = 1, 1, 0
    for layer in layers:  # the published recursion
        size += (layer.kernel_size - 1) * layer.dilation * stride
        offset -= layer.padding[0] * stride
        stride *= layer.stride
    assert (field.size, field.stride, field.offset) == (size, stride, offset)
    for output in range(5):
        first = offset + output * stride
        assert field.range(output) == (first, first + size - 1)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda layers, size, o: receptive_field(layers).range(o, size),
        lambda layers, size, o: input_range(layers, size, max(0, o - 1)),
        lambda layers, size, o: input_range([*layers[:-1], Window(1)], size, o),
    ],
)
def test_the_check_of_ranges_rejects_a_planted_mistake(mistake):
    # the second layer pads what the first leaves out: clipping alone is not enough
    layers = [Window(3, stride=2), Window(3, padding=(1, 1))]
    check_ranges(input_range, layers, 8)
    with pytest.raises(AssertionError):
        check_ranges(mistake, layers, 8)


def run(layer, x):
    """The layer in torch, with every weight 1."""
    if isinstance(layer, Window):
        weight = torch.ones(1, 1, layer.kernel_size, dtype=x.dtype)
        x = F.pad(x, layer.padding)
        return F.conv1d(x, weight, None, layer.stride, 0, layer.dilation)
    if isinstance(layer, Transposed):
        weight = torch.ones(1, 1, layer.kernel_size, dtype=x.dtype)
        full = F.conv_transpose1d(
            x, weight, stride=layer.stride, dilation=layer.dilation
        )
        return full[..., layer.padding[0] : full.shape[-1] - layer.padding[1]]
    outputs = layer.output_size(x.shape[-1])
    if layer.mode == "nearest":
        return F.interpolate(x, outputs)
    return F.interpolate(x, outputs, mode=layer.mode)


@settings(deadline=None, max_examples=60)
@given(layers=chains, size=st.integers(4, 24))
def test_gradients_reach_exactly_the_ends_of_every_range(layers, size):
    layers = [layer for layer in layers if getattr(layer, "mode", "") != "cubic"]
    if not fits(layers, size):
        return
    x = torch.ones(1, 1, size, dtype=torch.float64, requires_grad=True)
    y = x
    for layer in layers:
        y = run(layer, y)
    y = y.flatten()
    for output, ours in enumerate(ranges_of_all(layers, size)):
        (gradient,) = torch.autograd.grad(y[output], x, retain_graph=True)
        support = torch.nonzero(gradient.flatten() > 2**-40).flatten().tolist()
        assert ours == hull(support)


def vgg16():
    layers = []
    for convolutions in VGG_STAGES:
        layers += [CONVOLUTION] * convolutions + [POOL]
    return layers


def resnet50(*, stride_on_the_3x3):
    """The longest way through: every shortcut sees less."""
    layers = [Window(7, 2, (3, 3)), Window(3, 2, (1, 1))]
    for stage, blocks in enumerate([3, 4, 6, 3]):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            on_3x3 = stride if stride_on_the_3x3 else 1
            layers += [
                Window(1, stride // on_3x3),
                Window(3, on_3x3, (1, 1)),
                Window(1),
            ]
    return layers


def test_published_receptive_fields():
    field = receptive_field(vgg16())
    assert (field.size, field.stride) == (212, 32)
    assert receptive_field(resnet50(stride_on_the_3x3=False)).size == 483
    assert receptive_field(resnet50(stride_on_the_3x3=True)).size == 427
    assert receptive_field(resnet50(stride_on_the_3x3=True)).stride == 32


def test_upsampling_makes_fractions_exact():
    field = receptive_field([POOL, Upsample(3)])
    assert (field.size, field.stride, field.offset) == (
        2,
        Fraction(2, 3),
        Fraction(-2, 3),
    )
    assert [field.range(o) for o in range(4)] == [(0, 1), (0, 1), (0, 1), (2, 3)]
    back = field.through(Window(3, stride=3))
    assert (back.size, back.stride, back.offset) == (2, 2, 0)
    assert len(back.ranges) == 1


def test_a_transposed_convolution_with_gaps_sees_nothing_there():
    field = receptive_field([Transposed(1, stride=2)])
    assert field.ranges == ((0, 0), None)
    assert field.range(3) is None
    assert (field.size, field.stride) == (1, Fraction(1, 2))
    assert field.through(Window(2)).ranges == ((0, 0), (1, 1))


def test_a_field_without_any_input_is_empty():
    field = ReceptiveField((None,), 1)
    assert (field.size, field.center, field.range(3)) == (0, 0, None)
    assert not field.union(field).misaligned


def test_a_range_is_clipped_at_both_borders_and_may_vanish():
    field = receptive_field([Window(5, stride=2, padding=(2, 2))])
    assert field.range(0) == (-2, 2)
    assert field.range(0, 4) == (0, 2)
    assert field.range(1, 4) == (0, 3)
    assert field.range(9, 4) is None


def test_a_global_pooling_sees_the_whole_map():
    field = receptive_field([CONVOLUTION, Adaptive(1)], size=8)
    assert (field.size, field.stride, field.offset) == (10, 0, -1)
    assert field == receptive_field([CONVOLUTION]).whole(8)
    assert field.range(5, 8) == (0, 7)


@given(size=st.integers(1, 40), outputs=st.integers(1, 9))
def test_adaptive_pooling_has_the_field_of_its_own_table(size, outputs):
    field = receptive_field([Adaptive(outputs)], size)
    ranges = ranges_through(Adaptive(outputs).table(size), identity_ranges(size))
    assert [field.range(o) for o in range(outputs)] == ranges


def test_adaptive_pooling_without_a_size_is_refused():
    with pytest.raises(
        ArgumentError,
        match=r"^Adaptive: size=None leaves its windows open\. Give the input size\.$",
    ):
        receptive_field([Adaptive(2)])


def test_an_output_that_is_not_there_is_refused():
    with pytest.raises(
        ShapeError,
        match=r"^input_range: index=3 is not one of the 3 outputs\. "
        r"Use an index from 0 to 2\.$",
    ):
        input_range([Window(3)], 5, 3)


@settings(deadline=None)
@given(ours=chains, theirs=chains, size=st.integers(8, 20))
def test_the_union_of_branches_is_the_hull_of_both(ours, theirs, size):
    if not (fits(ours, size) and fits(theirs, size)):
        return
    length = min(chain_sizes(layers, size)[-1] for layers in (ours, theirs))
    sets = [taps_of(layers, size)[:length] for layers in (ours, theirs)]
    ranges = [ranges_of_all(layers, size)[:length] for layers in (ours, theirs)]
    joined = [hull(a | b) for a, b in zip(*sets, strict=True)]
    assert union_ranges(*ranges) == joined
    fields = [receptive_field(layers) for layers in (ours, theirs)]
    union = fields[0].union(fields[1])
    if fields[0].stride != fields[1].stride:
        assert union.misaligned
        assert union.size >= max(field.size for field in fields)
        return
    assert union == fields[1].union(fields[0])
    for output in range(12):
        ends = {end for field in fields for end in field.range(output) or ()}
        assert union.range(output) == hull(ends)


STEM = receptive_field([Window(3, 2, (1, 1))])


@pytest.mark.parametrize(
    ("branch", "misaligned"),
    [
        ([Window(3, padding=(1, 1))], False),  # residual block
        ([Window(1), Window(5, padding=(2, 2))], False),  # inception
        ([Window(3, padding=(2, 2), dilation=2)], False),  # atrous pyramid
        ([Window(2, padding=(0, 1))], True),  # an even kernel is half a step off
        ([Window(3)], True),  # no padding: one step off
        ([POOL, Upsample(2)], False),
        ([POOL, Upsample(2, "linear")], False),
        ([POOL, Transposed(2, 2)], False),  # U-Net
        ([POOL, Transposed(4, 2, (1, 1))], False),
        ([POOL, Transposed(3, 2, (1, 1), output_padding=1)], True),
        ([Window(3, 2, (1, 1)), Upsample(2)], True),
    ],
)
def test_branches_that_look_at_different_places_are_flagged(branch, misaligned):
    other = STEM
    for layer in branch:
        other = other.through(layer)
    joined = STEM.union(other)
    assert joined.misaligned is misaligned
    assert (STEM.shift(other) != 0) is misaligned
    assert joined.through(CONVOLUTION).misaligned is misaligned
    assert joined.whole(4).misaligned is misaligned
    assert ("misaligned" in repr(joined)) is misaligned


def test_a_gate_that_sees_the_whole_map_is_aligned_with_any_branch():
    gate = STEM.through(Adaptive(1), size=16)
    assert STEM.union(gate) == gate
    assert gate.union(STEM) == gate


def test_branches_of_different_strides_are_misaligned_and_have_no_shift():
    slow = receptive_field([Window(5, 4)])
    assert STEM.union(slow).misaligned
    assert STEM.union(slow).stride == slow.stride
    with pytest.raises(
        ShapeError,
        match=r"^ReceptiveField\.shift: stride=4 of the other field differs from 2\. "
        r"Compare fields of equal stride\.$",
    ):
        STEM.shift(slow)


def test_a_scale_that_is_no_fraction_is_refused():
    with pytest.raises(
        ArgumentError,
        match=r"^Upsample: scale=1\.5 is not a whole number or a Fraction above 0\. "
        r"Use fractions\.Fraction for a scale such as 3/2\.$",
    ):
        Upsample(1.5)


def test_axes_with_unequal_kernels_have_fields_of_their_own():
    sizes, kernels, strides, pads = (9, 7, 8), (3, 1, 4), (2, 1, 3), (1, 0, 2)
    x = torch.ones(1, 1, *sizes, dtype=torch.float64, requires_grad=True)
    weight = torch.ones(1, 1, *kernels, dtype=torch.float64)
    y = F.avg_pool3d(F.conv3d(x, weight, None, strides, pads), (2, 3, 1), 1)
    (gradient,) = torch.autograd.grad(y[0, 0, 1, 2, 0], x)
    support = torch.nonzero(gradient[0, 0])
    for axis, (pool, index) in enumerate([(2, 1), (3, 2), (1, 0)]):
        pad = (pads[axis], pads[axis])
        layers = [Window(kernels[axis], strides[axis], pad), Window(pool)]
        ends = support[:, axis].min().item(), support[:, axis].max().item()
        assert input_range(layers, sizes[axis], index) == ends
        assert receptive_field(layers).range(index, sizes[axis]) == ends
