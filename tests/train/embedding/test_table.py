"""A table of features is a file that says what it is, and is read without a pickle."""

import csv
import dataclasses
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convscope as cs
from convscope.errors import ArgumentError, DataError, WriteError
from convscope.train import FeatureTable, feature_table
from convscope.train.embedding.labeled_files import labeled_files


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    place = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in ("train/dog/1", "train/cat/2", "train/cat/3", "test/dog/4"):
        path = place / "set" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(path)
    Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(place / "lone.png")
    (place / "bad.png").write_bytes(b"hello")
    return place


@pytest.fixture(scope="module")
def table(finished, photos):
    paths = [photos / "set", photos / "bad.png", photos / "lone.png"]
    return feature_table(finished, paths, optimize=False)


def test_folders_say_classes_and_parts(table, photos, finished):
    names = [os.path.relpath(path, photos) for path in table.paths]
    assert names == [
        "set/train/cat/2.png", "set/train/cat/3.png", "set/train/dog/1.png",
        "set/test/dog/4.png", "lone.png",
    ]  # fmt: skip
    assert table.classes == ("cat", "dog")
    assert table.labels.tolist() == [0, 0, 1, 1, -1]
    assert table.parts == ("train", "train", "train", "test", "")
    np.testing.assert_allclose(
        table.features, cs.features(finished, list(table.paths)), rtol=1e-5
    )


def test_what_cannot_be_read_is_set_aside_with_its_reason(table, photos):
    (bad,) = table.set_aside
    assert bad.path == str(photos / "bad.png")
    assert "is not a picture" in bad.reason


def test_all_is_there_when_it_is_read_again(table, tmp_path):
    again = FeatureTable.load(table.save(tmp_path / "deep" / "x.npz"))
    for name in ("paths", "classes", "parts", "model", "layer", "preprocessing"):
        assert getattr(again, name) == getattr(table, name), name
    assert again.features.dtype == np.float32
    assert np.array_equal(again.features, table.features)
    assert np.array_equal(again.labels, table.labels)
    assert json.loads(again.preprocessing)["size"] == [8, 8]
    assert again.model.startswith("softmax_regression of ")
    assert again.layer == "what reaches 1"


def test_numpy_reads_it_without_pickle(table, tmp_path):
    with np.load(table.save(tmp_path / "x.npz"), allow_pickle=False) as file:
        assert {name: file[name].dtype.kind for name in file.files} == {
            "features": "f", "paths": "U", "labels": "i", "classes": "U", "parts": "U",
            "model": "U", "layer": "U", "preprocessing": "U",
        }  # fmt: skip
    alone = np.load(table.save(tmp_path / "x.npy"), allow_pickle=False)
    assert np.array_equal(alone, table.features)


def test_a_table_without_classes_holds_none(finished, photos, tmp_path):
    table = feature_table(finished, photos / "lone.png", optimize=False)
    path = table.save(tmp_path / "x.npz")
    with np.load(path) as file:
        assert "labels" not in file.files
    assert FeatureTable.load(path).labels.tolist() == [-1]


def test_csv_gives_every_number_back(table, tmp_path):
    with table.save(tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == list(table.paths)
    assert [row["class"] for row in rows] == ["cat", "cat", "dog", "dog", ""]
    assert [row["part"] for row in rows] == ["train", "train", "train", "test", ""]
    width = table.features.shape[1]
    found = np.array([[row[f"f{i}"] for i in range(width)] for row in rows], np.float32)
    assert np.array_equal(found, table.features)


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_names_that_are_not_utf8_are_kept(table, tmp_path, suffix):
    odd = dataclasses.replace(table, paths=("\udcff.png", *table.paths[1:]))
    path = odd.save(tmp_path / f"x{suffix}")
    if suffix == ".npz":
        assert FeatureTable.load(path).paths == odd.paths
    else:
        assert path.read_bytes().splitlines()[1].startswith(b"\xff.png,")


def test_nothing_is_replaced_unless_that_is_asked_for(table, tmp_path):
    path = tmp_path / "x.npz"
    path.write_text("mine")
    with pytest.raises(
        WriteError, match=r"is there already\. Replace it \(force=True\)"
    ):
        table.save(path)
    assert path.read_text() == "mine"
    assert FeatureTable.load(table.save(path, force=True)).paths == table.paths
    folder = folder_named(tmp_path / "z.npz")
    with pytest.raises(WriteError, match="is a folder"):
        table.save(folder, force=True)
    with pytest.raises(WriteError, match=r"x\.npz is a file"):
        table.save(path / "below.npz")
    with pytest.raises(ArgumentError, match=r"ends in none of \.npz, \.npy, \.csv"):
        table.save(tmp_path / "x.mat")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npz", "z.npz"]


def folder_named(path):
    path.mkdir()
    return path


def test_a_file_that_holds_something_else_is_refused(table, tmp_path):
    path = table.save(tmp_path / "x.npz")
    content = path.read_bytes()
    cases = {
        "cut.npz": content[: len(content) // 2],
        "text.npz": b"hello",
        "empty.npz": b"",
    }
    for name, some in cases.items():
        (tmp_path / name).write_bytes(some)
        with pytest.raises(DataError, match="is not a whole table of features"):
            FeatureTable.load(tmp_path / name)
    np.savez(tmp_path / "other.npz", features=np.zeros((2, 2)))
    with pytest.raises(DataError, match="is not a whole table"):
        FeatureTable.load(tmp_path / "other.npz")


def test_objects_in_a_file_are_not_made(table, tmp_path):
    """A pickle that would touch a file when it is read."""

    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    path = table.save(tmp_path / "x.npz")
    np.save(tmp_path / "bomb.npy", np.array([Bomb()], object), allow_pickle=True)
    with zipfile.ZipFile(path, "a") as file:
        file.write(tmp_path / "bomb.npy", "bomb.npy")
    with pytest.raises(DataError, match="is not a whole table"):
        FeatureTable.load(path)
    assert not (tmp_path / "touched").exists()


def test_rows_of_other_counts_are_refused(table, tmp_path):
    path = dataclasses.replace(table, paths=table.paths[:2]).save(tmp_path / "x.npz")
    with pytest.raises(DataError, match=r"not of one number: \[2, 5\]"):
        FeatureTable.load(path)


def test_a_folder_without_classes_gives_files_only(photos):
    found, notes = labeled_files([photos / "set" / "train" / "cat"])
    assert [(Path(f.path).name, f.label) for f in found] == [
        ("2.png", ""),
        ("3.png", ""),
    ]
    assert notes == []


def test_a_folder_whose_classes_are_not_clear_is_read_without_and_says_so(tmp_path):
    for name in ("a/x/1.png", "a/y/1.png", "b/x/1.png", "b/y/1.png"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found, (note,) = labeled_files([tmp_path / "set"])
    assert [f.label for f in found] == [""] * 4
    assert note.startswith("No classes were read: folder ")


def test_nothing_at_all_is_refused(finished, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"hello")
    with pytest.raises(DataError, match=r"no images \(.*bad\.png: "):
        feature_table(finished, [tmp_path / "bad.png"], optimize=False)
    with pytest.raises(DataError, match="the folder holds no images"):
        feature_table(finished, folder_named(tmp_path / "empty"), optimize=False)
    with pytest.raises(DataError, match="no such file or folder"):
        feature_table(finished, tmp_path / "nowhere", optimize=False)
