"""The run folder is made whole, locked while in use, and never lost."""

import json
from pathlib import Path

import pytest
import torch

from convscope.data.dataset import SetAside
from convscope.errors import RunBusyError, RunError, RunExistsError
from convscope.train.planning import new_network
from convscope.train.recipe import Recipe
from convscope.train.run_folder import RunFolder, check_free, free_name, is_run
from convscope.train.training.running import describe


@pytest.fixture
def spec(tiny):
    return describe(new_network("mlp", tiny, 0), tiny, Recipe())


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_new_folder_holds_spec_metrics_and_what_was_set_aside(spec, tmp_path):
    bad = (SetAside("a/ü.png", "is cut"), SetAside("b.png", "is no picture"))
    place = RunFolder.create(tmp_path / "deep" / "run", spec, bad)
    assert names(place.path) == ["metrics.jsonl", "set_aside.json", "spec.json"]
    assert names(tmp_path / "deep") == ["run"]
    assert place.spec == spec
    assert place.set_aside() == bad
    assert place.history() == []
    assert not place.is_finished
    assert not place.has_checkpoint
    assert oct(place.path.stat().st_mode)[-3:] == "755"


def test_spec_json_is_plain_words(spec, tmp_path):
    RunFolder.create(tmp_path / "run", spec)
    values = json.loads((tmp_path / "run" / "spec.json").read_text())
    assert values["format"] == 1
    assert values["model"]["name"] == "mlp"
    assert values["classes"] == ["a", "b", "c"]
    assert values["recipe"]["epochs"] == 20
    assert len(values["data"]["fingerprint"]) == 64
    assert set(values["versions"]) == {"python", "torch", "numpy"}


def test_a_folder_that_fails_half_way_is_absent(spec, tmp_path, monkeypatch):
    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "touch", full)
    with pytest.raises(RunError) as error:
        RunFolder.create(tmp_path / "run", spec)
    assert str(error.value) == (
        f"cannot make {tmp_path}/run: No space left on device. Choose another place "
        "(folder=...)."
    )
    assert names(tmp_path) == []


def test_an_empty_folder_may_be_used(spec, tmp_path):
    (tmp_path / "run").mkdir()
    assert RunFolder.create(tmp_path / "run", spec).spec == spec


def test_replacing_takes_everything_of_the_old_run(spec, tmp_path):
    place = RunFolder.create(tmp_path / "run", spec)
    place.write_history([{"epoch": 1}])
    place.finish({"w": torch.ones(1)})
    RunFolder.create(tmp_path / "run", spec, force=True)
    assert names(place.path) == ["metrics.jsonl", "spec.json"]
    assert names(tmp_path) == ["run"]


def test_a_link_to_a_run_is_followed(spec, tmp_path):
    RunFolder.create(tmp_path / "real", spec)
    (tmp_path / "link").symlink_to("real")
    RunFolder.create(tmp_path / "link", spec, force=True)
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path) == ["link", "real"]
    assert is_run(tmp_path / "real")


def test_who_comes_second_is_told_that_there_is_a_run(spec, tmp_path, monkeypatch):
    """Another process makes the folder between the look and the leap."""
    rename = Path.rename

    def late(self, target):
        if not target.exists():
            rename(RunFolder.create(tmp_path / "other", spec).path, target)
        return rename(self, target)

    def once(self, target):
        monkeypatch.setattr(Path, "rename", rename)
        return late(self, target)

    monkeypatch.setattr(Path, "rename", once)
    with pytest.raises(RunExistsError, match="holds a run already"):
        RunFolder.create(tmp_path / "run", spec)
    assert names(tmp_path) == ["run"]


def test_a_run_in_use_is_neither_entered_nor_replaced(spec, tmp_path):
    place = RunFolder.create(tmp_path / "run", spec)
    with place.locked():
        for intrude in (
            lambda: RunFolder(place.path).locked().__enter__(),
            lambda: RunFolder.create(place.path, spec, force=True),
        ):
            with pytest.raises(RunBusyError) as error:
                intrude()
            assert str(error.value) == (
                f"another process is training in {place.path}. Wait for it, or choose "
                "another place (folder=...)."
            )
    with place.locked():
        pass
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, False),
        ({"spec.json": "{}"}, False),
        ({"spec.json": "[1]"}, False),
        ({"spec.json": "no json"}, False),
        ({"spec.json": '{"format": 1}'}, False),
        ({"spec.json": '{"format": 7, "convscope": "9.0"}'}, True),
    ],
)
def test_a_run_is_known_by_what_its_spec_says(tmp_path, files, found):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert is_run(tmp_path) == found


def test_force_is_not_enough_for_anything_but_a_run(tmp_path):
    (tmp_path / "file").write_text("")
    for force in (False, True):
        with pytest.raises(RunExistsError) as error:
            check_free(tmp_path / "file", force=force)
        assert str(error.value) == (
            f"{tmp_path}/file exists and is not a run folder; it will not be "
            "overwritten. Choose another place (folder=...)."
        )
    check_free(tmp_path / "nothing", force=False)


def test_a_free_name_is_counted_up(tmp_path):
    assert free_name(tmp_path, "digits-mlp") == tmp_path / "digits-mlp-1"
    (tmp_path / "digits-mlp-1").mkdir()
    (tmp_path / "digits-mlp-3").mkdir()
    assert free_name(tmp_path, "digits-mlp") == tmp_path / "digits-mlp-2"


def test_weights_of_a_run_that_is_not_through_are_refused(spec, tmp_path):
    place = RunFolder.create(tmp_path / "run", spec)
    with pytest.raises(RunError) as error:
        place.weights()
    assert str(error.value) == (
        f"run {tmp_path}/run has no weights yet: its training is not through. Go on "
        f"with it (cs.resume('{tmp_path}/run'))."
    )


def test_history_that_is_damaged_is_said(spec, tmp_path):
    place = RunFolder.create(tmp_path / "run", spec)
    (place.path / "metrics.jsonl").write_text('{"epoch": 1}\n{"epo')
    with pytest.raises(RunError, match=r"metrics\.jsonl cannot be read: "):
        place.history()
    (place.path / "metrics.jsonl").unlink()
    assert place.history() == []


@pytest.mark.parametrize("text", ["{", '{"path": 1}', "[3]", '[{"path": "a"}]'])
def test_a_list_of_files_that_is_damaged_is_said(spec, tmp_path, text):
    place = RunFolder.create(tmp_path / "run", spec)
    (place.path / "set_aside.json").write_text(text)
    with pytest.raises(RunError, match=r"set_aside\.json cannot be read: "):
        place.set_aside()


def test_finishing_removes_the_checkpoint(spec, tmp_path):
    from convscope.train.checkpoint import Checkpoint

    place = RunFolder.create(tmp_path / "run", spec)
    place.save_checkpoint(Checkpoint({"net/w": torch.ones(2)}, {}))
    assert place.has_checkpoint
    place.finish({"w": torch.full((2,), 3.0)})
    assert not place.has_checkpoint
    assert place.is_finished
    assert torch.equal(place.weights()["w"], torch.full((2,), 3.0))


def test_a_file_is_no_run(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError) as error:
        RunFolder.open(tmp_path / "file")
    assert str(error.value) == (
        f"run {tmp_path}/file is a file, not a folder. Give a folder that `train` made."
    )
