"""The search for a learning rate finds one, and leaves all else as it was."""

import copy
import json

import pytest
import torch
from torch import nn

from convscope.errors import ArgumentError, ShapeError, TrainingError
from convscope.train.recipe import Recipe
from convscope.train.training.fitting import fit
from convscope.train.training.learning_rate_search import find_rate

SMALL = Recipe(batch_size=16)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3),
        nn.Flatten(), nn.Linear(400, 3),
    )  # fmt: skip


def test_weights_buffers_flags_and_random_numbers_are_as_before(tiny):
    net = network()
    net[0].eval()
    net[5].weight.requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    flags = [m.training for m in net.modules()]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    find_rate(net, tiny, SMALL, steps=20)
    assert torch.equal(torch.rand(3), expected)
    assert [m.training for m in net.modules()] == flags
    assert all(p.grad is None for p in net.parameters())
    assert not net[5].weight.requires_grad
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_rates_rise_by_a_constant_factor_between_the_limits(tiny):
    found = find_rate(network(), tiny, SMALL, steps=11, lowest=1e-6, highest=1e-4)
    assert found.rates[0] == 1e-6
    assert found.rates[-1] == pytest.approx(1e-4)
    factors = [b / a for a, b in zip(found.rates, found.rates[1:], strict=False)]
    assert factors == [pytest.approx(100**0.1)] * 10
    assert len(found.losses) == 11


def test_the_search_ends_when_the_loss_explodes(tiny):
    found = find_rate(network(), tiny, SMALL, steps=100, highest=1e6)
    assert len(found.rates) < 100
    assert all(loss < 1e3 for loss in found.losses)


def test_the_suggestion_is_a_tenth_of_the_best_and_trains_well(tiny):
    found = find_rate(network(), tiny, SMALL)
    best = found.rates[found.losses.index(min(found.losses))]
    assert found.suggestion == pytest.approx(best / 10, rel=0.06)  # two digits
    run = fit(
        network(), tiny, SMALL, listeners=(), epochs=8, learning_rate=found.suggestion
    )
    assert run.history[-1]["val_accuracy"] > 0.9


@pytest.mark.parametrize(
    "changes",
    [{"balance": "weights"}, {"balance": "sampling"}, {"clip_norm": 0.01},
     {"label_smoothing": 0.2}, {"optimizer": "adamw"}],
)  # fmt: skip
def test_everything_but_the_rate_is_taken_from_the_recipe(set_of, changes):
    data = set_of((30, 10, 8))
    plain = find_rate(network(), data, SMALL, steps=30)
    other = find_rate(network(), data, SMALL.with_changes(changes), steps=30)
    assert plain.losses != other.losses


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"steps": 9}, "find_rate: steps=9 must be at least 10."),
        (
            {"lowest": 1.0, "highest": 0.1},
            "find_rate: lowest=1.0 must be above 0 and below highest=0.1.",
        ),
    ],
)
def test_a_search_that_cannot_be_made_is_refused(tiny, options, text):
    with pytest.raises(ArgumentError) as error:
        find_rate(network(), tiny, SMALL, **options)
    assert str(error.value) == text


def test_a_loss_that_is_never_finite_is_said(tiny):
    net = network()
    net[5].weight.data.fill_(float("nan"))
    with pytest.raises(TrainingError) as error:
        find_rate(net, tiny, SMALL)
    assert str(error.value) == (
        "find_rate: the loss is nan at the lowest rate 1e-05. Check the data and the "
        "network's first weights."
    )


def test_the_command_shows_it_and_makes_no_run(convscope, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("train", "digits", "--model", "softmax_regression", "--find-lr")
    outcome = convscope(*arguments)
    assert outcome.code == 0, outcome.err
    last = outcome.out.splitlines()[-1]
    assert last.startswith("suggested: --learning-rate ")
    assert max(map(len, outcome.out.splitlines())) <= 80
    found = json.loads(convscope(*arguments, "--json").out)
    assert set(found) == {"rates", "losses", "suggestion"}
    assert last.endswith(f" {found['suggestion']:g}")
    assert list(tmp_path.iterdir()) == []


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = network()
        self.other = nn.Linear(100, 3)

    def forward(self, x):
        return {"logits": self.body(x), "aux": self.other(x.flatten(1)[:, :100])}


def test_the_output_that_counts_is_chosen_and_others_are_weighted(tiny):
    net = TwoHeads()
    chosen = find_rate(net, tiny, SMALL, steps=20, output="logits")
    both = find_rate(
        net, tiny, SMALL, steps=20, output="logits", auxiliary={"aux": 100.0}
    )
    assert both.losses[0] > 50 * chosen.losses[0]
    with pytest.raises(ShapeError, match="Say which one is for the classes"):
        find_rate(net, tiny, SMALL, steps=20)
