"""The page in one file gives the library's numbers, over file:// with no network."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from tests.browser.static.networks import NAMES, made

from convscope.serve.cards import cards_of
from convscope.serve.forward import Forward

RUN = """async ([text, cards]) => {
  const bytes = Uint8Array.from(atob(text), one => one.charCodeAt(0));
  const source = new file_source_js.FileSource(document);
  await source.describe();
  const wanted = cards.map(card => ({card, from: 0, to: 1e6}));
  const {arrays} = await source.run({kind: "picture", blob: new Blob([bytes])}, wanted);
  return Object.fromEntries([...arrays].map(([name, {values}]) =>
    [name, Array.from(values)]));
}"""


def picture(subject, seed=0):
    """A picture of the network's size, as pixels and as a PNG."""
    pixels = np.random.default_rng(seed).integers(0, 256, subject.input_shape, np.uint8)
    image = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return pixels, base64.b64encode(file.getvalue()).decode()


def library_values(subject, pixels):
    """What the network gives, card by card."""
    x = subject.preprocessing.normalize(torch.from_numpy(pixels)[None])
    return Forward(subject, cards_of(subject)).values(subject.net, x)


@pytest.mark.parametrize("name", NAMES)
def test_every_card_has_the_librarys_values(opened, name):
    subject = made(name)
    pixels, png = picture(subject)
    wanted = library_values(subject, pixels)
    given = opened(name).tab.evaluate(RUN, [png, list(wanted.maps)])
    for card, values in wanted.maps.items():
        size = max(1.0, float(np.abs(values).max()))
        np.testing.assert_allclose(
            np.reshape(given[str(card)], values.shape), values, rtol=0, atol=1e-4 * size
        )
    np.testing.assert_allclose(
        given["probabilities"], wanted.probabilities, rtol=0, atol=1e-4
    )


def test_another_picture_has_other_values(opened):
    subject = made("mlp")
    tab = opened("mlp").tab
    wanted = library_values(subject, picture(subject, seed=1)[0]).probabilities
    given = tab.evaluate(RUN, [picture(subject, seed=0)[1], []])["probabilities"]
    assert np.abs(np.array(given) - wanted).max() > 1e-3
