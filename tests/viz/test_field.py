import numpy as np
import pytest
from torch import nn

from convscope.analysis import unit_field as measure
from convscope.errors import ArgumentError
from convscope.viz import unit_field

pytest.importorskip("matplotlib")
NET = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Conv2d(2, 2, 3))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_there_is_a_frame_around_what_each_layer_sees(theme):
    found = measure(NET, (1, 12, 14), "2", (1, 2), samples=1)
    drawn = unit_field(found, np.zeros((12, 14, 1), np.uint8), theme=theme)
    frames = [patch.get_bbox().bounds for patch in drawn.axes[0].patches]
    assert frames == [
        (left - 0.5, top - 0.5, right - left + 1, bottom - top + 1)
        for (top, bottom), (left, right) in (step.box for step in found.steps)
    ]
    (effective,) = drawn.axes[1].patches
    assert effective.get_bbox().bounds == frames[-1]
    figure = drawn.figure
    figure.canvas.draw()
    for text in figure.texts:
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1


@pytest.mark.parametrize(
    ("kind", "space"), [(nn.Conv1d, (20,)), (nn.Conv3d, (7, 8, 9))]
)
def test_signals_and_volumes_have_a_picture(kind, space):
    found = measure(kind(1, 2, 3), (1, *space), samples=1)
    assert unit_field(found).png().startswith(b"\x89PNG")
    under = np.arange(20.0) if len(space) == 1 else np.ones((8, 9))
    assert unit_field(found, under).png() != unit_field(found).png()


def test_a_picture_of_another_size_is_refused():
    found = measure(NET, (1, 12, 14), samples=0)
    with pytest.raises(ArgumentError, match=r"picture has shape \(14, 12\)"):
        unit_field(found, np.zeros((14, 12)))
