import errno
import os
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.data import images, load, part_sizes
from convscope.data.dataset import Samples
from convscope.data.folders import pixel_cache
from convscope.data.folders.audit import audit
from convscope.data.folders.load_folder import load_folder
from convscope.errors import DataError

RNG = np.random.default_rng(0)


def picture(path, *, size=(32, 32), channels=3, dtype=np.uint8, **options):
    shape = (size[1], size[0], *([3] if channels == 3 else []))
    array = RNG.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return array


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pets"
    for label in ("cat", "dog"):
        for i in range(20):
            picture(root / label / f"{i}.png")
    return root


@pytest.fixture
def opened(tmp_path):
    def load_one(path, **options):
        return load_folder(path, cache_dir=tmp_path / "cache", **options)

    return load_one


def refusal(function, *args, **options):
    with pytest.raises(DataError) as caught:
        function(*args, **options)
    return str(caught.value)


def by_name(data):
    return {
        name: (int(label), pixels.numpy())
        for part in data.parts.values()
        for name, label, pixels in zip(
            part.names, part.labels, part.pixels, strict=True
        )
    }


def count_reads(monkeypatch):
    reads = []
    read = images.read
    monkeypatch.setattr(
        images, "read", lambda source: reads.append(source) or read(source)
    )
    return reads


def test_every_image_is_there_once_with_its_class_and_its_bits(folder, opened):
    data = opened(folder)
    assert data.classes == ("cat", "dog")
    assert data.input_shape == (3, 32, 32)
    found = by_name(data)
    paths = [str(p) for p in folder.rglob("*.png")]
    assert sorted(found) == sorted(paths)
    for path in paths:
        label, pixels = found[path]
        assert data.classes[label] in path.split("/")
        np.testing.assert_array_equal(pixels, data.preprocessing.decode(path))
    assert min(map(len, data.parts.values())) > 0


def test_load_takes_a_folder(folder, tmp_path):
    assert len(load(folder, cache_dir=tmp_path / "cache").train) > 20


def test_the_second_time_nothing_is_decoded(folder, opened, monkeypatch):
    first = opened(folder)
    reads = count_reads(monkeypatch)
    second = opened(folder)
    assert reads == []
    assert second.fingerprint() == first.fingerprint()
    assert second.preprocessing == first.preprocessing
    assert second.notes == first.notes


def test_a_new_file_joins_the_others(folder, opened):
    before = by_name(opened(folder, test=0.3))
    picture(folder / "cat" / "new.png")
    after = opened(folder, test=0.3)
    assert str(folder / "cat" / "new.png") in by_name(after)
    assert len(by_name(after)) == len(before) + 1


def test_adding_images_moves_few_and_only_of_their_class(folder, opened):
    def parts(data):
        return {n: k for k, part in data.parts.items() for n in part.names}

    before = parts(opened(folder))
    for i in range(10):
        picture(folder / "cat" / f"new {i}.png")
    after = parts(opened(folder))
    moved = [name for name in before if after[name] != before[name]]
    assert len(moved) <= 4
    assert all("/cat/" in name for name in moved)


def test_copies_share_a_part(folder, opened):
    for i in range(20):
        source = folder / "cat" / f"{i}.png"
        with Image.open(source) as image:
            image.save(folder / "cat" / f"copy {i}.bmp")
    data = opened(folder)
    for part in data.parts.values():
        own = {n.rsplit("/", 1)[1] for n in part.names if "/cat/" in n}
        for i in range(20):
            assert (f"{i}.png" in own) == (f"copy {i}.bmp" in own)


@pytest.mark.parametrize("damage", ["cut", "flip", "meta", "facts"])
def test_a_damaged_cache_is_found_out_and_made_again(folder, opened, tmp_path, damage):
    expected = opened(folder).fingerprint()
    (kept,) = (tmp_path / "cache").rglob("*.npy")
    if damage == "cut":
        kept.write_bytes(kept.read_bytes()[:-1000])
    elif damage == "flip":
        status = kept.stat()
        content = bytearray(kept.read_bytes())
        content[len(content) // 2] ^= 255
        kept.write_bytes(content)
        os.utime(kept, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif damage == "meta":
        kept.with_suffix(".json").write_text("{")
    else:
        (kept.parent / "facts.json").write_text('{"version": 1, "facts": [[1]]}')
    assert opened(folder).fingerprint() == expected


def test_what_is_done_to_pixels_does_not_reach_the_cache(folder, opened):
    first = opened(folder)
    expected = first.fingerprint()
    first.train.pixels.zero_()
    assert opened(folder).fingerprint() == expected


def test_a_full_disk_leaves_nothing_half_written(folder, opened, tmp_path, monkeypatch):
    def full(self, row):
        with self._explained():
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pixel_cache.PixelWriter, "append", full)
    text = refusal(opened, folder)
    assert re.match(
        r"cache: .*/folders/pets-\w+ cannot be written \(No space left on device\); "
        r"0\.2 MB are needed, [\d,.]+ MB are free\. Make room, or use another place: "
        r"Set XDG_CACHE_HOME to a folder that can be written, or pass cache_dir\.$",
        text,
    )
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file()] == []


def test_a_cache_that_cannot_be_written_is_told_and_memory_is_used(folder, tmp_path):
    expected = load_folder(folder, cache_dir=tmp_path / "cache")
    (tmp_path / "file").write_text("not a folder")
    data = load_folder(folder, cache_dir=tmp_path / "file")
    assert data.fingerprint() == expected.fingerprint()
    assert data.preprocessing == expected.preprocessing
    (note,) = (note for note in data.notes if "cannot be written" in note)
    assert note.startswith(f"The cache {tmp_path / 'file'}/folders/pets-")
    assert note.endswith(
        " cannot be written (Not a directory): 0.1 MB of pixels are held in memory, "
        "and decoded again the next time. Set XDG_CACHE_HOME to a folder that can be "
        "written, or pass cache_dir."
    )


def test_the_audit_needs_no_cache_either(folder, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert audit(folder, cache_dir=tmp_path / "file").problems == ()


def test_parts_with_folders_are_kept(tmp_path, opened):
    for part, count in (("train", 6), ("Valid", 3), ("test", 2)):
        for label in "ab":
            for i in range(count):
                picture(tmp_path / "set" / part / label / f"{i}.png")
    data = opened(tmp_path / "set")
    assert {k: len(v) for k, v in data.parts.items()} == {
        "train": 12,
        "val": 6,
        "test": 4,
    }
    assert all("/Valid/" in name for name in data.val.names)
    assert "The parts are the folders train, val, test." in data.notes


def test_a_missing_part_is_taken_from_train(tmp_path, opened):
    for part, count in (("train", 30), ("test", 2)):
        for label in "ab":
            for i in range(count):
                picture(tmp_path / "set" / part / label / f"{i}.png")
    data = opened(tmp_path / "set")
    assert len(data.test) == 4
    assert 0 < len(data.val) < 30
    assert len(data.train) + len(data.val) == 60
    assert (
        "The parts are the folders train, test; train is parted by a hash of the "
        "pixels: 50 to train on (83%), 10 to validate on (17%)." in data.notes
    )


def test_the_shares_that_are_told_are_those_that_were_made(tmp_path, opened):
    for label in range(12):
        for i in range(4):
            picture(tmp_path / "set" / f"{label:02}" / f"{i}.png")
    data = opened(tmp_path / "set")
    assert [len(part) for part in data.parts.values()] == [24, 12, 12]
    assert (
        "Parted by a hash of the pixels, class by class: 24 to train on (50%), 12 to "
        "validate on (25%), 12 to test on (25%)." in data.notes
    )
    assert (
        "The test part has only 12 images: an accuracy near 90% measured on it is "
        "uncertain by about 17 percentage points either way. Cross-validation in folds "
        "judges all 48." in data.notes
    )


def test_classes_without_a_test_image_are_named(tmp_path, opened):
    for part, labels in (("train", "abc"), ("test", "a")):
        for label in labels:
            for i in range(6):
                picture(tmp_path / "set" / part / label / f"{i}.png")
    assert (
        "2 classes of 3 have no test image ('b', 'c'): the test says nothing about "
        "them. Add images." in opened(tmp_path / "set").notes
    )


def test_a_large_even_set_gets_no_warning():
    parts = {
        name: Samples(
            torch.zeros(count, 1, 1, 1, dtype=torch.uint8),
            torch.arange(count) % 4,
            [""] * count,
        )
        for name, count in (("train", 700), ("val", 100), ("test", 140))
    }
    assert part_sizes.warnings(parts, "abcd") == []
    assert part_sizes.warnings({**parts, "test": parts["val"].subset([])}, "abcd") == []


def test_odd_names_nesting_and_leftovers(folder, opened):
    picture(folder / "Große Katze 🐈" / "deep" / "er" / "1.JPG")
    picture(folder / "Große Katze 🐈" / "2.TiFF")
    picture(folder / "cat" / ".hidden.png")
    picture(folder / "__MACOSX" / "cat" / "1.png")
    picture(folder / "stray.png")
    for leftover in (".DS_Store", "cat/Thumbs.db", "cat/notes.txt", "labels.csv"):
        (folder / leftover).write_text("x")
    data = opened(folder)
    assert data.classes == ("Große Katze 🐈", "cat", "dog")
    assert len(by_name(data)) == 42
    assert data.set_aside == ()
    assert "2 files with the name of no image (.csv 1, .txt 1), not used." in data.notes
    assert "1 file in no class folder, not used." in data.notes


def test_a_circle_of_links_ends(folder, opened):
    (folder / "cat" / "loop").symlink_to(folder / "cat")
    (folder / "dog" / "up").symlink_to(folder)
    assert len(opened(folder).classes) == 2


def test_bad_files_are_set_aside_with_the_reason(folder, opened):
    (folder / "cat" / "text.jpg").write_text("hello")
    data = (folder / "dog" / "0.png").read_bytes()
    (folder / "dog" / "cut.png").write_bytes(data[: len(data) // 2])
    (folder / "dog" / "gone.png").symlink_to(folder / "nowhere.png")
    aside = {s.path: s.reason for s in opened(folder).set_aside}
    assert sorted(aside) == [
        str(folder / "cat" / "text.jpg"),
        str(folder / "dog" / "cut.png"),
        str(folder / "dog" / "gone.png"),
    ]
    assert "truncated" in aside[str(folder / "dog" / "cut.png")]
    assert aside[str(folder / "dog" / "gone.png")] == "no such file."
    assert len(by_name(opened(folder))) == 40


def test_strict_stops_at_bad_files_and_lists_them(folder, opened):
    (folder / "cat" / "empty.jpg").touch()
    expected = (
        f"load: folder {str(folder)!r} has 1 file that cannot be used. Fix or remove "
        "it, or leave out strict:\n  cat/empty.jpg: the file is empty (0 bytes)."
    )
    assert refusal(opened, folder, strict=True) == expected
    opened(folder)
    assert refusal(opened, folder, strict=True) == expected


def test_an_empty_folder_says_what_to_do(tmp_path, opened):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").touch()
    where = f"load: folder {str(tmp_path / 'a')!r}"
    assert refusal(opened, tmp_path / "a") == (
        f"{where} holds no images (it has 1 .txt). Put the images of each class into a "
        "folder with its name; PNG, JPEG, TIFF, WebP, GIF, BMP, PPM, AVIF, JPEG 2000 "
        "and 11 others are read."
    )


def test_images_without_class_folders_say_where_to_put_them(tmp_path, opened):
    picture(tmp_path / "a" / "1.png")
    assert refusal(opened, tmp_path / "a") == (
        f"load: folder {str(tmp_path / 'a')!r} holds 1 image but no class folders. Put "
        "the images of each class into a folder with its name: cat/1.png"
    )


def test_one_class_is_refused(folder, opened):
    shutil.rmtree(folder / "dog")
    assert refusal(opened, folder) == (
        f"load: folder {str(folder)!r} has images of one class only, 'cat'; a network "
        "needs two to tell apart. Add a folder for another class."
    )


def test_one_image_in_a_class_is_refused(folder, opened):
    picture(folder / "emu" / "1.png")
    assert refusal(opened, folder) == (
        f"load: folder {str(folder)!r} has one usable image in class 'emu'; at least 2 "
        "are needed, one to train on and one to judge by. Add images or remove it."
    )


def test_a_class_that_train_lacks_is_refused(tmp_path, opened):
    for place in ("train/a", "train/b", "test/a", "test/c"):
        for i in range(3):
            picture(tmp_path / "set" / place / f"{i}.png")
    assert "has no usable image of class 'c' in train" in refusal(
        opened, tmp_path / "set"
    )


def test_folders_that_cannot_be_parts_are_refused(tmp_path, opened):
    picture(tmp_path / "a" / "test" / "x" / "1.png")
    assert "has test but no train" in refusal(opened, tmp_path / "a")
    for part in ("train", "val", "valid"):
        picture(tmp_path / "b" / part / "x" / "1.png")
    assert "has val and valid, which mean the same part" in refusal(
        opened, tmp_path / "b"
    )
    assert "does not exist" in refusal(opened, tmp_path / "c")


def test_a_class_may_be_called_train(tmp_path, opened):
    for label in ("train", "bus"):
        for i in range(5):
            picture(tmp_path / "vehicles" / label / f"{i}.png")
    assert opened(tmp_path / "vehicles").classes == ("bus", "train")


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(40, 40)] * 4, 40),
        ([(40, 41)] * 4, 32),
        ([(20, 10)] * 4, 28),
        ([(100, 70), (500, 90), (99, 99), (65, 65)], 64),
        ([(400, 300)] * 4, 128),
    ],
)
def test_the_size_follows_the_images(tmp_path, opened, sizes, expected):
    for i, size in enumerate(sizes):
        picture(tmp_path / "set" / "ab"[i % 2] / f"{i}.png", size=size)
    assert opened(tmp_path / "set").input_shape == (3, expected, expected)


def test_gray_is_kept_gray_only_if_all_are(folder, tmp_path, opened):
    for i in range(6):
        picture(tmp_path / "gray" / "ab"[i % 2] / f"{i}.png", channels=1)
    assert opened(tmp_path / "gray").preprocessing.channels == 1
    picture(folder / "cat" / "gray.png", channels=1)
    assert opened(folder).preprocessing.channels == 3
    assert opened(folder, channels=1).preprocessing.channels == 1


def test_16_bits_are_kept_bit_for_bit(tmp_path, opened):
    arrays = {}
    for i in range(8):
        path = tmp_path / "wide" / "ab"[i % 2] / f"{i}.png"
        arrays[str(path)] = picture(path, channels=1, dtype=np.uint16)
    data = opened(tmp_path / "wide")
    assert data.preprocessing.bits == 16
    assert data.train.pixels.numpy().dtype == np.uint16
    for path, (_, pixels) in by_name(data).items():
        np.testing.assert_array_equal(pixels[0], arrays[path])
    assert opened(tmp_path / "wide", bits=8).preprocessing.bits == 8


def test_exif_rotation_reaches_the_pixels(tmp_path, opened):
    exif = Image.Exif()
    exif[images.ORIENTATION] = 6
    for i in range(6):
        array = picture(tmp_path / "x" / "ab"[i % 2] / f"{i}.png", exif=exif)
    data = by_name(opened(tmp_path / "x"))
    expected = np.moveaxis(np.rot90(array, -1), -1, 0)
    np.testing.assert_array_equal(
        data[str(tmp_path / "x" / "b" / "5.png")][1], expected
    )


def test_progress_counts_to_the_end(folder, opened):
    calls = []
    opened(folder, progress=lambda *call: calls.append(call))
    assert calls[-1] == (40, 40, "reading images")


def test_pixels_of_few_settings_are_kept(folder, opened, tmp_path):
    for size in range(28, 36):
        opened(folder, size=size)
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == pixel_cache.KEPT
