"""Every number on the page against torch in float64, for the same drawing."""

import numpy as np
from tests.browser.play import oracle
from tests.browser.play.strokes import THREE

HALF = {"rtol": 2**-10, "atol": 1e-6}  # of what is sent as float16


def written(share):
    """A probability as the page has it."""
    if 0.9995 < share < 1:
        return "> 99.9 %"
    return "< 0.1 %" if 0 < share < 0.0005 else f"{share:.1%}".replace("%", " %")


def test_guesses_are_the_librarys(opened, digits_run):
    page = opened()
    page.draw(THREE)
    shares = oracle.steps(digits_run, oracle.drawing(digits_run, page.pixels))[-1]
    np.testing.assert_allclose(page.probabilities, shares, atol=1e-5)
    order = np.argsort(-shares)[:2]
    names = page.tab.locator(".guess-name").all_inner_texts()
    assert names == [digits_run.spec.classes[place] for place in order]
    texts = page.tab.locator(".guess-share").all_inner_texts()
    assert texts == [written(page.probabilities[place]) for place in order]
    everything = page.tab.locator(".probabilities .bar-share").all_inner_texts()
    assert everything == [written(share) for share in page.probabilities]


def test_values_under_the_pointer_are_the_networks(opened, digits_run):
    page = opened(width=2400)
    page.draw(THREE)
    cards = oracle.steps(digits_run, oracle.drawing(digits_run, page.pixels))
    generator = np.random.default_rng(0)
    for card, values in enumerate(cards):
        for _ in range(2):
            channel, *position = (int(generator.integers(n)) for n in values.shape)
            page.hover(card, values.shape, channel, position)
            name, shown = page.readout
            place = f"at ({', '.join(map(str, position))})"
            own = f"channel {channel} {place}" if position else f"unit {channel}"
            assert f", {own}" in name
            wanted = values[(channel, *position)]
            np.testing.assert_allclose(shown, wanted, **HALF, err_msg=name)


def test_ranges_are_those_of_all_maps_of_a_layer(opened, digits_run):
    page = opened(width=2400)
    page.draw(THREE)
    cards = oracle.steps(digits_run, oracle.drawing(digits_run, page.pixels))
    ranges = page.tab.locator(".card .range").evaluate_all(
        "all => all.map(one => one.title)"
    )
    for card, (values, said) in enumerate(zip(cards, ranges, strict=True)):
        shown = [float(each) for each in said.split(" to ")]
        wanted = [values.min(), values.max()]
        np.testing.assert_allclose(shown, wanted, **HALF, err_msg=str(card))


def test_explanations_end_in_the_networks_value(opened, digits_run):
    page = opened()
    page.draw(THREE)
    cards = oracle.steps(digits_run, oracle.drawing(digits_run, page.pixels))
    for card in (1, 3, 4, 5, 7, 8):
        page.explain(card)
        unit = (0, *(size // 2 for size in cards[card].shape[1:]))
        shown = page.value(".result data")
        np.testing.assert_allclose(shown, cards[card][unit], atol=1e-5)
        last = page.tab.locator(".step").last.locator("data")
        assert float(last.get_attribute("value")) == shown


def test_products_add_up_to_the_value(opened):
    page = opened()
    page.draw(THREE)
    page.explain(4)
    total = 0.0
    for sums in page.tab.locator(".sums button").all():
        sums.click()
        products = page.tab.locator('table[aria-label="product"] td').evaluate_all(
            "all => all.map(one => Number(one.title))"
        )
        said = float(sums.locator(".bar-share").get_attribute("title"))
        np.testing.assert_allclose(sum(products), said, atol=1e-6)
        total += said
    bias = page.tab.locator(".step .formula", has_text="plus bias").inner_text()
    total += float(bias.rpartition(" ")[2].replace("\u2212", "-"))
    np.testing.assert_allclose(total, page.value(".result data"), atol=1e-5)
