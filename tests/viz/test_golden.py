"""Two pictures as they were when somebody looked at them, small and with tolerance."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convscope.analysis import feature_maps as maps
from convscope.analysis import filters as weights
from convscope.viz import feature_maps, filters

pytest.importorskip("matplotlib")
ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
SIDE = 96  # dots of the longer side of a thumbnail
# Letters differ by some dots from one matplotlib to the next; colors and places do not.
TOLERANCE = 4.0  # of 255, in the mean


def network(sign=1.0):
    """Filters that turn, of a closed form."""
    net = nn.Conv2d(1, 6, 5, bias=False)
    y, x = torch.meshgrid(torch.arange(-2.0, 3), torch.arange(-2.0, 3), indexing="ij")
    with torch.no_grad():
        for number in range(6):
            angle = torch.tensor(number * torch.pi / 6)
            net.weight[number, 0] = sign * (x * angle.cos() + y * angle.sin())
    return net


def draw(kind, sign=1.0):
    if kind == "filters":
        return filters(weights(network(sign), name="net"), theme="dark")
    ramp = torch.linspace(0, 1, 144).view(1, 1, 12, 12)
    return feature_maps(maps(network(sign), ramp, name="net"))


def thumbnail(picture):
    image = Image.open(io.BytesIO(picture.png())).convert("RGB")
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return image


def difference(kind, picture):
    kept = np.asarray(Image.open(GOLDEN / f"{kind}.png").convert("RGB"), dtype=float)
    found = np.asarray(thumbnail(picture), dtype=float)
    assert found.shape == kept.shape
    return np.abs(found - kept).mean()


@pytest.mark.parametrize("kind", ["filters", "maps"])
def test_a_picture_looks_as_it_did_and_another_sign_is_noticed(kind):
    assert difference(kind, draw(kind)) < TOLERANCE
    assert difference(kind, draw(kind, sign=-1.0)) > 1.5 * TOLERANCE


def test_the_gallery_shows_all_pictures_that_are_drawn_for_it_and_they_are_small():
    page = (ROOT / "docs" / "gallery" / "index.md").read_text()
    shown = re.findall(r"\(\.\./images/(.*?)\)", page)
    images = ROOT / "docs" / "images"
    assert all((images / name).is_file() for name in shown)
    inside = {p.relative_to(images).as_posix() for p in (images / "inside").iterdir()}
    assert inside <= set(shown)
    code = (ROOT / "docs" / "draw_pictures.py").read_text()
    kinds = {Path(name).stem.partition("-")[0] for name in inside - {"inside/film.gif"}}
    assert [kind for kind in kinds if f'"{kind}' not in code] == []
    assert sum((images / name).stat().st_size for name in inside) < 500_000


if __name__ == "__main__":  # look at them before they are kept
    for each in ("filters", "maps"):
        thumbnail(draw(each)).save(GOLDEN / f"{each}.png", optimize=True)
