import json
import re
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from arithmetic.grids import SMALL
from convscope.arithmetic import (
    output_shape,
    output_size,
    per_axis,
    transposed_output_shape,
    transposed_output_size,
)
from convscope.errors import ArgumentError, ShapeError, UnknownNameError

LECTURES = json.loads(
    (Path(__file__).parents[1] / "golden" / "lectures.json").read_text()
)
sizes = st.integers(1, 300)
kernels = st.integers(1, 30)
steps = st.integers(1, 12)


def length_in_torch(operation, *arguments, **named):
    """The length torch gives, or None where it refuses."""
    try:
        return operation(*arguments, **named).shape[-1]
    except RuntimeError:
        return None


def length_of(formula, *arguments, **named):
    try:
        return formula(*arguments, **named)
    except ShapeError:
        return None


def check_convolutions(formula):
    for case in SMALL:
        size, kernel, stride, padding, dilation = case
        theirs = length_in_torch(
            F.conv1d,
            torch.zeros(1, 1, size),
            torch.zeros(1, 1, kernel),
            None,
            stride,
            padding,
            dilation,
        )
        assert length_of(formula, size, kernel, **case.arguments) == theirs, case


def check_transposed(formula):
    for case in SMALL:
        size, kernel, stride, padding, dilation = case
        for more in range(3):
            theirs = length_in_torch(
                F.conv_transpose1d,
                torch.zeros(1, 1, size),
                torch.zeros(1, 1, kernel),
                stride=stride,
                padding=padding,
                output_padding=more,
                dilation=dilation,
            )
            ours = length_of(
                formula, size, kernel, output_padding=more, **case.arguments
            )
            assert ours == (theirs or None), (case, more)


@pytest.mark.parametrize("ceil_mode", [False, "torch"])
def test_every_small_pooling_has_the_length_torch_gives(ceil_mode):
    for case in SMALL:
        size, kernel, stride, padding, dilation = case
        if padding > kernel // 2:  # torch refuses it for another reason
            continue
        theirs = length_in_torch(
            F.max_pool1d,
            torch.zeros(1, 1, size),
            kernel,
            stride,
            padding,
            dilation,
            ceil_mode=bool(ceil_mode),
        )
        ours = length_of(
            output_size, size, kernel, ceil_mode=ceil_mode, **case.arguments
        )
        assert ours == theirs, case


def test_every_small_convolution_has_the_length_torch_gives():
    check_convolutions(output_size)


def test_every_small_transposed_convolution_has_the_length_torch_gives():
    check_transposed(transposed_output_size)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda s, k, **a: output_size(s, k, **{**a, "ceil_mode": "torch"}),
        lambda s, k, **a: output_size(s, k, **{**a, "dilation": 1}),
        lambda s, k, **a: output_size(s, k, **{**a, "padding": (0, a["padding"][1])}),
        lambda s, k, **a: max(1, (s - k + 2 * a["padding"][0]) // a["stride"] + 1),
    ],
)
def test_the_check_of_convolutions_rejects_a_planted_mistake(mistake):
    with pytest.raises(AssertionError):
        check_convolutions(mistake)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda s, k, **a: transposed_output_size(s, k, **{**a, "output_padding": 0}),
        lambda s, k, **a: transposed_output_size(s, k, **{**a, "dilation": 1}),
        lambda s, k, **a: (s - 1) * a["stride"] + k,
    ],
)
def test_the_check_of_transposed_convolutions_rejects_a_planted_mistake(mistake):
    with pytest.raises(AssertionError):
        check_transposed(mistake)


@pytest.mark.parametrize(
    ("opset", "ceil_mode"), [(12, "onnx"), (21, "onnx"), (22, "torch")]
)
def test_every_small_onnx_pooling_has_the_length_its_shape_inference_gives(
    opset, ceil_mode
):
    onnx = pytest.importorskip("onnx")
    nodes, inputs, ours, seen = [], {}, [], 0
    for size, kernel, stride, padding, dilation in SMALL:
        for after in {padding, 0}:
            length = length_of(
                output_size,
                size,
                kernel,
                stride=stride,
                padding=(padding, after),
                dilation=dilation,
                ceil_mode=ceil_mode,
            )
            seen += 1
            name = f"y{seen}"
            node = onnx.helper.make_node(
                "MaxPool",
                [f"x{size}"],
                [name],
                kernel_shape=[kernel],
                strides=[stride],
                pads=[padding, after],
                dilations=[dilation],
                ceil_mode=1,
            )
            nodes.append(node)
            inputs[f"x{size}"] = onnx.helper.make_tensor_value_info(
                f"x{size}", onnx.TensorProto.FLOAT, [1, 1, size]
            )
            ours.append(length)
    graph = onnx.helper.make_graph(nodes, "pools", list(inputs.values()), [])
    opsets = [onnx.helper.make_opsetid("", opset)]
    model = onnx.helper.make_model(graph, opset_imports=opsets)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    lengths = {
        value.name: value.type.tensor_type.shape.dim[2].dim_value
        for value in inferred.graph.value_info
    }
    theirs = [lengths[f"y{place}"] for place in range(1, seen + 1)]
    # Where the formula gives less than 1, we refuse; onnx says 0, or 1 where its
    # integer division rounds a negative number towards 0.
    assert [length or their for length, their in zip(ours, theirs, strict=True)] == (
        theirs
    )
    assert all(t <= 1 for o, t in zip(ours, theirs, strict=True) if o is None)


def test_the_two_ceil_rules_differ_only_in_windows_that_begin_behind_the_input():
    for case in SMALL:
        if case.padding > case.kernel_size // 2:  # torch pads no pooling so far
            continue
        torchs = length_of(output_size, *case[:2], **case.arguments, ceil_mode="torch")
        onnxs = length_of(output_size, *case[:2], **case.arguments, ceil_mode="onnx")
        if torchs is None or onnxs is None:
            assert torchs is onnxs
            continue
        begins = [o * case.stride - case.padding for o in range(onnxs)]
        assert torchs == sum(begin < case.size for begin in begins), case


# Dumoulin & Visin, arXiv:1603.07285: i input, k kernel, s stride, p padding, d dilation
RELATIONSHIPS = {
    1: lambda i, k, s, p, d: (output_size(i, k), i - k + 1),
    2: lambda i, k, s, p, d: (output_size(i, k, padding=(p, p)), i - k + 2 * p + 1),
    3: lambda i, k, s, p, d: (output_shape((i,), 2 * k + 1, padding=k), (i,)),
    4: lambda i, k, s, p, d: (output_shape((i,), k, padding="full"), (i + k - 1,)),
    5: lambda i, k, s, p, d: (output_size(i, k, stride=s), (i - k) // s + 1),
    6: lambda i, k, s, p, d: (
        output_size(i, k, stride=s, padding=(p, p)),
        (i + 2 * p - k) // s + 1,
    ),
    7: lambda i, k, s, p, d: (output_size(i, k, stride=s), (i - k) // s + 1),
    8: lambda i, k, s, p, d: (transposed_output_size(i, k), i + k - 1),
    9: lambda i, k, s, p, d: (
        transposed_output_size(i, k, padding=(p, p)),
        i + k - 1 - 2 * p,
    ),
    10: lambda i, k, s, p, d: (
        transposed_output_size(i, 2 * k + 1, padding=(k, k)),
        i,
    ),
    11: lambda i, k, s, p, d: (
        transposed_output_size(i, k, padding=(k - 1, k - 1)),
        i - (k - 1),
    ),
    12: lambda i, k, s, p, d: (transposed_output_size(i, k, stride=s), s * (i - 1) + k),
    13: lambda i, k, s, p, d: (
        transposed_output_size(i, k, stride=s, padding=(p, p)),
        s * (i - 1) + k - 2 * p,
    ),
    14: lambda i, k, s, p, d: (
        transposed_output_size(i, k, stride=s, padding=(p, p), output_padding=s - 1),
        s * (i - 1) + s - 1 + k - 2 * p,
    ),
    15: lambda i, k, s, p, d: (
        output_size(i, k, stride=s, padding=(p, p), dilation=d),
        (i + 2 * p - k - (k - 1) * (d - 1)) // s + 1,
    ),
}


@pytest.mark.parametrize("number", RELATIONSHIPS)
@given(k=kernels, s=steps, d=steps, extra=st.integers(0, 100), p=st.integers(0, 20))
def test_a_relationship_of_dumoulin_and_visin_holds(number, k, s, p, d, extra):
    i = d * k + 2 * p + 1 + extra  # large enough for every one of them
    ours, theirs = RELATIONSHIPS[number](i, k, s, p, d)
    assert ours == theirs


@pytest.mark.parametrize("case", LECTURES["output_sizes"])
def test_an_output_size_is_that_of_the_lectures(case):
    ours = output_shape(
        (case["size"],),
        case["kernel_size"],
        stride=case["stride"],
        padding=case["padding"],
        dilation=case["dilation"],
    )
    assert ours == (case["output"],)


@pytest.mark.parametrize("case", LECTURES["pointwise"])
def test_a_1x1_convolution_keeps_the_map(case):
    assert output_shape(case["sizes"], 1) == tuple(case["sizes"])


def test_the_misfit_of_the_lectures_is_floored():
    case = LECTURES["misfit"]
    size = output_size(case["size"], case["kernel_size"], stride=case["stride"])
    assert size == int(Fraction(case["exact"]))


@given(
    size=sizes,
    kernel=kernels,
    stride=steps,
    pads=st.tuples(steps, steps),
    dilation=steps,
)
def test_a_transposed_convolution_undoes_the_length(
    size, kernel, stride, pads, dilation
):
    arguments = {"stride": stride, "padding": pads, "dilation": dilation}
    outputs = length_of(output_size, size, kernel, **arguments)
    if outputs is None:
        return
    lost = (size + sum(pads) - dilation * (kernel - 1) - 1) % stride
    back = transposed_output_size(outputs, kernel, output_padding=lost, **arguments)
    assert back == size


def test_axes_are_independent():
    shape = output_shape(
        (30, 40, 50),
        (3, 5, 7),
        stride=(1, 2, 3),
        padding=((1, 1), (2, 0), (0, 3)),
        dilation=(2, 1, 3),
    )
    x = F.pad(torch.zeros(1, 1, 30, 40, 50), (0, 3, 2, 0, 1, 1))
    weight = torch.zeros(1, 1, 3, 5, 7)
    assert shape == F.conv3d(x, weight, None, (1, 2, 3), 0, (2, 1, 3)).shape[2:]
    shape = transposed_output_shape(
        (3, 4), (3, 5), stride=(1, 2), padding=(1, 2), output_padding=(0, 1)
    )
    x, weight = torch.zeros(1, 1, 3, 4), torch.zeros(1, 1, 3, 5)
    assert (
        shape == F.conv_transpose2d(x, weight, None, (1, 2), (1, 2), (0, 1)).shape[2:]
    )


def refusal(text):
    return pytest.raises(ArgumentError, match=f"^{re.escape(text)}$")


def test_a_kernel_that_does_not_fit_is_refused_with_what_would():
    with refusal(
        "output_size: kernel_size=7 with dilation=2 spans 13 elements, the input has "
        "10 (8 + padding 1 + 1). Use an input of at least 11, 2 more padding on each "
        "side, kernel_size at most 5, or dilation at most 1."
    ):
        output_size(8, 7, padding=(1, 1), dilation=2)


def test_an_axis_that_does_not_fit_is_named():
    with refusal(
        "features.0, width: kernel_size=5 spans 5 elements, the input has 4. Use an "
        "input of at least 5, 1 more padding on each side, or kernel_size at most 4."
    ):
        output_shape((5, 4), 5, where="features.0")


def test_an_output_that_is_cut_away_is_refused_with_what_would_be_left():
    with refusal(
        "transposed_output_size: padding=(3, 3) cuts 6 elements off an output of 5, "
        "which leaves -1. Use an input of at least 3, or padding of at most 4 in all."
    ):
        transposed_output_size(2, 3, stride=2, padding=(3, 3))
    assert transposed_output_size(3, 3, stride=2, padding=(3, 3)) == 1
    assert transposed_output_size(2, 3, stride=2, padding=(2, 2)) == 1


def test_an_output_padding_of_a_whole_stride_is_refused():
    with refusal(
        "transposed_output_size: output_padding=2 is not below stride=2 or dilation=1. "
        "Use output_padding at most 1."
    ):
        transposed_output_size(5, 3, stride=2, output_padding=2)


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True, None])
def test_a_stride_that_is_no_positive_integer_is_refused(value):
    with refusal(
        f"output_size: stride={value!r} is not an integer of at least 1. "
        "Use stride=1 or more."
    ):
        output_size(8, 3, stride=value)


def test_a_negative_padding_is_refused():
    with refusal(
        "output_size: padding=-1 is not an integer of at least 0. "
        "Use padding=0 or more."
    ):
        output_size(8, 3, padding=(0, -1))


def test_a_wrong_number_of_values_is_refused():
    with refusal(
        "Conv2d: stride=(1, 2, 3) has 3 values for 2 spatial axes. "
        "Give one integer, or 2."
    ):
        per_axis((1, 2, 3), 2, name="stride", where="Conv2d")


def test_an_unknown_ceil_mode_is_refused_with_the_nearest_name():
    with pytest.raises(
        UnknownNameError, match=r"^unknown ceil_mode 'onx'\. Did you mean 'onnx'\?$"
    ):
        output_size(8, 3, ceil_mode="onx")
    with pytest.raises(UnknownNameError, match=r"^unknown ceil_mode 'True'\. K"):
        output_size(8, 3, ceil_mode=True)


def test_a_padding_by_name_is_refused_in_a_transposed_convolution():
    with refusal(
        "transposed_output_shape: padding='same' is a name, which a transposed "
        "convolution does not take. Give numbers."
    ):
        transposed_output_shape((4, 4), 3, padding="same")
