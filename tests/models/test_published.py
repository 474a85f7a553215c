"""What the papers print of their networks, against ours."""

import itertools
import math

import pytest
import torch

from analysis import networks
from convscope.analysis import summary
from convscope.models import build, find
from convscope.models.nielsen import CONFIGURATIONS
from convscope.models.resnet import CIFAR_DEPTHS, PadChannels


def on_meta(name, **options):
    with torch.device("meta"):
        return build(name, num_classes=find(name).num_classes, **options)


def counts(name, **options):
    record = summary(on_meta(name, **options), find(name).input_shape)
    return record.parameters, record.multiply_adds


# As printed: parameters in millions, multiply-adds in thousands of millions. Each is
# held to half a unit of its last digit but where a paper rounds down.
PRINTED = {
    "alexnet_2012": ("60", None),  # section 3.5 of the paper: "60 million parameters"
    "vgg11": ("133", None),  # table 2
    "vgg13": ("133", None),
    "vgg16": ("138", None),
    "vgg19": ("144", None),
    "resnet18": (None, "1.8"),  # table 1
    "resnet34": (None, "3.6"),
    "resnet20": ("0.27", None),  # table 6
    "resnet32": ("0.46", None),
    "resnet44": ("0.66", None),
    "resnet56": ("0.85", None),
    "resnet110": ("1.7", None),
    "mobilenet_v2": ("3.5", "0.300"),  # torchvision's number; table 4
    "fcn": ("134", None),  # table 1
}


@pytest.mark.parametrize("name", PRINTED)
def test_counts_are_those_that_the_paper_prints(name):
    found = (find(name).parameters / 1e6, find(name).multiply_adds / 1e9)
    for number, text in zip(found, PRINTED[name], strict=True):
        if text is not None:
            unit = 10.0 ** -len(text.partition(".")[2])
            assert float(text) - unit / 2 <= number < float(text) + unit


@pytest.mark.parametrize(("depth", "printed"), [(50, 3.8), (101, 7.6), (152, 11.3)])
def test_bottlenecks_with_the_stride_on_the_1x1_cost_what_the_paper_says(
    depth, printed
):
    parameters, products = counts(f"resnet{depth}", stride_on_1x1=True)
    assert parameters == find(f"resnet{depth}").parameters
    assert printed - 0.05 <= products / 1e9 < printed + 0.1


@pytest.mark.parametrize(("early", "size"), [(True, 483), (False, 427)])
def test_both_variants_of_resnet50_see_what_was_published(early, size):
    record = summary(on_meta("resnet50", stride_on_1x1=early), (3, 224, 224))
    (field, _) = record.find("layer4").receptive_field
    assert (field.size, field.stride) == (size, 32)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda: build("resnet18", num_classes=1000), networks.resnet18),
        (
            lambda: build("resnet50", num_classes=1000),
            lambda: networks.resnet50(stride_on_1x1=False),
        ),
        (
            lambda: build("resnet50", num_classes=1000, stride_on_1x1=True),
            lambda: networks.resnet50(stride_on_1x1=True),
        ),
    ],
    ids=["resnet18", "resnet50", "resnet50 stride_on_1x1"],
)
def test_residual_networks_compute_what_plain_layers_compute(ours, theirs):
    ours, theirs = ours().eval(), theirs().eval()
    values = list(ours.state_dict().values())
    theirs.load_state_dict(dict(zip(theirs.state_dict(), values, strict=True)))
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("depth", CIFAR_DEPTHS)
def test_small_residual_networks_have_as_many_weighted_layers_as_their_name(depth):
    layers = [m for m in on_meta(f"resnet{depth}").modules() if hasattr(m, "weight")]
    assert sum(layer.weight.ndim > 1 for layer in layers) == depth


def test_a_shortcut_of_option_a_takes_every_second_and_adds_zeros():
    x = torch.arange(2.0 * 3 * 4).view(1, 2, 3, 4)
    out = PadChannels(2, 5, 2)(x)
    assert torch.equal(
        out[:, :2], torch.tensor([[[[0.0, 2], [8, 10]], [[12, 14], [20, 22]]]])
    )
    assert not out[:, 2:].any()
    assert out.shape == (1, 5, 2, 2)


def test_lenet5_has_the_published_connections():
    # Section II.B: connections of each layer, the bias of a unit counting as one.
    c1 = 6 * 28 * 28 * (25 + 1)
    s2 = 6 * 14 * 14 * (4 + 1)
    c3 = 10 * 10 * (60 * 25 + 16)
    s4 = 16 * 5 * 5 * (4 + 1)
    c5, f6, outputs = 120 * 401, 84 * 121, 10 * 84
    assert (c1, s2, c3, s4) == (122_304, 5_880, 151_600, 2_000)
    assert c1 + s2 + c3 + s4 + c5 + f6 + outputs == 340_908
    layers = list(on_meta("lenet5_1998"))
    parameters = [sum(p.numel() for p in layer.parameters()) for layer in layers]
    assert [n for n in parameters if n] == [156, 12, 1_516, 32, 48_120, 10_164]


def test_nielsen_networks_have_the_parameters_of_their_layers():
    for name, chosen in CONFIGURATIONS.items():
        channels, size, expected = 1, 28, 0
        for width in chosen.maps:
            expected += width * (channels * 25 + 1)
            channels, size = width, (size - 4) // 2
        units = channels * size**2
        for width in (*chosen.hidden, 10):
            expected += width * (units + 1)
            units = width
        net = on_meta("nielsen", configuration=name)
        assert sum(p.numel() for p in net.parameters()) == expected, name


def test_fcn_costs_what_its_table_says():
    widths = [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    sizes = [500] * 2 + [250] * 2 + [125] * 3 + [63] * 3 + [32] * 3
    pairs = itertools.pairwise([3, *widths])
    expected = sum(9 * a * b * n * n for (a, b), n in zip(pairs, sizes, strict=True))
    expected += 16**2 * (49 * 512 * 4096 + 4096**2 + 4096 * 21)
    expected += 32**2 * 512 * 21 + 63**2 * 256 * 21  # scores of the finer maps
    expected += (16**2 + 32**2) * 16 * 21**2  # enlarged to twice
    assert find("fcn").multiply_adds == expected


@pytest.mark.parametrize("stride", [16, 32])
def test_coarser_fcns_lack_the_finer_scores(stride):
    fewer = 256 * 21 + 21 + 16 * 21**2
    fewer += (512 * 21 + 21 + 16 * 21**2) * (stride == 32)
    assert counts("fcn", stride=stride)[0] == find("fcn").parameters - fewer


def test_unet_costs_what_its_figure_says():
    expected, channels = 0, 1
    for level in range(5):
        width, size = 64 * 2**level, 512 // 2**level
        expected += 9 * size**2 * width * (channels + width)
        channels = width
    for level in range(3, -1, -1):
        width, size = 64 * 2**level, 512 // 2**level
        expected += (size // 2) ** 2 * 4 * 2 * width * width  # enlarged to twice
        expected += 9 * size**2 * width * (2 * width + width)
    expected += 512**2 * 64 * 2
    assert find("unet").multiply_adds == expected


def test_unet_has_23_convolutions():
    net = on_meta("unet")
    assert sum(p.ndim == 4 for p in net.parameters()) == 23


def test_the_second_stage_of_jarrett_sees_16_maps_of_the_first():
    net = build("jarrett")
    first, second = net[0].filters, net[1].filters
    assert first.connections is None
    assert second.connections.shape == (256, 64)
    assert second.connections.sum(dim=1).tolist() == [16] * 256
    # 4096 kernels, and 26 x 26, then 4 x 4 places, as in section 4 of the paper
    assert len(second.weight) == 4096
    record = summary(on_meta("jarrett"), (1, 143, 143))
    shapes = [row.output_shapes[0] for row in record.rows]
    assert (64, 26, 26) in shapes
    assert (256, 4, 4) in shapes


def test_alexnet_of_2012_has_two_groups_that_do_not_see_each_other():
    net = build("alexnet_2012", hidden=8)
    x = torch.randn(1, 96, 27, 27, requires_grad=True)
    net[4](x)[:, :128].sum().backward()  # the second convolution
    assert x.grad[:, :48].abs().sum() > 0
    assert x.grad[:, 48:].abs().sum() == 0


def test_alexnet_of_2012_has_the_published_neurons():
    record = summary(on_meta("alexnet_2012"), (3, 227, 227))
    kinds = ("Conv2d", "Linear")
    rows = [row for row in record.rows if row.kind.startswith(kinds)]
    neurons = [math.prod(row.output_shapes[0]) for row in rows]
    # The caption of figure 2; its 253,440 for the first layer is not 55 x 55 x 96.
    assert neurons[1:] == [186_624, 64_896, 64_896, 43_264, 4_096, 4_096, 1_000]
