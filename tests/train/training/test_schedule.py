"""The learning rate over a training."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convscope.train.recipe import Recipe
from convscope.train.training.schedule import rate

NAMES = ("onecycle", "cosine", "step", "constant")


@given(st.sampled_from(NAMES), st.floats(0, 1), st.floats(0, 0.9), st.floats(0.001, 9))
def test_the_rate_is_never_negative_nor_above_the_peak(name, progress, warmup, peak):
    recipe = Recipe(schedule=name, warmup=warmup, learning_rate=peak)
    assert 0 <= rate(recipe, progress) <= peak * (1 + 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_it_rises_in_a_straight_line_during_the_warmup(name):
    recipe = Recipe(schedule=name, warmup=0.5, learning_rate=1.0)
    rates = [rate(recipe, progress) for progress in (0.0, 0.1, 0.2, 0.3, 0.4)]
    steps = [after - before for before, after in itertools.pairwise(rates)]
    assert steps == pytest.approx([steps[0]] * 4)
    assert steps[0] > 0


def test_cosine_falls_as_half_a_cosine():
    recipe = Recipe(schedule="cosine", learning_rate=2.0)
    for progress in (0.0, 0.25, 0.5, 1.0):
        expected = 1 + math.cos(math.pi * progress)
        assert rate(recipe, progress) == pytest.approx(expected)


def test_step_divides_at_the_given_parts():
    recipe = Recipe(schedule="step", learning_rate=1.0, step_at=(0.5, 0.75))
    rates = [rate(recipe, progress) for progress in (0.0, 0.49, 0.5, 0.75, 1.0)]
    assert rates == pytest.approx([1, 1, 0.1, 0.01, 0.01])


def test_constant_stays():
    recipe = Recipe(schedule="constant", learning_rate=0.3)
    assert {rate(recipe, progress) for progress in (0.0, 0.5, 1.0)} == {0.3}


@pytest.mark.parametrize("name", ["onecycle", "cosine"])
def test_it_ends_at_zero(name):
    assert rate(Recipe(schedule=name), 1.0) == pytest.approx(0, abs=1e-12)
