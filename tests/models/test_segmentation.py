"""Networks that give classes for each pixel keep pixels in their places."""

import pytest
import torch

from convscope.analysis import summary
from convscope.models import build

SMALL = {"unet": {"width": 2}, "fcn": {"width": 2, "hidden": 4}}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (50, 64), (35, 100)])
def test_the_output_is_as_large_as_the_input(name, size):
    net = build(name, num_classes=3, in_channels=1, input_size=size, **SMALL[name])
    with torch.no_grad():
        assert net.eval()(torch.zeros(1, 1, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_moving_the_image_by_its_stride_moves_the_classes(name, stride):
    if name == "unet" and stride != 16:
        return
    torch.manual_seed(0)
    options = SMALL[name] | ({"stride": stride} if name == "fcn" else {})
    net = build(name, in_channels=1, input_size=(32, 32), **options).eval().double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        x = torch.randn(1, 1, 768, 32, dtype=torch.float64)
        by = 32
        one, other = net(x)[:, :, by:], net(x.roll(-by, dims=2))[:, :, :-by]
    middle = slice(352, 384)  # farther from the ends than the net sees
    torch.testing.assert_close(one[:, :, middle], other[:, :, middle])


def test_unet_joins_the_levels_it_made_on_the_way_down():
    net = build("unet", in_channels=1, input_size=(32, 32), width=2).eval()
    with torch.no_grad():  # the way through the lowest level is shut
        for parameter in net.down[-1].parameters():
            parameter.zero_()
    x = torch.randn(1, 1, 32, 32, requires_grad=True)
    net(x).sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("name", SMALL)
def test_receptive_fields_are_known_and_centered(name):
    size = (64, 64)
    with torch.device("meta"):
        net = build(name, in_channels=1, input_size=size, **SMALL[name])
    record = summary(net, (1, *size))
    assert record.rows[0].output_shapes == ((10, *size),)
    assert not record.unreached
    assert not record.uncalled
