import pytest
import torch
from torch import nn

from convscope.analysis import equivariance
from convscope.errors import ArgumentError, ShapeError
from convscope.layers import GlobalMaxPool2d


def circular(*sizes, stride=1):
    return nn.Conv2d(*sizes, 3, stride, padding=1, padding_mode="circular")


class Ramp(nn.Module):
    def forward(self, x):
        return x + 0.1 * torch.arange(x.shape[-1])


def images(size=16):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 1, size, size, generator=generator)


def test_circular_convolution_moves_with_the_image_and_global_pooling_ignores_it():
    net = nn.Sequential(
        circular(1, 4), nn.ReLU(), circular(4, 6), GlobalMaxPool2d(), nn.Flatten()
    )
    found = equivariance(net, images(), shifts=(1, 5))
    assert [row.path for row in found.layers][:3] == ["0", "1", "2"]
    for row in found.layers[:3]:
        assert row.stride == 1
        assert max(row.differences) < 1e-6  # float32 sums of 54 terms
    assert max(found.output_changes) < 1e-6
    assert found.same_class == (1.0, 1.0)


def test_a_stride_is_equivariant_to_its_multiples_alone():
    net = nn.Sequential(circular(1, 4, stride=2))
    (row,) = equivariance(net, images(), shifts=(1, 2, 3, 4)).layers
    assert row.stride == 2
    assert row.differences[0] is row.differences[2] is None
    assert max(row.differences[1], row.differences[3]) < 1e-6


def test_weights_of_each_place_are_found_out():
    (row,) = equivariance(nn.Sequential(Ramp()), images(), shifts=(1,)).layers
    assert row.differences[0] > 0.05  # each column is brighter by 0.1 than the last
    flat = nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
    assert equivariance(flat, images(), shifts=(1,)).output_changes[0] > 0.5


def test_zero_padding_shows_at_the_border_only():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1))
    padded = equivariance(net, images(), shifts=(1,)).layers[0].differences[0]
    # at most the two outermost of 15 columns compared differ
    assert 0 < padded < (2 / 15) ** 0.5 * 1.5


def test_the_network_is_left_as_it_was():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    before = net[1].running_mean.clone()
    equivariance(net, images(), shifts=(1,), axis=0)
    assert net.training
    assert torch.equal(net[1].running_mean, before)


def test_the_text_aligns_and_names_what_moved():
    text = str(equivariance(nn.Sequential(circular(1, 2)), images(), shifts=(1, 2)))
    first, *rows = text.splitlines()
    assert first == "Sequential: images moved along width by (1, 2)"
    assert len({len(row) for row in rows}) == 1


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        (
            {"shifts": (16,)},
            ArgumentError,
            "equivariance: shift=16 must be between 1 and 15, the size less 1.",
        ),
        (
            {"axis": 2},
            ShapeError,
            "equivariance: axis=2 is not one of the 2 spatial axes of images with "
            "shape (4, 1, 16, 16). Give images (N, C, ...).",
        ),
    ],
)
def test_what_cannot_be_moved_is_refused(given, kind, text):
    with pytest.raises(kind) as caught:
        equivariance(nn.Sequential(circular(1, 2)), images(), **given)
    assert str(caught.value) == text
