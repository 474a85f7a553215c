"""The page in a real browser: drawing, guesses, layers."""

import numpy as np
import torch
from PIL import Image
from tests.browser.play.strokes import ONE, THREE

PIXELS = """board => {
  const {data} = board.getContext("2d").getImageData(0, 0, 280, 280);
  return Array.from({length: 280 * 280}, (_, i) => data[4 * i]);
}"""


def library_answer(run, pixels):
    """Probabilities for what is on the board, without the server."""
    gray = np.array(pixels, np.uint8).reshape(280, 280)
    preprocessing = run.spec.preprocessing
    decoded = torch.from_numpy(preprocessing.decode(Image.fromarray(gray)))
    with torch.no_grad():
        logits = run.classifier.eval()(preprocessing.normalize(decoded[None]))[0]
    return torch.softmax(logits.double() / run.spec.temperature, 0).numpy()


def test_a_three_that_is_drawn_is_read_as_a_three(opened):
    page = opened()
    page.draw(THREE)
    assert page.first_guess == "3"


def test_the_page_shows_the_librarys_probabilities(opened, digits_run):
    page = opened()
    page.draw(THREE)
    pixels = page.tab.locator("canvas.board").evaluate(PIXELS)
    shown = page.tab.locator(".probabilities .bar-share").evaluate_all(
        "all => all.map(one => Number(one.title))"
    )
    np.testing.assert_allclose(shown, library_answer(digits_run, pixels), atol=1e-5)


def test_undo_takes_a_stroke_back_and_clear_all_of_them(opened):
    page = opened()
    board = page.tab.locator("canvas.board")
    empty = board.evaluate(PIXELS)
    page.draw(ONE)
    one = board.evaluate(PIXELS)
    page.draw(THREE)
    page.tab.get_by_role("button", name="Undo").click()
    assert board.evaluate(PIXELS) == one
    page.tab.get_by_role("button", name="Clear").click()
    assert board.evaluate(PIXELS) == empty


def test_a_layer_can_be_hidden_and_is_still_there_to_be_shown(opened):
    page = opened()
    card = page.tab.locator('[data-card="1"]')
    card.locator(".eye").click()
    assert not card.is_visible()
    page.tab.locator(".slim:visible").first.press("Enter")
    assert card.is_visible()


def test_a_unit_is_reached_and_left_by_keys_alone(opened):
    page = opened()
    page.draw(THREE)
    page.tab.locator("body").press("Tab")
    for _ in range(60):
        focused = "document.activeElement.closest('[data-card=\"2\"] .maps') !== null"
        if page.tab.evaluate(focused):
            break
        page.tab.keyboard.press("Tab")
    readout = page.tab.locator(".readout")
    at = readout.inner_text()
    page.tab.keyboard.press("ArrowRight")
    moved = readout.inner_text()
    assert at != moved
    assert moved.startswith("activation 1, channel 0 at")
    page.tab.keyboard.press("PageDown")
    assert "channel 1" in readout.inner_text()
    page.tab.keyboard.press("Enter")
    assert "channel 1" in page.tab.locator("#inspector h2").inner_text()
    page.tab.keyboard.press("Escape")
    assert page.tab.locator("#inspector h2").inner_text() == "Inspector"


def test_two_tabs_do_not_disturb_each_other(opened):
    first, second = opened(), opened()
    first.draw(THREE)
    second.draw(ONE)
    assert first.first_guess == "3"
    other = second.first_guess
    first.draw([(100, 140), (180, 140)])
    assert second.first_guess == other


def test_nothing_is_wider_than_the_screen(opened):
    for width, height in ((1440, 900), (1024, 768), (390, 844)):
        page = opened(width=width, height=height)
        assert page.tab.evaluate("document.documentElement.scrollWidth") == width


def test_what_may_be_touched_on_a_phone_is_large_enough(opened):
    page = opened(width=390, height=844, touch=True)
    small = page.tab.evaluate("""() =>
      [...document.querySelectorAll("button, select, .switch")]
        .filter(one => one.checkVisibility())
        .map(one => [one.textContent || one.ariaLabel, one.getBoundingClientRect()])
        .filter(([, box]) => Math.min(box.width, box.height) < 40)
        .map(([name]) => name)""")
    assert small == []
