"""What one does with the page in one file: draw, choose, point; and what it holds."""

import numpy as np
import pytest
from tests.browser.play.strokes import THREE
from tests.browser.play.test_drawing import PIXELS
from tests.browser.static.networks import subject
from torch import nn

from convscope.serve.cards import cards_of
from convscope.serve.forward import Forward
from convscope.serve.inputs import Placing, drawing, network_input
from convscope.serve.subject import subject_of

NASTY = (
    "</script><script>document.title='broken'</script>", "<b>bold</b>", "\"'&amp;",
    "\U0001f600", "a\nb",
)  # fmt: skip


def draw(tab, points):
    """A stroke with the mouse; waits for the answer."""
    box = tab.locator("canvas.board").bounding_box()
    scale = box["width"] / 280
    for number, (a, b) in enumerate(points):
        tab.mouse.move(box["x"] + scale * a, box["y"] + scale * b, steps=8)
        if not number:
            tab.mouse.down()
    tab.mouse.up()
    tab.wait_for_timeout(250)


@pytest.mark.parametrize("centering", [True, False])
@pytest.mark.parametrize("keys", ["", "ArrowRight ArrowDown ArrowDown ]"])
def test_a_drawing_has_the_probabilities_that_the_library_gives(
    opened, digits_run, centering, keys
):
    own = subject_of(digits_run)
    tab = opened(own)
    if not centering:
        tab.locator(".switch input").first.uncheck()
    draw(tab, THREE)
    for key in keys.split():
        tab.locator("canvas.board").press(key)
    tab.wait_for_timeout(300)
    gray = np.array(tab.locator("canvas.board").evaluate(PIXELS), np.uint8)
    pixels = drawing(own, gray.tobytes(), 280, 280, centering)
    placing = Placing(1, 2, 5.0) if keys else Placing()
    x, _ = network_input(own, pixels, placing)
    wanted = Forward(own, cards_of(own)).values(own.net, x).probabilities
    shown = tab.locator(".probabilities .bar-share").evaluate_all(
        "all => all.map(one => Number(one.title))"
    )
    np.testing.assert_allclose(shown, wanted, rtol=0, atol=1e-4)


def test_names_of_classes_are_text_whatever_they_hold(opened):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 5)).eval()
    tab = opened(subject(net, (1, 8, 8), NASTY, title="<img src=x> & 'co'"))
    draw(tab, THREE)
    names = tab.locator(".probabilities .bar-name").all_text_contents()
    assert names == list(NASTY)
    assert tab.locator("#title").text_content() == "<img src=x> & 'co'"
    assert "broken" not in tab.title()
    assert tab.locator("main b, main img[src=x]").count() == 0


def test_what_a_file_cannot_do_is_not_offered(opened):
    tab = opened("mlp")
    can = tab.evaluate("""async () =>
      (await new file_source_js.FileSource(document).describe()).can""")
    assert not {"why", "keep", "examples"} & set(can)
