import numpy as np
import pytest
import torch
from torch import nn

from convscope.analysis import feature_maps as maps
from convscope.errors import UnknownNameError
from convscope.viz import feature_maps
from convscope.viz.palette import diverging, sequential

pytest.importorskip("matplotlib")
X = torch.tensor([[[[0.0, 0.5], [1.0, 2.0]]]])


def pointwise(*weights):
    net = nn.Conv2d(1, len(weights), 1, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor(weights).view(-1, 1, 1, 1))
    return net


def corners(picture, tile):
    """Colors in the corners of a tile of 52 units, of the first layer."""
    image = picture.axes[3].images[0]
    colors = np.asarray(image.get_array())[..., :3] / 255
    left = tile * 2 * 56
    return colors[[[2, 2], [101, 101]], [[left + 2, left + 101]] * 2]


def test_nonnegative_maps_go_from_dark_at_0_to_bright_at_the_largest():
    found = corners(feature_maps(maps(pointwise(1.0), X)), 0)
    expected = sequential()[[[0, 64], [128, 255]]]
    np.testing.assert_allclose(found, expected, atol=1 / 255)


def test_signed_maps_are_symmetric_about_0_whatever_their_range():
    found = corners(feature_maps(maps(pointwise(1.0, -0.5), X)), 1)
    expected = diverging("light")[[[128, 112], [96, 64]]]
    np.testing.assert_allclose(found, expected, atol=1 / 255)


def test_the_range_stands_at_each_layer_and_what_is_left_out():
    texts = [
        t.get_text()
        for t in feature_maps(maps(pointwise(*[0.5] * 20), X)).axes[0].texts
    ]
    assert "1" in texts
    assert "  Conv2d(1, 20, 1, bias=False)  20x2x2; 16 of 20 channels shown" in texts


def test_each_channel_can_have_its_own_scale():
    picture = feature_maps(maps(pointwise(1.0, 3.0), X), scale="channel")
    tiles = picture.axes[2]
    assert [t.get_text() for t in tiles.texts] == ["≤ 2", "≤ 6"]


@pytest.mark.parametrize(
    ("net", "size"),
    [
        (nn.Sequential(nn.Conv1d(2, 3, 5), nn.ReLU(), nn.Flatten()), (1, 2, 20)),
        (nn.Sequential(nn.Conv3d(1, 3, 3), nn.Tanh()), (1, 1, 5, 6, 7)),
        (
            nn.Sequential(nn.Conv2d(3, 4, (1, 9)), nn.AdaptiveAvgPool2d(1)),
            (1, 3, 4, 40),
        ),
    ],
)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_signals_volumes_and_strips_have_a_picture(net, size, theme):
    torch.manual_seed(0)
    picture = feature_maps(maps(net, torch.randn(size)), theme=theme)
    assert picture.png().startswith(b"\x89PNG")
    figure = picture.figure
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1


def test_an_unknown_scale_is_refused():
    with pytest.raises(UnknownNameError, match="unknown scale 'chanel'"):
        feature_maps(maps(pointwise(1.0), X), scale="chanel")
