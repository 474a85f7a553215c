"""The page in one file explains units as the library does: the same records."""

import math
import re

import pytest
import torch
from tests.browser.static.networks import NAMES, made
from tests.browser.static.test_numbers import picture

from convscope.analysis.explaining.explain_unit import UnitExplainer
from convscope.serve.cards import cards_of

EXPLAIN = """async ([text, units]) => {
  const bytes = Uint8Array.from(atob(text), one => one.charCodeAt(0));
  const source = new file_source_js.FileSource(document);
  await source.describe();
  await source.run({kind: "picture", blob: new Blob([bytes])}, []);
  const told = [];
  for (const unit of units) {
    told.push(await source.explain(...unit).catch(error => error.message));
  }
  return told;
}"""
NUMBER = re.compile(r"-?(?:\d+\.?\d*(?:e[+-]\d+)?|inf|nan)")


def differences(ours, theirs, where="record"):
    """Where two records differ by more than rounding.

    Numbers may differ by 1e-4 of the largest beside them, in texts by a last digit.
    """
    if isinstance(theirs, dict):
        if set(ours) != set(theirs):
            return [f"{where}: {set(ours) ^ set(theirs)}"]
        pairs = [(ours[k], theirs[k], f"{where}.{k}") for k in theirs]
    elif isinstance(theirs, list | tuple):
        if not isinstance(ours, list) or len(ours) != len(theirs):
            return [f"{where}: {ours} {theirs}"]
        pairs = [(a, b, f"{where}[{i}]")
                 for i, (a, b) in enumerate(zip(ours, theirs, strict=True))]  # fmt: skip
    elif isinstance(theirs, str):
        if NUMBER.sub("#", ours) != NUMBER.sub("#", theirs):
            return [f"{where}: {ours} | {theirs}"]
        both = [list(map(float, NUMBER.findall(text))) for text in (ours, theirs)]
        return differences(*both, where) if both[1] else []
    elif isinstance(theirs, float) and not isinstance(ours, str | bool | None):
        near = math.isclose(ours, theirs, rel_tol=2e-4, abs_tol=2e-5)
        return [] if near else [f"{where}: {ours} | {theirs}"]
    else:
        return [] if ours == theirs else [f"{where}: {ours} | {theirs}"]
    return [each for pair in pairs for each in differences(*pair)]


def units_of(card):
    """Corners, middle and an edge, in the first and the last map."""
    last = [size - 1 for size in card.shape[1:]]
    middle = [size // 2 for size in card.shape[1:]]
    places = {
        tuple(0 for _ in last),
        tuple(last),
        tuple(middle),
        (*last[:1], *middle[1:]),
    }
    return [
        (card.id, channel, list(place))
        for channel in sorted({0, card.shape[0] - 1})
        for place in sorted(places)
    ]


@pytest.mark.parametrize("name", [*NAMES, "activations"])
def test_every_cards_units_are_explained_as_the_library_explains_them(opened, name):
    own = made(name)
    pixels, png = picture(own)
    x = own.preprocessing.normalize(torch.from_numpy(pixels)[None])
    explainer, cards = UnitExplainer(own.net, x), cards_of(own)
    shown = [card for card in cards.cards[1:] if card.label]
    units = [unit for card in shown for unit in units_of(card)]
    told = opened(own).evaluate(EXPLAIN, [png, units])
    assert len(told) == len(units) >= 16
    for ours, (number, channel, place) in zip(told, units, strict=True):
        theirs = explainer.explain(cards[number].label, channel, place).to_dict()
        if number != units[0][0]:
            theirs["receptive_field"] = ours["receptive_field"]  # by arithmetic: slow
        assert not isinstance(ours, str), ours
        assert differences(ours, theirs) == [], (cards[number].label, channel, place)


def test_planted_differences_are_noticed():
    record = {"a": [1.0, {"b": "x = 2.5"}], "c": None, "d": True, "e": 3}
    assert differences(record, record) == []
    for other in (
        {**record, "a": [1.1, {"b": "x = 2.5"}]}, {**record, "a": [1.0]},
        {**record, "a": [1.0, {"b": "y = 2.5"}]}, {**record, "c": 0.0},
        {**record, "a": [1.0, {"b": "x = 2.6"}]}, {**record, "d": False},
        {**record, "e": 4}, {**record, "f": 1},
    ):  # fmt: skip
        assert differences(other, record) != []


def test_the_window_opens_on_a_click_with_the_value_on_the_page(opened):
    tab = opened(made("lenet_page"))
    tab.locator("canvas.board").click(position={"x": 120, "y": 120})
    tab.wait_for_timeout(300)
    tab.locator('[data-card="1"] .maps').click(position={"x": 30, "y": 30})
    tab.wait_for_selector("#inspector .products")
    readout = tab.locator(".readout").inner_text().rpartition("=")[2]
    value = tab.locator("#inspector .result data").get_attribute("value")
    said = float(readout.replace("\N{MINUS SIGN}", "-"))
    assert math.isclose(float(value), said, rel_tol=1e-5, abs_tol=1e-6)
