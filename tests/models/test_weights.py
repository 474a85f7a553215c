"""Weights of torchvision's networks and of ours, loaded into networks."""

import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from convscope.errors import ArgumentError, DataError, ShapeError, UnknownNameError
from convscope.models import build, load_weights
from models.weight_writers import WRITERS, same, small

# Entries of the state dicts of torchvision's networks, and some of the shapes.
ENTRIES = {
    "alexnet_2014": 16,
    "vgg11": 22,
    "vgg13": 26,
    "vgg16": 32,
    "vgg19": 38,
    "vgg11_bn": 62,
    "vgg16_bn": 97,
    "vgg19_bn": 118,
    "resnet18": 122,
    "resnet34": 218,
    "resnet50": 320,
    "resnet101": 626,
    "resnet152": 932,
    "mobilenet_v2": 314,
}
SHAPES = {
    "alexnet_2014": {
        "features.0.weight": (64, 3, 11, 11),
        "features.3.weight": (192, 64, 5, 5),
        "features.6.weight": (384, 192, 3, 3),
        "features.8.weight": (256, 384, 3, 3),
        "features.10.bias": (256,),
        "classifier.1.weight": (4096, 9216),
        "classifier.4.weight": (4096, 4096),
        "classifier.6.weight": (1000, 4096),
    },
    "vgg16": {
        "features.0.weight": (64, 3, 3, 3),
        "features.28.weight": (512, 512, 3, 3),
        "classifier.0.weight": (4096, 25088),
        "classifier.3.bias": (4096,),
        "classifier.6.weight": (1000, 4096),
    },
    "vgg16_bn": {
        "features.1.running_var": (64,),
        "features.40.weight": (512, 512, 3, 3),
        "features.41.num_batches_tracked": (),
    },
    "resnet18": {
        "bn1.running_mean": (64,),
        "layer2.0.downsample.0.weight": (128, 64, 1, 1),
        "layer4.1.bn2.bias": (512,),
        "fc.weight": (1000, 512),
    },
    "resnet50": {
        "conv1.weight": (64, 3, 7, 7),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer1.0.downsample.1.weight": (256,),
        "layer3.5.conv2.weight": (256, 256, 3, 3),
        "layer4.2.conv3.weight": (2048, 512, 1, 1),
        "fc.bias": (1000,),
    },
    "mobilenet_v2": {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.1.conv.0.0.weight": (32, 1, 3, 3),
        "features.1.conv.1.weight": (16, 32, 1, 1),
        "features.2.conv.0.0.weight": (96, 16, 1, 1),
        "features.2.conv.1.0.weight": (96, 1, 3, 3),
        "features.2.conv.2.weight": (24, 96, 1, 1),
        "features.17.conv.3.running_mean": (320,),
        "features.18.0.weight": (1280, 320, 1, 1),
        "classifier.1.weight": (1000, 1280),
    },
}


@pytest.mark.parametrize("name", ENTRIES)
def test_tensors_are_named_as_torchvision_names_them(name):
    with torch.device("meta"):
        state = build(name, num_classes=1000).state_dict()
    assert len(state) == ENTRIES[name]
    for key, shape in SHAPES.get(name, {}).items():
        assert tuple(state[key].shape) == shape, key


@pytest.mark.parametrize("file", WRITERS)
def test_every_kind_of_file_loads(tmp_path, file):
    theirs, ours = small(), small()
    WRITERS[file](theirs, tmp_path / file)
    assert not same(ours, theirs)
    assert load_weights(ours, tmp_path / file).left == ()
    assert same(ours, theirs)


def test_files_from_before_batches_were_counted_load(tmp_path):
    theirs, ours = small(), small()
    state = {k: v for k, v in theirs.state_dict().items() if "num_batches" not in k}
    save_file(state, tmp_path / "a.safetensors")
    left = load_weights(ours, tmp_path / "a.safetensors").left
    assert same(ours, theirs)
    assert len(left) == 20
    assert all(name.endswith("num_batches_tracked") for name in left)


def test_another_number_of_classes_says_how_to_load_the_rest(tmp_path):
    theirs, ours = small(num_classes=7), small()
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    text = (
        "load_weights: a.pth is for 7 classes, the network for 4. Give head=False to "
        "load all but the last layer, fc; or build the network with num_classes=7."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        load_weights(ours, tmp_path / "a.pth", head=True)


def test_all_but_the_head_is_loaded_if_asked(tmp_path):
    theirs, ours = small(num_classes=7), small()
    own = ours.fc.weight.clone()
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    left = load_weights(ours, tmp_path / "a.pth", head=False).left
    assert left == ("fc.weight", "fc.bias")
    assert torch.equal(ours.fc.weight, own)
    assert torch.equal(ours.conv1.weight, theirs.conv1.weight)


def test_names_that_differ_are_named_with_the_nearest(tmp_path):
    net = small()
    state = net.state_dict()
    state["layer1.0.conv1.wight"] = state.pop("layer1.0.conv1.weight")
    torch.save(state, tmp_path / "a.pth")
    text = (
        "load_weights: a.pth does not fit: the file lacks layer1.0.conv1.weight "
        "(nearest: layer1.0.conv1.wight); the network has no layer1.0.conv1.wight "
        "(nearest: layer1.0.conv1.weight). Build the network that the file was made "
        "for."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        load_weights(net, tmp_path / "a.pth")


def test_many_missing_names_are_counted_and_nothing_is_loaded(tmp_path):
    theirs, ours = small(), small()
    kept = {k: v for k, v in theirs.state_dict().items() if not k.startswith("layer4")}
    torch.save(kept, tmp_path / "a.pth")
    before = ours.conv1.weight.clone()
    with pytest.raises(
        ArgumentError, match=r"lacks layer4\.0\.conv1\.weight, .* and 22 more\."
    ):
        load_weights(ours, tmp_path / "a.pth")
    assert torch.equal(ours.conv1.weight, before)


def test_other_channels_are_told_with_both_shapes(tmp_path):
    torch.save(small(width=3).state_dict(), tmp_path / "a.pth")
    text = (
        "load_weights: a.pth does not fit: conv1.weight is (3, 3, 7, 7) in the file "
        "and (2, 3, 7, 7) in the network, and 100 more differ. Build the network that "
        "the file was made for, with its channels and options."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        load_weights(small(), tmp_path / "a.pth")


def test_another_connection_table_is_refused(tmp_path):
    net = build("lenet5_1998")
    state = net.state_dict()
    state["4.connections"] = ~state["4.connections"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ShapeError, match="are another table"):
        load_weights(net, tmp_path / "a.pth")


def test_a_network_without_memory_is_refused(tmp_path):
    torch.save(small().state_dict(), tmp_path / "a.pth")
    with torch.device("meta"):
        net = small()
    with pytest.raises(ArgumentError, match="meta device"):
        load_weights(net, tmp_path / "a.pth")


def unchanged(net, call, error, said):
    """The call is refused in these words, and the network is what it was."""
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == said
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize(
    ("made", "options", "named"),
    [
        ("resnet34", {"width": 2}, "resnet34"),
        ("vgg11", {"width": 2, "hidden": 4}, "vgg11"),
        ("vgg11_bn", {"width": 2, "hidden": 4}, "vgg11_bn"),
        ("mobilenet_v2", {"multiplier": 0.1}, "mobilenet_v2"),
        ("efficientnet_lite1", {}, "efficientnet_lite1"),
        ("resnet20", {"width": 2}, "resnet20"),
        ("lenet5", {}, "lenet5"),
    ],
)
def test_a_file_of_another_network_names_ours_that_it_fits(
    tmp_path, made, options, named
):
    state = build(made, num_classes=4, **options).state_dict()
    torch.save({"state_dict": {f"module.{k}": t for k, t in state.items()}},
               tmp_path / "a.pth")  # fmt: skip
    with pytest.raises(ArgumentError) as caught:
        load_weights(small(), tmp_path / "a.pth")
    text = str(caught.value)
    assert text.startswith("load_weights: a.pth does not fit: the ")
    assert text.endswith(f"It fits the names of {named}: build that, with its options.")


def test_half_of_the_tensors_is_said_to_be_half(tmp_path):
    net = small()
    state = net.state_dict()
    half = dict(list(state.items())[:61])
    torch.save(half, tmp_path / "a.pth")
    text = (
        "load_weights: a.pth does not fit: the file lacks layer3.0.bn1.weight, "
        "layer3.0.bn1.bias, layer3.0.bn1.running_mean and 46 more. It holds 61 of "
        "the network's 110 tensors: get a file that is whole."
    )
    path = tmp_path / "a.pth"
    unchanged(net, lambda: load_weights(net, path), ArgumentError, text)


def test_weights_of_a_part_name_the_part(tmp_path):
    torch.save(small().state_dict(), tmp_path / "a.pth")
    whole = nn.ModuleDict({"backbone": small(), "scores": nn.Linear(4, 2)})
    with pytest.raises(ArgumentError, match=r"load it into net\.backbone\.$"):
        load_weights(whole, tmp_path / "a.pth")


def test_a_refusal_leaves_the_last_layer_that_num_classes_would_replace(tmp_path):
    net = small()
    state = small(num_classes=7, width=3).state_dict()
    torch.save(state, tmp_path / "a.pth")
    text = (
        "load_weights: a.pth does not fit: conv1.weight is (3, 3, 7, 7) in the file "
        "and (2, 3, 7, 7) in the network, and 101 more differ. Build the network that "
        "the file was made for, with its channels and options."
    )
    path = tmp_path / "a.pth"
    unchanged(net, lambda: load_weights(net, path, num_classes=9), ShapeError, text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    net, state = small(), small().state_dict()
    state["layer4.1.conv2.weight"][0, 0, 1, 1] = value
    torch.save(state, tmp_path / "a.pth")
    text = (
        "load_weights: a.pth: layer4.1.conv2.weight holds numbers that are NaN or "
        "infinite. The training that wrote it failed; take an earlier file."
    )
    path = tmp_path / "a.pth"
    unchanged(net, lambda: load_weights(net, path), DataError, text)


def test_variances_below_zero_are_refused(tmp_path):
    net, state = small(), small().state_dict()
    state["bn1.running_var"][0] = -1
    torch.save(state, tmp_path / "a.pth")
    text = (
        "load_weights: a.pth: bn1.running_var holds variances below 0. The file is "
        "damaged; get it again."
    )
    path = tmp_path / "a.pth"
    unchanged(net, lambda: load_weights(net, path), DataError, text)


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64])
def test_numbers_that_stand_for_others_are_refused(tmp_path, dtype):
    net, state = small(), small().state_dict()
    state["conv1.weight"] = state["conv1.weight"].to(dtype)
    torch.save(state, tmp_path / "a.pth")
    kind = str(dtype).removeprefix("torch.")
    text = (
        f"load_weights: a.pth: conv1.weight holds {kind} numbers, which stand for "
        "others that the file does not tell. Get the file before it was quantized."
    )
    path = tmp_path / "a.pth"
    unchanged(net, lambda: load_weights(net, path), DataError, text)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32_and_it_is_said(tmp_path, dtype):
    theirs, ours = small().to(dtype), small()
    save_file(theirs.state_dict(), tmp_path / "a.safetensors")
    loaded = load_weights(ours, tmp_path / "a.safetensors")
    assert f"{str(dtype)[6:]} in the file, float32 here" in loaded.notes
    assert ours.conv1.weight.dtype == torch.float32
    assert torch.equal(ours.conv1.weight, theirs.conv1.weight.float())


def test_as_many_classes_by_chance_are_said(tmp_path):
    torch.save(small().state_dict(), tmp_path / "a.pth")
    loaded = load_weights(small(), tmp_path / "a.pth")
    assert loaded.classes == 4
    assert str(loaded).endswith(
        "  the last layer too, for 4 classes: they must be the same, in the same order "
        "(head=False begins it anew)"
    )
    loaded = load_weights(small(), tmp_path / "a.pth", head=False)
    assert loaded.classes is None
    assert str(loaded).endswith("  new: fc.weight, fc.bias\n  not used: fc.weight, "
                                "fc.bias")  # fmt: skip


@pytest.mark.parametrize("extra", [{}, {"projector.0.weight": torch.ones(9, 16)}])
def test_a_file_without_a_last_layer_leaves_it_new(tmp_path, extra):
    theirs, ours = small(), small()
    own = ours.fc.weight.clone()
    state = {k: t for k, t in theirs.state_dict().items() if k[:3] != "fc."} | extra
    torch.save(state, tmp_path / "a.pth")
    loaded = load_weights(ours, tmp_path / "a.pth")
    assert loaded.left == ("fc.weight", "fc.bias")
    assert loaded.unused == tuple(extra)
    assert torch.equal(ours.fc.weight, own)
    assert torch.equal(ours.layer4[1].conv2.weight, theirs.layer4[1].conv2.weight)


def test_a_deeper_network_without_its_last_layer_is_not_taken(tmp_path):
    deeper = build("resnet34", width=2, num_classes=4).state_dict()
    torch.save({k: t for k, t in deeper.items() if k[:3] != "fc."}, tmp_path / "a.pth")
    with pytest.raises(ArgumentError, match=r"the network has no layer1\.2"):
        load_weights(small(), tmp_path / "a.pth")


def test_a_network_of_one_layer_is_not_left_as_it_was_without_a_word(tmp_path):
    torch.save(nn.Linear(4, 3).state_dict(), tmp_path / "a.pth")
    with pytest.raises(ShapeError, match="is for 3 classes, the network for 2"):
        load_weights(nn.Linear(4, 2), tmp_path / "a.pth")


def test_a_file_says_for_how_many_classes_to_build(tmp_path):
    theirs = small(num_classes=7).eval()
    torch.save({"model": theirs.state_dict()}, tmp_path / "a.pth")
    ours = build("resnet18", width=2, weights=tmp_path / "a.pth").eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))
    other = build("resnet18", width=2, num_classes=3, weights=tmp_path / "a.pth")
    assert other.fc.weight.shape == (3, 16)


@pytest.mark.parametrize("name", ["weights", "a.jpg", "a.safetensors", "a.weird"])
def test_the_contents_of_a_file_decide_not_its_ending(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    theirs = small()
    torch.save(theirs.state_dict(), name)
    assert same(build("resnet18", width=2, weights=name), theirs)


def test_a_name_that_is_no_file_is_taken_for_published_weights():
    with pytest.raises(UnknownNameError, match="published weights"):
        build("resnet18", weights="imagenet")


def test_the_same_tensors_of_another_origin_compute_something_else(tmp_path):
    """timm's EfficientNet-Lite pads evenly; nothing in a file tells."""
    theirs = build("efficientnet_lite0", num_classes=3, origin="timm").eval()
    save_file(theirs.state_dict(), tmp_path / "a.safetensors")
    ours = build("efficientnet_lite0", num_classes=3).eval()
    loaded = load_weights(ours, tmp_path / "a.safetensors")
    assert loaded.notes[-1] == (
        "taken for weights of origin='tensorflow'; those of origin='timm' have the "
        "same names and shapes"
    )
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(ours(x), theirs(x), rtol=0.1, atol=0)
    again = build("efficientnet_lite0", origin="timm", weights=loaded.path).eval()
    with torch.no_grad():
        assert torch.equal(again(x), theirs(x))
    with pytest.raises(UnknownNameError, match="Did you mean 'tensorflow'"):
        build("efficientnet_lite0", origin="tensorflw")
