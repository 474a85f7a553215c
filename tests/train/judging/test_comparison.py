import numpy as np
import pytest
import torch

from convscope.data.dataset import Samples
from convscope.errors import DataError
from convscope.train.judging.answers import Answers
from convscope.train.judging.comparison import compare, from_hits


def answers(predicted, labels, names=None, classes=("a", "b", "c")):
    names = names or [str(i) for i in range(len(labels))]
    p = np.full((len(labels), len(classes)), 0.1)
    p[np.arange(len(labels)), predicted] = 0.8
    blank = torch.zeros(len(labels), 1, 1, 1)
    return Answers(Samples(blank, torch.tensor(labels), names), p, classes)


def test_only_the_images_on_which_they_differ_decide():
    one = answers([0, 0, 1, 2, 0], [0, 1, 1, 2, 2])
    two = answers([0, 1, 1, 0, 0], [0, 1, 1, 2, 2])
    found = compare(one, two)
    assert (found.first_only, found.second_only) == ((3,), (1,))
    assert found.difference == 0
    assert found.chance == 1.0


def test_the_chance_is_that_of_fair_coins():
    # 8 of 10 differing pairs for one side: 2 * P(X >= 8), X ~ Binomial(10, 1/2).
    hits = np.zeros(40, bool)
    one, two = hits.copy(), hits.copy()
    one[:8], two[8:10] = True, True
    assert from_hits(one, two, 40).chance == pytest.approx(2 * (45 + 10 + 1) / 1024)


def test_the_interval_holds_the_true_difference_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held, rounds = 0, 600
    for _ in range(rounds):
        u = rng.random(150)  # 10% only the first, 20% only the second
        found = from_hits((u < 0.1) | (u > 0.5), (u > 0.3), 150)
        held += found.interval[0] <= 0.1 <= found.interval[1]
    # 95% of 600 is 570 with a spread of 5.3; the interval is known to be a bit wide.
    assert held / rounds > 0.93


def test_equal_networks_do_not_differ():
    one = answers([0, 1], [0, 1])
    found = compare(one, one)
    assert (found.chance, found.difference) == (1.0, 0.0)
    assert "no difference is shown" in found.verdict


def test_images_without_a_label_do_not_count():
    one, two = answers([0, 0], [0, -1]), answers([1, 1], [0, -1])
    assert compare(one, two).images == 1


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (answers([0], [0]), "the first network judged 2 images, the second 1"),
        (answers([0, 1], [0, 1], ["x", "y"]), "the two networks judged other images"),
        (answers([0, 1], [0, 2]), "the same images have other labels"),
    ],
)
def test_other_images_are_refused(other, text):
    with pytest.raises(DataError, match=text):
        compare(answers([0, 1], [0, 1]), other)


def test_classes_match_by_name():
    one = answers([0, 1], [0, 1], classes=("a", "b"))
    two = answers([1, 0], [1, 0], classes=("b", "a"))
    assert compare(one, two).difference == 0
