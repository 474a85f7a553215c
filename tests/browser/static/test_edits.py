"""Kernels are changed in the one-file page; what follows is as in the library."""

import numpy as np
import torch
from pydantic import TypeAdapter
from tests.browser.static.networks import made
from tests.browser.static.test_numbers import picture

from convscope.serve.cards import cards_of
from convscope.serve.edits import Change, changed, kernels, text_of
from convscope.serve.forward import Forward

EDIT = """async ([text, changes, looked]) => {
  const bytes = Uint8Array.from(atob(text), one => one.charCodeAt(0));
  const source = new file_source_js.FileSource(document);
  await source.describe();
  const blob = new Blob([bytes]);
  const probabilities = async () => Array.from(
    (await source.run({kind: "picture", blob}, [])).arrays.get("probabilities").values);
  const before = await probabilities();
  let edits = [];
  const refused = [];
  for (const change of changes) {
    await source.edit(change).then(found => { edits = found.edits; },
      error => refused.push(error.message));
  }
  const after = await probabilities();
  const {arrays} = await source.filters(...looked);
  const told = await source.explain(...looked, [2, 2]);
  const left = edits.length ? (await source.restore(0)).edits : [];
  await source.restore(null);
  return {before, edits, after, refused, left, restored: await probabilities(),
    value: told.value, weight: Array.from(arrays.get("weight").values),
    bias: Array.from(arrays.get("bias").values)};
}"""


def changes_of(cards):
    """One of each kind, on the first two convolutions, and one that is replaced."""
    one, two = [card.id for card in cards.cards if card.has_filters][:2]
    tap = {"kind": "tap", "card": one, "channel": 0, "input": 0, "at": [1, 2]}
    return [
        {**tap, "value": 9},
        {**tap, "value": 0.75},
        {"kind": "filter", "card": one, "channel": 1, "input": 0, "name": "sobel"},
        {"kind": "bias", "card": two, "channel": 1, "value": -0.5},
        {"kind": "channel", "card": two, "channel": 0, "off": True},
    ]


def test_changes_do_what_they_do_in_the_library(opened):
    own = made("lenet_page")
    pixels, png = picture(own)
    cards, given = cards_of(own), changes_of(cards_of(own))
    looked = [given[0]["card"], 1]
    found = opened("lenet_page").tab.evaluate(EDIT, [png, given, looked])
    changes = [TypeAdapter(Change).validate_python(one) for one in given[1:]]
    net = changed(own.net, cards, changes)
    x = own.preprocessing.normalize(torch.from_numpy(pixels)[None])
    forward = Forward(own, cards)
    before, after = (forward.values(one, x) for one in (own.net, net))
    assert np.abs(before.probabilities - after.probabilities).max() > 1e-3
    for name, wanted in (("before", before), ("after", after), ("restored", before)):
        np.testing.assert_allclose(found[name], wanted.probabilities, rtol=0, atol=1e-5)
    assert [one["text"] for one in found["edits"]] == [
        text_of(c, cards) for c in changes
    ]
    assert found["left"] == found["edits"][1:]
    assert found["refused"] == []
    weight, bias = kernels(net, cards[looked[0]], 1)
    np.testing.assert_allclose(found["weight"], weight.flatten(), atol=1e-6)
    np.testing.assert_allclose(found["bias"], bias, atol=1e-6)
    np.testing.assert_allclose(
        found["value"], after.maps[looked[0]][1, 2, 2], atol=1e-4
    )


def test_changes_that_do_not_fit_are_refused_in_the_librarys_words(opened):
    own = made("lenet_page")
    cards = cards_of(own)
    one = next(card for card in cards.cards if card.has_filters)
    base = {"card": one.id, "channel": 0, "input": 0}
    given = [
        {**base, "kind": "tap", "at": [9, 0], "value": 1.0},
        {**base, "kind": "tap", "at": [0, 0], "value": 1.0, "input": 7},
        {**base, "kind": "tap", "at": [0, 0], "value": 1.0, "channel": 99},
    ]
    found = opened("lenet_page").tab.evaluate(
        EDIT, [picture(own)[1], given, [one.id, 0]]
    )
    wanted = []
    for change in given:
        try:
            changed(own.net, cards, [TypeAdapter(Change).validate_python(change)])
        except ValueError as error:
            wanted.append(str(error))
    assert found["refused"] == wanted
    assert len(wanted) == 3
    assert found["edits"] == []
