"""The page in one file explains units as the library does: the same records."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.browser.static.networks import NAMES, made
from tests.browser.static.test_numbers import picture

from convscope.analysis.explaining.explain_unit import UnitExplainer
from convscope.serve.cards import cards_of
from convscope.serve.explaining import explanation

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


def size_of(record):
    """The largest of the numbers that are explained."""
    steps = [*record["steps"], {"operands": [record["value"], 1.0]}]
    parts = [np.ravel(step[name]) for step in steps for name in ("patch", "operands")
             if name in step]  # fmt: skip
    numbers = np.concatenate(parts).astype(float)
    return float(np.abs(numbers[np.isfinite(numbers)]).max())


def differences(ours, theirs, size=1.0, where="record"):
    """Where two records differ by more than rounding: 1e-5 of the size of numbers."""
    if isinstance(theirs, dict):
        if set(ours) != set(theirs):
            return [f"{where}: {set(ours) ^ set(theirs)}"]
        pairs = [(ours[k], theirs[k], f"{where}.{k}") for k in theirs]
    elif isinstance(theirs, list | tuple):
        if not isinstance(ours, list) or len(ours) != len(theirs):
            return [f"{where}: {ours} {theirs}"]
        both = enumerate(zip(ours, theirs, strict=True))
        pairs = [(a, b, f"{where}[{i}]") for i, (a, b) in both]
    elif isinstance(theirs, str):
        if NUMBER.sub("#", ours) != NUMBER.sub("#", theirs):
            return [f"{where}: {ours} | {theirs}"]
        both = [list(map(float, NUMBER.findall(text))) for text in (ours, theirs)]
        return differences(*both, size, where) if both[1] else []
    elif isinstance(theirs, float) and not isinstance(ours, str | bool | None):
        near = math.isclose(ours, theirs, rel_tol=2e-4, abs_tol=1e-5 * max(size, 2))
        return [] if near else [f"{where}: {ours} | {theirs}"]
    else:
        return [] if ours == theirs else [f"{where}: {ours} | {theirs}"]
    return [
        each for one, other, at in pairs for each in differences(one, other, size, at)
    ]


def units_of(card):
    """Corners, middle and an edge, in the first and the last map."""
    last = [size - 1 for size in card.shape[1:]]
    middle = [size // 2 for size in card.shape[1:]]
    edge = (*last[:1], *middle[1:])
    places = {(0,) * len(last), tuple(last), tuple(middle), edge}
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
    shown = shown[::4] if len(shown) > 40 else shown
    units = [unit for card in shown for unit in units_of(card)]
    told = opened(name).tab.evaluate(EXPLAIN, [png, units])
    assert len(told) == len(units) >= 16
    for ours, (number, channel, place) in zip(told, units, strict=True):
        assert not isinstance(ours, str), ours
        record = explainer.explain(cards[number].label, channel, place)
        if (number + len(shown)) % 3:  # that of the others is left out: it is slow
            record = replace(record, find_field=lambda: None)
        theirs = record.to_dict()
        if theirs["receptive_field"] is None:
            del theirs["receptive_field"], ours["receptive_field"]
        assert differences(ours, theirs, size_of(theirs)) == [], (
            number,
            channel,
            place,
        )


def test_probabilities_are_explained_as_the_server_explains_them(opened):
    own = made("mlp")
    pixels, png = picture(own)
    x = own.preprocessing.normalize(torch.from_numpy(pixels)[None])
    card = cards_of(own).cards[-1]
    (ours,) = opened("mlp").tab.evaluate(EXPLAIN, [png, [[card.id, 3, []]]])
    theirs = explanation(own.net, x, card, 3, (), own.temperature)
    for record in (ours, theirs):
        for name in ("layer", "receptive_field"):
            record.pop(name, None)
        for step in record["steps"]:
            del step["inputs"]  # named as in a network around this one
    assert differences(ours, theirs) == []


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
    tab = opened("lenet_page").tab
    tab.locator("canvas.board").click(position={"x": 120, "y": 120})
    tab.wait_for_timeout(300)
    tab.locator('[data-card="1"] .maps').click(position={"x": 30, "y": 30})
    tab.wait_for_selector("#inspector .products")
    readout = tab.locator(".readout").inner_text().rpartition("=")[2]
    value = tab.locator("#inspector .result data").get_attribute("value")
    said = float(readout.replace("\N{MINUS SIGN}", "-"))
    assert math.isclose(float(value), said, rel_tol=1e-5, abs_tol=1e-6)
