"""The report in a real browser, from a file, without a network."""

import dataclasses

import pytest

from convscope.data import load
from convscope.train import fit
from convscope.train.reporting.run_report import report
from convscope.viz.report import save_comparison, save_report

WIDTHS = (1440, 390)
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def found():
    """Weak enough to make mistakes."""
    run = fit("lenet5", load("digits", size=32), epochs=1, seed=1, listeners=())
    return report(run)


@pytest.fixture(scope="module")
def place(found, tmp_path_factory):
    place = tmp_path_factory.mktemp("report") / "report.html"
    save_report(found, place)
    return place


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_everybody_can_use_it_without_scrolling_sideways(
    page_at, place, violations, width, scheme
):
    tab = page_at(place, width, scheme)
    wide = tab.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 28)"}[scheme]
    for details in tab.locator("details:not([open]) > summary").all():
        details.click()
    tab.locator("button[data-cell]").first.click()
    assert violations(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_a_cell_shows_the_pictures_behind_it_and_keeps_them_if_chosen(
    page_at, place, found
):
    tab = page_at(place)
    (count, i, j), (_, k, m) = found.evaluation.confused[:2]
    cell = tab.locator(f'button[data-cell="{i},{j}"]').first
    other = tab.locator(f'button[data-cell="{k},{m}"]').first
    pictures, said = tab.locator("#cell img"), tab.locator("#cell p")
    classes = found.evaluation.classes
    cell.hover()
    assert said.inner_text().startswith(f"{classes[i]} called {classes[j]}: {count}")
    assert pictures.count() == min(count, 12)
    for picture in pictures.all():
        assert picture.evaluate("image => image.naturalWidth") > 0
    other.hover()
    assert said.inner_text().startswith(f"{classes[k]} called {classes[m]}")
    cell.click()
    other.hover()
    assert said.inner_text().startswith(f"{classes[i]} called {classes[j]}")
    assert cell.get_attribute("aria-expanded") == "true"
    tab.keyboard.press("Escape")
    assert pictures.count() == 0
    assert cell.get_attribute("aria-expanded") == "false"


def test_the_keyboard_alone_reaches_every_control(page_at, place):
    tab = page_at(place)
    controls = "a[href], button, summary, [tabindex='0']"
    count = tab.locator(controls).count()
    assert count > 20
    tab.evaluate("window.reached = new Set()")
    for _ in range(count):
        tab.keyboard.press("Tab")
        tab.evaluate("reached.add(document.activeElement)")
    missed = tab.evaluate(
        "selector => [...document.querySelectorAll(selector)]"
        ".filter(one => !reached.has(one) && one.checkVisibility())"
        ".map(one => one.outerHTML.slice(0, 80))",
        controls,
    )
    assert missed == []
    cell = tab.locator("button[data-cell]").first
    cell.focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#cell img").count() > 0


def test_the_file_is_small_enough_to_be_sent(place):
    assert place.stat().st_size < 3e6


def test_the_first_screen_says_what_it_is_how_good_and_what_to_do(page_at, place):
    tab = page_at(place)
    for words in ("h1", ".figure", ".first ul >> nth=0", ".first ul >> nth=1"):
        box = tab.locator(words).first.bounding_box()
        assert box["y"] + box["height"] <= 900


def test_paper_has_no_navigation_and_no_dark(page_at, place):
    tab = page_at(place, scheme="dark")
    tab.emulate_media(media="print", color_scheme="dark")
    assert not tab.locator("nav").is_visible()
    ink = tab.evaluate("getComputedStyle(document.body).color")
    assert ink == "rgb(27, 31, 35)"
    assert tab.pdf()[:5] == b"%PDF-"


def test_a_comparison_is_for_everybody_too(page_at, found, violations, tmp_path):
    other = fit("softmax_regression", load("digits"), epochs=1, listeners=())
    comparison = save_comparison([found, report(other)], tmp_path / "comparison.html")
    tab = page_at(comparison, 390)
    assert violations(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


NASTY = (
    '<b>bold</b> & "q"', "\U0001f600\U0001f468\u200d\U0001f469 cat",
    "\u0645\u0631\u062d\u0628\u0627",
    "x" * 200, "a very long name of a class with words " * 5, "\u202egnp.exe",
    "</script><img src=x onerror=alert(1)>", "`|*_[a](b)", "8", "9",
)  # fmt: skip


@pytest.mark.parametrize("width", WIDTHS)
def test_names_of_any_kind_are_text_and_widen_nothing(
    page_at, found, violations, tmp_path, width
):
    named = dataclasses.replace(
        found,
        title=NASTY[3],
        evaluation=dataclasses.replace(found.evaluation, classes=NASTY),
        answers=dataclasses.replace(found.answers, classes=NASTY),
        data=found.data.replace(classes=NASTY),
    )
    save_report(named, tmp_path / "report.html")
    other = dataclasses.replace(named, title=NASTY[4])
    save_comparison([named, other], tmp_path / "comparison.html")
    for name in ("report.html", "comparison.html"):
        tab = page_at(tmp_path / name, width)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.locator("img[src=x], main b > b").count() == 0
        assert violations(tab) == []
        if name == "report.html":
            cells = tab.locator(".matrix tbody td").evaluate_all(
                "all => all.map(one => one.getBoundingClientRect().width)"
            )
            assert max(cells) < 100
