"""Draws the pictures of the README that are not of a terminal.

Usage: python docs/draw_pictures.py    (of a terminal: see terminal_picture.py)
"""

import json
from pathlib import Path

import torch

import convscope as cs

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "images"
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


if __name__ == "__main__":
    short_race()
    receptive_field()
