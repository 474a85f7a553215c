"""Draws the pictures of the README and of the gallery that are not of a terminal.

Usage: python docs/draw_pictures.py    (of a terminal: see terminal_picture.py; of
the page: film_page.py)
"""

import dataclasses
import json
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

import convscope as cs
from convscope.train.film import TrainingFilm
from convscope.train.training.film_keeper import FilmKeeper
from convscope.viz.scene import Scene, Words

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "images"
GALLERY = PICTURES / "inside"
Pictures = dict[str, cs.viz.Picture[Any]]
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
    drawn: Pictures = {
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
        "why": cs.viz.attribution(cs.attribute(net, x, trust=True), pixels.numpy()),
    }
    save_small(drawn)
    graph = cs.analysis.network_graph(net, (1, 32, 32), name=name)
    cs.viz.structure(graph).save(GALLERY / "graph.svg")
    why = str(cs.explain_unit(net, x, "0", 1, (12, 14)))
    (GALLERY / "unit.svg").write_text(terminal(why), encoding="utf-8")


def signals_and_volumes() -> None:
    """Networks of one and of three dimensions with random weights, seen from inside."""
    drawn: Pictures = {}
    for axes, found in enumerate(seeded(), start=1):
        if found is None:
            continue
        net, x, unit = found
        name, kind, shape = "random weights", f"{axes}d", tuple(x.shape[1:])
        field = cs.analysis.unit_field(net, shape, "2", unit, name=name)
        winners = cs.analysis.pooling_winners(net, x, target=0, name=name)
        map_ = cs.attribute(net, x, method="saliency")
        maps = cs.analysis.feature_maps(net, x, name=name)
        filters = cs.analysis.filters(net, name=name)
        drawn |= {
            f"filters-{kind}": cs.viz.filters(filters),
            f"maps-{kind}": cs.viz.feature_maps(maps),
            f"field-{kind}": cs.viz.unit_field(field, x[0, 0] if axes == 1 else None),
            f"pooling-{kind}": cs.viz.pooling_winners(winners),
            f"why-{kind}": cs.viz.attribution(map_, x.numpy()),
        }
    save_small(drawn)


def seeded() -> list[Any]:
    """For each number of axes a network, an input, and a unit; none for images."""
    torch.manual_seed(0)
    tone = torch.sin(torch.linspace(0, 5, 64) ** 2)[None, None]
    axis = torch.linspace(-1, 1, 12)
    ball = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 < 0.5
    of_signals = nn.Sequential(
        nn.Conv1d(1, 4, 7), nn.ReLU(), nn.MaxPool1d(4), nn.Flatten(), nn.Linear(56, 2)
    )
    of_volumes = nn.Sequential(
        nn.Conv3d(1, 4, 3), nn.ReLU(), nn.MaxPool3d(2), nn.Flatten(), nn.Linear(500, 2)
    )
    return [
        (of_signals.eval(), tone, (6,)),
        None,
        (of_volumes.eval(), ball.float()[None, None], (2, 2, 2)),
    ]


def save_small(drawn: Pictures) -> None:
    """Write pictures as PNGs of few colors, by their names."""
    for title, each in drawn.items():
        place = each.save(GALLERY / f"{title}.png", dots=110)
        few = Image.open(place).convert("RGB").quantize(256, kmeans=1, dither=NO_DITHER)
        few.save(place, optimize=True)


def terminal(text: str) -> str:
    """Lines as a terminal shows them, in SVG."""
    lines = [part for line in text.splitlines()
             for part in textwrap.wrap(line, 88, subsequent_indent="    ")]  # fmt: skip
    words = [Words(30 if line.startswith(" ") else 12, 18 + 18 * n, line.strip(), 12,
                   "ink", "start") for n, line in enumerate(lines)]  # fmt: skip
    wide = max(len(each.text) for each in words)
    return Scene(24 + 7.4 * wide, 18 * len(words) + 18, words).svg(fixed=True)


def without_maps(film: TrainingFilm) -> TrainingFilm:
    """The filters alone, which make a small file."""
    looks = [dataclasses.replace(look, maps=None) for look in film.looks]
    return dataclasses.replace(film, looks=tuple(looks))


if __name__ == "__main__":
    short_race()
    receptive_field()
    inside()
    signals_and_volumes()
