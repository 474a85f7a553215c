"""Networks of several outputs: one is chosen, others are trained with it."""

import collections
import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope.data import load
from convscope.errors import ArgumentError, ShapeError, TrainingError
from convscope.train import Run, fit, resume
from convscope.train.classification import Heads, heads_of
from convscope.train.training.events import EpochEnded

Pair = collections.namedtuple("Pair", "logits aux")


@dataclasses.dataclass
class Record:
    logits: torch.Tensor
    aux: torch.Tensor


FORMS = {
    "dict": (lambda a, b: {"logits": a, "aux": b}, "logits", "aux"),
    "tuple": (lambda a, b: (a, b), 0, 1),
    "list": (lambda a, b: [a, b], 0, 1),
    "named tuple": (Pair, "logits", "aux"),
    "named tuple by position": (Pair, 0, 1),
    "dataclass": (Record, "logits", "aux"),
}


class Two(nn.Module):
    """A network of two heads; the second perhaps only in training."""

    def __init__(self, form, *, only_in_training=False):
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(144, 9), nn.ReLU())
        self.main, self.side = nn.Linear(9, 3), nn.Linear(9, 3)
        self.form, self.only_in_training = form, only_in_training

    def forward(self, x):
        x = self.trunk(x)
        if self.only_in_training and not self.training:
            return self.main(x)
        return self.form(self.main(x), self.side(x))


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("only", [False, True], ids=["always", "only in training"])
def test_the_output_that_is_named_is_trained_and_judged(tiny, tmp_path, kind, only):
    form, main, side = FORMS[kind]
    net = Two(form, only_in_training=only)
    run = fit(net, tiny, epochs=6, batch_size=8, output=main, auxiliary={side: 0.3},
              listeners=(), folder=tmp_path / "run")  # fmt: skip
    assert run.evaluate(tiny).accuracy > 0.8
    again = Run.load(tmp_path / "run", net=Two(form, only_in_training=only))
    assert again.evaluate(tiny).to_dict() == run.evaluate(tiny).to_dict()


def test_an_auxiliary_head_learns_and_without_a_weight_it_does_not(tiny):
    for auxiliary in ({"aux": 0.5}, {}):
        net = Two(FORMS["dict"][0])
        before = net.side.weight.detach().clone()
        fit(net, tiny, epochs=1, output="logits", auxiliary=auxiliary, listeners=(),
            weight_decay=0)  # fmt: skip
        assert torch.equal(before, net.side.weight) != bool(auxiliary)


def test_the_loss_is_the_sum_by_weights():
    a, b, y = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    found = heads_of("logits", {"aux": 0.3}).loss({"logits": a, "aux": b}, y)
    expected = F.cross_entropy(a, y) + 0.3 * F.cross_entropy(b, y)
    assert torch.equal(found, expected)
    assert torch.equal(Heads().loss(a, y), F.cross_entropy(a, y))


def test_a_run_of_several_outputs_is_gone_on_with(tiny, tmp_path):
    def stop(event):
        if isinstance(event, EpochEnded):
            raise KeyboardInterrupt

    form = FORMS["dict"][0]
    how = {"epochs": 2, "output": "logits", "auxiliary": {"aux": 0.3}}
    whole = fit(Two(form), tiny, listeners=(), **how)
    with pytest.raises(KeyboardInterrupt):
        fit(Two(form), tiny, folder=tmp_path / "run", listeners=[stop], **how)
    run = resume(tmp_path / "run", data=tiny, net=Two(form), listeners=())
    for name, tensor in whole.net.state_dict().items():
        assert torch.equal(tensor, run.net.state_dict()[name]), name


def test_several_outputs_without_a_choice_are_refused_with_their_names(tiny):
    with pytest.raises(ShapeError) as error:
        fit(Two(FORMS["dict"][0]), tiny, epochs=1, listeners=())
    assert str(error.value) == (
        "fit: the network gives a dict of 'logits' (2, 3), 'aux' (2, 3). Say which one "
        "is for the classes, such as output='logits'; others may be trained with it: "
        "auxiliary={name: weight}."
    )


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"output": "logit"}, ShapeError,
         "fit: output='logit' is no tensor that the network gives; it gives a dict of "
         "'logits' (2, 3), 'aux' (2, 3)."),
        ({"output": "logits", "auxiliary": {"aux": 0}}, ArgumentError,
         "fit: auxiliary['aux']=0.0 must be positive."),
        ({"auxiliary": {"aux": 1}}, ArgumentError,
         "fit: auxiliary names 'aux', but output=None. Name another output as the one "
         "for the classes."),
    ],
)  # fmt: skip
def test_what_cannot_be_chosen_is_refused(tiny, options, kind, text):
    with pytest.raises(kind) as error:
        fit(Two(FORMS["dict"][0]), tiny, epochs=1, listeners=(), **options)
    assert str(error.value) == text


def test_a_network_that_is_frozen_all_over_is_refused(tiny, tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(144, 3)).requires_grad_(False)
    with pytest.raises(TrainingError) as error:
        fit(net, tiny, epochs=1, listeners=(), folder=tmp_path / "run")
    assert str(error.value) == (
        "fit: the network cannot be trained: all 2 parameters are frozen. Let some ask "
        "for a gradient (p.requires_grad_())."
    )
    assert not (tmp_path / "run").exists()


def test_layers_held_in_lists_and_used_by_their_weights_are_trained(tiny):
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = nn.ParameterList([nn.Parameter(torch.randn(3, 144) / 12)])
            self.scale = nn.Linear(3, 3)

        def forward(self, x):
            x = F.linear(x.flatten(1), self.weights[0])
            return F.linear(x, self.scale.weight, self.scale.bias)

    net = Bare()
    before = net.weights[0].detach().clone()
    fit(net, tiny, epochs=1, listeners=())
    assert not torch.equal(before, net.weights[0])


def test_a_distribution_is_trained_by_its_logits():
    class Law(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(64, 10)

        def forward(self, x):
            return torch.distributions.Categorical(logits=self.out(x.flatten(1)))

    digits = load("digits")
    with pytest.raises(ShapeError, match=r"gives a Categorical\. .*output='logits'"):
        fit(Law(), digits, epochs=1, listeners=())
    run = fit(Law(), digits, epochs=1, listeners=(), output="logits")
    assert run.evaluate().accuracy > 0.5
