"""A last layer by itself: against scikit-learn's own pipeline, and in odd cases."""

import numpy as np
import pytest
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
    theirs = judge.fit(x, y).predict_proba(PIXELS[600:])
    logits = PIXELS[600:] @ found.weight.T + found.bias
    ours = np.exp(logits - logits.max(1, keepdims=True))
    ours /= ours.sum(1, keepdims=True)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert found.accuracy > 0.9


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
