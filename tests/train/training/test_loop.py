"""What a step, an epoch and a whole training do, against plain computations."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from convscope.errors import NotFiniteError, TrainingError
from convscope.execution import Setting, choose
from convscope.train.recipe import Recipe
from convscope.train.training.events import EpochEnded, Finished, Started, Stepped
from convscope.train.training.loop import Training
from convscope.train.training.schedule import rate

PLAIN = Recipe(
    epochs=1, batch_size=48, momentum=0.0, nesterov=False, weight_decay=0.0,
    schedule="constant", learning_rate=0.1,
)  # fmt: skip


def linear(data):
    torch.manual_seed(0)
    inputs = math.prod(data.input_shape)
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, len(data.classes)))


def training(data, recipe=PLAIN, net=None, **changes):
    net = linear(data) if net is None else net
    return Training(net, data, recipe.with_changes(changes), choose(net, device="cpu"))


def softmax(scores):
    raised = np.exp(scores - scores.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def inputs(data, part="train"):
    """(N, pixels) float64 and labels."""
    samples = data.parts[part]
    mean, std = data.preprocessing.mean[0], data.preprocessing.std[0]
    pixels = samples.pixels.flatten(1).double().numpy() / 255
    return (pixels - mean) / std, samples.labels.numpy()


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("balance", ["none", "weights"])
def test_one_step_on_all_images_is_gradient_descent_by_hand(set_of, smoothing, balance):
    data = set_of((30, 12, 6))
    x, y = inputs(data)
    net = linear(data)
    weight, bias = (p.detach().double().numpy() for p in net[1].parameters())

    probability = softmax(x @ weight.T + bias)
    wanted = np.eye(3)[y] * (1 - smoothing) + smoothing / 3
    counts = np.bincount(y)
    per_class = len(y) / (3 * counts) if balance == "weights" else np.ones(3)
    share = per_class[y] / per_class[y].sum()
    # With weights w, torch's smoothed loss counts class k with w[k] in each term.
    terms = wanted * per_class / per_class[y].sum()
    loss = -(terms * np.log(probability)).sum()
    slope = probability * terms.sum(1, keepdims=True) - terms
    assert smoothing or np.allclose(terms.sum(1), share)

    one = training(
        data, net=net, label_smoothing=smoothing, balance=balance, batch_size=48
    )
    epoch = next(e for e in one.run() if isinstance(e, EpochEnded))
    # float32 with sums of 144 terms of size 1: 144 * 2**-24 = 1e-5 at the most
    assert epoch.train_loss == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(
        net[1].weight.detach(), weight - 0.1 * slope.T @ x, atol=1e-5
    )
    np.testing.assert_allclose(
        net[1].bias.detach(), bias - 0.1 * slope.sum(0), atol=1e-5
    )


def test_validation_is_that_of_the_network_at_the_end_of_the_epoch(set_of):
    data = set_of((20, 20, 20), val=(70, 80, 150))  # more than one batch of 256
    one = training(data, learning_rate=0.01, epochs=2, batch_size=20)
    rows = [e for e in one.run() if isinstance(e, EpochEnded)]
    x, y = inputs(data, "val")
    weight, bias = (p.detach().double().numpy() for p in one.net[1].parameters())
    probability = softmax(x @ weight.T + bias)
    loss = -np.log(probability[np.arange(len(y)), y]).mean()
    assert rows[-1].val_loss == pytest.approx(loss, rel=1e-5)
    assert rows[-1].val_accuracy == (probability.argmax(1) == y).mean()


def test_without_validation_images_nothing_is_measured(set_of):
    one = training(set_of(val=()), epochs=2)
    rows = [e for e in one.run() if isinstance(e, EpochEnded)]
    assert [(row.val_loss, row.val_accuracy) for row in rows] == [(None, None)] * 2


def test_the_average_of_weights_is_that_of_a_plain_loop(tiny):
    one = training(tiny, batch_size=8, epochs=3, ema=0.7)
    average = None
    for event in one.run():
        if isinstance(event, Stepped):
            now = one.net[1].weight.detach().double().clone()
            average = now if average is None else 0.7 * average + 0.3 * now
    # the average is kept in float32: one rounding for each of 18 steps
    torch.testing.assert_close(
        one.net[1].weight.detach().double(), average, atol=18 * 2e-7, rtol=0
    )


def test_the_average_is_what_is_validated(tiny):
    one = training(tiny, batch_size=8, epochs=1, ema=0.9)
    row = next(e for e in one.run() if isinstance(e, EpochEnded))
    x, y = inputs(tiny, "val")
    weight, bias = (
        p.detach().double().numpy() for p in one.average.module[1].parameters()
    )
    loss = -np.log(softmax(x @ weight.T + bias)[np.arange(len(y)), y]).mean()
    assert row.val_loss == pytest.approx(loss, rel=1e-5)


def moved(data, **changes):
    """How far one step moves all parameters together."""
    one = training(data, learning_rate=1.0, **changes)
    before = [p.detach().clone() for p in one.net.parameters()]
    list(one.run())
    after = one.net.parameters()
    steps = [(b - a.detach()).norm() for b, a in zip(before, after, strict=True)]
    return torch.stack(steps).norm().item()


def test_a_gradient_longer_than_the_limit_is_cut_to_it(tiny):
    free = moved(tiny)
    assert free > 0.5
    assert moved(tiny, clip_norm=0.5) == pytest.approx(0.5, rel=1e-4)
    assert moved(tiny, clip_norm=100.0) == free


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_weight_decay_spares_what_has_one_axis(tiny, optimizer):
    """Biases and norms that no gradient reaches stay as they are."""
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(400, 3)
    )
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.5)
    net[3].register_forward_hook(lambda _m, _i, out: out * 0)
    one = training(
        tiny, net=net, optimizer=optimizer, weight_decay=0.1, learning_rate=0.1
    )
    list(one.run())
    for name, parameter in net.named_parameters():
        # 1 step; Muon and Adam divide 0 by 0 + epsilon, so only decay moves weights
        expected = 0.5 * (1 - 0.1 * 0.1) if parameter.ndim > 1 else 0.5
        assert torch.allclose(parameter, torch.tensor(expected)), name


def overlapping(set_of):
    """190 dark and 10 slightly brighter images: 3 standard deviations between them."""
    data = set_of((190, 10), val=(200, 200))
    rng = np.random.default_rng(0)

    def redrawn(part):
        noise = rng.normal(100, 40, part.pixels.shape)
        noise += 10 * part.labels.numpy()[:, None, None, None]
        pixels = torch.from_numpy(noise.clip(0, 255).astype(np.uint8))
        return type(part)(pixels, part.labels, part.names)

    return data.replace(train=redrawn(data.train), val=redrawn(data.val))


def recall_of_the_rare(data, balance):
    one = training(data, balance=balance, epochs=10, batch_size=20, learning_rate=0.002)
    list(one.run())
    x, y = inputs(data, "val")
    weight, bias = (p.detach().double().numpy() for p in one.net[1].parameters())
    return ((x @ weight.T + bias).argmax(1) == y)[y == 1].mean()


def test_a_rare_class_is_found_more_often_when_classes_are_balanced(set_of):
    data = overlapping(set_of)
    neglected = recall_of_the_rare(data, "none")
    assert neglected < 0.4
    assert recall_of_the_rare(data, "weights") > neglected + 0.1
    assert recall_of_the_rare(data, "sampling") > neglected + 0.1


def contradicted(set_of):
    """Validation images whose labels are all wrong: the val loss only rises."""
    data = set_of()
    wrong = (data.val.labels + 1) % 3
    return data.replace(val=type(data.val)(data.val.pixels, wrong, data.val.names))


def test_patience_stops_and_keeps_the_weights_of_the_best_epoch(set_of):
    data = contradicted(set_of)
    one = training(data, epochs=50, patience=3, batch_size=16)
    events = list(one.run())
    losses = [e.val_loss for e in events if isinstance(e, EpochEnded)]
    assert losses == sorted(losses)
    assert len(losses) == 4
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == "no better val loss for 3 epochs"
    assert finished.chosen_epoch == 1
    short = training(data, epochs=1, batch_size=16)
    list(short.run())
    for name, tensor in short.net.state_dict().items():
        assert torch.equal(tensor, one.net.state_dict()[name]), name


def falling(set_of, **changes):
    """Trained so that validation is best early: the rate of the end spoils it."""
    data = contradicted(set_of)
    one = training(data, epochs=3, batch_size=16, **changes)
    return one, list(one.run())[-1]


@pytest.mark.parametrize("keep", ["auto", "best"])
def test_the_weights_of_the_epoch_that_validates_best_are_kept(set_of, keep):
    one, finished = falling(set_of, keep=keep)
    rows = one.position.history
    best = max(rows, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    assert finished.chosen_epoch == best["epoch"] < 3
    assert one._validate() == (best["val_loss"], best["val_accuracy"])


@pytest.mark.parametrize(
    "changes", [{"keep": "last"}, {"ema": 0.5}, {"lookahead": 2}], ids=str
)
def test_the_last_weights_are_kept_if_asked_for_or_averaged(set_of, changes):
    one, finished = falling(set_of, **changes)
    assert (finished.chosen_epoch, one.best) == (None, {})


def test_averaged_weights_are_chosen_from_if_asked_for(set_of):
    assert falling(set_of, keep="best", ema=0.5)[1].chosen_epoch is not None


def test_of_epochs_as_accurate_the_one_of_the_lowest_loss_is_kept(tiny):
    one = training(tiny, epochs=8, batch_size=16)
    finished = list(one.run())[-1]
    rows = one.position.history
    most = max(row["val_accuracy"] for row in rows)
    same = [row for row in rows if row["val_accuracy"] == most]
    best = min(same, key=lambda row: row["val_loss"])["epoch"]
    assert len(same) > 1
    assert finished.chosen_epoch == (None if best == 8 else best)


def test_the_best_cannot_be_kept_without_validation_images(set_of):
    with pytest.raises(TrainingError) as error:
        training(set_of(val=()), keep="best")
    assert str(error.value) == (
        "recipe: keep='best' needs validation images to watch; there are none. Leave "
        "out keep='best', or set aside a part for validation (validation=...)."
    )


def test_patience_without_validation_images_is_refused_at_once(set_of):
    with pytest.raises(TrainingError) as error:
        training(set_of(val=()), patience=2)
    assert str(error.value) == (
        "recipe: patience needs validation images to watch; there are none. "
        "Leave out patience, or set aside a part for validation (validation=...)."
    )


def test_a_time_budget_ends_training_and_the_schedule(tiny):
    one = training(tiny, minutes=0.3 / 60, schedule="onecycle", batch_size=16)
    events = list(one.run())
    steps = [e for e in events if isinstance(e, Stepped)]
    assert events[-1].reason == "0.005 minutes are over"
    assert 0.3 <= events[-1].seconds < 30
    assert events[0].epochs is None
    assert one.progress() == 1  # time may run out while the last epoch is validated
    for step in steps:
        assert step.learning_rate == rate(one.recipe, step.progress)
    progress = [step.progress for step in steps]
    assert progress == sorted(progress)


def test_events_come_in_order_and_count_every_image(tiny):
    one = training(tiny, epochs=2, batch_size=20)  # 8 of 48 images wait
    events = list(one.run())
    kinds = [type(event).__name__ for event in events]
    epoch = ["Stepped", "Stepped", "EpochEnded"]
    assert kinds == ["Started", *epoch, *epoch, "Finished"]
    assert events[0] == Started(
        48, 24, 435, 2, 2, None, "cpu, float32", epoch=1, batch=0
    )
    steps = [e for e in events if isinstance(e, Stepped)]
    assert [(s.epoch, s.batch, s.step, s.progress) for s in steps] == [
        (1, 1, 1, 0.25), (1, 2, 2, 0.5), (2, 1, 3, 0.75), (2, 2, 4, 1.0),
    ]  # fmt: skip
    assert all(s.images_per_second > 0 for s in steps)
    assert [r["epoch"] for r in one.position.history] == [1, 2]
    assert [r["step"] for r in one.position.history] == [2, 4]


def test_every_step_sees_its_own_dropout_whatever_was_drawn_outside(tiny):
    def run(disturb):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, 3))
        one = training(tiny, net=net, batch_size=8)
        for _ in one.run():
            torch.rand(disturb)
        return copy.deepcopy(net.state_dict())

    calm, disturbed = run(0), run(5)
    for name, tensor in calm.items():
        assert torch.equal(tensor, disturbed[name]), name


def test_losses_that_are_looked_at_late_change_nothing(tiny):
    results = []
    for every in (1, 2, 100):
        one = training(tiny, batch_size=13, epochs=2)
        one._look_every = every
        list(one.run())
        losses = [row["train_loss"] for row in one.position.history]
        results.append((losses, dict(one.net.state_dict())))
    for losses, weights in results[1:]:
        assert losses == pytest.approx(
            results[0][0], rel=1e-12
        )  # another order of sums
        assert all(torch.equal(t, results[0][1][name]) for name, t in weights.items())


class NanAtTheThirdStep(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.calls = net, 0

    def forward(self, x):
        self.calls += self.training
        return self.net(x) * (math.nan if self.calls == 3 else 1)


def test_a_loss_that_is_looked_at_late_still_names_its_step(tiny):
    late = training(tiny, batch_size=12, epochs=2, net=NanAtTheThirdStep(linear(tiny)))
    late._look_every = 100
    with pytest.raises(NotFiniteError, match=r"at step 3 \(epoch 1, batch 3\)"):
        list(late.run())


@pytest.mark.parametrize("last", [False, True])
def test_weights_come_back_in_torchs_own_order_and_the_same_units_drop_out(
    set_of, last
):
    """The layout in which a network is trained is not seen afterwards."""
    data, weights = set_of((30, 12, 6)), []
    channels = data.input_shape[0]
    for channels_last in (last, False):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(channels, 8, 3), nn.Dropout(0.5), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, len(data.classes)),
        )  # fmt: skip
        setting = Setting(torch.device("cpu"), "float32", channels_last)
        list(Training(net, data, PLAIN, setting).run())
        assert all(x.is_contiguous() for x in net.state_dict().values())
        weights.append(net[0].weight)
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-6)
