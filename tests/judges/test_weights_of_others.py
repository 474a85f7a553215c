"""torchvision's and timm's networks as judges: from their weight files, their logits.

Their networks get random weights and statistics, a file keeps these under their names,
``load_weights`` puts them into ours, and both answer the same input. ``make judges``
installs the two libraries; elsewhere this is skipped.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from convscope import models
from convscope.models.weight_misfits import best_model
from convscope.models.weight_names import renamed
from judges.other_libraries import library

try:
    library("timm")
except ImportError as error:
    pytest.skip(str(error), allow_module_level=True)


class Pair(NamedTuple):
    """A network of ours and the one of another library that it is to be."""

    of: str
    theirs: str
    ours: str
    options: Mapping[str, Any] = MappingProxyType({})  # of ours

    def __str__(self) -> str:
        return f"{self.of}.{self.theirs}"


VGG = [f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")]
RESNET = [f"resnet{depth}" for depth in (18, 34, 50, 101, 152)]
WIDTHS = {"035": 0.35, "050": 0.5, "075": 0.75, "100": 1.0, "140": 1.4}
LITE = range(5)
TORCHVISION = [
    Pair("torchvision", "alexnet", "alexnet_2014"),
    *(Pair("torchvision", name, name) for name in (*VGG, *RESNET, "mobilenet_v2")),
]
TIMM = [
    *(Pair("timm", name, name) for name in (*VGG, *RESNET)),
    *(
        Pair("timm", f"mobilenetv2_{name}", "mobilenet_v2", {"multiplier": width})
        for name, width in WIDTHS.items()
    ),
    *(Pair("timm", f"tf_efficientnet_lite{n}", f"efficientnet_lite{n}") for n in LITE),
    *(
        Pair("timm", f"efficientnet_lite{n}", f"efficientnet_lite{n}",
             {"origin": "timm"})
        for n in LITE
    ),
]  # fmt: skip
# Networks whose tensors are those of one of ours, and which compute something else:
# nothing in a file tells, and docs/how-to/weights.md says so. Each with the reason.
INDISTINCT = {
    "resnetblur18": ("resnet18", "blurs before each stride, with a fixed kernel"),
    "resnetblur50": ("resnet50", "the same"),
    "resnetaa50": ("resnet50", "averages before each stride"),
    **{
        f"efficientnet_lite{n}": (f"efficientnet_lite{n}", "needs origin='timm'")
        for n in LITE
    },
}
SIDE = 64  # pixels; every one of these takes 64, and AlexNet 63


def created(pair: Pair) -> nn.Module:
    if pair.of == "torchvision":
        return library("torchvision").models.get_model(pair.theirs)
    return library("timm").create_model(pair.theirs)


def make(pair: Pair) -> nn.Module:
    """Theirs, with random weights and statistics that keep the size of activations."""
    with torch.device("meta"):  # their first weights take longer than all the rest
        net = created(pair)
    if {name for name, _ in net.named_buffers()} <= set(net.state_dict()):
        net = net.to_empty(device="cpu").eval()
    else:  # it keeps numbers that no file holds
        net = created(pair).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith("num_batches_tracked"):
                tensor.zero_()
            elif tensor.ndim > 1:
                bound = math.sqrt(6 / tensor[0].numel())
                tensor.uniform_(-bound, bound)
            elif name.endswith(("running_var", "weight")):
                tensor.uniform_(0.5, 1.0)
            else:
                tensor.uniform_(-0.1, 0.1)
    return net


def loaded(pair: Pair, path: Path) -> nn.Module:
    with torch.device("meta"):
        net = models.build(pair.ours, num_classes=1000, **pair.options)
    net = net.to_empty(device="cpu").eval()
    result = models.load_weights(net, path)
    assert not result.left
    assert not result.unused
    assert not result.changed
    return net


def relative_difference(pair: Pair, folder: Path, ending: str) -> float:
    """The largest difference of two logits, over the size of the largest."""
    theirs, path = make(pair), folder / f"weights{ending}"
    if ending == ".pth":
        torch.save(theirs.state_dict(), path)
    else:
        save_file(theirs.state_dict(), path)
    ours = loaded(pair, path)
    path.unlink()
    x = torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        one, other = ours(x), theirs(x)
    assert other.isfinite().all()
    assert other.std() > 0
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize("pair", [*TORCHVISION, *TIMM], ids=str)
def test_a_file_gives_the_logits_of_the_network_that_wrote_it(pair, tmp_path):
    ending = ".pth" if pair.theirs.endswith(("_bn", "18", "v2", "lite0")) else ""
    # Sums of some thousand terms, in another order, in up to 150 layers.
    assert relative_difference(pair, tmp_path, ending or ".safetensors") < 1e-4


@pytest.mark.parametrize("name", INDISTINCT)
def test_a_network_of_the_same_tensors_computes_something_else(name, tmp_path):
    pair = Pair("timm", name, INDISTINCT[name][0])
    assert relative_difference(pair, tmp_path, ".safetensors") > 1e-3


def shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


@pytest.mark.slow
def test_no_other_network_of_timm_has_the_tensors_of_one_of_ours():
    """Of the files with networks of these kinds; others have other names."""
    timm = library("timm")
    with torch.device("meta"):
        ours = {
            (pair.ours, *pair.options.items()): models.build(
                pair.ours, num_classes=1000, **pair.options
            ).state_dict()
            for pair in (*TORCHVISION, *TIMM)
        }
    known = {pair.theirs for pair in TIMM} | set(INDISTINCT)
    kinds = ("resnet*", "vgg*", "mobilenetv2*", "*lite*", "*_resnet*", "*resnext*")
    names = {name for kind in kinds for name in timm.list_models(kind)}
    assert len(names) > 100
    found = set()
    for name in names:
        with torch.device("meta"):
            state = timm.create_model(name).state_dict()
        if any(shapes(renamed(state, own)) == shapes(own) for own in ours.values()):
            found.add(name)
    assert found == known


@pytest.mark.parametrize(
    ("name", "named"),
    [("resnet34", "resnet34"), ("vgg13", "vgg13"), ("mobilenetv2_100", "mobilenet_v2"),
     ("tf_efficientnet_lite2", "efficientnet_lite2"), ("convnext_atto", "")],
)  # fmt: skip
def test_a_file_of_theirs_is_named_as_ours(name, named):
    with torch.device("meta"):
        state = library("timm").create_model(name).state_dict()
    assert best_model(state) == named
