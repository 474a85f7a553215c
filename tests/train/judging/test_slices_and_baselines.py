import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from convscope.data import load
from convscope.data.dataset import Samples
from convscope.train.judging.baselines import baselines
from convscope.train.judging.slices import confused_pairs, measured, slices


def test_a_planted_weakness_stands_out_and_nothing_else_does():
    rng = np.random.default_rng(1)
    dim, size = rng.random(800), rng.random(800)
    hits = (dim > 0.25) | (rng.random(800) < 0.3)
    found = slices({"brightness": dim, "size": size}, hits)
    lowest = [s for s in found if s.stands_out and s.accuracy < 0.5]
    assert [(s.quantity, s.images) for s in lowest] == [("brightness", 200)]
    assert not any(s.stands_out for s in found if s.quantity == "size")


def test_chance_seldom_stands_out():
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(100):
        found = slices({"x": rng.random(200), "y": rng.random(200)},
                       rng.random(200) < 0.8)  # fmt: skip
        alarms += any(s.stands_out for s in found)
    assert alarms <= 10  # 5% of 100, with a spread of 2


def test_every_image_is_in_one_slice_of_each_quantity():
    values = np.random.default_rng(0).random(403)
    found = slices({"x": values}, values > 0.5)
    assert sum(s.images for s in found) == 403
    assert sum(s.correct for s in found) == (values > 0.5).sum()


def test_values_that_are_all_alike_make_no_slices():
    assert slices({"x": np.ones(100)}, np.ones(100, bool)) == []


def test_brightness_and_contrast_are_mean_and_spread_of_pixels():
    pixels = torch.randint(0, 256, (5, 3, 4, 6), dtype=torch.uint8)
    found = measured(Samples(pixels, torch.zeros(5).long(), list("abcde")))
    scaled = pixels.double().flatten(1) / 255
    np.testing.assert_allclose(found["brightness"], scaled.mean(1), rtol=1e-9)
    np.testing.assert_allclose(
        found["contrast"], scaled.std(1, correction=0), rtol=1e-9
    )


def test_baselines_are_what_scikit_learn_says_of_the_pixels():
    digits = load("digits")
    majority, nearest, linear = baselines(digits.train, digits.test)
    flat = [
        part.pixels.flatten(1).numpy() / 255 for part in (digits.train, digits.test)
    ]
    knn = KNeighborsClassifier(1).fit(flat[0], digits.train.labels.numpy())
    expected = knn.score(flat[1], digits.test.labels.numpy())
    assert nearest.accuracy == pytest.approx(expected)
    assert majority.accuracy < 0.15 < 0.9 < linear.accuracy


def test_baselines_of_one_class_are_the_majority_alone():
    same = Samples(torch.zeros(4, 1, 2, 2), torch.zeros(4).long(), list("abcd"))
    (only,) = baselines(same, same)
    assert only.accuracy == 1.0


def test_there_are_no_baselines_without_labels():
    none = Samples(torch.zeros(4, 1, 2, 2), torch.full((4,), -1), list("abcd"))
    assert baselines(none, none) == []


def test_pairs_are_those_of_plain_loops():
    rng = np.random.default_rng(3)
    labels, called = rng.integers(0, 5, (2, 400))
    called = np.where(rng.random(400) < 0.6, labels, called)
    confusion = np.zeros((5, 5), int)
    for i, j in zip(labels, called, strict=True):
        confusion[i, j] += 1
    found = confused_pairs(confusion.tolist())
    assert len(found) == 10
    counts = [p.first_called_second + p.second_called_first for p in found]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == (labels != called).sum()
    assert sum(p.share for p in found) == pytest.approx(1)
    for p in found:
        there = sum((labels == p.first) & (called == p.second))
        back = sum((labels == p.second) & (called == p.first))
        assert (p.first_called_second, p.second_called_first) == (there, back)
        assert there >= back
        assert p.images == sum((labels == p.first) | (labels == p.second))
        assert p.rate == (there + back) / p.images
        assert p.interval[0] < p.rate < p.interval[1]


def test_without_mistakes_there_are_no_pairs():
    assert confused_pairs([[3, 0], [0, 0]]) == []
