"""Folds: every image is left out once, copies together, classes evenly."""

import numpy as np
import pytest
import torch

from convscope.data import load
from convscope.data.arrays import from_arrays
from convscope.data.dataset import Samples
from convscope.data.folds import (
    assign_folds,
    foldable,
    is_measured,
    pooled,
    require_foldable,
    with_validation,
    without,
)
from convscope.errors import ArgumentError, DataError

CLASSES = (23, 11, 5, 40)


def some(copies=1):
    """Hashes and labels of classes of unequal size, mixed."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(CLASSES)), CLASSES)
    hashes = [rng.bytes(16) for _ in labels]
    order = rng.permutation(np.tile(np.arange(len(labels)), copies))
    return [hashes[i] for i in order], labels[order]


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_differ_by_one_image_at_most_in_each_class_and_in_all(folds):
    hashes, labels = some()
    own = assign_folds(hashes, labels, folds)
    assert set(own.tolist()) == set(range(folds))
    for each in (own, *(own[labels == label] for label in range(len(CLASSES)))):
        counts = np.bincount(each, minlength=folds)
        assert counts.max() - counts.min() <= 1


def test_equal_images_share_a_fold_also_those_of_two_classes():
    hashes, labels = some(copies=3)
    labels[:10] = (labels[:10] + 1) % len(CLASSES)  # the same image, another class
    own = assign_folds(hashes, labels, 5)
    for content in set(hashes):
        assert len({f for h, f in zip(hashes, own, strict=True) if h == content}) == 1
    for label in range(len(CLASSES)):  # and no class is in one fold only
        assert len(set(own[labels == label].tolist())) > 1


def test_the_content_decides_not_the_order():
    hashes, labels = some()
    order = np.random.default_rng(1).permutation(len(labels))
    moved = assign_folds([hashes[i] for i in order], labels[order], 4)
    assert (assign_folds(hashes, labels, 4)[order] == moved).all()


def test_another_seed_or_repeat_gives_other_folds():
    hashes, labels = some()
    first = assign_folds(hashes, labels, 4)
    for other in ({"seed": 1}, {"repeat": 2}):
        assert (assign_folds(hashes, labels, 4, **other) != first).any()
    assert (assign_folds(hashes, labels, 4, seed=0, repeat=1) == first).all()


def test_the_pool_holds_every_image_once_in_an_order_of_its_own():
    data = load("digits")
    pool = pooled(data)
    names = [name for part in data.parts.values() for name in part.names]
    assert sorted(pool.train.names) == sorted(names)
    other = pooled(load("digits", validation=0.3, test=0.4))
    assert other.train.names == pool.train.names
    assert torch.equal(other.train.pixels, pool.train.pixels)
    assert is_measured(pool)
    assert not any("Parted" in note or "parted" in note for note in pool.notes)


def test_a_test_part_that_the_source_names_stays_out(pictures):
    place = pictures({"a": 8, "b": 8}, name="all/train")
    pictures({"a": 3, "b": 3}, name="all/test", seed=9)
    data = load(place.parent)
    pool = pooled(data)
    assert (len(data.train) + len(data.val), len(data.test)) == (16, 6)
    assert (len(pool.train), len(pool.val), len(pool.test)) == (16, 0, 6)
    assert pool.test.names == data.test.names


def test_validation_images_come_from_training_ones_whatever_the_parts_were():
    data = load("digits")
    watched = with_validation(pooled(data), 0.2)
    again = with_validation(pooled(watched), 0.2)
    assert len(watched.train) + len(watched.val) == 1797
    assert watched.fingerprint() == again.fingerprint()


def test_statistics_are_those_of_the_images_that_are_not_left_out():
    pool = pooled(load("digits"))
    left_out = np.arange(1797) % 3 == 0
    found = without(pool, left_out).preprocessing
    rest = pool.train.pixels[~left_out].double().numpy() / 255
    assert found.mean[0] == pytest.approx(rest.mean(), abs=1e-6)
    changed = pool.train.pixels.clone()
    changed[left_out] = 255
    bright = Samples(changed, pool.train.labels, pool.train.names)
    brighter = pool.preprocessing.with_statistics(changed)
    told = without(pool.replace(train=bright, preprocessing=brighter), left_out)
    assert told.preprocessing == found


def test_statistics_of_given_weights_stay():
    pool = pooled(load("digits"))
    given = pool.preprocessing.model_copy(update={"mean": (0.5,), "std": (0.5,)})
    pool = pool.replace(preprocessing=given)
    assert without(pool, np.arange(1797) < 9).preprocessing == given
    assert pooled(pool).preprocessing == given


def noise(counts):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(counts)), counts)
    images = rng.integers(0, 256, (len(labels), 8, 8), np.uint8)
    return images, labels


def test_a_class_with_fewer_images_than_folds_is_refused_with_the_number():
    images, labels = noise([6, 9])
    images[1] = images[0]
    pool = pooled(from_arrays(images, labels, classes=("rare", "other")))
    require_foldable(pool, 5)
    with pytest.raises(ArgumentError) as error:
        require_foldable(pool, 6)
    assert str(error.value) == (
        "cross_validate: folds=6, but class 'rare' has 5 images (copies not counted), "
        "fewer than folds. Take fewer folds (folds=5), or add images of that class."
    )


def test_classes_with_one_image_are_named():
    images, labels = noise([1, 9, 2])
    images[-1] = images[-2]
    pool = pooled(from_arrays(images, labels, classes=("one", "many", "copies")))
    with pytest.raises(DataError) as error:
        require_foldable(pool, 2)
    assert str(error.value) == (
        "cross_validate: 2 classes of 3 with one image, copies not counted ('copies', "
        "'one'): a network that has not seen it cannot know the class. Add images, or "
        "leave it out."
    )


def test_folds_are_offered_where_they_judge_clearly_more():
    data = load("digits")
    assert foldable(data, 359) == (5, 1797)
    assert foldable(data, 1500) is None
    images, labels = noise([3, 30])
    assert foldable(from_arrays(images, labels), 5) == (3, 33)
    images, labels = noise([1, 30])
    assert foldable(from_arrays(images, labels), 5) is None
