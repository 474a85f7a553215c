"""Palettes are even, symmetric, and told apart by color-blind readers."""

import itertools

import numpy as np
import pytest

from convscope.errors import UnknownNameError
from convscope.viz.palette import (
    ACCENT,
    SERIES,
    THEMES,
    contrast,
    diverging,
    sequential,
    theme_named,
    to_oklab,
)

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear red, green, blue.
BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
}  # fmt: skip


def seen_by(kind, colors):
    linear = np.where(
        colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4
    )
    seen = np.clip(linear @ np.array(BLIND[kind]).T, 0, 1)
    return np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)


def steps(colors):
    return np.linalg.norm(np.diff(to_oklab(colors), axis=0), axis=1)


def test_steps_of_the_sequential_palette_look_alike_and_become_brighter():
    found = steps(sequential())
    assert found.max() / found.min() < 1.05
    assert np.diff(to_oklab(sequential())[:, 0]).min() > 0


@pytest.mark.parametrize("theme", THEMES)
def test_the_diverging_palette_is_as_strong_on_both_sides(theme):
    colors = to_oklab(diverging(theme))
    np.testing.assert_allclose(colors[:, 0], colors[::-1, 0], atol=0.01)
    found = np.delete(steps(diverging(theme)), 127)  # the middle is there twice
    assert found.max() / found.min() < 1.1
    assert np.linalg.norm(colors[127:129, 1:]) < 0.01  # gray


@pytest.mark.parametrize("kind", BLIND)
@pytest.mark.parametrize("theme", THEMES)
def test_the_color_blind_tell_negative_from_positive(theme, kind):
    seen = to_oklab(seen_by(kind, diverging(theme)))
    for place in (16, 48, 80):  # as strong, of either sign; 0.02 is just noticeable
        assert np.linalg.norm(seen[place] - seen[255 - place]) > 0.1


@pytest.mark.parametrize("kind", BLIND)
def test_the_color_blind_tell_lines_apart(kind):
    colors = np.array(
        [[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in SERIES]
    )
    seen = to_oklab(seen_by(kind, colors))
    for one, other in itertools.combinations(range(len(SERIES)), 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 0.04, (
            SERIES[one],
            SERIES[other],
        )


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_text_and_marks_stand_out_from_the_paper(theme):
    assert contrast(theme.ink, theme.paper) > 4.5
    assert contrast(theme.muted, theme.paper) > 4.5
    for text in (theme.ink, theme.muted):
        assert contrast(text, theme.raised) > 4.5
    assert contrast(theme.on_accent, theme.accent) > 4.5
    assert contrast(theme.on_caution, theme.caution) > 4.5
    for mark in (theme.accent, theme.other, theme.mark):
        assert contrast(mark, theme.paper) > 3


def test_oklab_is_its_authors():
    # Ottosson 2020: white, and red from the table of his reference code
    np.testing.assert_allclose(to_oklab(np.ones(3)), [1, 0, 0], atol=1e-4)
    red = to_oklab(np.array([1.0, 0.0, 0.0]))
    np.testing.assert_allclose(red, [0.62796, 0.22486, 0.12585], atol=1e-4)


def test_the_accent_is_the_light_themes():
    assert theme_named("light").accent == ACCENT == "#0b6e8f"
    with pytest.raises(
        UnknownNameError, match=r"^unknown theme 'drak'\. Did you mean 'dark'"
    ):
        theme_named("drak")
