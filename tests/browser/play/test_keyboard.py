"""The whole page without a mouse."""

import numpy as np
from tests.browser.play import oracle


def test_keys_alone_reach_everything(opened, digits_run):
    page = opened()
    keys = page.tab.keyboard

    page.tab_to("[data-from=test]")  # an input
    keys.press("Enter")
    page.tab.wait_for_selector(".thumbnail")
    page.tab_to(".thumbnail")
    keys.press("Enter")
    page.tab.wait_for_selector(".bar-share[title]")
    page.settle()
    named = page.tab.locator(".thumbnail").first.get_attribute("aria-label")
    assert page.first_guess in named

    page.tab_to('[data-card="1"] .eye')  # a layer, hidden and shown
    keys.press("Enter")
    assert page.tab.evaluate("document.activeElement.className") == "slim"
    keys.press("Enter")
    assert page.maps(1).is_visible()

    page.tab_to('[data-card="2"] .maps')  # a unit
    at, _ = page.readout
    keys.press("ArrowRight")
    assert page.readout[0] != at
    assert page.readout[0].startswith("activation 1, channel 0 at")
    keys.press("PageDown")
    assert "channel 1" in page.readout[0]
    keys.press("Enter")
    page.tab.wait_for_selector('.explain[data-unit^="2:1:"] .result data')
    keys.press("Enter")  # into its explanation
    assert page.tab.evaluate("document.activeElement.id") == "tab-unit"
    page.tab_to(".products")
    keys.press("ArrowRight")
    keys.press("ArrowDown")
    assert page.tab.locator(".products td.marked").count() == 3
    assert "\u00d7" in page.tab.locator(".tap").inner_text()
    keys.press("Escape")
    assert page.tab.locator("#inspector h2").inner_text() == "Inspector"
    assert (
        page.tab.evaluate("document.activeElement.closest('[data-card]').dataset.card")
        == "2"
    )

    keys.press("Enter")  # its filter, changed and restored
    keys.press("Enter")
    keys.press("ArrowRight")
    assert page.tab.evaluate("document.activeElement.id") == "tab-filters"
    page.tab.wait_for_selector(".taps input")
    before = page.probabilities
    page.tab_to(".taps input")
    keys.press("Control+A")
    keys.type("4")
    keys.press("Enter")
    page.tab.wait_for_selector('#tab-changes:text-is("Changes (1)")')
    page.settle()
    assert page.probabilities != before
    page.tab.keyboard.press("Shift+Tab")
    for _ in range(20):
        if page.tab.evaluate("document.activeElement.id") == "tab-filters":
            break
        keys.press("Shift+Tab")
    keys.press("ArrowRight")
    page.tab_to("[data-method=grad_cam]")
    keys.press("Enter")
    page.tab.wait_for_selector(".verdict")
    for _ in range(20):
        if page.tab.evaluate("document.activeElement.id") == "tab-why":
            break
        keys.press("Shift+Tab")
    keys.press("ArrowRight")
    page.tab_to(".edits button")
    keys.press("Enter")
    page.tab.wait_for_selector('#tab-changes:text-is("Changes")')
    page.settle()
    np.testing.assert_allclose(page.probabilities, before, atol=1e-6)

    page.tab_to("#actions button")  # what the keys do
    keys.press("Enter")
    assert page.tab.locator(".help").is_visible()
    keys.press("Escape")
    assert not page.tab.locator(".help").is_visible()


def test_arrow_keys_shift_a_drawing_and_brackets_turn_it(opened, digits_run):
    page = opened()
    page.draw(((140, 60), (140, 220)))
    page.tab_to(".board")
    first = oracle.steps(digits_run, oracle.drawing(digits_run, page.pixels))[0]

    def row():
        shown = []
        for column in (3, 4, 5):
            page.hover(0, (1, 8, 8), 0, (4, column))
            shown.append(page.readout[1])
        return shown

    np.testing.assert_allclose(row(), first[0, 4, 3:6], rtol=2**-9)
    page.tab.locator("canvas.board").focus()
    page.tab.keyboard.press("ArrowRight")
    page.settle()
    np.testing.assert_allclose(row(), first[0, 4, 2:5], rtol=2**-9)
    page.tab.locator("canvas.board").focus()
    page.tab.keyboard.press("0")
    page.tab.keyboard.press("]")
    page.settle()
    assert not np.allclose(row(), first[0, 4, 3:6], rtol=2**-9)
    page.tab.locator("canvas.board").focus()
    page.tab.keyboard.press("[")
    page.settle()
    np.testing.assert_allclose(row(), first[0, 4, 3:6], rtol=2**-9)
