import csv
import io
import json

import numpy as np
import pytest
import yaml
from PIL import Image

from convscope.data import load
from convscope.errors import ArgumentError
from convscope.train import fit
from convscope.train.judging.calibration import tempered
from convscope.train.reporting.model_card import model_card
from convscope.train.reporting.run_report import mistakes_csv, report
from convscope.train.run import Run

DIGITS = load("digits")


@pytest.fixture(scope="module")
def run():
    return fit("mlp", DIGITS, epochs=2, listeners=(), optimize=False)


@pytest.fixture(scope="module")
def found(run):
    return report(run)


def test_its_figures_are_those_of_evaluate(run, found):
    assert found.evaluation == run.evaluate()


def test_it_holds_nothing_but_json(found):
    again = json.loads(json.dumps(found.to_dict()))
    assert again["evaluation"]["samples"] == 359
    assert again["baselines"][0]["name"] == "majority class"
    assert again["spec"]["model"]["name"] == "mlp"


def test_the_temperature_is_fit_to_validation_not_to_test(run, found):
    val = run.answers(part="val")
    p = tempered(val.probabilities, found.temperature.value)
    own = -np.log(p[np.arange(len(p)), val.labels]).mean()
    assert found.temperature.images == len(DIGITS.val)
    assert found.temperature.likelihood_after == pytest.approx(own, rel=1e-6)


def test_every_mistake_is_a_line_of_the_list(found):
    rows = list(csv.DictReader(io.StringIO(mistakes_csv(found.answers))))
    e = found.evaluation
    assert len(rows) == e.samples - e.correct
    assert [row["image"] for row in rows][:5] == [m.name for m in e.mistakes][:5]
    assert all(row["true"] != row["predicted"] for row in rows)


def test_figures_of_training_images_come_with_a_warning_and_no_doubts(run):
    found = report(run, part="train")
    assert found.doubts == ()
    assert found.advice[0] == "Judge it on images that it was not trained on."
    assert "trained on these very images" in found.missing["labels"]


def test_other_data_have_no_baselines_and_it_says_why(run, tmp_path):
    for name in ("0", "1"):
        (tmp_path / name).mkdir()
        for i in range(3):
            image = Image.fromarray(np.full((8, 8), 40 * i + 7 * int(name), np.uint8))
            image.save(tmp_path / name / f"{i}.png")
    found = report(run, tmp_path)
    assert found.baselines == ()
    assert "they would have to learn" in found.missing["baselines"]


def test_a_run_of_arrays_asks_for_its_data():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (40, 8, 8), dtype=np.uint8)
    own = fit("softmax_regression", (pixels, np.arange(40) % 2), epochs=1, listeners=())
    own._data = None
    with pytest.raises(ArgumentError, match="its data were arrays"):
        report(own)


def test_the_model_card_has_a_head_that_yaml_reads(found):
    card = model_card(found)
    head = yaml.safe_load(card.split("---")[1])
    result = head["model-index"][0]["results"][0]
    assert result["metrics"][0]["value"] == pytest.approx(
        found.evaluation.accuracy, abs=1e-6
    )
    assert head["pipeline_tag"] == "image-classification"


def test_calibration_changes_no_answer_and_lowers_the_likelihood(run, tmp_path):
    place = run.save(tmp_path / "run")
    kept = Run.load(place)
    before = kept.answers(part="test")
    change = kept.calibrate()
    after = Run.load(place).answers(part="test")
    assert (before.predicted == after.predicted).all()
    expected = tempered(before.probabilities, change.value)
    # The run divides in float32: 1e-7 of a probability, some tens of roundings.
    np.testing.assert_allclose(after.probabilities, expected, atol=1e-5)
    path = tmp_path / "one.png"
    Image.fromarray(DIGITS.test.pixels[0, 0].numpy()).save(path)
    (tempered_one,) = Run.load(place).predict(path)
    (plain,) = run.predict(path)
    assert tempered_one.class_name == plain.class_name
    assert tempered_one.probability != plain.probability


def test_the_worst_mistakes_are_explained_for_the_class_that_they_were_called():
    own = fit("lenet5", load("digits", size=32), epochs=1, listeners=(), optimize=False)
    found = report(own)
    worst = found.answers.wrong[: len(found.reasons.maps)]
    assert found.reasons.classes == tuple(found.answers.predicted[worst].tolist())
    assert found.reasons.maps.shape[1:] == (32, 32)


def test_a_network_without_maps_says_that_it_cannot_be_explained_so(found):
    assert found.reasons is None
    assert "no layer gives a map" in found.missing["reasons"]
