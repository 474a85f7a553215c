"""Weights files that are cut short, malicious, or something else."""

import argparse
import json
import os
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from convscope.errors import DataError
from convscope.models import load_weights, read_weights
from models.weight_writers import WRITERS, small


class Malicious:
    """A pickle that would make a folder when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def pickle_alone(content, path):
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("write", [torch.save, pickle_alone])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, write):
    trap, path = tmp_path / "trap", tmp_path / "a.pth"
    write({"fc.weight": Malicious(str(trap))}, path)
    with pytest.raises(DataError) as caught:
        load_weights(small(), path)
    assert re.fullmatch(
        rf"load_weights: path={re.escape(str(path))} holds more than tensors: reading "
        r"it would run [\w.]+\. None of it was run\. Ask its author for a "
        r"\.safetensors file, or for torch\.save\(net\.state_dict\(\), path\)\.",
        str(caught.value),
    )
    assert not trap.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_form_of_pickle_runs_code(tmp_path, protocol):
    trap, path = tmp_path / "trap", tmp_path / "a.pth"
    path.write_bytes(pickle.dumps(Malicious(str(trap)), protocol=protocol))
    with pytest.raises(DataError):
        load_weights(small(), path)
    assert not trap.exists()


def test_the_trap_would_have_sprung(tmp_path):
    pickle.loads(pickle.dumps(Malicious(str(tmp_path / "trap"))))
    assert (tmp_path / "trap").exists()


def test_a_whole_module_is_refused_with_its_class(tmp_path):
    torch.save(nn.Linear(1, 1), tmp_path / "a.pth")
    with pytest.raises(DataError, match=r"would run torch\.nn\.modules\.linear\.Lin"):
        load_weights(small(), tmp_path / "a.pth")


@pytest.mark.parametrize("content", [b"hello", b"PK\x03\x04 no", b"\x80\x02."])
def test_a_file_that_is_no_weights_is_refused(tmp_path, content):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    text = (
        f"load_weights: path={path} is not a weights file, or is cut short. Give a "
        ".safetensors file, or a .pth that torch.save wrote of a state dict."
    )
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        load_weights(small(), path)


@pytest.mark.parametrize("file", ["a.safetensors", "a.pth", "old.pth"])
def test_a_file_that_is_cut_short_is_refused(tmp_path, file):
    WRITERS[file](small(), tmp_path / file)
    whole = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(whole[:-50])
    with pytest.raises(DataError, match=r"is not a (whole )?weights file"):
        load_weights(small(), tmp_path / file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (torch.zeros(3), "holds a Tensor, not tensors by name."),
        ({}, "holds a dict, not tensors by name."),
        ({"epoch": 3}, "holds a dict, not tensors by name."),
        ([torch.zeros(3)], "holds a list, not tensors by name."),
    ],
)
def test_tensors_without_names_are_refused(tmp_path, content, said):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(DataError, match=re.escape(said)):
        load_weights(small(), tmp_path / "a.pth")


def refused(path, said):
    """By one whole sentence and what to do."""
    net = small()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    with pytest.raises(DataError) as caught:
        load_weights(net, path)
    text = str(caught.value)
    assert text.startswith(f"load_weights: path={path} ")
    assert said in text
    assert text.endswith(".")
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())


# What people take for weights files: first bytes, and what is said of them.
OTHERS = {
    "empty": (b"", "is empty: a download or a copy was not finished. Get it again."),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 46830571\n",
        "is a pointer of Git LFS, not the file. Fetch the file with git lfs pull.",
    ),
    "page": (b"\n<!DOCTYPE html><html>", "is a web page, not the file. Download"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file, as Keras writes it"),
    "gzip": (b"\x1f\x8b\x08" + bytes(99), "is compressed with gzip. Unpack it first."),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(99), "is a picture. Give a"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_weights_file_is_called_by_its_name(tmp_path, kind):
    content, said = OTHERS[kind]
    (tmp_path / "a.pth").write_bytes(content)
    refused(tmp_path / "a.pth", said)


ARCHIVES = {
    "npz": ("0.weight.npy", "is an archive of NumPy arrays."),
    "keras": ("model.weights.h5", "is a Keras file, which is not read."),
    "pt2": ("net/archive_format", "is an exported program, which is not run here."),
    "packed": ("resnet18.pth", "is an archive with files in it. Unpack it first."),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_of_something_else_is_called_by_its_name(tmp_path, kind):
    name, said = ARCHIVES[kind]
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr(name, b"x")
    refused(tmp_path / "a.pth", said)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_program_is_not_run(tmp_path):
    torch.jit.save(torch.jit.script(nn.Linear(1, 1)), tmp_path / "a.pt")
    refused(tmp_path / "a.pt", "is a TorchScript program, which is not run here.")


def test_a_folder_names_the_file_in_it(tmp_path):
    refused(tmp_path, "is a folder. Give a file.")
    save_file(small().state_dict(), tmp_path / "weights.safetensors")
    refused(tmp_path, f"is a folder. Give {tmp_path / 'weights.safetensors'}.")


def test_a_device_is_no_file():
    refused("/dev/zero", "is no plain file. Give a file on a disk.")


def header(length, text=b"{"):
    return length.to_bytes(8, "little") + text


def claims(**entry):
    text = json.dumps({"a": {"dtype": "F32", "shape": [1], **entry}}).encode()
    return header(len(text), text)


@pytest.mark.parametrize(
    "content",
    [
        header(2**63),
        header(2**40),
        header(99_999_999),
        header(100_000, b"{" + b"[" * 99_999),
        header(200_000, b'{"a":' * 40_000),
        claims(data_offsets=[0, 2**40], shape=[2**38]),
        claims(data_offsets=[0, 4], shape=[2**62, 2**62]),
        claims(data_offsets=[0, 4], shape=[-1]),
        claims(data_offsets=[4, 0]),
        claims(data_offsets=[0, 4], dtype="F99"),
        claims(),
        header(3, b"{}\xff"),
    ],
    ids=range(12),
)
def test_a_header_that_asks_for_more_than_there_is_is_refused(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    refused(tmp_path / "a.safetensors", "is not a whole weights file: ")


def test_a_dict_that_holds_itself_is_refused(tmp_path):
    content = {"fc.weight": torch.zeros(1)}
    content["again"] = content
    torch.save(content, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "holds dicts that are nested over 16 deep.")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: torch.eye(3).to_sparse(), "sparse"),
        (lambda: torch.zeros(3, device="meta"), "without numbers"),
    ],
    ids=["sparse", "meta"],
)
def test_tensors_that_are_not_plain_numbers_are_refused(tmp_path, make, kind):
    torch.save({"fc.weight": make()}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", f"holds fc.weight, a tensor that is {kind}. Save the")


def test_what_training_scripts_keep_beside_weights_is_passed_over(tmp_path):
    content = {
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1, data="/images"),
        "best": np.float64(0.93),
        "names": ["cat", "dog"],
        "model": {"bias": torch.ones(2)},
    }
    torch.save(content, tmp_path / "a.pth")
    found = read_weights(tmp_path / "a.pth")
    assert list(found) == ["model.bias"]


def test_a_namespace_is_no_way_to_run_code(tmp_path):
    trap = tmp_path / "trap"
    torch.save({"args": argparse.Namespace(a=Malicious(str(trap)))}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "holds more than tensors")
    assert not trap.exists()
