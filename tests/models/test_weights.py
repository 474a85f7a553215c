"""Weight files: of torchvision's networks, of ours, cut short, and malicious."""

import os
import pickle
import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from convscope.errors import ArgumentError, DataError, ShapeError
from convscope.models import build, load_weights

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


def small(**options):
    return build("resnet18", **{"width": 2, "num_classes": 4} | options)


def same(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def save_parallel(net, path):
    torch.save({f"module.{name}": t for name, t in net.state_dict().items()}, path)


def save_old(net, path):
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=False)


WRITERS = {
    "a.safetensors": lambda net, path: save_file(net.state_dict(), path),
    "a.pth": lambda net, path: torch.save(net.state_dict(), path),
    "old.pth": save_old,
    "wrapped.pth": lambda net, path: torch.save(
        {"epoch": 3, "state_dict": net.state_dict()}, path
    ),
    "parallel.pth": save_parallel,
    "wrong-ending.bin": lambda net, path: save_file(net.state_dict(), path),
}


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
        "and (2, 3, 7, 7) in the network, and 99 more differ. Build the network that "
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


class Malicious:
    """A pickle that would make a folder when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def pickle_alone(content, path):
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("write", [torch.save, pickle_alone])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, write):
    trap, path = tmp_path / "trap", tmp_path / "a.pth"
    write({"fc.weight": Malicious(str(trap))}, path)
    with pytest.raises(DataError) as caught:
        load_weights(small(), path)
    assert re.fullmatch(
        rf"load_weights: path={re.escape(str(path))} holds more than tensors: reading "
        r"it would run [\w.]+\. None of it was run\. Ask its author for a "
        r"\.safetensors file, or for torch\.save\(net\.state_dict\(\), path\)\.",
        str(caught.value),
    )
    assert not trap.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_form_of_pickle_runs_code(tmp_path, protocol):
    trap, path = tmp_path / "trap", tmp_path / "a.pth"
    path.write_bytes(pickle.dumps(Malicious(str(trap)), protocol=protocol))
    with pytest.raises(DataError):
        load_weights(small(), path)
    assert not trap.exists()


def test_the_trap_would_have_sprung(tmp_path):
    pickle.loads(pickle.dumps(Malicious(str(tmp_path / "trap"))))
    assert (tmp_path / "trap").exists()


def test_a_whole_module_is_refused_with_its_class(tmp_path):
    torch.save(nn.Linear(1, 1), tmp_path / "a.pth")
    with pytest.raises(DataError, match=r"would run torch\.nn\.modules\.linear\.Lin"):
        load_weights(small(), tmp_path / "a.pth")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 no", b"\x80\x02."])
def test_a_file_that_is_no_weights_is_refused(tmp_path, content):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    text = (
        f"load_weights: path={path} is not a weights file, or is cut short. Give a "
        ".safetensors file, or a .pth that torch.save wrote of a state dict."
    )
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        load_weights(small(), path)


@pytest.mark.parametrize("file", ["a.safetensors", "a.pth", "old.pth"])
def test_a_file_that_is_cut_short_is_refused(tmp_path, file):
    WRITERS[file](small(), tmp_path / file)
    whole = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(whole[:-50])
    with pytest.raises(DataError, match=r"is not a (whole )?weights file"):
        load_weights(small(), tmp_path / file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (torch.zeros(3), "holds a Tensor, not tensors by name."),
        ({}, "holds a dict, not tensors by name."),
        ({"epoch": 3}, "holds 'epoch', a int, among its tensors."),
    ],
)
def test_tensors_without_names_are_refused(tmp_path, content, said):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(DataError, match=re.escape(said)):
        load_weights(small(), tmp_path / "a.pth")


def test_a_network_without_memory_is_refused(tmp_path):
    torch.save(small().state_dict(), tmp_path / "a.pth")
    with torch.device("meta"):
        net = small()
    with pytest.raises(ArgumentError, match="meta device"):
        load_weights(net, tmp_path / "a.pth")
