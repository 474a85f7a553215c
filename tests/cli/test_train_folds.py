"""``convscope train --folds``: every image judged, and the same figures again."""

import json
import re

import pytest

from convscope.train.run import Run
from convscope.train.training import cross_validation

QUICK = ("--model", "mlp", "--epochs", "4", "--no-optimize")
COUNTS = {"cat": 9, "dog": 8, "emu": 7}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def figures(text):
    """From the first line of the figures to the last of the report."""
    return re.split(r"\nNext steps", text.strip())[0].strip()


def test_figures_come_from_the_folds_and_are_printed_again(convscope, pictures):
    place = pictures(COUNTS)
    trained = convscope("train", place, *QUICK, "--folds", 3, "--run", "run")
    assert trained.code == 0, trained.err
    said = trained.err.splitlines()
    assert "pictures: 24 images of 12 x 12 x 1 in 3 folds, 3 classes" in said
    assert "fold 1/3: training on 16 images, 8 are left out" in said
    left = [line for line in said if re.match(r"fold \d/3: .* right .* left$", line)]
    assert len(left) == 3
    assert "the network that is kept: training on all 24 images" in said
    shown = " ".join(trained.out.split())
    assert shown.startswith(
        "pictures, 24 images in 3 folds: each judged by a network that has not seen "
        "it. The network that is kept has learned from all of them. accuracy "
    )
    assert re.search(r"folds [\d.]+% to [\d.]+%, standard deviation [\d.]+ poi", shown)
    judged = convscope("evaluate", "run")
    assert figures(judged.out) == figures(trained.out)
    assert convscope("verify", "run").code == 0
    assert convscope("predict", "run", next((place / "cat").iterdir())).code == 0


def test_json_holds_every_fold(convscope, pictures):
    place = pictures(COUNTS)
    flags = ("--folds", 2, "--repeats", 2, "--run", "run", "--json")
    trained = convscope("train", place, *QUICK, *flags)
    told = json.loads(trained.out)["evaluation"]
    assert told == json.loads(convscope("evaluate", "run", "--json").out)
    assert (told["samples"], told["folds"]["images"]) == (48, 24)
    assert [(s["repeat"], s["fold"]) for s in told["folds"]["scores"]] == [
        (1, 1), (1, 2), (2, 1), (2, 2),
    ]  # fmt: skip
    rows = convscope("evaluate", "run", "--csv").out.splitlines()
    assert any(row.startswith("fold_spread,,,") for row in rows)


def test_a_run_that_was_stopped_says_how_to_go_on(convscope, pictures, monkeypatch):
    place = pictures(COUNTS)
    carry_out, count = cross_validation.carry_out, []

    def stopped(*arguments, **options):
        count.append(1)
        if len(count) == 2:
            raise KeyboardInterrupt
        return carry_out(*arguments, **options)

    monkeypatch.setattr(cross_validation, "carry_out", stopped)
    outcome = convscope("train", place, *QUICK, "--folds", 2, "--run", "run")
    assert outcome.code == 130
    assert "go on with: convscope train --resume run" in outcome.err
    outcome = convscope("train", "--resume", "run")
    assert outcome.code == 0, outcome.err
    assert "fold 2/2: training" in outcome.err
    assert "fold 1/2" not in outcome.err
    assert Run.load("run").evaluate().images == 24


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (
            ("--repeats", 2),
            "--repeats=2 says how often .* Say into how many: --folds 5",
        ),
        (("--folds", 3, "--test", 0.2), "--test=0.2 has no meaning"),
        (("--folds", 3, "--find-lr"), "Leave out --folds"),
        (("--folds", 1), "folds=1 must be a whole number, at least 2"),
        (
            ("--folds", 8),
            r"class 'emu' has 7 images \(copies not counted\), fewer than folds. Take "
            r"fewer folds \(--folds 7\), or add images",
        ),
    ],
)
def test_flags_that_make_no_sense_are_refused(convscope, pictures, flags, text):
    outcome = convscope("train", pictures(COUNTS), *QUICK, *flags, "--run", "run")
    assert outcome.code == 2
    assert re.search(text, outcome.err)


def test_a_wide_interval_recommends_folds(convscope, pictures):
    place = pictures({"cat": 40, "dog": 38})
    trained = convscope("train", place, *QUICK, "--run", "run")
    shown = " ".join(trained.out.split())
    found = re.search(
        r"12 images say little: .* points apart. Judge all 78 images by "
        r"cross-validation, which narrows that to about (\d+) points \(--folds 5\)\.",
        shown,
    )
    assert found, shown
    assert "Cross-validation in folds judges all 78" in " ".join(trained.err.split())
    folded = convscope("train", place, *QUICK, "--folds", 2, "--run", "folded")
    assert "by cross-validation" not in folded.out + folded.err
