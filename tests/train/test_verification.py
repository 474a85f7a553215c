"""A bit that changed in a run is noticed when it is loaded, gone on with, verified."""

import json
import random
import shutil

import pytest
import torch
from safetensors.torch import save_file

from convscope.errors import RunError
from convscope.train import Run, resume, verify
from convscope.train.training.events import EpochEnded
from convscope.train.training.fitting import fit


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished run and one that was interrupted."""
    place = tmp_path_factory.mktemp("runs")
    fit("mlp", "digits", folder=place / "finished", listeners=(), epochs=1)

    def stop(event):
        if isinstance(event, EpochEnded):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit("mlp", "digits", folder=place / "stopped", listeners=[stop], epochs=2,
            checkpoint_seconds=0)  # fmt: skip
    return place


def flip(path, draw):
    """Flips one bit of one byte, anywhere in a file."""
    content = bytearray(path.read_bytes())
    place = draw.randrange(len(content))
    content[place] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


FINISHED = ("spec.json", "weights.safetensors", "metrics.jsonl")


@pytest.mark.parametrize("name", FINISHED)
def test_a_flipped_bit_in_a_finished_run_is_refused_wherever_it_is(
    runs, tmp_path, name
):
    draw = random.Random(0)
    for number in range(40):
        run = shutil.copytree(runs / "finished", tmp_path / f"{number}")
        flip(run / name, draw)
        with pytest.raises(RunError):
            Run.load(run)
        found = {each.name: each.state for each in verify(run).files}
        assert found[name] == "changed"
        assert not verify(run).is_intact


def test_a_flipped_bit_in_the_last_checkpoint_falls_back_to_the_one_before(
    runs, tmp_path
):
    whole = shutil.copytree(runs / "stopped", tmp_path / "whole")
    expected = dict(resume(whole, listeners=()).net.state_dict())
    draw = random.Random(1)
    for number in range(15):
        run = shutil.copytree(runs / "stopped", tmp_path / f"{number}")
        flip(run / "checkpoint" / "state.safetensors", draw)
        found = {each.name: each.state for each in verify(run).files}
        assert found["checkpoint/state.safetensors"] == "changed"
        assert found["checkpoint/state.previous.safetensors"] == "intact"
        heard = []
        weights = resume(run, listeners=[heard.append]).net.state_dict()
        assert any("checkpoint before it" in getattr(e, "text", "") for e in heard)
        assert all(torch.equal(t, expected[n]) for n, t in weights.items())


def test_two_damaged_checkpoints_are_refused(runs, tmp_path):
    run = shutil.copytree(runs / "stopped", tmp_path / "run")
    for name in ("state.safetensors", "state.previous.safetensors"):
        content = bytearray((run / "checkpoint" / name).read_bytes())
        content[-1] ^= 1
        (run / "checkpoint" / name).write_bytes(content)
    with pytest.raises(RunError, match="has changed since it was written"):
        resume(run, listeners=())


def test_a_run_as_it_was_written_is_intact(runs):
    assert verify(runs / "finished").is_intact
    names = {each.name for each in verify(runs / "finished").files}
    assert names == set(FINISHED)
    assert verify(runs / "stopped").is_intact


def test_a_missing_file_is_said(runs, tmp_path):
    run = shutil.copytree(runs / "finished", tmp_path / "run")
    (run / "metrics.jsonl").unlink()
    (found,) = [e for e in verify(run).files if e.state != "intact"]
    assert (found.state, found.reason) == (
        "missing",
        f"{run}/metrics.jsonl is missing.",
    )
    with pytest.raises(RunError) as error:
        Run.load(run)
    assert str(error.value) == (
        f"{run}/metrics.jsonl is missing. Put the original back, or train again "
        "(force=True)."
    )


def test_the_command_says_which_file_and_answers_with_its_exit_code(
    convscope, runs, tmp_path
):
    run = shutil.copytree(runs / "finished", tmp_path / "run")
    outcome = convscope("verify", run)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "spec.json            intact", "weights.safetensors  intact",
        "metrics.jsonl        intact",
    ]  # fmt: skip
    flip(run / "weights.safetensors", random.Random(2))
    outcome = convscope("verify", run)
    assert outcome.code == 1
    assert "weights.safetensors  changed\n" in outcome.out
    assert outcome.err == (
        f"{run}/weights.safetensors has changed since it was written: its sha256 is "
        "not the one in spec.json.\n"
    )
    found = json.loads(convscope("verify", run, "--json").out)
    assert found["intact"] is False
    assert found["files"][1]["state"] == "changed"


def test_weights_that_are_not_finite_are_refused_when_they_are_used(runs):
    run = Run.load(runs / "finished")
    with torch.no_grad():
        run.net[-1].bias[0] = float("nan")
    with pytest.raises(RunError) as error:
        run.evaluate()
    assert str(error.value).startswith(
        "probabilities: the network's output is not finite: layer '"
    )


def test_a_run_saved_anywhere_is_sealed(runs, tmp_path):
    run = Run.load(runs / "finished")
    run.save(tmp_path / "copy")
    assert verify(tmp_path / "copy").is_intact
    assert Run.load(tmp_path / "copy").spec.files.keys() == run.spec.files.keys()


def test_a_run_of_version_0_1_without_checksums_still_loads(runs, tmp_path):
    run = shutil.copytree(runs / "finished", tmp_path / "old")
    now = Run.load(run)
    spec = json.loads((run / "spec.json").read_text())
    del spec["sha256"], spec["files"]
    (run / "spec.json").write_text(json.dumps(spec))
    save_file(now.net.state_dict(), run / "weights.safetensors")  # no metadata then
    old = Run.load(run)
    assert old.evaluate().accuracy == now.evaluate().accuracy
    (run / "weights.safetensors").write_bytes(b"\x08")
    with pytest.raises(RunError):  # what is cut short is refused all the same
        Run.load(run)
