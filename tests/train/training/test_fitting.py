"""``fit``: a network and data in, a run out, and nothing else changed."""

import copy
import json

import pytest
import torch
from torch import nn

from convscope.data import load
from convscope.errors import RunExistsError, ShapeError, UnknownNameError
from convscope.train.planning import new_network
from convscope.train.recipe import Recipe
from convscope.train.run import Run
from convscope.train.training.events import EpochEnded, Finished, Started, Stopped
from convscope.train.training.fitting import fit, resume

QUICK = Recipe(epochs=2, batch_size=16, learning_rate=0.02)


def same(one, other):
    a, b = one.net.state_dict(), other.net.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def test_the_same_recipe_and_data_give_the_same_bits(tiny):
    one, other = (fit("mlp", tiny, QUICK, listeners=()) for _ in range(2))
    assert same(one, other)
    assert not same(one, fit("mlp", tiny, QUICK, listeners=(), seed=1))


def test_what_was_drawn_before_does_not_matter_and_is_not_disturbed(tiny):
    torch.manual_seed(1)
    one = fit("mlp", tiny, QUICK, listeners=())
    after = torch.rand(2)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(2), after)
    torch.manual_seed(2)
    assert same(one, fit("mlp", tiny, QUICK, listeners=()))


def test_a_small_network_learns(tiny):
    run = fit("mlp", tiny, QUICK, epochs=6, listeners=())
    assert run.history[-1]["val_accuracy"] > 0.9
    assert run.evaluate(part="test").accuracy > 0.9


def test_the_network_passed_is_the_one_trained_and_is_left_for_use(tiny):
    net = new_network("mlp", tiny, 0)
    before = copy.deepcopy(net.state_dict())
    run = fit(net, tiny, QUICK, listeners=())
    assert run.net is net
    assert not net.training
    assert not torch.equal(net.state_dict()["1.weight"], before["1.weight"])


def test_changes_overrule_the_recipe(tiny):
    run = fit("mlp", tiny, QUICK, epochs=1, flip=True, listeners=())
    assert len(run.history) == 1
    assert run.spec.recipe.augmentation.flip
    with pytest.raises(UnknownNameError, match="Did you mean 'epochs'"):
        fit("mlp", tiny, QUICK, epocs=1)


def test_listeners_hear_a_training_from_beginning_to_end(tiny):
    heard = []
    run = fit("mlp", tiny, QUICK, listeners=[heard.append])
    assert isinstance(heard[0], Started)
    assert isinstance(heard[-1], Finished)
    assert [e.epoch for e in heard if isinstance(e, EpochEnded)] == [1, 2]
    assert heard[0].parameters == sum(p.numel() for p in run.net.parameters())


def test_what_a_listener_raises_stops_training_and_the_others_hear_of_it(tiny):
    heard = []

    def fail(event):
        if isinstance(event, EpochEnded):
            raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        fit("mlp", tiny, QUICK, listeners=[heard.append, fail])
    assert heard[-1] == Stopped("no more", interrupted=False)


def test_metrics_on_disk_are_the_history(tiny, tmp_path):
    run = fit("mlp", tiny, QUICK, folder=tmp_path / "run", listeners=())
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == run.history
    assert set(run.history[0]) == {
        "epoch", "step", "train_loss", "val_loss", "val_accuracy", "learning_rate",
        "images_per_second", "seconds", "seconds_left",
    }  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        ".lock", "metrics.jsonl", "spec.json", "weights.safetensors",
    ]  # fmt: skip


def test_a_folder_changes_no_bit(tiny, tmp_path):
    kept = fit(
        "mlp", tiny, QUICK, folder=tmp_path / "run", checkpoint_seconds=0, listeners=()
    )
    assert same(kept, fit("mlp", tiny, QUICK, listeners=()))


def test_a_run_in_the_folder_is_kept_unless_force(tiny, tmp_path):
    fit("mlp", tiny, QUICK, folder=tmp_path / "run", listeners=())
    with pytest.raises(RunExistsError, match="holds a run already"):
        fit("mlp", tiny, QUICK, folder=tmp_path / "run", listeners=())
    fit("mlp", tiny, QUICK, folder=tmp_path / "run", listeners=(), force=True, epochs=1)
    assert len(Run.load(tmp_path / "run").history) == 1


def test_a_network_with_other_outputs_than_classes_is_refused(tiny, tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(144, 10))
    with pytest.raises(ShapeError) as error:
        fit(net, tiny, QUICK, folder=tmp_path / "run")
    assert str(error.value) == (
        "fit: the network gives (10,) numbers for each image, but tiny has 3 classes. "
        "Its last layer needs out_features=3."
    )
    assert not (tmp_path / "run").exists()


def test_a_network_that_the_images_do_not_fit_is_refused_by_layer(tiny, tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(400, 3))
    with pytest.raises(ShapeError) as error:
        fit(net, tiny, QUICK, folder=tmp_path / "run")
    assert str(error.value).startswith(
        "check: 0 = Conv2d(3, 4, 3) wants (N, 3, H, W), but (N, 1, 12, 12) reaches it"
    )
    assert not (tmp_path / "run").exists()


def test_looking_whether_it_fits_leaves_flags_and_statistics(tiny):
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(200, 3)
    )
    from convscope.train.training.running import require_fit

    net[1].eval()
    before = copy.deepcopy(net.state_dict())
    require_fit(net, tiny)
    assert [m.training for m in net] == [True, False, True, True]
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_run_on_enlarged_images_is_gone_on_with(tmp_path):
    """The network is built for 16 x 16; the data are 8 x 8."""
    net = new_network("mlp", load("digits", size=16), 0)

    def stop(event):
        if isinstance(event, EpochEnded):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(net, load("digits"), QUICK, folder=tmp_path / "run", listeners=[stop])
    run = resume(tmp_path / "run", listeners=())
    assert run.spec.input_shape == (1, 16, 16)
    assert len(run.history) == 2
