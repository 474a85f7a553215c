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
# Whose windows are drawn at random, and whose second input is made within the case.
UNSEEN = ("FractionalMaxPool", "MaxUnpool")
# Statistics of the whole map, which receptive fields leave out (a note says so).
OVER_SPACE = ("GroupNorm", "LayerNorm", "InstanceNorm")
# Columns of patches: a dimension is both places and taps, of which nothing is claimed.
NOT_CLAIMED = ("Unfold", "Fold")


def net_of(case):
    torch.manual_seed(0)
    return nn.Sequential(case.make()).eval()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_gradient_reaches_what_arithmetic_says(case):
    if len(case.input) < 3 or case.name.startswith(UNSEEN):
        pytest.skip("no window along an axis")
    tracked = case.name.endswith(", affine")  # its statistics are of earlier batches
    if case.name.startswith(OVER_SPACE) and not tracked:
        notes = summary(net_of(case), case.input[1:]).notes
        assert any("statistics of the whole map" in note for note in notes)
        return
    field = effective_receptive_field(net_of(case), case.input[1:], samples=16)
    if case.name.startswith(NOT_CLAIMED):
        assert field.theory is None
        return
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
