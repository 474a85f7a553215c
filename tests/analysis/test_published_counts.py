import pytest
import torch
from torch import nn

from analysis import networks
from convscope.analysis import summary
from convscope.layers import Conv2d


def on_meta(build, *args, **kwargs):
    with torch.device("meta"):
        return build(*args, **kwargs)


@pytest.mark.parametrize(
    ("net", "size", "parameters", "multiply_adds"),
    [
        (lambda: networks.lenet5(), (1, 32, 32), 61_706, 416_520),
        (lambda: networks.alexnet_2014(), (3, 224, 224), 61_100_840, 714_188_480),
        (lambda: networks.vgg(13), (3, 224, 224), 133_047_848, 11_308_466_176),
        (lambda: networks.vgg(16), (3, 224, 224), 138_357_544, 15_470_264_320),
        (lambda: networks.vgg(19), (3, 224, 224), 143_667_240, 19_632_062_464),
        (
            lambda: networks.resnet50(stride_on_1x1=False),
            (3, 224, 224),
            25_557_032,
            4_089_184_256,
        ),
        (lambda: networks.resnet18(), (3, 224, 224), 11_689_512, 1_814_073_344),
        (lambda: networks.mobilenet_v1(), (3, 224, 224), 4_231_976, 568_740_352),
    ],
)
def test_counts_are_the_published_ones(net, size, parameters, multiply_adds):
    record = summary(on_meta(net), size)
    assert (record.parameters, record.multiply_adds) == (parameters, multiply_adds)


def test_the_receptive_field_of_vgg16_is_212_with_stride_32():
    (field, _) = (
        summary(on_meta(networks.vgg, 16), (3, 224, 224)).find("0").receptive_field
    )
    assert (field.size, field.stride, field.offset) == (212, 32, -90)


@pytest.mark.parametrize(("stride_on_1x1", "size"), [(True, 483), (False, 427)])
def test_both_variants_of_resnet50_see_what_was_published(stride_on_1x1, size):
    net = on_meta(networks.resnet50, stride_on_1x1=stride_on_1x1)
    record = summary(net, (3, 224, 224))
    (field, _) = record.find("4").receptive_field
    assert (field.size, field.stride) == (size, 32)
    assert not field.misaligned


def test_a_connection_table_costs_the_products_of_its_pairs():
    table = [[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 1, 0]]
    record = summary(Conv2d(3, 4, 3, connections=table), (3, 8, 9))
    assert record.multiply_adds == 7 * 3 * 3 * 6 * 7  # pairs, taps, places


def test_zeros_that_are_written_over_cost_what_they_hold():
    class Written(nn.Module):
        def forward(self, x):
            weight = torch.zeros(4, x.shape[1])
            weight[:2] = 1.0
            return x @ weight.T

    assert summary(Written(), (3,)).multiply_adds == 12
