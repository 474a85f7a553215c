import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from convscope.arithmetic import (
    chain_sizes,
    compare_connectivity,
    convolution_multiply_adds,
    convolution_parameters,
    convolutional_weights,
    fully_connected_weights,
    inference_activation_bytes,
    linear_multiply_adds,
    linear_parameters,
    locally_connected_weights,
    norm_buffers,
    norm_parameters,
    output_shape,
    training_activation_bytes,
    weight_bytes,
    windows,
)
from convscope.arithmetic.chain import Window
from convscope.errors import ArgumentError, ShapeError

LECTURES = json.loads(
    (Path(__file__).parents[1] / "golden" / "lectures.json").read_text()
)


def counted(module):
    return sum(parameter.numel() for parameter in module.parameters())


CONVOLUTIONS = [
    (torch.nn.Conv1d, 6, 4, (3,), 2, True),
    (torch.nn.Conv2d, 3, 10, (5, 5), 1, True),
    (torch.nn.Conv2d, 8, 8, (3, 2), 8, False),
    (torch.nn.Conv3d, 4, 6, (1, 2, 3), 2, True),
    (torch.nn.ConvTranspose1d, 6, 4, (3,), 2, False),
    (torch.nn.ConvTranspose2d, 4, 6, (4, 3), 1, True),
    (torch.nn.ConvTranspose3d, 6, 9, (2, 2, 1), 3, True),
]


def check_parameters(formula):
    for kind, inputs, outputs, kernel, groups, bias in CONVOLUTIONS:
        module = kind(inputs, outputs, kernel, groups=groups, bias=bias)
        ours = formula(inputs, outputs, kernel, groups=groups, bias=bias)
        assert ours == counted(module), module


def check_multiply_adds(formula):
    for kind, inputs, outputs, kernel, groups, bias in CONVOLUTIONS:
        module = kind(inputs, outputs, kernel, groups=groups, bias=bias, stride=2)
        x = torch.zeros(1, inputs, *(7, 8, 9)[: len(kernel)])
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            y = module(x)
        positions = x.shape[2:] if "Transpose" in kind.__name__ else y.shape[2:]
        ours = formula(inputs, outputs, kernel, positions, groups=groups)
        # torch counts a multiplication and an addition for each product
        assert 2 * ours == counter.get_total_flops(), module


def test_parameters_of_every_convolution_are_those_torch_makes():
    check_parameters(convolution_parameters)


def test_multiply_adds_of_every_convolution_are_half_of_the_flops_torch_counts():
    check_multiply_adds(convolution_multiply_adds)


def test_the_checks_of_costs_reject_a_planted_mistake():
    with pytest.raises(AssertionError):
        check_parameters(lambda i, o, k, *, groups, bias: o * i * k[0] + o * bias)
    with pytest.raises(AssertionError):
        check_parameters(
            lambda i, o, k, *, groups, bias: convolution_parameters(
                i, o, k, groups=groups
            )
        )
    with pytest.raises(AssertionError):
        check_multiply_adds(
            lambda i, o, k, n, *, groups: convolution_multiply_adds(i, o, k, n)
        )
    with pytest.raises(AssertionError):
        check_multiply_adds(
            lambda i, o, k, n, *, groups: (
                convolution_multiply_adds(i, o, k, n, groups=groups) + o
            )
        )


def test_every_tap_counts_also_on_padding():
    table = windows(6, 3, padding=(2, 2), stride=2)
    assert convolution_multiply_adds(1, 1, (3,), (len(table),)) == sum(map(len, table))


def test_other_layers_have_the_parameters_torch_makes():
    assert linear_parameters(5, 7) == counted(torch.nn.Linear(5, 7))
    assert linear_parameters(5, 7, bias=False) == 35
    norm = torch.nn.BatchNorm2d(6)
    assert norm_parameters(6) == counted(norm)
    assert norm_buffers(6) == sum(buffer.numel() for buffer in norm.buffers())
    assert norm_parameters(6, affine=False) == 0
    assert norm_buffers(6, track_running_stats=False) == 0
    assert linear_multiply_adds(5, 7, positions=3) == 105
    assert weight_bytes(10, element_bytes=2) == 20


def test_the_convolution_of_the_lectures():
    case = LECTURES["convolution"]
    channels = case["in_channels"], case["out_channels"], case["kernel_size"]
    maps = output_shape(case["sizes"], case["kernel_size"], padding=case["padding"])
    assert convolution_parameters(*channels) == case["parameters"]
    assert convolution_multiply_adds(*channels, maps) == case["multiply_adds"]


def test_the_digit_page_of_the_lectures():
    case = LECTURES["digit_page"]
    kernel, pool = case["kernel_size"], case["pool"]
    parameters = sum(linear_parameters(*pair) for pair in case["linear"]) + sum(
        convolution_parameters(**layer, kernel_size=(kernel, kernel))
        for layer in case["convolutions"]
    )
    assert parameters == case["parameters"]
    layers = [Window(kernel), Window(pool, stride=pool)] * 2
    assert chain_sizes(layers, case["size"]) == tuple(case["sizes"])


def test_the_three_ways_to_connect_of_the_lectures():
    case = LECTURES["connectivity"]
    inputs = outputs = 200 * 200
    assert fully_connected_weights(inputs, outputs) == case["fully_connected"]
    patch = case["kernel_size"]
    assert locally_connected_weights(outputs, patch) == case["locally_connected"]
    assert convolutional_weights(case["filters"], patch) == case["convolutional"]
    photograph = LECTURES["photograph"]
    values = photograph["values"]
    assert fully_connected_weights(values, values) == photograph["fully_connected"]


def test_the_same_map_connected_in_three_ways():
    compared = compare_connectivity(2, 3, (6, 7), (3, 2), padding="valid")
    linear = torch.nn.Linear(2 * 6 * 7, 3 * 4 * 6, bias=False)
    convolution = torch.nn.Conv2d(2, 3, (3, 2), bias=False)
    assert (compared.inputs, compared.outputs) == (2 * 6 * 7, 3 * 4 * 6)
    assert compared.fully_connected == counted(linear)
    assert compared.convolutional == counted(convolution)
    assert compared.locally_connected == counted(convolution) * 4 * 6


graphs = st.lists(
    st.tuples(st.integers(0, 50), st.sets(st.integers(0, 7), max_size=3)),
    min_size=1,
    max_size=8,
)


@given(graph=graphs)
def test_the_peak_of_inference_is_that_of_freeing_step_by_step(graph):
    elements = [size for size, _ in graph]
    inputs = [
        sorted(s for s in sources if s < p) for p, (_, sources) in enumerate(graph)
    ]
    alive, peak = set(), 0
    for place in range(len(elements)):
        alive.add(place)
        peak = max(peak, sum(elements[one] for one in alive))
        needed = {source for later in inputs[place + 1 :] for source in later}
        alive &= needed | {len(elements) - 1}
    assert inference_activation_bytes(elements, inputs, element_bytes=1) == peak


@given(elements=st.lists(st.integers(1, 100), min_size=2, max_size=8))
def test_a_chain_needs_its_largest_neighbors_at_once(elements):
    peak = max(a + b for a, b in pairwise(elements))
    assert inference_activation_bytes(elements) == 4 * peak
    assert training_activation_bytes(elements, element_bytes=2) == 2 * sum(elements)
    assert inference_activation_bytes([]) == 0


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: convolution_parameters(6, 8, (3,), groups=4),
            ShapeError,
            "convolution: in_channels=6 is not a multiple of groups=4. Use 4 or 8 "
            "channels, or groups that divide both numbers of channels.",
        ),
        (
            lambda: convolution_multiply_adds(4, 2, (3,), (8,), groups=4),
            ShapeError,
            "convolution: out_channels=2 is not a multiple of groups=4. Use 4 "
            "channels, or groups that divide both numbers of channels.",
        ),
        (
            lambda: convolution_parameters(0, 8, (3,)),
            ArgumentError,
            "convolution: in_channels=0 is not an integer of at least 1. "
            "Use in_channels=1 or more.",
        ),
        (
            lambda: inference_activation_bytes([1, 2], [[]]),
            ArgumentError,
            "inference_activation_bytes: inputs has 1 entries for 2 activations. "
            "Give one for each.",
        ),
        (
            lambda: inference_activation_bytes([1, 2], [[1], []]),
            ArgumentError,
            "inference_activation_bytes: inputs[0] names 1, which is not made before "
            "it. List activations in the order in which they are made.",
        ),
    ],
)
def test_a_wrong_argument_is_refused_with_what_to_do(call, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        call()
