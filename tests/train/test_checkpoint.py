"""Checkpoint files are whole or absent, and hold no code."""

import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from convscope.errors import CheckpointError, WriteError
from convscope.train.checkpoint import (
    LATEST,
    PREVIOUS,
    Checkpoint,
    read,
    read_tensors,
    whole_or_absent,
    write,
    write_tensors,
)


def state(number):
    return Checkpoint({"net/weight": torch.full((3,), float(number))}, {"n": number})


def test_tensors_and_values_come_back_to_the_bit(tmp_path):
    torch.manual_seed(0)
    shared = torch.randn(4, 6)
    tensors = {
        "float": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "half": torch.randn(5).bfloat16(),
        "count": torch.tensor(3),
        "empty": torch.empty(0, 2),
        "whole": shared,
        "view": shared[:, ::2],
        "again": shared,
        "special": torch.tensor([float("nan"), float("inf"), -0.0]),
        "parameter": nn.Parameter(torch.randn(2)),
    }
    values = {"text": "Größe", "list": [1, 2.5, None], "nested": {"a": 1e-300}}
    write_tensors(tmp_path / "x", tensors, values)
    found = read_tensors(tmp_path / "x")
    assert found.values == values
    assert found.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        other = found.tensors[name]
        assert (other.dtype, other.shape) == (tensor.dtype, tensor.shape)
        bits = [t.detach().contiguous().view(torch.uint8) for t in (tensor, other)
                if t.ndim]  # fmt: skip
        assert not bits or torch.equal(*bits), name


def test_a_part_is_found_by_its_prefix():
    whole = Checkpoint(
        {
            "net/a": torch.tensor(1),
            "net/b/c": torch.tensor(2),
            "network/a": torch.tensor(3),
        },
        {},
    )
    assert whole.part("net") == {"a": torch.tensor(1), "b/c": torch.tensor(2)}


def test_the_one_before_is_kept_and_no_other(tmp_path):
    for number in range(4):
        assert write(tmp_path / "kept", state(number)) == tmp_path / "kept" / LATEST
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == [PREVIOUS, LATEST]
    assert read_tensors(tmp_path / "kept" / LATEST).values == {"n": 3}
    assert read_tensors(tmp_path / "kept" / PREVIOUS).values == {"n": 2}
    assert read(tmp_path / "kept")[0].values == {"n": 3}


def test_there_is_a_latest_one_at_every_moment(tmp_path, monkeypatch):
    """Whichever system call is the last one before the power fails."""
    kept = tmp_path / "kept"
    write(kept, state(0))
    for failing in (Path.unlink, os.link, Path.replace, os.fsync, Path.open):
        calls = 0
        name = failing.__name__
        home = os if failing in (os.link, os.fsync) else Path

        def fail(*_arguments, **_options):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(home, name, fail)
            with pytest.raises(WriteError, match="No space left on device"):
                write(kept, state(1))
            calls += 1
        assert read_tensors(kept / LATEST).values == {"n": 0}, name
        assert read(kept)[1] is None
    assert write(kept, state(2))
    assert read(kept)[0].values == {"n": 2}


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_no_litter(
    tmp_path, monkeypatch
):
    path = tmp_path / "notes"
    path.write_text("old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError) as error, whole_or_absent(path) as file:
        file.write(b"new")
    assert str(error.value) == (
        f"cannot write {path}: No space left on device. What was there before is "
        "unchanged. Free some space, or make the folder writable."
    )
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["notes"]


def test_another_error_while_writing_leaves_the_old_file_too(tmp_path):
    path = tmp_path / "notes"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_or_absent(path):
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["notes"]


def test_what_a_killed_process_left_is_written_over(tmp_path):
    (tmp_path / ".notes.part").write_text("half of something much longer")
    with whole_or_absent(tmp_path / "notes") as file:
        file.write(b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["notes"]
    assert (tmp_path / "notes").read_text() == "new"


@pytest.mark.parametrize("size", range(0, 200, 13))
def test_a_file_cut_anywhere_falls_back_to_the_one_before(tmp_path, size):
    write(tmp_path / "kept", state(1))
    write(tmp_path / "kept", state(2))
    latest = tmp_path / "kept" / LATEST
    content = latest.read_bytes()
    assert len(content) < 200 or size < len(content)
    latest.write_bytes(content[: min(size, len(content) - 1)])
    found, warning = read(tmp_path / "kept")
    assert found.values == {"n": 1}
    assert warning.startswith(f"{latest} cannot be read, it may be cut short: ")
    assert warning.endswith(". Going on from the checkpoint before it.")


def test_a_missing_checkpoint_is_said(tmp_path):
    with pytest.raises(CheckpointError) as error:
        read(tmp_path)
    assert str(error.value) == (
        f"{tmp_path / LATEST} is missing. There is no older checkpoint to fall back "
        "on. Start again (force=True)."
    )


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"PK\x03\x04 zip", b"{}"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x cannot be read"):
        read_tensors(tmp_path / "x")


def test_a_header_that_promises_too_much_is_refused(tmp_path):
    header = json.dumps(
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    ).encode()
    (tmp_path / "x").write_bytes(len(header).to_bytes(8, "little") + header + b"0000")
    with pytest.raises(CheckpointError, match=r"x cannot be read"):
        read_tensors(tmp_path / "x")
