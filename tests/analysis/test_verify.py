"""The real forward is run once, and says where the trace was wrong."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from convscope.analysis import check, summary
from convscope.analysis.operations import registry
from convscope.analysis.tracing import verify
from convscope.errors import ShapeError

SIZE = (3, 8, 8)


class Branching(nn.Module):
    """Another shape on tensors without values than on real ones."""

    def forward(self, x):
        return x if x.is_meta else x[..., 1:]


class OnlyWithoutValues(nn.Module):
    def forward(self, x):
        return x if x.is_meta else x.reshape(-1, 7)


def test_a_difference_is_reported():
    record = summary(Branching(), SIZE)
    assert "a real forward gives ((2, 3, 8, 7),) in Branching" in record.notes[0]
    with pytest.raises(ShapeError, match="a real forward gives"):
        check(Branching(), SIZE)


def test_what_torch_refuses_with_values_is_refused():
    for ask in (check, summary):
        with pytest.raises(ShapeError, match="reshape"):
            ask(OnlyWithoutValues(), SIZE)


def test_a_wrong_rule_is_noticed(monkeypatch):
    row = registry.by_torch("convolution")
    wrong = replace(row, shape=lambda a: torch.empty(2, 4, 5, 5, device="meta"))
    monkeypatch.setitem(registry._BY_TORCH, "convolution", wrong)
    with pytest.raises(ShapeError, match="a real forward gives"):
        check(nn.Conv2d(3, 4, 3), SIZE)


def test_a_network_that_costs_much_is_not_run(monkeypatch):
    monkeypatch.setattr(verify, "CHEAP", 10)
    assert summary(nn.Sequential(nn.Conv2d(3, 4, 3), Branching()), SIZE).notes == ()


def test_what_only_zeros_cannot_do_is_not_refused():
    class Inverse(nn.Module):
        def forward(self, x):
            return torch.linalg.inv(x)

    check(Inverse(), (1, 4, 4))
