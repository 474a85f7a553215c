"""The page in a real browser: fields, explanations, kernels; each against torch."""

import json

import numpy as np
import torch
from tests.browser.play.strokes import THREE
from tests.browser.play.test_drawing import PIXELS, library_answer


def field_by_gradients(net, layer, place):
    """First and last row and column of the input that a unit depends on."""
    kept = {}
    handle = layer.register_forward_hook(lambda _, __, out: kept.update(out=out))
    start = torch.rand(1, 1, 8, 8).requires_grad_()
    net(start)
    handle.remove()
    kept["out"][0, :, place[0], place[1]].sum().backward()
    rows, columns = start.grad[0, 0].nonzero(as_tuple=True)
    return f"{rows.min()}-{rows.max()} {columns.min()}-{columns.max()}"


def test_hovering_lights_up_the_field_that_gradients_give(opened, digits_run):
    page = opened(width=2400)
    page.draw(THREE)
    net = digits_run.classifier.eval()
    second = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)][1]
    for x, y, place in ((10, 10, (0, 0)), (40, 40, (1, 1))):
        page.maps(4).hover(position={"x": x, "y": y})
        page.tab.wait_for_timeout(300)
        where = f"({place[0]},\u00a0{place[1]})"
        assert where in page.tab.locator(".readout").inner_text()
        lit = page.tab.locator('[data-card="0"]').get_attribute("data-lit")
        assert lit == field_by_gradients(net, second, place)


def test_the_explanations_number_is_the_networks(opened, digits_run):
    page = opened()
    page.draw(THREE)
    page.maps(1).press("Enter")
    page.tab.wait_for_selector(".result data")
    shown = float(page.tab.locator(".result data").get_attribute("value"))
    pixels = page.tab.locator("canvas.board").evaluate(PIXELS)
    net = digits_run.classifier.eval()
    first = next(m for m in net.modules() if isinstance(m, torch.nn.Conv2d))
    kept = {}
    handle = first.register_forward_hook(lambda _, __, out: kept.update(out=out))
    library_answer(digits_run, pixels)
    handle.remove()
    np.testing.assert_allclose(shown, kept["out"][0, 0, 4, 4].item(), atol=1e-4)


def test_a_changed_kernel_changes_the_answer_as_a_forward_pass_does(opened, digits_run):
    page = opened()
    page.draw(THREE)
    page.maps(1).press("Enter")
    page.tab.click("#tab-filters")
    page.tab.wait_for_selector(".taps input")
    tap = page.tab.get_by_label("row 1, column 1")
    tap.fill("3.5")
    tap.press("Enter")
    page.tab.wait_for_timeout(500)
    shown = page.tab.locator(".probabilities .bar-share").evaluate_all(
        "all => all.map(one => Number(one.title))"
    )
    pixels = page.tab.locator("canvas.board").evaluate(PIXELS)
    before = library_answer(digits_run, pixels)
    first = next(
        m for m in digits_run.classifier.modules() if isinstance(m, torch.nn.Conv2d)
    )
    old = first.weight[0, 0, 1, 1].item()
    with torch.no_grad():
        first.weight[0, 0, 1, 1] = 3.5
    try:
        changed = library_answer(digits_run, pixels)
    finally:
        with torch.no_grad():
            first.weight[0, 0, 1, 1] = old
    np.testing.assert_allclose(shown, changed, atol=1e-5)
    page.tab.click("#tab-changes")
    page.tab.get_by_role("button", name="Restore").first.click()
    page.tab.wait_for_timeout(500)
    shown = page.tab.locator(".probabilities .bar-share").evaluate_all(
        "all => all.map(one => Number(one.title))"
    )
    np.testing.assert_allclose(shown, before, atol=1e-5)


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


def test_a_number_that_cannot_be_is_refused_in_the_librarys_words(opened):
    page = opened()
    page.draw(THREE)
    page.maps(1).press("Enter")
    page.tab.click("#tab-filters")
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
