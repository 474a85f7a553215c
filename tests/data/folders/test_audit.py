import json

import numpy as np
import pytest
from PIL import Image

from convscope.data import images
from convscope.data.folders.audit import audit
from convscope.errors import ArgumentError, DataError


def scene(seed, size=(64, 64)):
    """A smooth picture, like a photograph, different for every seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


def put(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


@pytest.fixture
def folder(tmp_path):
    for i in range(12):
        put(tmp_path / "set" / "ab"[i % 2] / f"{i}.png", scene(i))
    return tmp_path / "set"


@pytest.fixture
def found(tmp_path):
    def findings(path, **options):
        report = audit(path, cache_dir=tmp_path / "cache", **options)
        return {f.kind: f for f in report.problems}

    return findings


def test_a_sound_folder_has_nothing_to_fix(folder, tmp_path):
    report = audit(folder, cache_dir=tmp_path / "cache")
    assert report.problems == ()
    assert not report.must_fix
    assert report.counts == {"all": {"a": 6, "b": 6}}
    assert report.sizes == (((64, 64), 12),)
    assert report.modes == {"RGB": 12}
    assert report.formats == {"PNG": 12}


def test_unreadable_files_are_named_with_the_reason(folder, found):
    (folder / "a" / "text.jpg").write_text("hello")
    data = (folder / "a" / "0.png").read_bytes()
    (folder / "b" / "cut.png").write_bytes(data[:-400])
    finding = found(folder)["unreadable"]
    assert finding.severity == "must fix"
    assert finding.files == (("a/text.jpg",), ("b/cut.png",))
    assert "a/text.jpg: is not a picture in a known format" in finding.message
    assert "b/cut.png: the file is truncated" in finding.message


def test_the_same_pixels_are_found_across_formats(folder, found):
    put(folder / "a" / "copy.bmp", scene(0))
    put(folder / "a" / "copy.webp", scene(0), lossless=True)
    finding = found(folder)["duplicates"]
    assert finding.files == (("a/0.png", "a/copy.bmp", "a/copy.webp"),)
    assert finding.severity == "note"


def test_gray_pixels_are_the_same_in_gray_and_in_color_files(folder, found):
    gray = scene(99).convert("L")
    put(folder / "a" / "gray.png", gray)
    put(folder / "a" / "color.png", gray.convert("RGB"))
    assert found(folder)["duplicates"].files == (("a/color.png", "a/gray.png"),)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((200, 190)),
        lambda image: image.point(lambda v: int(v * 0.9)),
        lambda image: image.convert("L"),
    ],
    ids=["resized", "darker", "gray"],
)
def test_near_copies_are_found(folder, found, change):
    put(folder / "a" / "near.jpg", change(scene(0)), quality=60)
    finding = found(folder)["near duplicates"]
    assert finding.files == (("a/0.png", "a/near.jpg"),)
    assert "near duplicates" not in found(folder, near=0)


def test_pictures_that_differ_are_no_near_copies(tmp_path, found):
    for i in range(300):
        put(tmp_path / "many" / "ab"[i % 2] / f"{i}.png", scene(i, (32, 32)))
    assert "near duplicates" not in found(tmp_path / "many")


def test_plain_pictures_are_no_near_copies(folder, found):
    for i, color in enumerate(("red", "navy", "white", "gray")):
        put(folder / "ab"[i % 2] / f"{color}.png", Image.new("RGB", (64, 64), color))
    assert found(folder).keys() == {"blank"}


def test_one_picture_in_two_classes_must_be_fixed(folder, found):
    put(folder / "b" / "copy.bmp", scene(0))
    finding = found(folder)["duplicates in two classes"]
    assert finding.severity == "must fix"
    assert finding.files == (("a/0.png", "b/copy.bmp"),)


@pytest.mark.parametrize("kind", ["duplicates", "near duplicates"])
def test_a_picture_in_train_and_test_must_be_fixed(tmp_path, found, kind):
    root = tmp_path / "parts"
    for i in range(12):
        part = "train" if i < 8 else "test"
        put(root / part / "ab"[i % 2] / f"{i}.png", scene(i))
    leak = root / "test" / "a" / ("leak.bmp" if kind == "duplicates" else "leak.jpg")
    put(leak, scene(0))
    finding = found(root)[f"{kind} across parts"]
    assert finding.severity == "must fix"
    assert finding.files == (("train/a/0.png", f"test/a/{leak.name}"),)


def test_classes_without_or_with_one_image_must_be_fixed(folder, found):
    (folder / "empty").mkdir()
    put(folder / "single" / "1.png", scene(50))
    kinds = found(folder)
    assert kinds["empty class"].message == (
        "No usable image in 'empty'. Add images or remove the folder."
    )
    assert kinds["one image in a class"].severity == "must fix"


def test_imbalance_is_told_with_its_ratio(folder, found):
    for i in range(100, 156):
        put(folder / "a" / f"{i}.png", scene(i))
    for i in range(3, 12, 2):
        (folder / "b" / f"{i}.png").unlink()
    put(folder / "b" / "x.png", scene(99))
    message = found(folder)["imbalance"].message
    assert message.startswith("'a' has 62 images and 'b' has 2, a ratio of 31.")


def test_names_that_differ_only_by_case_are_told(folder, found):
    put(folder / "A" / "1.png", scene(70))
    put(folder / "A" / "2.png", scene(71))
    put(folder / "b" / "X.PNG", scene(72))
    put(folder / "b" / "x.png", scene(73))
    kinds = found(folder)
    assert kinds["classes that differ by case"].files == (("A", "a"),)
    assert kinds["classes that differ by case"].severity == "must fix"
    assert kinds["names that differ by case"].files == (("b/X.PNG", "b/x.png"),)


def test_rotation_16_bits_and_odd_modes_are_noted(folder, found):
    exif = Image.Exif()
    exif[images.ORIENTATION] = 6
    put(folder / "a" / "turned.jpg", scene(80), exif=exif)
    wide = np.random.default_rng(1).integers(0, 65536, (64, 64)).astype(np.uint16)
    put(folder / "a" / "wide.png", Image.fromarray(wide))
    put(folder / "b" / "clear.png", scene(81).convert("RGBA"))
    put(folder / "b" / "print.jpg", scene(82).convert("CMYK"))
    kinds = found(folder)
    assert kinds["rotated by EXIF"].files == (("a/turned.jpg",),)
    assert kinds["16 bits"].files == (("a/wide.png",),)
    assert kinds["odd modes"].files == (("b/clear.png",), ("b/print.jpg",))
    assert {f.severity for f in kinds.values()} == {"note"}


def test_a_second_audit_decodes_nothing_and_says_the_same(
    folder, tmp_path, monkeypatch
):
    put(folder / "a" / "near.jpg", scene(0), quality=60)
    first = audit(folder, cache_dir=tmp_path / "cache")
    monkeypatch.setattr(images, "read", lambda source: pytest.fail(f"decoded {source}"))
    assert audit(folder, cache_dir=tmp_path / "cache") == first


def test_a_changed_file_is_decoded_again(folder, found):
    put(folder / "a" / "0.png", scene(1))
    assert "duplicates in two classes" in found(folder)
    put(folder / "a" / "0.png", scene(1234, (50, 40)))
    assert "duplicates in two classes" not in found(folder)


def test_the_report_is_json(folder, tmp_path):
    (folder / "a" / "text.jpg").write_text("hello")
    report = audit(folder, cache_dir=tmp_path / "cache")
    record = json.loads(json.dumps(report.to_dict()))
    assert record["must_fix"] is True
    assert record["images"] == 13
    assert record["problems"][0]["kind"] == "unreadable"
    assert record["sizes"] == [{"width": 64, "height": 64, "images": 12}]


def test_a_report_prints_in_a_line(folder, tmp_path):
    (folder / "a" / "text.jpg").write_text("hello")
    assert repr(audit(folder, cache_dir=tmp_path / "cache")) == (
        f"AuditReport({str(folder)!r}, 13 images, must_fix=True, "
        "problems=['unreadable'])"
    )


def test_bad_arguments_are_refused(folder, tmp_path):
    with pytest.raises(ArgumentError, match=r"^audit: near=65 is not from 0 to 32"):
        audit(folder, near=65)
    with pytest.raises(DataError, match="does not exist"):
        audit(tmp_path / "nowhere")


def test_blank_tiny_and_extreme_pictures_are_noted(folder, found):
    put(folder / "a" / "blank.png", Image.new("RGB", (64, 64), "white"))
    put(folder / "a" / "blank.jpg", Image.new("L", (64, 64), 7), quality=50)
    put(folder / "b" / "wide-blank.png", Image.new("I;16", (64, 64), 900))
    put(folder / "b" / "dot.png", scene(3, (1, 1)))
    put(folder / "b" / "line.png", scene(4, (1, 5000)))
    put(folder / "b" / "banner.png", scene(5, (900, 60)))
    kinds = found(folder)
    assert kinds["blank"].files == (
        ("a/blank.jpg",),
        ("a/blank.png",),
        ("b/dot.png",),
        ("b/wide-blank.png",),
    )
    assert kinds["tiny"].files == (("b/dot.png",), ("b/line.png",))
    assert kinds["tiny"].message == (
        "2 pictures less than 8 pixels high or wide (such as 1 x 1), enlarged to the "
        "size of the others. Remove them, unless they are meant."
    )
    assert kinds["extreme shapes"].files == (("b/banner.png",), ("b/line.png",))
    assert kinds["extreme shapes"].message.startswith(
        "2 pictures more than 8 times as long as wide (such as 900 x 60): cropping to"
    )


def test_animations_and_pages_are_noted(folder, found):
    put(folder / "a" / "film.gif", scene(90), save_all=True, append_images=[scene(91)])
    put(folder / "b" / "doc.tif", scene(92), save_all=True, append_images=[scene(93)])
    kinds = found(folder)
    assert kinds["several frames or pages"].files == (("a/film.gif",), ("b/doc.tif",))
    assert kinds["several frames or pages"].severity == "note"


def test_a_few_16_bit_files_say_what_they_do_to_the_others(folder, found):
    wide = np.random.default_rng(1).integers(0, 65536, (64, 64)).astype(np.uint16)
    put(folder / "a" / "wide.png", Image.fromarray(wide))
    assert found(folder)["16 bits"].message == (
        "1 file of 13 with 16 bits per pixel: kept. They make the other 12 be kept "
        "with 16 bits too, twice as large; bits=8 keeps all with 8."
    )
