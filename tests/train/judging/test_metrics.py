import csv
import io
import json
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from convscope.errors import ArgumentError, DataError
from convscope.train.judging.metrics import Evaluation, percent
from convscope.train.judging.uncertainty import wilson

CLASSES = ("cat", "dog", "owl")
# Five images: cat right, cat called dog (sure), dog right, owl called dog, owl right.
P = [
    [0.70, 0.20, 0.10],
    [0.05, 0.90, 0.05],
    [0.20, 0.60, 0.20],
    [0.10, 0.50, 0.40],
    [0.01, 0.01, 0.98],
]
Y = [0, 0, 1, 2, 2]
NAMES = ["a.png", "b.png", "c.png", "d.png", "e.png"]


def random_case(images, classes, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(classes, 0.7), size=images)
    return p, rng.integers(0, classes, size=images)


def by_hand(p, y, bins=15):
    """The same numbers from their definitions, one image at a time."""
    k = len(p[0])
    confusion = [[0] * k for _ in range(k)]
    nll, sums = 0.0, [[0, 0.0, 0] for _ in range(bins)]
    for row, true in zip(p, y, strict=True):
        best = max(range(k), key=lambda c: row[c])
        confusion[true][best] += 1
        nll -= math.log(row[true])
        place = next(b for b in range(bins) if row[best] <= (b + 1) / bins)
        sums[place][0] += 1
        sums[place][1] += row[best]
        sums[place][2] += best == true
    recalls, precisions, f1s = [], [], []
    for c in range(k):
        support = sum(confusion[c])
        called = sum(confusion[t][c] for t in range(k))
        if support:
            recalls.append(confusion[c][c] / support)
            precisions.append(confusion[c][c] / called if called else 0.0)
            f1s.append(2 * confusion[c][c] / (support + called))
    return {
        "confusion": confusion,
        "nll": nll / len(y),
        "ece": sum(abs(right - conf) for _, conf, right in sums) / len(y),
        "macro": [sum(v) / len(v) for v in (precisions, recalls, f1s)],
    }


def check(evaluation, p, y):
    expected = by_hand(p, y)
    assert [list(row) for row in evaluation.confusion] == expected["confusion"]
    macro = evaluation.macro
    ours = [macro.precision, macro.recall, macro.f1]
    assert ours == pytest.approx(expected["macro"], abs=1e-12)
    # Sums of at most some hundred float64 terms of order 1.
    assert evaluation.negative_log_likelihood == pytest.approx(expected["nll"], 1e-12)
    assert evaluation.calibration_error == pytest.approx(expected["ece"], abs=1e-12)


def test_five_images_counted_by_hand():
    e = Evaluation.from_probabilities(P, Y, CLASSES, NAMES)
    assert (e.samples, e.unlabeled, e.correct, e.accuracy) == (5, 0, 3, 0.6)
    assert e.confusion == ((1, 1, 0), (0, 1, 0), (0, 1, 1))
    assert [(s.precision, s.recall, s.support) for s in e.per_class] == [
        (1.0, 0.5, 2),
        (pytest.approx(1 / 3), 1.0, 1),
        (1.0, 0.5, 2),
    ]
    assert [s.f1 for s in e.per_class] == pytest.approx([2 / 3, 1 / 2, 2 / 3])
    assert e.balanced_accuracy == pytest.approx((0.5 + 1 + 0.5) / 3)
    likelihood = 0.7 * 0.05 * 0.6 * 0.4 * 0.98
    assert e.negative_log_likelihood == pytest.approx(-math.log(likelihood) / 5)
    gaps = (0.3, 0.9, 0.4, 0.5, 0.02)  # each image is alone in its bin
    assert e.calibration_error == pytest.approx(sum(gaps) / 5)


def test_mistakes_name_the_file_and_the_most_confident_comes_first():
    e = Evaluation.from_probabilities(P, Y, CLASSES, NAMES)
    found = [(m.name, m.true, m.predicted, m.probability) for m in e.mistakes]
    assert found == [("b.png", "cat", "dog", 0.9), ("d.png", "owl", "dog", 0.5)]
    first = Evaluation.from_probabilities(P, Y, CLASSES, NAMES, mistakes=1)
    assert first.mistakes == e.mistakes[:1]
    assert Evaluation.from_probabilities(P, Y, CLASSES).mistakes[0].name == "1"


@pytest.mark.parametrize(("images", "classes"), [(300, 10), (200, 2), (40, 7), (1, 3)])
def test_numbers_equal_their_definitions(images, classes):
    p, y = random_case(images, classes)
    names = [str(c) for c in range(classes)]
    check(Evaluation.from_probabilities(p, y, names), p, y)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda p, y: (p[:, ::-1], y),
        lambda p, y: (p[:-1], y[:-1]),
        lambda p, y: (p**2 / (p**2).sum(axis=1, keepdims=True), y),
    ],
)
def test_the_check_rejects_a_planted_mistake(mistake):
    p, y = random_case(300, 4)
    e = Evaluation.from_probabilities(*mistake(p, y), list("abcd"))
    with pytest.raises(AssertionError):
        check(e, p, y)


def test_top5_counts_the_true_class_among_the_five_most_probable():
    p, y = random_case(200, 8)
    expected = np.mean([y[i] in np.argsort(p[i])[-5:] for i in range(len(y))])
    e = Evaluation.from_probabilities(p, y, list("abcdefgh"))
    assert e.top5 == pytest.approx(expected)
    assert e.top5_note == ""


def test_top5_is_absent_with_a_reason_where_it_would_always_be_one():
    e = Evaluation.from_probabilities(P, Y, CLASSES)
    assert (e.top5, e.top5_note) == (None, "always 1 with 3 classes")


def test_a_class_without_images_has_no_recall_and_does_not_lower_the_average():
    e = Evaluation.from_probabilities(P[:3], Y[:3], CLASSES)
    owl = e.per_class[2]
    assert (owl.precision, owl.recall, owl.f1, owl.support) == (None, None, None, 0)
    assert e.balanced_accuracy == pytest.approx((0.5 + 1) / 2)
    check(e, P[:3], Y[:3])


def test_a_class_never_predicted_has_no_precision_and_counts_as_zero():
    e = Evaluation.from_probabilities([[0.9, 0.1], [0.8, 0.2]], [0, 1], "ab")
    assert e.per_class[1].precision is None
    assert e.per_class[1].recall == 0
    assert e.macro.precision == pytest.approx(0.25)


def test_a_class_predicted_but_absent_has_precision_zero():
    e = Evaluation.from_probabilities([[0.9, 0.1], [0.2, 0.8]], [0, 0], "ab")
    assert (e.per_class[1].precision, e.per_class[1].recall) == (0.0, None)
    assert e.balanced_accuracy == 0.5


def test_one_image_is_enough():
    e = Evaluation.from_probabilities(P[:1], Y[:1], CLASSES)
    assert (e.accuracy, e.mistakes) == (1.0, ())
    assert e.interval == wilson(1, 1)


def test_unlabeled_images_are_left_out_and_counted():
    e = Evaluation.from_probabilities(P, [0, -1, 1, -1, 2], CLASSES, NAMES)
    assert (e.samples, e.unlabeled, e.accuracy) == (3, 2, 1.0)
    late = Evaluation.from_probabilities(P, [-1, -1, -1, 2, 2], CLASSES, NAMES)
    assert [m.name for m in late.mistakes] == ["d.png"]


def test_float32_tensors_are_taken_and_left_unchanged():
    logits = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * 9
    p = logits.softmax(1)
    before = p.clone()
    e = Evaluation.from_probabilities(p, torch.arange(50) % 6, list("abcdef"))
    assert e.samples == 50
    assert torch.equal(p, before)


def test_probability_zero_for_the_true_class_stays_finite():
    e = Evaluation.from_probabilities([[1.0, 0.0]], [1], "ab")
    assert math.isfinite(e.negative_log_likelihood)
    assert e.calibration_error == 1.0


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    e = Evaluation.from_probabilities([[0.6, 0.4]], [0], "ab")  # 0.6 is 9/15
    assert [i for i, b in enumerate(e.calibration) if b.count] == [8]
    e = Evaluation.from_probabilities([[1.0, 0.0]], [0], "ab")
    assert e.calibration[-1].count == 1


def test_dict_survives_json():
    e = Evaluation.from_probabilities(P[:3], Y[:3], CLASSES, NAMES[:3])
    loaded = json.loads(json.dumps(e.to_dict(), allow_nan=False))
    assert loaded["per_class"][2]["recall"] is None
    assert loaded["interval"] == list(e.interval)
    assert loaded["confusion"] == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert loaded["mistakes"][0]["predicted"] == "dog"


def test_csv_holds_every_number_also_for_names_with_commas():
    e = Evaluation.from_probabilities(P, Y, ('a,"b"', "dog", "owl"))
    rows = list(csv.DictReader(io.StringIO(e.to_csv())))
    found = {(r["metric"], r["class"], r["predicted"]): r["value"] for r in rows}
    assert float(found["accuracy", "", ""]) == 0.6
    assert float(found["accuracy_low", "", ""]) == e.interval[0]
    assert found["top5", "", ""] == ""
    assert found["confusion", 'a,"b"', "dog"] == "1"
    assert found["support", "owl", ""] == "2"
    assert len(found) == len(rows) == 13 + 3 * 4 + 9


def test_html_escapes_names():
    e = Evaluation.from_probabilities(P, Y, ("<script>", "dog", "owl"))
    html = e._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert html.count("<table>") == html.count("</table>") == 2


def test_headline_says_accuracy_interval_and_size():
    low, high = wilson(3, 5)
    text = f"accuracy 60.00% (95% interval {low:.2%} to {high:.2%}) on 5 images"
    assert str(Evaluation.from_probabilities(P, Y, CLASSES)) == text


@given(st.integers(1, 5000), st.data(), st.floats(0.01, 0.999))
def test_wilson_equals_scipy(trials, data, confidence):
    successes = data.draw(st.integers(0, trials))
    expected = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    ours = wilson(successes, trials, confidence)
    assert ours == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= ours[0] <= successes / trials <= ours[1] <= 1


def test_undefined_is_a_dash():
    assert (percent(None), percent(1.0)) == ("–", "100.0%")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: Evaluation.from_probabilities(P, [-1] * 5, CLASSES),
            DataError,
            "evaluate: none of the 5 images has a label, so there is nothing to "
            "compare with. Use predict, or give labeled images.",
        ),
        (
            lambda: Evaluation.from_probabilities(P, Y, ("cat", "dog")),
            ArgumentError,
            "evaluate: probabilities have shape (5, 3), but 5 labels and 2 classes "
            "need (5, 2).",
        ),
        (
            lambda: Evaluation.from_probabilities(P, [0, 0, 1, 2, 3], CLASSES),
            ArgumentError,
            "evaluate: label 3 is outside the 3 classes. Labels are 0 to 2, or "
            "negative where unknown.",
        ),
        (
            lambda: Evaluation.from_probabilities([[1.0], [1.0]], [0, 0], ["a"]),
            ArgumentError,
            "evaluate: classes=['a'] holds 1. With fewer than two there is nothing "
            "to tell apart.",
        ),
        (
            lambda: Evaluation.from_probabilities(
                [[1.0, float("nan")], [2.0, -1.0], [0.5, 0.5]], [0, 0, 1], "ab"
            ),
            ArgumentError,
            "evaluate: 2 of 3 rows of probabilities are not finite, negative, or do "
            "not sum to 1. Pass softmax(logits).",
        ),
        (
            lambda: Evaluation.from_probabilities(P, Y, CLASSES, NAMES[:2]),
            ArgumentError,
            "evaluate: names has 2 entries for 5 labels. Give one for each image.",
        ),
        (
            lambda: wilson(3, 2),
            ArgumentError,
            "wilson: successes=3 of trials=2 is not a rate. Give at least one trial, "
            "and no more successes than trials.",
        ),
        (
            lambda: wilson(1, 2, 1.0),
            ArgumentError,
            "wilson: confidence=1.0 is not between 0 and 1. Try 0.95.",
        ),
    ],
)
def test_wrong_input_says_what_to_change(call, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        call()
