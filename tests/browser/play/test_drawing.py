"""The page in a real browser: drawing, guesses, layers."""

from tests.browser.play.strokes import ONE, THREE


def test_a_three_that_is_drawn_is_read_as_a_three(opened):
    page = opened()
    page.draw(THREE)
    assert page.first_guess == "3"


def test_undo_takes_a_stroke_back_and_clear_all_of_them(opened):
    page = opened()
    empty = page.pixels
    page.draw(ONE)
    one = page.pixels
    page.draw(THREE)
    page.tab.get_by_role("button", name="Undo").click()
    assert page.pixels == one
    page.tab.get_by_role("button", name="Clear").click()
    assert page.pixels == empty


def test_a_layer_can_be_hidden_and_is_still_there_to_be_shown(opened):
    page = opened()
    card = page.tab.locator('[data-card="1"]')
    card.locator(".eye").click()
    assert not card.is_visible()
    page.tab.locator(".slim:visible").first.press("Enter")
    assert card.is_visible()


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
