"""Kernels changed on the page against a forward pass of the network so changed."""

import copy

import numpy as np
import pytest
import torch
from tests.browser.play import oracle
from tests.browser.play.strokes import ONE, THREE

import convscope as cs

SHARPEN = [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]  # as every textbook has it
SHAPES = {1: (8, 8, 8), 4: (16, 2, 2), 7: (10,)}


def change(page, number):
    """Waits until so many changes are listed and what follows is shown."""
    says = f"Changes ({number})" if number else "Changes"
    page.tab.wait_for_selector(f'#tab-changes:text-is("{says}")')
    page.settle()


@pytest.fixture
def page(opened):
    page = opened(width=2400)
    page.draw(THREE)
    page.maps(1).press("Enter")
    page.tab.click("#tab-filters")
    page.tab.wait_for_selector(".taps input")
    return page


def assert_shows(page, run, net):
    """The page shows what ``net`` gives: guesses, and values of layers downstream."""
    cards = oracle.steps(run, oracle.drawing(run, page.pixels), net)
    np.testing.assert_allclose(page.probabilities, cards[-1], atol=1e-5)
    for card, unit in ((1, (0, 3, 4)), (4, (5, 1, 0)), (7, (3,))):
        page.hover(card, SHAPES[card], unit[0], unit[1:])
        np.testing.assert_allclose(page.readout[1], cards[card][unit], rtol=2**-10)


def test_a_changed_number_changes_all_that_follows(page, digits_run):
    net = copy.deepcopy(digits_run.classifier)
    tap = page.tab.get_by_label("row 1, column 1")
    tap.fill("3.5")
    tap.press("Enter")
    change(page, 1)
    with torch.no_grad():
        net[0].weight[0, 0, 1, 1] = 3.5
    assert_shows(page, digits_run, net)
    page.tab.click("#tab-changes")
    page.tab.get_by_role("button", name="Restore").first.click()
    change(page, 0)
    assert_shows(page, digits_run, None)


def test_a_named_filter_is_what_its_name_says(page, digits_run):
    net = copy.deepcopy(digits_run.classifier)
    page.tab.get_by_label("Named filter").select_option("sharpen")
    change(page, 1)
    page.tab.wait_for_selector('.taps input[title="5"]')
    taps = page.tab.locator(".taps input")
    shown = taps.evaluate_all("all => all.map(one => Number(one.title))")
    assert shown == np.ravel(SHARPEN).tolist()
    with torch.no_grad():
        net[0].weight[0, 0] = torch.tensor(SHARPEN)
    assert_shows(page, digits_run, net)


def test_a_channel_is_switched_off_and_on(page, digits_run):
    net = copy.deepcopy(digits_run.classifier)
    page.tab.get_by_role("button", name="Channel off").click()
    change(page, 1)
    with torch.no_grad():
        net[0].weight[0] = 0
        net[0].bias[0] = 0
    assert_shows(page, digits_run, net)
    page.tab.get_by_role("button", name="Channel on").click()
    change(page, 0)
    assert_shows(page, digits_run, None)


def test_a_changed_network_is_kept_as_a_run_that_loads(page, digits_run):
    tap = page.tab.get_by_label("row 0, column 2")
    tap.fill("-2")
    tap.press("Enter")
    change(page, 1)
    page.tab.click("#tab-changes")
    page.tab.get_by_label("Name of the new run").fill("kept-1")
    page.tab.get_by_role("button", name="Keep as a new run").click()
    page.tab.wait_for_selector("text=Kept: kept-1")
    net = copy.deepcopy(digits_run.net)
    kept = cs.Run.load(digits_run.folder.parent / "kept-1", net)
    assert kept.classifier[0].weight[0, 0, 0, 2] == -2
    assert_shows(page, kept, None)


def test_changes_stay_in_their_own_tab(page, opened, digits_run):
    other = opened()
    other.draw(ONE)
    page.tab.get_by_role("button", name="Channel off").click()
    change(page, 1)
    other.draw([(100, 140), (180, 140)])
    cards = oracle.steps(digits_run, oracle.drawing(digits_run, other.pixels))
    np.testing.assert_allclose(other.probabilities, cards[-1], atol=1e-5)
    other.maps(1).press("Enter")
    assert other.tab.locator("#tab-changes").inner_text() == "Changes"


def test_a_number_that_cannot_be_is_refused_in_the_librarys_words(page):
    tap = page.tab.get_by_label("row 0, column 0")
    tap.fill("1e30")
    tap.press("Enter")
    page.tab.wait_for_selector("#inspector .failure")
    assert "less than or equal to 1000000" in page.tab.locator(".failure").inner_text()
    assert page.troubles == [
        "Failed to load resource: the server responded with a status of 422 "
        "(Unprocessable Entity)"
    ]
    page.troubles.clear()
