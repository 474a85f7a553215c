"""When a checkpoint is taken, and how a signal stops training."""

import itertools
import signal
import threading
from types import SimpleNamespace

import pytest
import torch

from convscope.train.recipe import Recipe
from convscope.train.run_folder import RunFolder
from convscope.train.training.checkpointing import CheckpointWriter, deferred_signals
from convscope.train.training.events import EpochEnded, Saved, Started, Stepped
from convscope.train.training.running import describe
from train.training.test_resume import training

RECIPE = Recipe(epochs=2, batch_size=16)


def kept(data, place, seconds):
    """(event, whether a checkpoint followed) for a whole training."""
    one = training(data, RECIPE)
    if place is not None:
        place = RunFolder.create(place, describe(one.net, data, RECIPE))
    writer = CheckpointWriter(one, place, seconds)
    found = []
    for event in one.run():
        found.append((type(event), [type(e) for e in writer.after(event)]))
    return found


def test_every_step_is_saved_when_no_time_need_pass(tiny, tmp_path):
    for kind, said in kept(tiny, tmp_path / "run", 0):
        expected = [Saved] if kind in (Started, Stepped, EpochEnded) else []
        assert said == expected, kind


def test_only_the_beginning_is_saved_of_a_short_training(tiny, tmp_path):
    found = kept(tiny, tmp_path / "run", 60)
    assert found[0] == (Started, [Saved])
    assert not any(said for _, said in found[1:])


def test_time_between_checkpoints_is_kept(tiny, tmp_path, monkeypatch):
    now = itertools.count()  # each look at the clock takes a second
    clock = SimpleNamespace(monotonic=lambda: next(now))
    monkeypatch.setattr("convscope.train.training.checkpointing.time", clock)
    found = kept(tiny, tmp_path / "run", 3)
    saved = [bool(said) for _, said in found]
    # begin, 3 steps, epoch, 3 steps, epoch, finished; a save looks at the clock too
    assert saved == [True, *[False, False, True] * 2, False, False, False]


def test_without_a_place_nothing_is_kept(tiny):
    assert not any(said for _, said in kept(tiny, None, 0))


def test_spoiled_weights_never_take_the_place_of_good_ones(tiny, tmp_path):
    one = training(tiny, RECIPE)
    place = RunFolder.create(tmp_path / "run", describe(one.net, tiny, RECIPE))
    writer = CheckpointWriter(one, place, 0)
    assert writer.save()
    good = next(one.net.parameters()).detach().clone()
    next(one.net.parameters()).data.view(-1)[0] = float("nan")
    assert writer.save() == ()
    state, _ = place.load_checkpoint()
    assert torch.equal(state.part("net")["0.weight"], good)


def test_history_is_on_disk_after_each_epoch(tiny, tmp_path):
    one = training(tiny, RECIPE)
    place = RunFolder.create(tmp_path / "run", describe(one.net, tiny, RECIPE))
    writer = CheckpointWriter(one, place, 60)
    for event in one.run():
        writer.after(event)
        if isinstance(event, EpochEnded):
            assert [row["epoch"] for row in place.history()] == [
                *range(1, event.epoch + 1)
            ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_only_remembered(number):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with deferred_signals() as stop:
        assert not stop.wanted
        signal.raise_signal(number)
        assert stop.wanted
    after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    assert before == after


def test_a_second_ctrl_c_stops_at_once():
    before = signal.getsignal(signal.SIGINT)
    with deferred_signals():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_a_second_sigterm_does_not(tiny):
    with deferred_signals() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.wanted


def test_outside_the_main_thread_signals_are_left_alone():
    seen = []

    def work():
        with deferred_signals() as stop:
            seen.append((stop.wanted, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, signal.getsignal(signal.SIGINT))]
