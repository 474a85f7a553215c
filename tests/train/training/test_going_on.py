"""Runs gone on with elsewhere, for longer, or judged before they are through."""

import shutil
from pathlib import Path

import pytest
import torch

from convscope.data import load
from convscope.errors import ArgumentError, RunError
from convscope.train import Run, fit, more_epochs, resume, verify
from convscope.train.training.events import EpochEnded, Warned

QUICK = ("--model", "softmax_regression", "--epochs", "2")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def stopped(data, folder, **changes):
    """A run that was interrupted after its first epoch."""

    def stop(event):
        if isinstance(event, EpochEnded):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit("mlp", data, folder=folder, listeners=[stop], epochs=3,
            checkpoint_seconds=0, **changes)  # fmt: skip
    return Path(folder)


def test_data_that_moved_are_known_by_their_fingerprint(convscope, pictures):
    pictures({"cat": 12, "dog": 12}, "old")
    stopped("old", "run")
    shutil.move("old", "new")
    outcome = convscope("train", "--resume", "run")
    assert outcome.code == 2
    outcome = convscope("train", "--resume", "run", "--data", "new")
    assert outcome.code == 0, outcome.err
    run = Run.load("run")
    assert len(run.history) == 3
    assert Path(run.spec.data.source) == Path("new").resolve()
    assert run.evaluate().samples
    assert verify("run").is_intact


def test_other_data_in_their_place_are_refused(convscope, pictures):
    pictures({"cat": 12, "dog": 12}, "old")
    pictures({"cat": 12, "dog": 13}, "other")
    stopped("old", "run")
    outcome = convscope("train", "--resume", "run", "--data", "other")
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1] == (
        f"Error: run run: the data at {Path('other').resolve()} are not those that it "
        "began with. Put them back, say where they are (--data), or train a new run."
    )


def test_where_data_are_now_is_for_a_run_to_go_on_with(convscope):
    outcome = convscope("train", "--data", "digits")
    assert (outcome.code, outcome.err) == (
        2,
        "Error: train: --data says where the data of a run are that --resume goes on "
        "with. To train on digits, leave out --data.\n",
    )


def test_a_finished_run_gets_more_epochs_as_a_new_run(convscope):
    assert convscope("train", "digits", *QUICK, "--run", "run").code == 0
    before = Path("run", "spec.json").read_bytes()
    outcome = convscope("train", "--resume", "run", "--epochs", 5)
    assert outcome.code == 0, outcome.err
    assert (
        "warning: 3 epochs more begin with the weights of run; the optimizer and the "
        "schedule begin anew. The new run is run-longer-1\n"
    ) in outcome.err
    assert Path("run", "spec.json").read_bytes() == before
    assert len(Run.load("run-longer-1").history) == 3


def test_more_epochs_begin_with_the_weights_of_the_run():
    fit("mlp", "digits", folder="run", epochs=4, listeners=())
    heard = []
    more_epochs("run", 5, listeners=[heard.append])
    first = next(e for e in heard if isinstance(e, EpochEnded))
    assert first.train_loss < Run.load("run").history[0]["train_loss"] / 2
    assert isinstance(heard[0], Warned)


def test_more_epochs_are_more_than_there_were():
    fit("softmax_regression", "digits", folder="run", epochs=2, listeners=())
    with pytest.raises(ArgumentError) as error:
        more_epochs("run", 2, listeners=())
    assert str(error.value) == (
        "more_epochs: epochs=2 are no more than the 2 that run run has had. Give more "
        "than 2."
    )
    with pytest.raises(RunError, match="its training is not through"):
        more_epochs(stopped("digits", "other"), 9, listeners=())


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_a_run_that_is_not_through_is_judged_by_its_last_checkpoint(convscope, ema):
    place = stopped("digits", "run", ema=ema)
    run = Run.load(place)
    said = (
        "run run is not through: these are the weights of its last checkpoint, after 1 "
        "of 3 epochs."
    )
    assert run.unfinished == said
    found = run.evaluate(part="val")
    assert said in found.notes
    assert found.accuracy == run.history[0]["val_accuracy"]
    outcome = convscope("evaluate", "run")
    assert outcome.code == 0, outcome.err
    assert "is not through" in " ".join(outcome.out.split())
    resume("run", listeners=())
    assert Run.load(place).unfinished == ""


def test_predictions_of_a_run_that_is_not_through_warn(pictures):
    pictures({"cat": 12, "dog": 12}, "photos")
    run = Run.load(stopped("photos", "run"))
    with pytest.warns(UserWarning, match="is not through"):
        assert list(run.predict("photos/cat"))


def test_figures_of_training_images_say_so_in_the_headline(convscope):
    outcome = convscope(
        "train", "digits", *QUICK, "--run", "run", "--test", 0, "--validation", 0
    )
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    place = lines.index("of images that it was trained on, not of new ones:")
    assert lines[place + 1].startswith("accuracy ")
    found = Run.load("run").evaluate(part="train")
    assert found.trained_on
    assert str(found).endswith(" images that it was trained on")


def test_figures_of_other_images_do_not(tiny):
    run = fit("mlp", tiny, epochs=1, listeners=())
    assert not run.evaluate(tiny, "test").trained_on
    digits = load("digits")
    run = fit("softmax_regression", digits, epochs=1, listeners=())
    assert not run.evaluate(digits, "val").trained_on
    assert run.evaluate(digits, "all").trained_on
    assert torch.is_tensor(digits.train.pixels)


def test_a_wide_interval_is_warned_of_with_numbers(convscope, pictures):
    pictures({"cat": 12, "dog": 12}, "photos")
    outcome = convscope("train", "photos", *QUICK, "--run", "run")
    assert outcome.code == 0, outcome.err
    found = Run.load("run").evaluate()
    low, high = found.interval
    text = (
        f"{found.samples} images say little: the true accuracy may lie anywhere from "
        f"{low:.0%} to {high:.0%}, {100 * (high - low):.0f} points apart."
    )
    assert found.doubt == text
    assert f"warning: {text}" in " ".join(outcome.out.split())
