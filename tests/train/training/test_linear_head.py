"""A last layer by itself: against scikit-learn's own pipeline, and in odd cases."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from convscope.errors import DataError, ShapeError
from convscope.train.training.linear_head import fit_linear_head

PIXELS, LABELS = load_digits(return_X_y=True)


def test_it_gives_what_a_scaled_regression_gives():
    x, y = PIXELS[:600].astype(np.float32), LABELS[:600]
    found = fit_linear_head(x, y, 10)
    judge = make_pipeline(StandardScaler(), LogisticRegression(C=found.strength))
    theirs = judge.fit(x, y).decision_function(PIXELS[600:]) * found.scale
    theirs = softmax(theirs, axis=1)
    logits = PIXELS[600:] @ found.weight.T + found.bias
    ours = np.exp(logits - logits.max(1, keepdims=True))
    ours /= ours.sum(1, keepdims=True)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert found.accuracy > 0.9


@pytest.mark.parametrize("classes", [2, 10])
def test_probabilities_are_as_high_as_images_that_it_has_not_seen_are_right(classes):
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 1, (classes, 200))
    labels = np.arange(2000) % classes
    x = (centers[labels] + rng.normal(0, 6, (2000, 200))).astype(np.float32)
    learn, rest = slice(5 * classes), slice(5 * classes, None)
    found = fit_linear_head(x[learn], labels[learn], classes)
    p = softmax(x[rest] @ found.weight.T + found.bias, axis=1)
    right = (p.argmax(1) == labels[rest]).mean()
    assert 1.5 / classes < right + 0.25 * (classes == 2) < 0.99  # neither is nothing
    # Four of five images are learned from to choose it: it is too modest, if anything.
    assert abs(p.max(1).mean() - right) < 0.15
    plain = softmax(np.log(p) / found.scale, axis=1)  # as they would be without
    assert _loss(p, labels[rest]) <= _loss(plain, labels[rest])


def _loss(p, labels):
    return -np.log(p[np.arange(len(p)), labels]).mean()


def test_images_that_are_all_right_do_not_make_it_certain():
    x = np.repeat(np.eye(4, dtype=np.float32), 5, axis=0)
    found = fit_linear_head(x, np.arange(20) // 5, 4)
    p = softmax(x @ found.weight.T + found.bias, axis=1).max(1)
    assert found.accuracy == 1.0
    # Platt's target for 20 of 20 is 21/24. With so strong a penalty outputs grow with
    # the number of images, and the scale was chosen with four of five of them.
    sure = 21 / 24
    more = 5 / 4 * np.log(sure / (1 - sure) * 3)
    np.testing.assert_allclose(p, 1 / (1 + 3 * np.exp(-more)), atol=0.01)


@pytest.mark.parametrize("classes", [[3, 8], [0, 1, 2]])
def test_few_classes_of_many_leave_the_others_out(classes):
    chosen = np.isin(LABELS, classes)
    found = fit_linear_head(PIXELS[chosen].astype(np.float32), LABELS[chosen], 10)
    guesses = (PIXELS[chosen] @ found.weight.T + found.bias).argmax(1)
    assert set(guesses) == set(classes)
    assert (guesses == LABELS[chosen]).mean() > 0.99


def test_a_class_with_one_image_is_fitted_without_folds():
    one = [int(np.flatnonzero(c == LABELS)[0]) for c in range(10)]
    found = fit_linear_head(PIXELS[one].astype(np.float32), LABELS[one], 10)
    assert found.accuracy is None
    assert ((PIXELS[one] @ found.weight.T + found.bias).argmax(1) == range(10)).all()


def test_one_class_is_refused():
    with pytest.raises(DataError, match="two are needed"):
        fit_linear_head(np.ones((3, 2), np.float32), np.zeros(3, int), 2)


def test_features_that_are_not_finite_are_refused():
    x = np.array([[0.0], [np.nan]], np.float32)
    with pytest.raises(DataError, match="not finite"):
        fit_linear_head(x, np.array([0, 1]), 2)


def test_a_layer_for_other_features_is_refused():
    found = fit_linear_head(PIXELS[:100].astype(np.float32), LABELS[:100], 10)
    with pytest.raises(ShapeError, match=r"weight of \(10, 63\)"):
        found.copy_into(nn.Linear(63, 10))
