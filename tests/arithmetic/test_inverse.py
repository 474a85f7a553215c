import json
import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arithmetic.chains import adaptives, chains
from arithmetic.grids import SMALL
from convscope.arithmetic import (
    Adaptive,
    Sizes,
    Transposed,
    Upsample,
    Window,
    exact_fixes,
    fitting_sizes,
    ignored_elements,
    kernel_span,
    layers_to_cover,
    nearest_fixes,
    output_size,
    padding_for,
    padding_that_keeps,
    possible_strides,
    receptive_field,
    windows,
)
from convscope.errors import ArgumentError, ShapeError

LECTURES = json.loads(
    (Path(__file__).parents[1] / "golden" / "lectures.json").read_text()
)


def refuses(size, kernel, **arguments):
    try:
        output_size(size, kernel, **arguments)
    except ShapeError:
        return True
    return False


def test_what_is_ignored_lies_behind_the_last_window():
    for case in SMALL:
        size, kernel, padding = case.size, case.kernel_size, case.padding
        if refuses(size, kernel, **case.arguments):
            continue
        outputs = output_size(size, kernel, **case.arguments)
        last_tap = (outputs - 1) * case.stride + kernel_span(kernel, case.dilation)
        ignored = ignored_elements(size, kernel, **case.arguments)
        assert ignored == size + 2 * padding - last_tap, case
        if kernel >= case.stride and case.dilation == 1 and ignored >= padding:
            table = windows(size, kernel, **case.arguments)
            seen = {element for row in table for element in row}
            assert len(set(range(size)) - seen) == ignored - padding, case


def test_the_misfit_of_the_lectures():
    case = LECTURES["misfit"]
    arguments = {"stride": case["stride"]}
    size, kernel = case["size"], case["kernel_size"]
    assert ignored_elements(size, kernel, **arguments) == case["ignored"]
    exact = Fraction(size - kernel, case["stride"]) + 1
    assert exact == Fraction(case["exact"])


def fits_each(layers, size):
    """Whether nothing is ignored, layer by layer."""
    for layer in layers:
        try:
            outputs = layer.output_size(size)
        except ShapeError:
            return False
        if isinstance(layer, Window):
            arguments = (layer.stride, layer.padding, layer.dilation)
            names = ("stride", "padding", "dilation")
            ignored = ignored_elements(
                size, layer.kernel_size, **dict(zip(names, arguments, strict=True))
            )
        elif isinstance(layer, Upsample):
            ignored = size * layer.scale != outputs
        elif isinstance(layer, Adaptive):
            ignored = size % layer.outputs
        else:
            ignored = 0
        if ignored:
            return False
        size = outputs
    return True


def check_sizes(sizes_of, layers):
    expected = [size for size in range(1, 150) if fits_each(layers, size)]
    try:
        sizes = sizes_of(layers)
    except ShapeError:
        assert expected == []
        return
    assert sizes.up_to(149) == expected


@settings(deadline=None)
@given(layers=chains, pool=st.none() | adaptives)
def test_fitting_sizes_are_exactly_those_that_fit_layer_by_layer(layers, pool):
    check_sizes(fitting_sizes, layers if pool is None else [*layers, pool])


POOLED = [Window(5), Window(2, stride=2), Window(5), Window(2, stride=2)]


@pytest.mark.parametrize(
    "mistake",
    [
        lambda layers: fitting_sizes(layers[:-1]),
        lambda layers: fitting_sizes(layers[::-1]),
        lambda layers: Sizes(fitting_sizes(layers).smallest + 4, 4),
        lambda layers: Sizes(fitting_sizes(layers).smallest, 8),
    ],
)
def test_the_check_of_sizes_rejects_a_planted_mistake(mistake):
    check_sizes(fitting_sizes, POOLED)
    with pytest.raises(AssertionError):
        check_sizes(mistake, POOLED)


def test_lenet_fits_at_32_and_every_4():
    assert 32 in fitting_sizes(POOLED)
    assert fitting_sizes(POOLED).nearest(30) == (28, 32)


def test_a_chain_that_no_size_fits_is_refused():
    layers = [Transposed(2, stride=2), Window(3, stride=2)]
    with pytest.raises(
        ShapeError,
        match="^"
        + re.escape(
            "fitting_sizes: layers[0]=Transposed(kernel_size=2, stride=2, "
            "padding=(0, 0), dilation=1, output_padding=0) never has an output that "
            "the layers after it need, 3 plus a multiple of 2. Change its stride or "
            "its padding."
        )
        + "$",
    ):
        fitting_sizes(layers)


def test_a_layer_of_unknown_inverse_is_refused():
    with pytest.raises(
        ArgumentError,
        match=r"^fitting_sizes: layers has 'pool', whose inverse is not known\. Use "
        r"Window, Transposed, Upsample or Adaptive\.$",
    ):
        fitting_sizes(["pool"])


sizes = st.builds(Sizes, st.integers(1, 30), st.integers(0, 12))


@given(ours=sizes, theirs=sizes, size=st.integers(1, 60))
def test_progressions_agree_with_their_lists(ours, theirs, size):
    members = ours.up_to(200)
    assert members == [one for one in range(1, 201) if one in ours]
    below, above = ours.nearest(size)
    assert below == max((one for one in members if one <= size), default=None)
    assert above == min((one for one in members if one >= size), default=None)
    both = sorted(set(members) & set(theirs.up_to(200)))
    shared = ours.both(theirs)
    assert (shared.up_to(200) if shared else []) == both


def test_exact_fixes_are_the_nearest_that_leave_nothing():
    for case in SMALL:
        size, kernel, pads = case.size, case.kernel_size, case.arguments["padding"]
        if refuses(size, kernel, **case.arguments):
            continue
        fixes = exact_fixes(size, kernel, **case.arguments)

        def fits(size=size, kernel=kernel, case=case, **changes):
            arguments = {**case.arguments, **changes}
            return not refuses(size, kernel, **arguments) and not ignored_elements(
                size, kernel, **arguments
            )

        smaller = [one for one in range(1, size + 1) if fits(size=one)]
        larger = [one for one in range(size, size + 20) if fits(size=one)]
        assert (fixes.smaller, fixes.larger) == (max(smaller, default=None), larger[0])
        each = [n for n in range(9) if fits(padding=(pads[0] + n, pads[1] + n))]
        end = [n for n in range(9) if fits(padding=(pads[0], pads[1] + n))]
        more = (each[0],) * 2 if each else (0, end[0])
        assert fixes.padding == (pads[0] + more[0], pads[1] + more[1]), case
        slack = size + sum(pads) - kernel_span(kernel, case.dilation)
        longest = slack or kernel_span(kernel, case.dilation)
        strides = [one for one in range(1, longest + 1) if fits(stride=one)]
        assert list(fixes.strides) == strides, case


def test_nearest_fixes_are_the_smallest_changes_that_work():
    for case in SMALL:
        size, kernel, pads = case.size, case.kernel_size, case.arguments["padding"]
        arguments = {"padding": pads, "dilation": case.dilation}
        fixes = nearest_fixes(size, kernel, **arguments)

        def works(size=size, kernel=kernel, arguments=arguments, **changes):
            return not refuses(size, kernel, **{**arguments, **changes})

        enough = [one for one in range(1, 20) if works(size=one)]
        assert fixes.size == enough[0], case
        more = [n for n in range(9) if works(padding=(pads[0] + n, pads[1] + n))]
        assert fixes.padding == more[0], case
        taps = [one for one in range(1, kernel + 1) if works(kernel=one)]
        assert fixes.kernel_size == max(taps, default=None), case
        spreads = [d for d in range(1, case.dilation + 1) if works(dilation=d)]
        assert fixes.dilation == max(spreads, default=None), case


def test_nearest_fixes_of_a_pooling_keep_the_padding_below_half_a_window():
    fixes = nearest_fixes(1, 4, padding=(1, 1), pooling=True)
    assert (fixes.padding, fixes.kernel_size) == (1, 3)
    fixes = nearest_fixes(1, 5, padding=(0, 0), pooling=True)
    assert (fixes.padding, fixes.kernel_size) == (2, 1)
    fixes = nearest_fixes(1, 3, padding=(1, 1), dilation=2, pooling=True)
    assert (fixes.padding, fixes.kernel_size, fixes.dilation) == (None, 2, 1)
    fixes = nearest_fixes(1, 7, padding=(2, 2), pooling=True)
    assert str(fixes) == (
        "Use an input of at least 3, 1 more padding on each side, "
        "or kernel_size at most 5."
    )


def test_a_kernel_is_never_named_as_a_fix_where_the_padding_forbids_it():
    fixes = nearest_fixes(1, 4, padding=(2, 0), pooling=True)
    assert (fixes.padding, fixes.kernel_size) == (None, None)
    assert str(fixes) == "Use an input of at least 2."


@given(
    size=st.integers(1, 40),
    outputs=st.integers(1, 40),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 5),
    dilation=st.integers(1, 3),
)
def test_padding_for_is_the_smallest_that_gives_the_length(
    size, outputs, kernel, stride, dilation
):
    arguments = {"stride": stride, "dilation": dilation}

    def gives(total):
        pads = (total // 2, total - total // 2)
        return (
            not refuses(size, kernel, padding=pads, **arguments)
            and output_size(size, kernel, padding=pads, **arguments) == outputs
        )

    totals = [total for total in range(250) if gives(total)]
    if not totals:
        with pytest.raises(ShapeError):
            padding_for(size, outputs, kernel, **arguments)
        return
    pads = padding_for(size, outputs, kernel, **arguments)
    assert sum(pads) == totals[0]
    assert pads[1] - pads[0] in (0, 1)


def test_a_length_below_that_without_padding_is_refused():
    with pytest.raises(
        ShapeError,
        match=r"^padding_for: outputs=3 is less than the 5 of an input of 7 without "
        r"padding\. Use outputs of at least 5, or a larger stride or kernel\.$",
    ):
        padding_for(7, 3, 3)


@given(size=st.integers(1, 100), kernel=st.integers(1, 9), dilation=st.integers(1, 4))
def test_the_padding_that_keeps_keeps_every_size(size, kernel, dilation):
    pads = padding_that_keeps(kernel, dilation=dilation)
    assert output_size(size, kernel, padding=pads, dilation=dilation) == size


@given(
    size=st.integers(1, 300),
    kernel=st.integers(2, 7),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
)
def test_so_many_layers_cover_the_image_and_one_fewer_do_not(
    size, kernel, stride, dilation
):
    count = layers_to_cover(size, kernel, stride=stride, dilation=dilation)
    layer = Window(kernel, stride, dilation=dilation)
    assert receptive_field([layer] * count).size >= size
    assert count == 0 or receptive_field([layer] * (count - 1)).size < size


@pytest.mark.parametrize("case", LECTURES["receptive_fields"])
def test_the_receptive_fields_of_the_lectures(case):
    layers = [Window(case["kernel_size"])] * case["layers"]
    assert receptive_field(layers).size == case["size"]
    assert layers_to_cover(case["size"], case["kernel_size"]) == case["layers"]


def test_windows_of_one_tap_never_cover_an_image():
    with pytest.raises(
        ArgumentError,
        match=r"^layers_to_cover: kernel_size=1 sees 1 element at any depth, not 7\. "
        r"Use kernel_size=2 or more\.$",
    ):
        layers_to_cover(7, 1)


def test_strides_of_a_window_that_does_not_fit_are_refused():
    with pytest.raises(
        ShapeError, match=r"^possible_strides: kernel_size=5 spans 5 elements, .* 3\. "
    ):
        possible_strides(3, 5)
