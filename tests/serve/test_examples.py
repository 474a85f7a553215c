"""Pictures to choose from: what judging says of them, without judging all."""

import numpy as np
import pytest

import convscope as cs
from convscope.serve.examples import Examples
from convscope.serve.subject import subject_of


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    return cs.fit(
        "softmax_regression", "digits", epochs=1, folder=folder, listeners=(), seed=0
    )


def test_pictures_are_listed_with_what_judging_says_of_them(run):
    told = Examples(subject_of(run)).listed("test", 5, 7)
    judged = run.answers()
    assert told["count"] == len(judged)
    assert [each["id"] for each in told["examples"]] == list(range(5, 12))
    for each in told["examples"]:
        place = each["id"]
        assert each["label"] == judged.labels[place]
        assert each["guess"] == judged.predicted[place]
        sure = judged.probabilities[place].max()
        assert each["probability"] == pytest.approx(sure, abs=1e-6)


def test_listing_test_pictures_judges_no_others(run, monkeypatch):
    examples = Examples(subject_of(run))
    monkeypatch.setattr(type(run), "answers", lambda *_: pytest.fail("judged all"))
    assert len(examples.listed("test", 0, 3)["examples"]) == 3


def test_mistakes_are_all_wrong_and_the_most_confident_first(run):
    told = Examples(subject_of(run)).listed("mistakes", 0, 400)
    judged = run.answers()
    wrong = np.flatnonzero(judged.predicted != judged.labels)
    assert sorted(each["id"] for each in told["examples"]) == wrong.tolist()
    sure = [each["probability"] for each in told["examples"]]
    np.testing.assert_allclose(sure, sorted(sure, reverse=True), atol=1e-6)
