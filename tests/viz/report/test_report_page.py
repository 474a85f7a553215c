import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from convscope.data import load
from convscope.data.dataset import Samples
from convscope.errors import DataError
from convscope.train import fit
from convscope.train.judging.label_doubts import LabelDoubt
from convscope.train.judging.near_duplicates import Lookalikes, NearDuplicates
from convscope.train.reporting.run_report import report
from convscope.viz.report import comparison_page, report_page, save_report
from convscope.viz.report.charts import Line, curves, nice_ticks
from convscope.viz.report.thumbnails import Thumbnails

DIGITS = load("digits")
HOSTILE = '</script><script>alert("x")</script>\u202e\x1b[2J'


@pytest.fixture(scope="module")
def found():
    return report(fit("mlp", DIGITS, epochs=2, listeners=(), optimize=False))


class Reader(HTMLParser):
    """Collects elements, attributes and text; complains of what is left open."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_every_element_is_closed_and_nothing_is_fetched(found):
    page = Reader(report_page(found))
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed")
        for name in ("src", "href", "xlink:href", "action"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith(("data:image/", "#")), (tag, value)
    policies = [a["content"] for t, a in page.elements if "http-equiv" in a]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'; img-src data:;")


def test_the_pictures_behind_the_cells_are_those_of_the_matrix(found):
    page = report_page(found)
    behind = json.loads(re.search(r'id="behind">(.*?)</script>', page).group(1))
    e = found.evaluation
    for i, row in enumerate(e.confusion):
        for j, count in enumerate(row):
            if i != j:
                assert behind["totals"].get(f"{i},{j}", 0) == count
                shown = behind["cells"].get(f"{i},{j}", [])
                assert len(shown) == min(count, 12)


def test_names_from_outside_are_no_markup(found):
    names = (HOSTILE, *found.evaluation.classes[1:])
    hostile = dataclasses.replace(
        found,
        title=HOSTILE,
        evaluation=dataclasses.replace(found.evaluation, classes=names),
        answers=dataclasses.replace(
            found.answers,
            classes=names,
            samples=Samples(
                found.answers.samples.pixels,
                found.answers.samples.labels,
                [HOSTILE] * len(found.answers),
            ),
        ),
    )
    text = report_page(hostile)
    page = Reader(text)
    scripts = [tag for tag, _ in page.elements if tag == "script"]
    assert len(scripts) == 2  # the data and ours
    assert "\x1b" not in text
    script = re.search(r"</main><script>(.*?)</script>", text, re.DOTALL)
    assert "alert" not in script.group(1)


def test_the_headline_holds_the_figure_its_interval_and_the_advice(found):
    words = " ".join(Reader(report_page(found)).words).replace("\u200e", "")
    e = found.evaluation
    assert f"{e.accuracy:.2%}" in words
    assert f"{e.interval[0]:.2%} to {e.interval[1]:.2%}" in words
    for sentence in (*found.findings, *found.advice):
        assert sentence in words


def test_it_is_small_and_the_same_every_time(found):
    page = report_page(found)
    assert len(page) < 600_000
    assert page == report_page(found)


def test_pictures_stop_when_the_room_is_used_up():
    room = Thumbnails(room=2000)
    noise = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    made = [room.of(noise) for _ in range(5)]
    assert made[0].startswith("data:image/png;base64,")
    assert made[-1] == ""


def test_large_pictures_become_small_ones():
    one = Thumbnails().of(torch.zeros(3, 400, 600, dtype=torch.uint8))
    assert one.startswith("data:image/jpeg")
    assert len(one) < 3000
    wide = Thumbnails().of(torch.full((1, 16, 16), 4000, dtype=torch.int32).to(
        torch.uint16))  # fmt: skip
    assert wide.startswith("data:image/png")


def test_runs_are_compared_on_the_same_images_only(found):
    other = report(fit("softmax_regression", DIGITS, epochs=1, listeners=()))
    page = Reader(comparison_page([found, other]))
    words = " ".join(page.words)
    assert "McNemar" in words
    assert f"{found.evaluation.accuracy:.1%}" in words
    val = report(fit("softmax_regression", DIGITS, epochs=1, listeners=()), part="val")
    with pytest.raises(DataError, match="judged"):
        comparison_page([found, val])


def test_a_failed_write_leaves_the_old_report(found, tmp_path):
    place = tmp_path / "report.html"
    save_report(found, place)
    before = place.read_bytes()
    blocked = tmp_path / "file" / "report.html"
    (tmp_path / "file").write_text("")
    from convscope.errors import RunError

    with pytest.raises(RunError, match="cannot be made"):
        save_report(found, blocked)
    assert place.read_bytes() == before


@pytest.mark.parametrize(
    ("low", "high"), [(0.13, 0.97), (0, 0), (-3, 1e6), (0.999, 0.9991), (5e-9, 6e-9)]
)
def test_ticks_are_round_and_hold_the_range(low, high):
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 8
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


def test_a_chart_of_one_epoch_and_of_missing_values_is_drawn():
    assert "circle" in curves("Loss", [1.0], [Line("training", [0.5])], "nats")
    assert curves("Loss", [1.0], [Line("validation", [None])], "nats") == ""
    assert "polyline" in curves(
        "Loss", [1.0, 2.0, 3.0], [Line("v", [None, 0.4, 0.3])], "nats"
    )


def test_what_looks_like_a_training_image_is_shown_and_counted_out(found):
    seen = tuple(range(0, 200, 2))
    group = Lookalikes((("test", 0), ("train", 5)), False, (0, 1))
    near = NearDuplicates((group,), seen, 359, True)
    page = report_page(dataclasses.replace(found, near_duplicates=near))
    kept = [i for i in range(359) if i not in seen]
    accuracy = found.answers.hits[kept].mean()
    assert f"without them the accuracy is {accuracy:.2%}" in page
    assert "1 group of images looks alike; 1 across parts, 1 labeled" in page
    many = dataclasses.replace(
        found, near_duplicates=None, missing={"near_duplicates": "Near: too many."}
    )
    assert "Not here: Near: too many." in report_page(many)


def test_health_and_pairs_are_those_of_the_record(found):
    words = " ".join(Reader(report_page(found)).words)
    acting = [e for e in found.health.layers if e.kind.startswith("ReLU")]
    dead, channels = sum(len(e.dead) for e in acting), sum(e.channels for e in acting)
    assert f"{dead} of {channels} channels of its 2 activations are dead" in words
    assert found.health.images == 256
    pair = found.pairs[0]
    assert f"{pair.interval[0]:.1%} to {pair.interval[1]:.1%}" in words
    assert "templates, one for each of its outputs" in words


def test_of_very_many_classes_the_weakest_stand_first_and_all_can_be_opened(found):
    e = found.evaluation
    scores = tuple(
        dataclasses.replace(e.per_class[0], name=f"class {i}", f1=i / 200, support=5)
        for i in range(200)
    )
    many = dataclasses.replace(
        found, evaluation=dataclasses.replace(e, per_class=scores)
    )
    page = report_page(many)
    opened = page.index("<summary>All 200 classes</summary>")
    for i in range(200):
        row = f"<bdi>class {i}</bdi>"
        assert page.count(row) == 1 + (i < 12)
        assert (page.index(row) < opened) == (i < 12)


def test_a_network_that_a_simple_method_beats_does_not_judge_labels(found):
    best = dataclasses.replace(found.baselines[1], accuracy=1.0)
    doubt = LabelDoubt(0, 0, 1, 0.9)
    beaten = dataclasses.replace(found, baselines=(best,), doubts=(doubt,) * 30)
    assert not any("probably wrong" in said for said in beaten.findings)
    assert not any("probably wrong" in said for said in beaten.advice)
    assert any(
        "right more often than this network (100.0%)" in s for s in beaten.advice
    )


def test_one_epoch_has_an_axis_whose_ends_differ():
    drawn = curves("Accuracy", [1.0], [Line("validation", [0.9855])], "%")
    labels = re.findall(r'class="end"[^>]*>([^<]*)<', drawn)
    assert len(labels) == len(set(labels)) >= 2


def test_a_class_without_test_images_says_so_and_stops_nothing():
    some = DIGITS.test
    fewer = some.subset(np.flatnonzero(some.labels.numpy() != 3))
    data = DIGITS.replace(test=fewer)
    run = fit("softmax_regression", data, epochs=1, listeners=())
    words = " ".join(Reader(report_page(report(run))).words)
    assert "No judged image is of 3 : how often it is found" in " ".join(words.split())
