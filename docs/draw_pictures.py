"""Draws the pictures of the README and of the gallery that are not of a terminal.

Usage: python docs/draw_pictures.py    (of a terminal: see terminal_picture.py; of
the page: film_page.py)
"""

import dataclasses
import json
import tempfile
from pathlib import Path

import torch
from PIL import Image

import convscope as cs
from convscope.train.film import TrainingFilm
from convscope.train.training.film_keeper import FilmKeeper

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "images"
GALLERY = PICTURES / "inside"
NO_DITHER = Image.Dither.NONE
RACES = [("lenet5", 64), ("resnet9", 256)]  # the network and its batch


def short_race() -> None:
    """One race of a small network and one of a wide network, from the kept results."""
    kept = json.loads((ROOT / "benchmarks" / "results" / "race.json").read_text())
    found = {(each["job"]["network"], each["job"]["batch"]): each for each in kept}
    figure = cs.viz.race([found[race] for race in RACES])
    figure.save(PICTURES / "race-short.svg")


def receptive_field() -> None:
    """Where one output of a ResNet looks, by gradient and by arithmetic."""
    torch.manual_seed(0)
    net = cs.models.build("resnet20").eval()
    field = cs.analysis.effective_receptive_field(net, (3, 64, 64), layer="layer2")
    cs.viz.receptive_field(field).save(PICTURES / "receptive-field.svg")


def inside() -> None:
    """A small network, trained on the built-in digits, seen from inside."""
    torch.manual_seed(0)
    digits = cs.data.load("digits", size=32)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "run")
        keeper = FilmKeeper(place)
        run = cs.fit(
            "lenet5", digits, epochs=8, folder=place, listeners=[keeper], seed=0
        )
        film = cs.viz.training_film(without_maps(run.film()), name="LeNet-5")
    film.save(GALLERY / "film.gif")
    softmax = cs.fit("softmax_regression", digits, epochs=8, listeners=[], seed=0)
    net, name = run.net, "LeNet-5"
    pixels = digits.test.pixels[:1]
    x = digits.preprocessing.normalize(pixels)
    picture = pixels[0].numpy().transpose(1, 2, 0)
    patches = cs.analysis.top_patches(
        net, digits, "3", channels=range(4), top=7, name=name
    )
    field = cs.analysis.unit_field(net, (1, 32, 32), "5", (2, 2), name=name)
    winners = cs.analysis.pooling_winners(net, x, "5", 2, target=3, name=name)
    drawn = {
        "filters": cs.viz.filters(cs.analysis.filters(net, "3", name=name)),
        "templates": cs.viz.filters(
            cs.analysis.templates(softmax.net, (1, 32, 32), name="softmax regression")
        ),
        "maps": cs.viz.feature_maps(
            cs.analysis.feature_maps(net, x, picture=picture, name=name)
        ),
        "patches": cs.viz.top_patches(patches),
        "field": cs.viz.unit_field(field, picture),
        "pooling": cs.viz.pooling_winners(winners),
        "health": cs.viz.health(cs.analysis.health(net, digits, name=name)),
    }
    for title, each in drawn.items():
        place = each.save(GALLERY / f"{title}.png", dots=110)
        few = Image.open(place).convert("RGB").quantize(256, kmeans=1, dither=NO_DITHER)
        few.save(place, optimize=True)


def without_maps(film: TrainingFilm) -> TrainingFilm:
    """The filters alone, which make a small file."""
    looks = [dataclasses.replace(look, maps=None) for look in film.looks]
    return dataclasses.replace(film, looks=tuple(looks))


if __name__ == "__main__":
    short_race()
    receptive_field()
    inside()
