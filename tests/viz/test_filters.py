import numpy as np
import pytest
import torch
from torch import nn

from convscope.analysis import filters as weights
from convscope.analysis import templates
from convscope.errors import ArgumentError, UnknownNameError
from convscope.viz import filters
from convscope.viz.palette import diverging

pytest.importorskip("matplotlib")


def only(weight):
    """A network of one convolution with these filters."""
    kinds = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
    out, channels, *kernel = weight.shape
    net = kinds[weight.ndim](channels, out, kernel, bias=False)
    with torch.no_grad():
        net.weight.copy_(weight)
    return net


def canvas(picture):
    """The colors of the tiles, and where they are in hundredths of an inch."""
    image = picture.axes[0].images[0]
    return np.asarray(image.get_array()), image.get_extent()


def color_at(picture, x, y):
    colors, (left, right, bottom, top) = canvas(picture)
    row = int((y - top) / (bottom - top) * colors.shape[0])
    column = int((x - left) / (right - left) * colors.shape[1])
    return colors[row, column] / 255


def test_zero_is_neutral_and_the_largest_of_either_sign_the_end_of_its_side():
    picture = filters(weights(only(torch.tensor([[[[-2.0, 0.0, 2.0]]]]))))
    colors = diverging("light")
    for x, place in ((5, 0), (26, 128), (47, 255)):  # a tile is 52 wide
        np.testing.assert_allclose(
            color_at(picture, x, 8)[:3], colors[place], atol=1 / 255
        )
    bar = picture.axes[1]
    assert [t.get_text() for t in bar.get_xticklabels()] == ["−2", "0", "+2"]


def test_a_color_filter_is_that_much_of_red_green_and_blue():
    weight = torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)
    picture = filters(weights(only(weight)))
    np.testing.assert_allclose(
        color_at(picture, 5, 5)[:3], [1.0, 0.5, 0.0], atol=1 / 255
    )


def test_the_scale_of_each_filter_is_written_if_it_is_its_own():
    weight = torch.tensor([0.5, 2.0]).view(2, 1, 1, 1)
    picture = filters(weights(only(weight)), scale="own")
    texts = [text.get_text() for text in picture.axes[0].texts]
    assert texts == ["0  ±0.5", "1  ±2"]
    for x in (5, 25):  # both at the end of their own scale
        color = color_at(picture, x, 5)[:3]
        np.testing.assert_allclose(color, diverging("light")[255], atol=1 / 255)


def test_two_networks_share_one_scale():
    small, large = (only(torch.full((1, 1, 2, 2), v)) for v in (1.0, 4.0))
    pair = [weights(small, name="before"), weights(large, name="after")]
    picture = filters(pair)
    assert picture.data == tuple(pair)
    labels = [t.get_text() for t in picture.axes[-1].get_xticklabels()]
    assert labels == ["−4", "0", "+4"]
    assert [t.get_text() for t in picture.figure.texts[1:]] == ["before", "after"]


def test_signals_are_curves_through_their_weights():
    weight = torch.tensor([[[0.0, 1.0, -1.0, 0.5]]])
    picture = filters(weights(only(weight)))
    (curve,) = picture.axes[0].lines
    height, middle = curve.get_ydata(), curve.get_ydata()[0]
    np.testing.assert_allclose(
        (middle - height) / (middle - height).max(), weight[0, 0].numpy(), atol=1e-6
    )


def test_there_is_a_tile_for_each_slice_of_each_channel():
    picture = filters(weights(only(torch.ones(3, 2, 4, 2, 2))))
    colors, _ = canvas(picture)
    filled = colors[:, :, 3] > 0
    starts = np.diff(np.concatenate([[0], filled.any(axis=0)]).astype(int)) == 1
    rows = np.diff(np.concatenate([[0], filled.any(axis=1)]).astype(int)) == 1
    assert (rows.sum(), starts.sum()) == (3, 2 * 4)


def test_pairs_that_are_not_connected_have_no_tile():
    from convscope.layers import Conv2d

    table = torch.tensor([[1, 0, 1, 1], [0, 1, 0, 0]]).bool()
    colors, _ = canvas(filters(weights(Conv2d(4, 2, 3, connections=table))))
    filled = colors[:, :, 3] > 0
    share = filled.mean() / (filled.any(axis=0).mean() * filled.any(axis=1).mean())
    assert share == pytest.approx(4 / 8)


def test_what_is_left_out_and_what_is_broken_stands_in_the_title():
    net = nn.Conv2d(1, 80, 3)
    with torch.no_grad():
        net.weight[0] = torch.inf
    title = filters(weights(net, order="norm")).get_suptitle().replace("\n", " ")
    assert "80 filters of Conv2d(1, 80, 3), largest norm first" in title
    assert "64 of 80 filters shown" in title
    assert "9 weights are NaN or infinite" in title


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("scale", ["own", "shared"])
def test_no_text_is_cut_or_lies_on_another(theme, scale):
    nets = [nn.Conv2d(1, 20, 5), nn.Conv2d(12, 40, 3), nn.Conv3d(2, 9, 3),
            nn.Conv1d(5, 12, 7), nn.Conv2d(3, 1, 3)]  # fmt: skip
    for net in nets:
        figure = filters(weights(net), scale=scale, theme=theme).figure
        figure.canvas.draw()
        inside = figure.bbox
        texts = [t for axes in figure.axes for t in axes.texts] + figure.texts
        boxes = [t.get_window_extent() for t in texts if t.get_text()]
        for number, box in enumerate(boxes):
            assert inside.x0 <= box.x0, net
            assert box.x1 <= inside.x1, net
            overlaps = [
                o for o in boxes[number + 1 :] if box.shrunk(0.7, 0.7).overlaps(o)
            ]
            assert not overlaps, net


def test_what_does_not_fit_together_is_refused():
    one, other = (weights(nn.Conv2d(1, 2, k)) for k in (3, 5))
    with pytest.raises(
        ArgumentError, match=r"shapes \(1, 3, 3\) and \(1, 5, 5\) do not"
    ):
        filters([one, other])
    with pytest.raises(ArgumentError, match=r"^filters: found is empty"):
        filters([])
    with pytest.raises(UnknownNameError, match=r"unknown scale 'shard'\. Did you mean"):
        filters(one, scale="shard")


def test_templates_are_drawn_as_large_as_the_input():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    picture = filters(templates(net, (1, 8, 8)))
    title = picture.get_suptitle().replace("\n", " ")
    assert title == "Sequential, 1: 3 templates of Linear(64, 3)"
