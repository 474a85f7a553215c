import os
import time

import pytest

from convscope.data.folders.audit import audit
from convscope.data.folders.layout import meant_instead, parts_of
from convscope.data.folders.load_folder import load_folder
from convscope.data.folders.scan import scan
from convscope.errors import DataError
from convscope.train.training.fitting import fit


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def found(root, **options):
    listing = scan(root, **options)
    return {e.path: (e.part, e.label) for e in listing.entries}


def refusal(root):
    with pytest.raises(DataError) as caught:
        scan(root)
    return str(caught.value).removeprefix(f"folder {str(root)!r}")


# Links


def test_a_link_upwards_relabels_no_pictures(tmp_path):
    touch(tmp_path, "apple/1.png", "pear/2.png")
    (tmp_path / "apple" / "loop").symlink_to(tmp_path)
    assert found(tmp_path) == {"apple/1.png": ("", "apple"), "pear/2.png": ("", "pear")}
    assert scan(tmp_path).links == ("apple/loop",)


@pytest.mark.parametrize("target", ["pear", "pear/deep", "train/../pear"])
def test_a_link_into_another_class_relabels_no_pictures(tmp_path, target):
    touch(tmp_path, "apple/1.png", "pear/deep/2.png", "train/3.png")
    (tmp_path / "apple" / "link").symlink_to(tmp_path / target)
    assert found(tmp_path)["pear/deep/2.png"] == ("", "pear")
    assert len(found(tmp_path)) == 3


def test_a_link_from_train_into_test_leaks_nothing(tmp_path):
    touch(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png")
    (tmp_path / "train" / "a" / "more").symlink_to(tmp_path / "test" / "a")
    assert found(tmp_path)["test/a/3.png"] == ("test", "a")
    assert len(found(tmp_path)) == 4


@pytest.mark.parametrize("target", ["/", "..", "../../.."])
def test_a_link_to_a_folder_around_this_one_is_not_followed(tmp_path, target):
    touch(tmp_path, "other/0.png", "pets/cat/1.png", "pets/dog/2.png")
    (tmp_path / "pets" / "cat" / "up").symlink_to(target)
    assert len(found(tmp_path / "pets")) == 2
    assert scan(tmp_path / "pets").links == ("cat/up",)


def test_links_to_folders_elsewhere_are_followed(tmp_path):
    touch(tmp_path, "store/cats/1.png", "store/more/2.png", "pets/dog/3.png")
    (tmp_path / "pets" / "cat").symlink_to(tmp_path / "store" / "cats")
    (tmp_path / "pets" / "dog" / "more").symlink_to(tmp_path / "store" / "more")
    assert found(tmp_path / "pets") == {
        "cat/1.png": ("", "cat"),
        "dog/3.png": ("", "dog"),
        "dog/more/2.png": ("", "dog"),
    }


def test_two_names_for_one_folder_are_one_class(tmp_path):
    touch(tmp_path, "cat/1.png", "dog/2.png")
    (tmp_path / "aliased").symlink_to(tmp_path / "cat")
    assert scan(tmp_path).classes == ("cat", "dog")


def test_24_levels_of_paired_links_end_at_once(tmp_path):
    place = tmp_path / "store"
    for level in range(24):
        (place / str(level)).mkdir(parents=True)
        touch(place, f"{level}/{level}.png")
        for name in ("left", "right"):
            (place / str(level) / name).symlink_to(place / str(level + 1))
    touch(tmp_path, "pets/dog/1.png")
    (tmp_path / "pets" / "cat").symlink_to(place / "0")
    start = time.monotonic()
    assert len(found(tmp_path / "pets")) == 25
    assert time.monotonic() - start < 5  # 2^24 ways would take hours


def test_links_to_themselves_and_to_nothing_refuse_nothing(tmp_path):
    touch(tmp_path, "cat/1.png", "dog/2.png")
    for place in ("self", "cat/self", "cat/self.png"):
        (tmp_path / place).symlink_to(tmp_path / place)
    (tmp_path / "cat" / "gone").symlink_to(tmp_path / "nowhere")
    listing = scan(tmp_path)
    assert listing.classes == ("cat", "dog")
    assert {e.path for e in listing.entries} == {
        "cat/1.png", "cat/self.png", "dog/2.png",
    }  # fmt: skip
    assert [path for path, _ in listing.unreadable] == ["cat/self", "self"]


# Folders that cannot be read


def test_a_folder_that_cannot_be_listed_is_told_and_passed_over(tmp_path, monkeypatch):
    touch(tmp_path, "cat/1.png", "cat/locked/2.png", "dog/3.png", "emu/4.png")
    list_folder = os.scandir

    def locked(path):
        if str(path).endswith(("locked", "emu")):
            raise PermissionError(13, "Permission denied", str(path))
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", locked)
    listing = scan(tmp_path)
    assert {e.path for e in listing.entries} == {"cat/1.png", "dog/3.png"}
    reason = "cannot be listed (Permission denied)"
    assert listing.unreadable == (("cat/locked", reason), ("emu", reason))
    finding = audit(tmp_path, cache_dir=tmp_path / ".cache").problems[1]
    assert finding.kind == "unreadable folder"
    assert finding.message == (
        "2 folders passed over, with all that is in them, such as cat/locked: cannot "
        "be listed (Permission denied). Fix or remove them."
    )


def test_a_path_beyond_the_limit_is_told_and_passed_over(tmp_path):
    touch(tmp_path, "cat/1.png", "dog/2.png")
    place = os.open(tmp_path / "cat", os.O_RDONLY)
    name = "d" * 200
    for _ in range(30):  # 6,000 characters; the limit is 4,096
        os.mkdir(name, dir_fd=place)
        below = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)
    listing = scan(tmp_path)
    assert len(listing.entries) == 2
    ((path, reason),) = listing.unreadable
    assert path.startswith("cat/ddd")
    assert reason == "cannot be listed (File name too long)"


def test_a_class_name_that_is_not_utf_8_is_a_name(pictures):
    root = pictures({"cat": 12, "caf": 12})
    (root / "caf").rename(os.fsdecode(os.fsencode(root) + b"/caf\xe9"))
    data = load_folder(root)
    assert data.classes == ("café", "cat")
    assert len(data.fingerprint()) == 64
    assert (
        "1 class folder whose name is not UTF-8, taken for Latin-1: 'café'."
        in data.notes
    )
    run = fit("softmax_regression", data, listeners=(), epochs=1)
    assert run.evaluate(data).classes[0] == "café"


# Parts and classes


def test_parts_have_several_names():
    for names, parts in (
        (["training", "Validation"], ["train", "val"]),
        (["TRAIN", "valid", "testing"], ["train", "val", "test"]),
        (["train", "dev"], ["train", "val"]),
        (["training_set", "Test Images"], ["train", "test"]),
        (["train", "dataset"], []),
        (["train", "sample"], []),
    ):
        assert list(parts_of(names, "x").values()) == parts


def test_a_part_of_an_unknown_name_is_refused(tmp_path):
    for part in ("train", "valid", "sample"):
        for label in ("cat", "dog"):
            touch(tmp_path, f"{part}/{label}/1.png")
    assert refusal(tmp_path) == (
        " has a folder 'train' that holds 2 folders, as a part does, and beside it "
        "'sample', which is no part. Call the parts train, val and test, and move the "
        "rest away, or say that 'train' is a class (layout='classes')."
    )
    assert scan(tmp_path, "classes").classes == ("sample", "train", "valid")


@pytest.mark.parametrize(
    "others", [("sample/1.png",), ("odds/a/1.png", "ends/b/2.png")]
)
def test_also_if_its_folders_are_called_otherwise(tmp_path, others):
    touch(tmp_path, "train/cat/1.png", "train/dog/2.png", "test/cat/3.png", *others)
    assert "as a part does" in refusal(tmp_path)


@pytest.mark.parametrize(
    "names", [("fold1", "fold2", "fold3"), ("images_one", "images_two")]
)
def test_folders_that_hold_folders_of_the_same_names_are_refused(tmp_path, names):
    for name in names:
        touch(tmp_path, f"{name}/cat/1.png", f"{name}/dog/1.png")
    assert refusal(tmp_path).startswith(
        f": its folders {', '.join(map(repr, names))} hold folders of the same names, "
        "'cat', 'dog', which may be the classes. If they are, call the folders around "
        "them train, val and test, put the images of each class into one folder, or "
    )
    assert found(tmp_path, layout="classes")


def test_pictures_beside_their_masks_are_refused_in_parts_too(tmp_path):
    for label in ("cat", "dog"):
        touch(tmp_path, f"train/{label}/images/1.png", f"train/{label}/masks/1.png")
    assert "hold folders of the same names, 'images', 'masks'" in refusal(tmp_path)


def test_folders_inside_classes_are_fine(tmp_path):
    touch(tmp_path, "a/images/1.png", "b/images/2.png")  # as in Tiny ImageNet
    touch(tmp_path, "c/2019/1.png", "c/2020/2.png", "d/3.png", "d/2019/4.png")
    assert len(found(tmp_path)) == 6


@pytest.mark.parametrize("wrapper", ["Dataset", "a/b/c"])
def test_a_folder_around_the_classes_is_asked_about(pictures, wrapper):
    root = pictures(dict.fromkeys("0123456789", 2), f"signs/{wrapper}", size=20)
    outer = root.parents[wrapper.count("/")]
    only = wrapper.split("/")[0]
    expected = f"Did you mean '{root}' (10 class folders)?"
    assert meant_instead(outer, only) == expected
    with pytest.raises(DataError) as caught:
        load_folder(outer)
    assert str(caught.value).endswith(f"needs two to tell apart. {expected}")
    (finding,) = [f for f in audit(outer).problems if f.kind == "one class"]
    assert finding.message.endswith(expected)


def test_a_folder_around_parts_is_asked_about(tmp_path):
    touch(tmp_path, "set/train/a/1.png", "set/test/a/1.png")
    expected = f"Did you mean '{tmp_path / 'set'}' (parts test, train)?"
    assert meant_instead(tmp_path, "set") == expected


def test_one_class_with_pictures_is_one_class(tmp_path):
    touch(tmp_path, "cat/1.png", "cat/one/2.png")
    assert meant_instead(tmp_path, "cat") == ""
