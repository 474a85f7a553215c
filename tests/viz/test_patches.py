import numpy as np
import pytest
import torch
from torch import nn

from convscope.analysis import maximize, top_patches
from convscope.errors import ArgumentError
from convscope.viz import top_patches as picture
from convscope.viz.palette import THEMES

pytest.importorskip("matplotlib")


def corner(theme):
    """A unit whose patch is the corner of an image, and what reaches over it."""
    net = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.eye(3)[None, None])
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 0, 0], x[0, 0, 1, 1] = 0.5, 1.0
    return picture(top_patches(net, x, ""), theme=theme)


@pytest.mark.parametrize("theme", THEMES)
def test_cells_outside_of_the_image_are_gray_and_the_others_as_they_are(theme):
    image = np.asarray(corner(theme).axes[0].images[0].get_array())[..., :3]
    empty = bytes.fromhex(THEMES[theme].empty[1:])
    cell = image.shape[0] // 3
    assert bytes(image[cell // 2, cell // 2]) == empty
    assert image[cell + cell // 2, cell + cell // 2].tolist() == [128] * 3
    assert image[2 * cell + cell // 2, 2 * cell + cell // 2].tolist() == [255] * 3


def test_values_stand_above_patches_and_the_field_below():
    found = corner("light")
    assert [t.get_text() for t in found.axes[0].texts] == ["channel 0", "1.5"]
    assert "what the unit sees, 3 x 3 elements" in found.figure.texts[1].get_text()


def test_made_inputs_come_first_and_are_of_the_same_channels():
    torch.manual_seed(0)
    net = nn.Conv2d(3, 2, 3)
    found = top_patches(net, torch.rand(4, 3, 8, 8), "", top=2)
    made = [maximize(net, (3, 8, 8), "", c, steps=2) for c in (0, 1)]
    drawn = picture(found, made)
    texts = [t.get_text() for t in drawn.axes[0].texts]
    assert [t for t in texts if t.startswith("made")] == [
        f"made: {each.after:.3g}" for each in made
    ]
    assert "2 steps of Adam" in drawn.figure.texts[1].get_text().replace("\n", " ")
    with pytest.raises(ArgumentError, match=r"channels \[1\], the patches are for"):
        picture(found, made[1:])


@pytest.mark.parametrize("axes", [1, 3])
def test_signals_and_volumes_have_a_picture(axes):
    net = {1: nn.Conv1d, 3: nn.Conv3d}[axes](1, 2, 3, padding=1)
    found = top_patches(net, torch.randn(3, 1, *[6] * axes), "", top=2)
    assert picture(found).png().startswith(b"\x89PNG")
