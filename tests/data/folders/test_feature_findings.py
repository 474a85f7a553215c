"""``audit(folder, features=...)``: what features show becomes findings."""

import json

import numpy as np
import pytest
from PIL import Image

from convscope.data import audit
from convscope.errors import ArgumentError


def colors(paths):
    """Mean color of 16 squares: features that know the pictures of this file."""
    rows = []
    for path in paths:
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize((4, 4), Image.Resampling.BOX)
        rows.append(np.asarray(small, np.float32).ravel())
    return np.stack(rows)


def picture(tint, rng):
    """16 squares around a tint, noisy, so that no two are near in their pixels."""
    squares = np.clip(np.array(tint) + rng.normal(0, 10, (4, 4, 3)), 0, 255)
    large = squares.repeat(8, 0).repeat(8, 1)
    return np.clip(large + rng.normal(0, 60, (32, 32, 3)), 0, 255).astype(np.uint8)


TINTS = {"red": (190, 60, 60), "green": (60, 190, 60), "blue": (60, 60, 190)}


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, tint in TINTS.items():
        for i in range(15):
            path = tmp_path / "set" / name / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(tint, rng)).save(path)
    return tmp_path / "set"


def found(folder, tmp_path, **options):
    report = audit(folder, features=colors, cache_dir=tmp_path / "cache", **options)
    return {each.kind: each for each in report.problems}


def test_a_sound_folder_stays_sound(folder, tmp_path):
    kinds = set(found(folder, tmp_path))
    assert not kinds - {"outliers"}


def test_a_picture_in_the_wrong_folder_is_named_with_a_picture_of_its_class(
    folder, tmp_path
):
    (folder / "blue" / "03.png").rename(folder / "green" / "99.png")
    (suspect,) = found(folder, tmp_path)["probable wrong labels"].suspects
    assert (suspect.path, suspect.label) == ("green/99.png", "green")
    assert suspect.neighbor_label == "blue"
    assert suspect.neighbor.startswith("blue/")
    kinds = found(folder, tmp_path)
    assert "green/99.png" not in [
        each.path
        for each in (kinds["outliers"].suspects if "outliers" in kinds else ())
    ]


def test_a_mirrored_copy_of_a_plain_picture_is_a_look_alike(folder, tmp_path):
    """Its hash is another; these features hardly change."""
    rng = np.random.default_rng(5)
    flat = np.array((200, 200, 20)) + rng.normal(0, 60, (32, 32, 3))
    image = np.clip(flat, 0, 255).astype(np.uint8)
    Image.fromarray(image).save(folder / "red" / "a.png")
    Image.fromarray(image[:, ::-1]).save(folder / "red" / "b.png")
    finding = found(folder, tmp_path)["look-alikes"]
    assert finding.files[0] == ("red/a.png", "red/b.png")
    assert finding.severity == "note"
    assert finding.suspects[0].score > 0.5


def test_what_hashes_find_is_not_told_twice(folder, tmp_path):
    rng = np.random.default_rng(5)
    image = picture((200, 200, 20), rng)
    Image.fromarray(image).save(folder / "red" / "a.png")
    Image.fromarray(np.clip(image * 0.95, 0, 255).astype(np.uint8)).save(
        folder / "red" / "b.png"
    )
    kinds = found(folder, tmp_path)
    assert kinds["near duplicates"].files == (("red/a.png", "red/b.png"),)
    assert "look-alikes" not in kinds
    assert found(folder, tmp_path, near=0)["look-alikes"].files == (
        ("red/a.png", "red/b.png"),
    )


@pytest.mark.parametrize(
    ("change", "severity"), [("darker", "must fix"), ("mirrored", "note")]
)
def test_look_alikes_in_two_parts_must_be_fixed_where_pixels_agree(
    tmp_path, folder, change, severity
):
    rng = np.random.default_rng(5)
    for name in TINTS:
        for i in (0, 1, 2):
            path = folder / name / f"{i:02}.png"
            (tmp_path / "parts" / "test" / name).mkdir(parents=True, exist_ok=True)
            path.rename(tmp_path / "parts" / "test" / name / path.name)
    folder.rename(tmp_path / "parts" / "train")
    image = np.clip(np.array((200, 200, 20)) + rng.normal(0, 60, (32, 32, 3)), 0, 255)
    image[4:20, 2:12] = 120
    image = image.astype(np.uint8)
    dark = (image * 0.9).astype(np.uint8)
    other = dark if change == "darker" else image[:, ::-1]
    Image.fromarray(image).save(tmp_path / "parts" / "train" / "red" / "a.png")
    Image.fromarray(other).save(tmp_path / "parts" / "test" / "green" / "b.png")
    finding = found(tmp_path / "parts", tmp_path, near=0)["look-alikes across parts"]
    assert finding.files[0] == ("train/red/a.png", "test/green/b.png")
    assert finding.severity == severity


def test_the_report_is_json(folder, tmp_path):
    (folder / "blue" / "03.png").rename(folder / "green" / "99.png")
    report = audit(folder, features=colors, cache_dir=tmp_path / "cache")
    kept = json.loads(json.dumps(report.to_dict()))
    (wrong,) = [p for p in kept["problems"] if p["kind"] == "probable wrong labels"]
    assert wrong["suspects"][0]["path"] == "green/99.png"
    assert 0.5 <= wrong["suspects"][0]["score"] <= 1


def test_too_few_images_are_said_to_be_too_few(tmp_path, folder):
    for name in ("green", "blue"):
        for path in list((folder / name).iterdir())[2:]:
            path.unlink()
    finding = found(folder, tmp_path)["too few images for features"]
    assert finding.message.startswith("19 different images, fewer than 20")


def test_features_of_another_form_are_refused(folder, tmp_path):
    cases = {
        "shape \\(44, 3\\)": lambda paths: np.zeros((len(paths) - 1, 3)),
        "shape \\(45,\\)": lambda paths: np.zeros(len(paths)),
        "int64": lambda paths: np.zeros((len(paths), 2), np.int64),
        "not finite": lambda paths: np.full((len(paths), 2), np.nan),
    }
    for message, features in cases.items():
        with pytest.raises(ArgumentError, match=message):
            audit(folder, features=features, cache_dir=tmp_path / "cache")


def test_files_that_cannot_be_read_and_copies_are_not_asked_for(folder, tmp_path):
    (folder / "red" / "bad.png").write_bytes(b"hello")
    (folder / "red" / "copy.png").write_bytes((folder / "red" / "00.png").read_bytes())
    asked = []

    def features(paths):
        asked.extend(paths)
        return colors(paths)

    audit(folder, features=features, cache_dir=tmp_path / "cache")
    assert len(asked) == 45
    assert str(folder / "red" / "bad.png") not in asked
