import pickle
import re
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from convscope import models
from convscope.errors import (
    ArgumentError,
    BadImageError,
    DataError,
    UnknownNameError,
)
from convscope.models.published_weights import is_installed, pretrained
from convscope.train.embedding.features import features
from convscope.train.estimator import ConvClassifier
from convscope.train.recipe import Recipe
from convscope.train.run import Run
from convscope.train.training.fitting import fit as cs_fit

QUICK = ConvClassifier(epochs=6, batch_size=16, learning_rate=0.05)


@parametrize_with_checks([QUICK])
def test_scikit_learn_finds_nothing_wrong(estimator, check):
    check(estimator)


def halves(count=20, *shape, dtype=np.uint8, high=255):
    """Dark images, and images that are bright on the right."""
    images = np.zeros((count, *(shape or (12, 12))), dtype)
    images[count // 2 :, :, 6:] = high
    return images, np.array(["dark"] * (count // 2) + ["half"] * (count // 2))


def classifier(**options):
    return ConvClassifier(**{"epochs": 8, "batch_size": 5, "random_state": 0} | options)


@pytest.mark.parametrize("shape", [(12, 12), (12, 12, 1), (12, 12, 3)])
@pytest.mark.parametrize(
    ("dtype", "high"), [(np.uint8, 255), (np.uint16, 65535), (np.float64, 0.001)]
)
def test_images_of_any_form_and_scale_are_learned(shape, dtype, high):
    images, y = halves(20, *shape, dtype=dtype, high=high)
    trained = classifier(model="mlp").fit(images, y)
    assert trained.score(images, y) == 1.0
    assert trained.preprocessing_.bits == (16 if dtype == np.uint16 else 8)
    assert trained.preprocessing_.channels == (shape[2] if len(shape) == 3 else 1)


def test_sixteen_bits_are_not_cut_to_eight():
    images, y = halves(dtype=np.uint16, high=200)  # the high byte is 0 everywhere
    assert classifier(model="mlp").fit(images, y).score(images, y) == 1.0


def test_small_differences_between_floats_are_kept():
    rng = np.random.default_rng(0)
    table = rng.standard_normal((40, 6))
    y = (table[:, 2] > 0).astype(int)
    table[:, 2] = 1e6 + 1e-3 * table[:, 2]  # 8 bits, or float32, would make it one
    assert classifier(epochs=30).fit(table, y).score(table, y) == 1.0


def test_files_are_learned_as_their_pixels_are(tmp_path):
    images, y = halves()
    paths = [tmp_path / f"{i}.png" for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    options = {"model": "mlp", "image_size": 12, "channels": 1}
    by_path = classifier(**options).fit(paths, y)
    by_pixel = classifier(**options).fit(images, y)
    found = by_path.predict_proba([str(path) for path in paths])
    np.testing.assert_array_equal(found, by_pixel.predict_proba(images))
    scores = cross_val_score(classifier(**options), paths, y, cv=2)
    assert scores.tolist() == [1.0, 1.0]


def test_an_unreadable_file_is_named(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    paths = [str(tmp_path / "a.png")] * 2
    with pytest.raises(BadImageError, match=r"^2 of 2 files cannot be read, first .*a"):
        classifier().fit(paths, [0, 1])


def test_the_same_seed_gives_the_same_and_another_another():
    images, y = halves()
    first, again, other = (
        classifier(epochs=1, random_state=seed).fit(images, y).predict_proba(images)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_process_random_state_is_left_alone():
    images, y = halves()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    classifier(epochs=1).fit(images, y)
    assert torch.equal(torch.get_rng_state(), before)


def test_it_works_in_a_pipeline_and_a_grid_search():
    digits = load_digits()
    X, y = digits.data[:200], np.array([f"digit {i}" for i in digits.target[:200]])
    search = GridSearchCV(
        make_pipeline(MinMaxScaler(), classifier(batch_size=32)),
        {"convclassifier__learning_rate": [1e-5, 0.05]},
        cv=2,
    )
    search.fit(X, y)
    assert search.best_params_ == {"convclassifier__learning_rate": 0.05}
    # A nearest-neighbor classifier gets 0.95 of these; one in ten is chance.
    assert search.best_score_ > 0.8
    assert search.predict(X[:3]).dtype == y.dtype


def test_a_network_of_ones_own_is_copied_and_trained():
    own = nn.Sequential(nn.Flatten(), nn.Linear(144, 2))
    before = own[1].weight.clone()
    images, y = halves()
    trained = clone(classifier(model=own)).fit(images, y)
    assert trained.score(images, y) == 1.0
    assert torch.equal(own[1].weight, before)


def test_a_recipe_may_be_given_by_name_or_as_an_object():
    images, y = halves()
    recipe = Recipe(optimizer="adamw", learning_rate=0.003, patience=2)
    trained = classifier(model="mlp", recipe=recipe, validation=0.2, learning_rate=None)
    assert trained.fit(images, y).history_[-1]["val_accuracy"] is not None
    with pytest.raises(UnknownNameError):
        classifier(recipe="minst-best").fit(images, y)


def test_pickling_keeps_the_predictions():
    images, y = halves()
    trained = classifier(epochs=1).fit(images, y)
    copy = pickle.loads(pickle.dumps(trained))
    np.testing.assert_array_equal(
        copy.predict_proba(images), trained.predict_proba(images)
    )


def test_probabilities_follow_classes_and_sum_to_one():
    images, y = halves()
    trained = classifier(model="mlp").fit(images, y)
    p = trained.predict_proba(images)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    assert trained.classes_.tolist() == ["dark", "half"]
    assert p[0, 0] > 0.5 > p[-1, 0]


def test_channels_may_come_first():
    images, y = halves(20, 12, 12, 3)
    last = classifier(model="mlp").fit(images, y)
    first = classifier(model="mlp").fit(images.transpose(0, 3, 1, 2), y)
    np.testing.assert_array_equal(
        last.predict_proba(images), first.predict_proba(images.transpose(0, 3, 1, 2))
    )
    square = halves(20, 12, 12, 3)[0][:, :3]  # (20, 3, 12, 3): either axis could be it
    assert classifier(model="mlp", epochs=1).fit(square, y).preprocessing_.size == (
        3, 12,
    )  # fmt: skip


needs_weights = pytest.mark.skipif(
    not is_installed("efficientnet_lite0"),
    reason="the extra 'pretrained' is not installed",
)


UNMEASURED = Recipe(optimize=False)


@pytest.fixture
def run_weights(set_of, tmp_path):
    """A run on color images of 12 x 12."""
    data = set_of(channels=3)
    cs_fit("mlp", data, epochs=2, listeners=()).save(tmp_path / "first")
    return tmp_path / "first"


@needs_weights
def test_imagenet_weights_are_begun_with_in_their_own_preprocessing():
    images, y = halves(16, 12, 12, 3)
    trained = classifier(
        weights="imagenet", head_only=True, image_size=32, recipe=UNMEASURED
    )
    trained.fit(images, y)
    known = pretrained("efficientnet_lite0")
    found = trained.preprocessing_
    assert (found.mean, found.std, found.interpolation) == (
        known.mean, known.std, known.interpolation,
    )  # fmt: skip
    assert found.size == (32, 32)
    theirs = models.build("efficientnet_lite0", weights="imagenet").state_dict()
    ours = trained.net_.state_dict()
    assert torch.equal(ours["conv_stem.weight"], theirs["conv_stem.weight"])
    assert trained.score(images, y) == 1.0
    again = pickle.loads(pickle.dumps(trained))
    # Other sizes, scales and the other order of axes are brought to the same form.
    wide = images.repeat(2, axis=1).repeat(2, axis=2)
    assert again.predict(wide).tolist() == y.tolist()
    assert again.predict(images.transpose(0, 3, 1, 2) / 255.0).tolist() == y.tolist()


@needs_weights
def test_without_a_size_weights_take_their_own():
    images, y = halves(4, 12, 12, 3)
    trained = classifier(weights="imagenet", head_only=True, recipe=UNMEASURED)
    trained.fit(images, y)
    assert trained.preprocessing_.size == (224, 224)


@needs_weights
def test_a_grid_search_compares_weights_with_none():
    images, y = halves(12, 12, 12, 3)
    search = GridSearchCV(
        classifier(epochs=1, image_size=32, head_only=True, recipe=UNMEASURED),
        {"weights": [None, "imagenet"]},
        cv=2,
        error_score="raise",
    )
    search.fit(images, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_ == {"weights": "imagenet"}


def test_the_weights_of_a_run_are_begun_with_and_frozen_layers_stay(run_weights):
    images, y = halves(20, 12, 12, 3)
    trained = classifier(weights=run_weights, freeze="1", epochs=2).fit(images, y)
    before = Run.load(run_weights)
    assert trained.preprocessing_.mean == before.spec.preprocessing.mean
    ours, theirs = trained.net_.state_dict(), before.net.state_dict()
    same = {n for n in ours if n in theirs and torch.equal(ours[n], theirs[n])}
    assert same == {"1.weight", "1.bias"}
    by_recipe = classifier(recipe=Recipe(start=str(run_weights), freeze=("1",)),
                           epochs=2).fit(images, y)  # fmt: skip
    assert torch.equal(by_recipe.net_.state_dict()["1.weight"], theirs["1.weight"])
    with pytest.raises(UnknownNameError, match="layer to freeze '99'"):
        classifier(weights=run_weights, freeze=["99"], epochs=1).fit(images, y)


def test_weights_are_a_parameter_like_any_other(run_weights):
    asked = classifier(weights=run_weights, freeze=("1",), head_only=True)
    copy = clone(asked)
    assert copy.get_params() == asked.get_params()
    assert copy.weights == run_weights
    with pytest.raises(DataError, match=r"start='mine.pth' is not there"):
        classifier(weights="mine.pth").fit(*halves(20, 12, 12, 3))
    images, y = halves(20, 12, 12, 3)
    with pytest.raises(ArgumentError, match=r"from 0 to 255; with weights"):
        classifier(weights=run_weights).fit(images.astype(float), y)


def fitted():
    return classifier(epochs=1).fit(*halves())


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: classifier().fit(halves()[0], ["a"] * 20),
            "ConvClassifier: y holds 1 class ('a'), n_samples=20. Give samples of at "
            "least two classes.",
        ),
        (
            lambda: classifier().fit(np.zeros((2, 4, 8, 8)), [0, 1]),
            "ConvClassifier: X with shape (2, 4, 8, 8) has 1 or 3 channels neither "
            "last nor after N; images are (N, H, W), (N, H, W, C) or (N, C, H, W) with "
            "1 or 3 channels.",
        ),
        (
            lambda: classifier(weights="imagenet").fit(np.zeros((4, 9)), [0, 1, 0, 1]),
            "ConvClassifier: weights='imagenet' are for images, and X is a table. Give "
            "images, or leave the weights out.",
        ),
        (
            lambda: classifier(model=nn.Flatten(), weights="imagenet").fit(*halves()),
            "ConvClassifier: weights='imagenet' are for models by name, not for "
            "Flatten. Load its weights first, or name a model.",
        ),
        (
            lambda: fitted().predict(np.zeros((1, 9, 9), np.uint8)),
            "ConvClassifier: X holds images of shape (C, H, W) = (1, 9, 9), but fit "
            "was given (1, 12, 12). Resize them, or fit again.",
        ),
        (
            lambda: fitted().predict(np.zeros((1, 12, 12))),
            "ConvClassifier: X holds float32 pixels, but fit was given uint8, which "
            "have another scale. Convert them, or fit again.",
        ),
        (
            lambda: fitted().predict(np.zeros((1, 144))),
            "ConvClassifier: X holds a table, but fit was given images. Give the same "
            "form to both.",
        ),
    ],
)
def test_wrong_input_says_what_to_change(call, text):
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        call()


@needs_weights
def test_arrays_that_must_not_be_written_into_are_as_good_as_others():
    """As joblib gives them to the processes of a cross-validation."""
    images, y = halves(16, 12, 12, 3)
    asked = classifier(
        weights="imagenet", head_only=True, image_size=32, recipe=UNMEASURED
    )
    fixed = images.copy()
    fixed.setflags(write=False)
    one = cross_val_score(asked, images, y, cv=2, error_score="raise")
    other = cross_val_score(asked, fixed, y, cv=2, error_score="raise")
    np.testing.assert_array_equal(one, other)
    assert one.mean() == 1.0
    asked.fit(fixed, y)
    assert np.array_equal(fixed, images)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(clone(asked).fit(images, y))).predict_proba(fixed),
        asked.predict_proba(images),
    )


def test_features_are_a_step_of_a_pipeline(run_weights):
    images, y = halves(16, 12, 12, 3)
    look = FunctionTransformer(partial(features, str(run_weights), optimize=False))
    steps = make_pipeline(look, StandardScaler(), LogisticRegression())
    copy = pickle.loads(pickle.dumps(clone(steps)))
    assert cross_val_score(copy, images, y, cv=2, error_score="raise").mean() == 1.0
