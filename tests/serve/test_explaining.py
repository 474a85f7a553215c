"""Explanations as the page gets them, against torch's own softmax in float64."""

import pytest
import torch
from torch import nn

from convscope.errors import ArgumentError
from convscope.serve.cards import Card
from convscope.serve.explaining import explanation

LAST = Card(3, "", "softmax", "softmax: probabilities", (4,), (2,), 3, 0, "sequential")


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 4)).eval()


@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_a_probability_is_explained_down_to_the_logits(net, temperature):
    x = torch.randn(1, 1, 3, 3)
    record = explanation(net, x, LAST, 2, (), temperature)
    logits = net.double()(x.double())[0]
    wanted = torch.softmax(logits / temperature, 0)[2].item()
    assert record["value"] == pytest.approx(wanted, abs=1e-6)
    labels = [step["label"] for step in record["steps"]]
    divided = ["temperature"] if temperature != 1 else []
    assert labels == ["1", *divided, "softmax"]
    for step in record["steps"]:
        begins = f"{step['label']} = {step['kind']}, "
        assert any(line.startswith(begins) for line in record["lines"])


def test_the_input_is_not_explained(net):
    start = Card(0, "input", "input", "input", (1, 3, 3), (), 0, 0, "picture")
    with pytest.raises(ArgumentError) as caught:
        explanation(net, torch.zeros(1, 1, 3, 3), start, 0, (1, 1))
    assert str(caught.value) == (
        "play: the input is not computed, so nothing explains it. Choose a layer's "
        "unit."
    )
