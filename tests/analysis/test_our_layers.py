"""A summary knows every layer of ours: what it sees, held to the gradient's support."""

import importlib
from pathlib import Path

import pytest
import torch
from torch import nn

from convscope.analysis import effective_receptive_field, summary

FOLDER = Path(__file__).parents[1] / "contracts" / "layer_cases"
CASES = [
    case
    for path in sorted(FOLDER.glob("*.py"))
    for case in importlib.import_module(f"contracts.layer_cases.{path.stem}").CASES
]
# Whose windows are drawn at random, whose second input is made within the case, whose
# columns are no axis of space, whose statistics span the map: fields leave them out.
UNSEEN = (
    "FractionalMaxPool", "MaxUnpool", "Unfold", "Fold",
    "GroupNorm", "InstanceNorm", "LayerNorm",
)  # fmt: skip


def net_of(case):
    torch.manual_seed(0)
    return nn.Sequential(case.make()).eval()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_gradient_reaches_what_arithmetic_says(case):
    if len(case.input) < 3 or case.name.startswith(UNSEEN):
        pytest.skip("no window along an axis")
    field = effective_receptive_field(net_of(case), case.input[1:], samples=16)
    assert field.theory is not None
    for (first, last), (low, high) in zip(field.support, field.theory, strict=True):
        assert low <= first <= last <= high
    if "LocalResponseNorm" not in case.name:  # its threshold may leave a place alone
        assert field.support == field.theory


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_shapes_and_parameters_are_those_of_the_contract(case):
    counted = summary(net_of(case), case.input[1:])
    assert counted.rows[-1].output_shape == case.output[1:]
    assert counted.parameters == case.parameters
