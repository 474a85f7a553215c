"""The builder's row is the network that its own Python makes."""

import random
from typing import Any

import pytest
import torch

import convscope as cs
from convscope.errors import ArgumentError
from convscope.serve.workshop.builder import Plan, built, network


def plan(*layers: Any, size: Any = (1, 8, 8), classes: int = 10) -> Plan:
    return Plan.model_validate({"input": size, "classes": classes, "layers": layers})


def drawn(seed: int) -> Plan:
    rng = random.Random(seed)
    kinds: list[dict[str, Any]] = [
        {"kind": "convolution", "filters": rng.choice([2, 4]), "kernel": 3},
        {"kind": "convolution", "stride": 2, "padding": 1, "dilation": 2},
        {"kind": "max pooling"},
        {"kind": "average pooling", "kernel": 3, "stride": 1, "padding": 1},
        {"kind": "ReLU"}, {"kind": "batch norm"}, {"kind": "dropout"},
        {"kind": "Tanh"},
    ]  # fmt: skip
    layers = [rng.choice(kinds) for _ in range(rng.randint(1, 6))]
    layers += rng.choice(
        [[{"kind": "flatten"}], [{"kind": "global average pooling"}], []]
    )
    layers += rng.choice([[{"kind": "linear", "features": 10}], []])
    axes = rng.choice([1, 2, 3])
    return plan(*layers, size=(rng.choice([1, 3]), *(rng.randint(5, 12),) * axes))


@pytest.mark.parametrize("seed", range(40))
def test_shapes_and_costs_are_those_of_the_network_that_is_copied(seed: int) -> None:
    chosen = drawn(seed)
    found = built(chosen)
    if found["python"] is None:
        assert any(row["problem"] for row in found["layers"])
        return
    names: dict[str, Any] = {"print": lambda _: None}
    exec(found["python"], names)  # noqa: S102  what the page offers to copy
    net = names["net"].eval()
    x = torch.zeros(1, *chosen.input)
    for row, module in zip(found["layers"], net, strict=True):
        x = module(x)
        assert row["shape"] == list(x.shape[1:])
        assert row["parameters"] == sum(p.numel() for p in module.parameters())
    record = cs.summary(net, chosen.input)
    assert found["parameters"] == record.parameters
    assert found["multiply_adds"] == record.multiply_adds
    assert found["works"] is (tuple(x.shape[1:]) == (10,))


def test_a_layer_that_leaves_elements_out_is_told_and_its_remedy_mends_it() -> None:
    stride = {"kind": "convolution", "kernel": 3, "stride": 3}
    problem = built(plan(stride, size=(1, 7, 7)))["layers"][0]["problem"]
    assert problem["works"]
    assert "7x7 with 3x3 and stride 3 does not fit" in problem["message"]
    for one in problem["remedies"]:
        after = built(plan({**stride, **one["change"]}, size=(1, 7, 7)))
        assert after["layers"][0]["problem"] is None


def test_a_window_that_is_too_large_ends_the_row_there() -> None:
    found = built(plan({"kind": "ReLU"}, {"kind": "convolution", "kernel": 9},
                       {"kind": "ReLU"}))  # fmt: skip
    before, here, behind = found["layers"]
    assert before["shape"] == [1, 8, 8]
    assert not here["problem"]["works"]
    assert behind["shape"] is behind["problem"] is None
    assert not found["works"]


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([{"kind": "linear"}], "Put flatten before it"),
        ([{"kind": "flatten"}, {"kind": "convolution"}], "needs maps"),
        ([{"kind": "flatten"}, {"kind": "linear", "features": 3}], "10 features"),
        ([], "End with a fully connected layer"),
        ([{"kind": "flatten"}, {"kind": "linear", "features": 4096},
          {"kind": "linear", "features": 4096}, {"kind": "linear"}],
         "more than a page trains"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(layers: list[Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        network(plan(*layers))
