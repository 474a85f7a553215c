"""What one does with the page in one file: draw, choose, point; and what it holds."""

import numpy as np
import pytest
from tests.browser.play.strokes import THREE
from tests.browser.static.networks import subject
from torch import nn

from convscope.serve.cards import cards_of
from convscope.serve.examples import Examples
from convscope.serve.forward import Forward
from convscope.serve.inputs import Placing, drawing, network_input
from convscope.serve.subject import subject_of

NASTY = (
    "</script><script>document.title='broken'</script>", "<b>bold</b>", "\"'&amp;",
    "\U0001f600", "a\nb",
)  # fmt: skip


@pytest.mark.parametrize("centering", [True, False])
@pytest.mark.parametrize("keys", ["", "ArrowRight ArrowDown ArrowDown ]"])
def test_a_drawing_has_the_probabilities_that_the_library_gives(
    opened, digits_run, centering, keys
):
    own = subject_of(digits_run)
    page = opened(own)
    if not centering:
        page.tab.locator(".switch input").first.uncheck()
    page.draw(THREE)
    for key in keys.split():
        page.tab.locator("canvas.board").press(key)
    page.settle()
    gray = np.array(page.pixels, np.uint8)
    pixels = drawing(own, gray.tobytes(), 280, 280, centering)
    placing = Placing(1, 2, 5.0) if keys else Placing()
    x, _ = network_input(own, pixels, placing)
    wanted = Forward(own, cards_of(own)).values(own.net, x).probabilities
    np.testing.assert_allclose(page.probabilities, wanted, rtol=0, atol=1e-4)


def test_names_of_classes_are_text_whatever_they_hold(opened):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 5)).eval()
    page = opened(subject(net, (1, 8, 8), NASTY, title="<img src=x> & 'co'"))
    page.draw(THREE)
    names = page.tab.locator(".probabilities .bar-name").all_text_contents()
    assert names == list(NASTY)
    assert page.tab.locator("#title").text_content() == "<img src=x> & 'co'"
    assert "broken" not in page.tab.title()
    assert page.tab.locator("main b, main img[src=x]").count() == 0


def test_what_a_file_cannot_do_is_not_offered(opened):
    page = opened("mlp")
    can = page.tab.evaluate("""async () =>
      (await new file_source_js.FileSource(document).describe()).can""")
    assert not {"why", "keep", "examples"} & set(can)


def test_an_example_has_the_probabilities_that_the_library_gives(opened, digits_run):
    own = subject_of(digits_run)
    page = opened(own)
    page.tab.get_by_role("button", name="Test images").click()
    first = page.tab.locator(".thumbnail").first
    first.locator("img[src^='data:image/png']").wait_for()
    first.click()
    page.settle()
    x, _ = network_input(own, Examples(own).pixels(0), Placing())
    wanted = Forward(own, cards_of(own)).values(own.net, x).probabilities
    np.testing.assert_allclose(page.probabilities, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened, violations, scheme):
    page = opened("lenet_page", scheme=scheme)
    page.draw(THREE)
    page.tab.locator('[data-card="1"] .maps').press("Enter")
    page.tab.wait_for_selector("#inspector .products")
    assert violations(page.tab) == []
