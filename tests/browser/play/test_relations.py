"""The page in a real browser: fields against gradients; examples, maps of decisions."""

import json

from tests.browser.play import oracle
from tests.browser.play.strokes import THREE

SHAPES = {2: (8, 8, 8), 3: (8, 4, 4), 4: (16, 2, 2)}


def test_hovering_lights_up_what_a_unit_sees_and_what_sees_it(opened, digits_run):
    page = opened(width=2400)
    page.draw(THREE)
    x = oracle.drawing(digits_run, page.pixels)
    for card, unit in ((4, (0, 0, 0)), (4, (5, 1, 1)), (3, (2, 1, 3)), (2, (1, 5, 0))):
        page.hover(card, SHAPES[card], unit[0], unit[1:])
        for other in {0, 1, 2, 3, 4} - {card}:
            box = page.tab.locator(f'[data-card="{other}"]')
            wanted = oracle.connected(digits_run, x, card, unit, other)
            assert box.get_attribute("data-lit") == wanted, (card, unit, other)
        assert page.tab.locator('[data-card="7"]').get_attribute("data-lit") == "all"


def test_an_example_is_shown_and_judged(opened):
    page = opened()
    page.tab.get_by_role("button", name="Test images").click()
    page.tab.locator(".thumbnail").first.click()
    page.tab.wait_for_timeout(400)
    named = page.tab.locator(".thumbnail").first.get_attribute("aria-label")
    assert page.first_guess == named.removeprefix("Example: ")


def test_why_lays_a_map_over_the_input_and_says_how_far_to_trust_it(opened):
    page = opened()
    page.draw(THREE)
    page.maps(1).press("Enter")
    page.tab.click("#tab-why")
    page.tab.get_by_role("button", name="Grad-CAM").click()
    page.tab.wait_for_selector(".verdict")
    assert page.tab.locator(".verdict strong").inner_text().lower() in (
        "supported", "weak", "empty", "refuted",
    )  # fmt: skip


def test_copied_numbers_are_the_record(opened):
    page = opened()
    page.tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.draw(THREE)
    page.maps(1).press("Enter")
    page.tab.get_by_role("button", name="Copy numbers").click()
    record = json.loads(page.tab.evaluate("navigator.clipboard.readText()"))
    shown = page.tab.locator(".result data").get_attribute("value")
    assert record["value"] == float(shown)
    assert record["steps"][-1]["operation"] == "convolution"
