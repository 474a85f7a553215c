import sys

import pytest
from torch import nn

from convscope.analysis import effective_receptive_field
from convscope.errors import MissingExtraError
from convscope.viz import receptive_field

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_signals_images_and_volumes_have_a_picture_with_a_scale(axes):
    pytest.importorskip("matplotlib")
    field = effective_receptive_field(CONV[axes](1, 2, 3), (1, *[9] * axes), samples=1)
    figure = receptive_field(field)
    sizes = " x ".join(["3"] * axes)
    assert f"may see {sizes} (frame)" in figure.get_suptitle()
    labels = [plot.get_ylabel() for plot in figure.axes]
    assert "energy / largest energy" in labels
    figure.canvas.draw()


def test_the_frame_is_what_arithmetic_allows():
    pytest.importorskip("matplotlib")
    net = nn.Conv2d(1, 1, (3, 5))
    field = effective_receptive_field(net, (1, 11, 12), output_index=(2, 4), samples=1)
    (frame,) = receptive_field(field).axes[0].patches
    assert frame.get_bbox().bounds == (3.5, 1.5, 5, 3)


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    field = effective_receptive_field(nn.Conv1d(1, 1, 3), (1, 9), samples=1)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'convscope\[viz\]'"):
        receptive_field(field)
