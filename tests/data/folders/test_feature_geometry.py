"""Planted faults are found among features; what is left out is really left out."""

import numpy as np
import pytest

from convscope.data.folders import feature_geometry
from convscope.data.folders.feature_geometry import (
    doubtful_labels,
    look_alikes,
    nearest,
    outliers,
)


def clusters(classes=4, each=25, width=24, seed=0):
    """Features around a center for each class, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    centers = 2 * rng.normal(size=(classes, width))
    return centers[labels] + rng.normal(size=(len(labels), width)) + 3, labels, rng


def noise(count, rng):
    return rng.integers(0, 256, (count, 16, 16), np.uint8)


@pytest.mark.parametrize("count", [7, 60])
def test_the_nearest_are_those_of_plain_loops(count, monkeypatch):
    monkeypatch.setattr(feature_geometry, "BLOCK", 16)
    x = np.random.default_rng(0).normal(size=(count, 5))
    found = nearest(x)
    centered = x - x.mean(0)
    unit = [row / np.linalg.norm(row) for row in centered]
    wanted = min(10, (count - 1) // 2)
    assert found.indices.shape == (count, wanted)
    for i in range(count):
        far = {j: np.linalg.norm(unit[i] - unit[j]) for j in range(count) if j != i}
        order = sorted(far, key=far.get)[:wanted]
        assert found.indices[i].tolist() == order
        np.testing.assert_allclose(
            found.distances[i], [far[j] for j in order], atol=1e-3
        )


def test_planted_look_alikes_are_found_and_no_others():
    x, _, rng = clusters()
    planted = {(3, 40), (10, 11), (77, 99)}
    for one, other in planted:
        x[other] = x[one] + 0.2 * rng.normal(size=x.shape[1])
    found = look_alikes(nearest(x), noise(len(x), rng))
    assert {(pair.first, pair.second) for pair in found} == planted
    assert [pair.score for pair in found] == sorted(
        (pair.score for pair in found), reverse=True
    )
    assert all(0.5 < pair.score < 1 for pair in found)


def test_alike_thumbnails_let_a_larger_distance_count():
    x, _, rng = clusters()
    x[1] = x[0] + 0.75 * rng.normal(size=x.shape[1])
    small = noise(len(x), rng)
    assert look_alikes(nearest(x), small) == []
    small[1] = np.clip(small[0] * 0.9 + rng.integers(0, 25, (16, 16)), 0, 255)
    (pair,) = look_alikes(nearest(x), small)
    assert (pair.first, pair.second) == (0, 1)
    assert pair.correlation > 0.9


def test_no_distance_is_needed_to_find_the_same_features_again():
    x, _, rng = clusters()
    x[5:8] = x[4]
    found = look_alikes(nearest(x), noise(len(x), rng))
    assert {(p.first, p.second) for p in found} == {
        (i, j) for i in range(4, 8) for j in range(i + 1, 8)
    }
    assert min(p.score for p in found) > 0.99


def test_planted_wrong_labels_are_found_with_their_class_and_a_witness():
    x, truth, _ = clusters()
    labels = truth.copy()
    for index, wrong in ((2, 3), (30, 0), (60, 1), (90, 2)):
        labels[index] = wrong
    found = doubtful_labels(x, labels, nearest(x))
    assert {each.index for each in found} == {2, 30, 60, 90}
    for each in found:
        assert each.instead == truth[each.index]
        assert labels[each.witness] == each.instead
        assert each.witness != each.index
        assert 0.5 <= each.score <= 1


def test_right_labels_raise_no_doubt():
    x, labels, _ = clusters(seed=1)
    assert doubtful_labels(x, labels, nearest(x)) == []


def test_nothing_is_said_of_labels_where_features_know_nothing_of_them():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(200, 20)), rng.integers(0, 4, 200)
    assert len(doubtful_labels(x, labels, nearest(x))) < 10


def test_each_picture_is_judged_by_a_layer_fitted_without_it():
    """The closed form is what refitting ridge regression 30 times gives."""
    rng = np.random.default_rng(0)
    for width in (6, 50):  # fewer and more than pictures
        x = rng.normal(size=(30, width))
        labels = rng.integers(0, 3, 30)
        penalty, scale = 1e-2, 5
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(feature_geometry, "PENALTIES", (penalty,))
            patch.setattr(feature_geometry, "SCALES", (scale,))
            found = feature_geometry._left_out(x, labels, 3)
        rows = x / np.linalg.norm(x, axis=1, keepdims=True)
        rows -= rows.mean(0)
        rows /= np.sqrt((rows**2).sum(1).mean())
        targets = np.eye(3)[labels]
        targets -= targets.mean(0)
        for i in range(30):
            rest = np.arange(30) != i
            square = rows[rest].T @ rows[rest] + penalty * 30 * np.eye(width)
            weight = np.linalg.solve(square, rows[rest].T @ targets[rest])
            raised = np.exp(scale * rows[i] @ weight)
            np.testing.assert_allclose(found[i], raised / raised.sum(), rtol=1e-6)


def test_planted_outliers_are_found_first():
    x, labels, rng = clusters()
    for index in (7, 55):
        x[index] = 3 + 4 * rng.normal(size=x.shape[1])
    found = outliers(x, labels)
    assert {each.index for each in found[:2]} == {7, 55}
    assert len(found) <= 4
    assert all(each.score >= 3.5 for each in found)


def test_the_distance_of_an_outlier_is_mahalanobis_without_it():
    """By the inversion lemma, 1 / (1 - leverage) is 1 + d' S^-1 d of the rest."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 6))
    rows /= np.sqrt((rows**2).sum(1).mean())
    basis, energy = feature_geometry._principal(rows)
    ridge = 0.3
    leverage = (basis**2 * (energy / (energy + ridge))).sum(1)
    for i in range(40):
        rest = np.delete(rows, i, 0)
        spread = rest.T @ rest + ridge * np.eye(6)
        far = rows[i] @ np.linalg.solve(spread, rows[i])
        assert 1 / (1 - leverage[i]) == pytest.approx(1 + far)


def test_small_classes_are_passed_over():
    x, labels, _ = clusters(classes=2, each=20)
    labels[:3] = 5
    found = doubtful_labels(x, labels, nearest(x))
    assert not {each.index for each in found} & {0, 1, 2}
    assert outliers(x[:4], labels[:4]) == []
    assert doubtful_labels(x, np.zeros(40, int), nearest(x)) == []


def test_features_that_are_all_the_same_show_nothing():
    x, labels = np.ones((30, 4)), np.arange(30) % 2
    assert outliers(x, labels) == []
    assert doubtful_labels(x, labels, nearest(x)) == []
    assert look_alikes(nearest(x), noise(30, np.random.default_rng(0))) == []
