"""A run that was stopped ends with the same bits as one that was not."""

import itertools
import json
import random
import re
import signal
import time

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from convscope import kernels
from convscope.data.batching.augmentation import Augmentation
from convscope.errors import CheckpointError, RunError
from convscope.execution import Setting, choose
from convscope.train import checkpoint as checkpoints
from convscope.train.planning import new_network
from convscope.train.recipe import Recipe
from convscope.train.run_folder import RunFolder
from convscope.train.training import fitting
from convscope.train.training.events import EpochEnded, Saved, Started, Stepped, Warned
from convscope.train.training.fitting import fit, resume
from convscope.train.training.loop import Training
from processes import Command, wait_for
from train.nets import small_net

TIMES = {"seconds", "seconds_left", "images_per_second"}
BASE = Recipe(epochs=3, batch_size=13, learning_rate=0.02)  # 48 images: 3 steps each
RECIPES = {
    "sgd, dropout, batch norm": {},
    "adamw, average of weights": {"optimizer": "adamw", "ema": 0.8},
    "muon, average, clipped": {"optimizer": "muon", "ema": 0.9, "clip_norm": 0.5},
    "balanced sampling, cosine": {"balance": "sampling", "schedule": "cosine"},
    "class weights, smoothing": {"balance": "weights", "label_smoothing": 0.1},
    "mixup and cutmix": {"mixup": 0.4, "cutmix": 1.0},
    "patience, average": {"patience": 2, "ema": 0.5, "learning_rate": 0.2},
    "lookahead, biases faster": {
        "lookahead": 2,
        "bias_rate": 4.0,
        "augmentation": Augmentation(alternate=True),
    },
    "warped": {"augmentation": Augmentation(shift=2, rotate=10, elastic=1.0)},
}


def training(data, recipe, weights=None):
    net = small_net(classes=len(data.classes))
    if weights is not None:
        for tensor in net.state_dict().values():
            tensor.fill_(weights)
    return Training(net, data, recipe, choose(net, device="cpu"))


def chain_net():
    """A network that trains in one native call a step."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(125, 3)
    )


def native_training(data, recipe, net, channels_last, weights=None):
    setting = Setting(torch.device("cpu"), "float32", channels_last, kernels=True)
    started = Training(net, data, recipe, setting)
    if weights is not None:
        for tensor in net.state_dict().values():
            tensor.fill_(weights)
    return started


def through_a_file(state, path):
    checkpoints.write_tensors(path, state.tensors, state.values)
    return checkpoints.read_tensors(path)


def without_times(history):
    return [{k: v for k, v in row.items() if k not in TIMES} for row in history]


def outcome(run):
    """Final weights and history, of a training or a run folder's path."""
    if isinstance(run, Training):
        return dict(run.net.state_dict()), without_times(run.position.history)
    place = RunFolder(run)
    return place.weights(), without_times(place.history())


def require_same(one, other):
    (weights, history), (others, other_history) = one, other
    assert history == other_history
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        assert torch.equal(tensor, others[name]), name


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES)
def test_going_on_from_any_step_gives_the_same_bits(tiny, changes, tmp_path):
    recipe = BASE.with_changes(changes)
    whole = training(tiny, recipe)
    states = []
    for event in whole.run():
        if isinstance(event, Stepped | EpochEnded):
            path = tmp_path / f"{len(states)}.safetensors"
            states.append(through_a_file(whole.checkpoint(), path))
    assert len(states) == 3 * len(whole.position.history) + len(whole.position.history)
    for state in states:
        torch.manual_seed(len(states))  # whatever was drawn before does not matter
        rest = training(tiny, recipe, weights=7)
        rest.restore(state)
        list(rest.run())
        require_same(outcome(rest), outcome(whole))


NATIVE = {
    "chain": (chain_net, False, {}),
    "chain, adamw, average": (chain_net, False, {"optimizer": "adamw", "ema": 0.8}),
    "chain, muon, clipped": (chain_net, False, {"optimizer": "muon", "clip_norm": 0.5}),
    "chain, mixup, smoothing": (
        chain_net,
        False,
        {"mixup": 0.4, "label_smoothing": 0.1},
    ),
    "norm and pool": (lambda: small_net(classes=3), True, {"ema": 0.8}),
}


@pytest.mark.parametrize("case", NATIVE)
@pytest.mark.skipif(not kernels.available(), reason="no native kernels")
def test_native_kernels_go_on_to_the_same_bits_too(case, tiny, tmp_path):
    make, channels_last, changes = NATIVE[case]
    recipe = BASE.with_changes(changes)
    whole = native_training(tiny, recipe, make(), channels_last)
    states = []
    for event in whole.run():
        if isinstance(event, Stepped):
            path = tmp_path / f"{len(states)}.safetensors"
            states.append(through_a_file(whole.checkpoint(), path))
    for state in states:
        rest = native_training(tiny, recipe, make(), channels_last, weights=7)
        rest.restore(state)
        list(rest.run())
        require_same(outcome(rest), outcome(whole))
    same_layout = Setting(torch.device("cpu"), "float32", channels_last)
    plain = Training(make(), tiny, recipe, same_layout)
    list(plain.run())
    losses, expected = (
        [row["train_loss"] for row in each.position.history] for each in (whole, plain)
    )
    # Nine steps of rounding in another order: far below what a batch changes.
    assert losses == pytest.approx(expected, rel=1e-3)


def test_a_run_goes_on_in_the_setting_it_began_in(tiny, tmp_path, monkeypatch):
    began = Setting(torch.device("cpu"), "float32", True)
    monkeypatch.setattr(fitting, "training_setting", lambda *_: began)

    def stop(event):
        if isinstance(event, Stepped) and event.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(
            small_net(classes=3), tiny, BASE, folder=tmp_path / "run", listeners=[stop],
            checkpoint_seconds=0,
        )  # fmt: skip
    monkeypatch.setattr(
        fitting, "training_setting", lambda *_: pytest.fail("chosen again")
    )
    seen = []
    resume(
        tmp_path / "run", data=tiny, net=small_net(classes=3), listeners=[seen.append]
    )
    assert next(e for e in seen if isinstance(e, Started)).setting == str(began)


def test_the_best_weights_of_an_epoch_before_are_gone_on_with(tiny, tmp_path):
    """All validation labels are wrong: the first epoch is the best one."""
    wrong = type(tiny.val)(tiny.val.pixels, (tiny.val.labels + 1) % 3, tiny.val.names)
    data = tiny.replace(val=wrong)
    recipe = BASE.with_changes({"epochs": 9, "patience": 3, "learning_rate": 0.1})
    whole, states = training(data, recipe), []
    for event in whole.run():
        if isinstance(event, EpochEnded):
            path = tmp_path / f"{len(states)}"
            states.append(through_a_file(whole.checkpoint(), path))
    assert 1 <= whole.position.best_epoch < len(states) == whole.position.epoch
    for state in states:
        rest = training(data, recipe, weights=7)
        rest.restore(state)
        list(rest.run())
        require_same(outcome(rest), outcome(whole))


def test_the_comparison_notices_a_state_that_was_not_restored(tiny, tmp_path):
    whole, state = training(tiny, BASE), None
    for event in whole.run():
        if isinstance(event, Stepped) and event.step == 4:
            state = through_a_file(whole.checkpoint(), tmp_path / "state")
    rest = training(tiny, BASE)
    rest.restore(state)
    rest.optimizer.load_state({})
    list(rest.run())
    with pytest.raises(AssertionError):
        require_same(outcome(rest), outcome(whole))


def stopped_after(data, folder, step, **options):
    """A run that is interrupted by Ctrl-C when ``step`` steps are done."""

    def press(event):
        if isinstance(event, Stepped) and event.step == step:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit("mlp", data, BASE, folder=folder, listeners=[press], **options)


def test_an_interrupted_run_goes_on_from_its_last_step(tiny, tmp_path):
    whole = fit("mlp", tiny, BASE, folder=tmp_path / "whole", listeners=())
    stopped_after(tiny, tmp_path / "run", 5)
    heard = []
    run = resume(tmp_path / "run", data=tiny, listeners=[heard.append])
    started = heard[0]
    assert isinstance(started, Started)
    assert (started.epoch, started.batch) == (2, 2)
    require_same(outcome(tmp_path / "run"), outcome(tmp_path / "whole"))
    assert without_times(run.history) == without_times(whole.history)


def test_a_run_has_a_checkpoint_before_its_first_step(tiny, tmp_path):
    heard = []
    fit("mlp", tiny, BASE, folder=tmp_path / "run", listeners=[heard.append])
    assert isinstance(heard[0], Started)
    assert heard[1] == Saved(
        1, 0, str(tmp_path / "run" / "checkpoint" / "state.safetensors")
    )


def test_a_finished_run_is_not_gone_on_with(tiny, tmp_path):
    fit("mlp", tiny, BASE, folder=tmp_path / "run", listeners=())
    with pytest.raises(RunError) as error:
        resume(tmp_path / "run", data=tiny)
    assert str(error.value) == (
        f"run {tmp_path}/run is finished; there is nothing to go on with. Evaluate it, "
        "give it more epochs (epochs=...), or train a new run."
    )


def test_other_data_than_at_the_beginning_are_refused(tiny, set_of, tmp_path):
    stopped_after(tiny, tmp_path / "run", 2)
    with pytest.raises(RunError) as error:
        resume(tmp_path / "run", data=set_of((16, 16, 17)))
    assert str(error.value) == (
        f"run {tmp_path}/run: the data at hand are not those that it began with. "
        "Put them back, say where they are (data=...), or train a new run."
    )


def test_a_spec_changed_by_hand_is_noticed(tiny, tmp_path):
    stopped_after(tiny, tmp_path / "run", 2, epochs=2)
    path = tmp_path / "run" / "spec.json"
    spec = json.loads(path.read_text())
    spec["model"]["options"]["hidden"] = 7
    path.write_text(json.dumps(spec))
    with pytest.raises(RunError) as error:
        resume(tmp_path / "run", data=tiny)
    assert str(error.value) == (
        f"{path} has changed since it was written: its sha256 is not the one that it "
        "holds. Put the original back, or train again."
    )
    del spec["sha256"]
    path.write_text(json.dumps(spec))
    with pytest.raises(RunError) as error:
        resume(tmp_path / "run", data=tiny)
    assert re.fullmatch(
        r"this run's spec tells of [\d,]+ parameters, but mlp with its options has "
        r"[\d,]+\. Put the original spec\.json back, or train again\.",
        str(error.value),
    )


def test_a_network_that_the_checkpoint_does_not_fit_is_refused(tiny, tmp_path):
    stopped_after(tiny, tmp_path / "run", 2, epochs=2)
    net = new_network("mlp", tiny, 0, {"hidden": 7})
    with pytest.raises(CheckpointError) as error:
        resume(tmp_path / "run", data=tiny, net=net)
    assert str(error.value) == (
        f"the checkpoint in {tmp_path}/run does not fit its spec.json: Error(s) in "
        "loading state_dict for Sequential:. Put the original spec.json back, or start "
        "again (force=True)."
    )


def test_another_number_of_threads_is_said(tiny, tmp_path):
    stopped_after(tiny, tmp_path / "run", 2)
    before, heard = torch.get_num_threads(), []
    torch.set_num_threads(before + 1)
    try:
        resume(tmp_path / "run", data=tiny, listeners=[heard.append])
    finally:
        torch.set_num_threads(before)
    assert heard[0] == Warned(
        f"training began with {before} threads and goes on with {before + 1}: the last "
        "bits of the weights may differ"
    )


def test_a_network_of_ones_own_with_tied_weights_goes_on(tiny, tmp_path):
    def tied():
        net = torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(144, 144),
            torch.nn.ReLU(),
            torch.nn.Linear(144, 144),
            torch.nn.Linear(144, 3),
        )
        net[3].weight = net[1].weight
        return net

    torch.manual_seed(5)
    first = tied()
    begin = {name: t.clone() for name, t in first.state_dict().items()}

    def press(event):
        if isinstance(event, Stepped) and event.step == 4:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        fit(first, tiny, BASE, folder=tmp_path / "run", listeners=[press])
    run = resume(tmp_path / "run", data=tiny, net=tied(), listeners=())
    whole = tied()
    whole.load_state_dict(begin)
    fit(whole, tiny, BASE, listeners=())
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, run.net.state_dict()[name]), name


# In processes of their own

LONG = (
    "train", "digits", "--model", "mlp", "--model-option", "hidden=24",
    "--model-option", "dropout=0.2", "--epochs", "10", "--batch-size", "32",
    "--ema", "0.9", "--mixup", "0.2", "--seed", "3",
)  # fmt: skip


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    code, _, err = Command(place, *LONG, "--run", "run").ended()
    assert code == 0, err
    return place / "run"


def steps_done(run):
    """How far the checkpoint in ``run`` is, or 0."""
    try:
        state = checkpoints.read_tensors(run / "checkpoint" / "state.safetensors")
    except CheckpointError:
        return 0
    return state.values["position"]["step"]


def kill_when(process, run, step, delay, number=signal.SIGKILL):
    """Sends a signal some time after ``step`` steps are on disk."""
    wait_for(lambda: steps_done(run) > step or not process.process.is_alive())
    time.sleep(delay)
    process.send(number)


def test_a_run_killed_again_and_again_ends_with_the_same_bits(never_stopped, tmp_path):
    draw, run, stops = random.Random(0), tmp_path / "run", []
    arguments = [*LONG, "--run", "run"]
    for _ in range(5):
        process = Command(tmp_path, *arguments, "--checkpoint-seconds", "0")
        kill_when(process, run, max(stops, default=0), draw.uniform(0, 0.04))
        code, _, err = process.ended()
        assert code == -signal.SIGKILL, err
        stops.append(steps_done(run))
        arguments = ["train", "--resume", "run"]
    assert all(one < other for one, other in itertools.pairwise([0, *stops]))
    assert any(step % 40 for step in stops), "never in the middle of an epoch"
    code, out, err = Command(tmp_path, *arguments).ended()
    assert code == 0, err
    assert "accuracy" in out
    require_same(outcome(run), outcome(never_stopped))
    one, other = (p / "weights.safetensors" for p in (run, never_stopped))
    assert one.read_bytes() == other.read_bytes()
    assert {p.name for p in run.iterdir()} == {
        ".lock", "spec.json", "metrics.jsonl", "weights.safetensors",
        "report.html", "mistakes.csv",
    }  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_writes_a_checkpoint_and_says_how_to_go_on(
    never_stopped, tmp_path, number
):
    run = tmp_path / "a run"
    process = Command(tmp_path, *LONG, "--run", "a run", "--checkpoint-seconds", "0.02")
    kill_when(process, run, 10, 0.0, number)
    code, out, err = process.ended()
    assert (code, out) == (130, "")
    assert err.endswith("\nstopped; go on with: convscope train --resume 'a run'\n")
    assert "Traceback" not in err
    assert steps_done(run) > 10
    code, out, err = Command(tmp_path, "train", "--resume", "a run").ended()
    assert code == 0, err
    assert "going on at epoch" in err
    require_same(outcome(run), outcome(never_stopped))


def die_while_writing_the_third_checkpoint():
    """In the process: half of the file is on disk when it is killed."""
    import os

    written = itertools.count(1)
    save = checkpoints.save

    def half(tensors, metadata):
        content = save(tensors, metadata)
        if next(written) < 3:
            return content
        path = "run/checkpoint/.state.safetensors.part"
        with open(path, "wb") as file:  # noqa: PTH123 - as plain as it gets
            file.write(content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        return content

    checkpoints.save = half


def test_a_run_killed_in_the_middle_of_a_checkpoint_has_the_one_before(
    never_stopped, tmp_path
):
    process = Command(
        tmp_path, *LONG, "--run", "run", "--checkpoint-seconds", "0",
        prepare=die_while_writing_the_third_checkpoint,
    )  # fmt: skip
    assert process.ended()[0] == -signal.SIGKILL
    run = tmp_path / "run"
    assert (run / "checkpoint" / ".state.safetensors.part").exists()
    assert steps_done(run) == 1
    code, _, err = Command(tmp_path, "train", "--resume", "run").ended()
    assert code == 0, err
    require_same(outcome(run), outcome(never_stopped))


def test_weights_on_disk_are_those_of_the_run(never_stopped):
    run = RunFolder(never_stopped)
    assert (
        load_file(never_stopped / "weights.safetensors").keys() == run.weights().keys()
    )
    assert len(run.history()) == 10
