import copy
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis import networks
from convscope.analysis import check, summary
from convscope.errors import ArgumentError, ShapeError


class Digits(nn.Module):
    """The network of many tutorials."""

    def __init__(self, features: int = 400, flat: str = "flatten") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc = nn.Linear(features, 10)
        self.flat = flat

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1) if self.flat == "flatten" else x.view(-1, 400)
        return self.fc(x)


class Joined(nn.Module):
    def __init__(self, join: str) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(8, 3, 2, stride=2)
        self.join = join

    def forward(self, x):
        y = self.up(self.down(x))
        return x + y if self.join == "add" else torch.cat([x, y], 1)


def sequence(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


CASES = {
    "flatten before linear": (
        Digits(), (1, 28, 28),
        "check: fc = Linear(400, 10) wants (N, 400), but (N, 256) reaches it: 256 "
        "features reach it, its weight is for 400 (16 x 4 x 4 = 256, from "
        "(N, 16, 4, 4)). Use an input of (1, 32, 32) or in_features=256.",
    ),
    "flatten of a large map": (
        Digits(), (1, 64, 64),
        "check: fc = Linear(400, 10) wants (N, 400), but (N, 2704) reaches it: 2704 "
        "features reach it, its weight is for 400 (16 x 13 x 13 = 2704, from "
        "(N, 16, 13, 13)). Use an input of (1, 35, 35) or in_features=2704.",
    ),
    "window larger than the map": (
        Digits(), (1, 8, 8),
        "check: conv2 = Conv2d(6, 16, 5) wants (N, 6, 5 or more, 5 or more), but "
        "(N, 6, 2, 2) reaches it: (2 - 5) / 1 + 1 gives -2. Use an input of "
        "(1, 32, 32).",
    ),
    "padding or a smaller kernel would do": (
        sequence(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.Conv2d(8, 8, 7)), (3, 10, 12),
        "check: 2 = Conv2d(8, 8, 7) wants (N, 8, 7 or more, 7 or more), but "
        "(N, 8, 4, 5) reaches it: height: (4 - 7) / 1 + 1 gives -2; width: (5 - 7) / 1 "
        "+ 1 gives -1. Use an input of (3, 16, 16), padding=2 or kernel_size=(4, 5).",
    ),
    "channels": (
        Digits(), (3, 32, 32),
        "check: conv1 = Conv2d(1, 6, 5) wants (N, 1, H, W), but (N, 3, 32, 32) reaches "
        "it: 3 channels reach it, its weight is for 1. Use an input of (1, 32, 32) or "
        "in_channels=3.",
    ),
    "channels last": (
        networks.vgg(11), (224, 224, 3),
        "check: 0.0 = Conv2d(3, 64, 3, padding=1) wants (N, 3, H, W), but "
        "(N, 224, 224, 3) reaches it: 224 channels reach it, its weight is for 3. Use "
        "an input of (3, 224, 224), channels first.",
    ),
    "no channel axis": (
        Digits(), (32, 32),
        "check: conv1 = Conv2d(1, 6, 5) wants (N, 1, H, W), but (N, 32, 32) reaches "
        "it: 3 axes with the batch reach it, it takes 4. Use an input of (1, 32, 32).",
    ),
    "batch norm": (
        sequence(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(16)), (3, 9, 9),
        "check: 1 = BatchNorm2d(16) wants (N, 16, ...), but (N, 8, 7, 7) reaches it: 8 "
        "channels reach it, it has statistics for 16. Use num_features=8.",
    ),
    "group norm": (
        sequence(nn.Conv1d(4, 8, 3), nn.GroupNorm(2, 6)), (4, 9),
        "check: 1 = GroupNorm(2, 6) wants (N, 6, ...), but (N, 8, 7) reaches it: 8 "
        "channels reach it, it has a weight for 6. Use num_channels=8.",
    ),
    "layer norm": (
        sequence(nn.Conv1d(4, 8, 3), nn.LayerNorm([8, 6])), (4, 9),
        "check: 1 = LayerNorm((8, 6)) wants (N, ..., 8, 6), but (N, 8, 7) reaches it: "
        "the last axes are 8 x 7, its weight is for 8 x 6. Use an input of (4, 8) or "
        "normalized_shape=(8, 7).",
    ),
    "pooling in three dimensions": (
        sequence(nn.Conv3d(1, 8, 3), nn.MaxPool3d(4)), (1, 5, 5, 5),
        "check: 1 = MaxPool3d(4) wants (N, C, 4 or more, 4 or more, 4 or more), but "
        "(N, 8, 3, 3, 3) reaches it: (3 - 4) / 4 + 1 gives 0. Use an input of "
        "(1, 6, 6, 6), padding=1 or kernel_size=3.",
    ),
    "transposed convolution": (
        sequence(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(6, 4, 2)), (3, 9, 9),
        "check: 1 = ConvTranspose2d(6, 4, 2) wants (N, 6, H, W), but (N, 8, 7, 7) "
        "reaches it: 8 channels reach it, its weight is for 6. Use in_channels=8.",
    ),
    "sum of unequal maps": (
        Joined("add"), (3, 33, 32),
        "check: Joined, add() wants equal shapes, but (N, 3, 33, 32) and "
        "(N, 3, 34, 32) reach it: height: 33 and 34 differ. Use an input of "
        "(3, 32, 32) or an input of (3, 34, 32).",
    ),
    "concatenation of unequal maps": (
        Joined("cat"), (3, 33, 33),
        "check: Joined, cat(1) wants equal shapes but for axis 1, but (N, 3, 33, 33) "
        "and (N, 3, 34, 34) reach it: height: 33 and 34 differ. Use an input of "
        "(3, 32, 32) or an input of (3, 34, 34).",
    ),
    "view of other features": (
        Digits(flat="view"), (1, 36, 36),
        "check: Digits, view(-1, 400) wants as many values as it makes, but "
        "(N, 16, 6, 6) reaches it: 16 x 6 x 6 = 576 values per image do not make 400. "
        "Use an input of (1, 35, 35).",
    ),
    "view that mixes images": (
        Digits(flat="view"), (1, 52, 52),
        "check: Digits, view(-1, 400) mixes images: 2 images of (N, 16, 10, 10) become "
        "8 rows of 400, because one image has 1600 values. Use x.flatten(1), and "
        "in_features=1600 in the layer behind it.",
    ),
    "the network is one layer": (
        nn.Linear(10, 2), (11,),
        "check: Linear(10, 2) wants (N, 10), but (N, 11) reaches it: 11 features reach "
        "it, its weight is for 10. Use an input of (10,).",
    ),
    "two mistakes": (
        sequence(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(6), nn.Conv2d(4, 2, 1)), (3, 9, 9),
        "check: 1 = BatchNorm2d(6) wants (N, 6, ...), but (N, 8, 7, 7) reaches it: 8 "
        "channels reach it, it has statistics for 6. Use num_features=8 (then 2 = "
        "Conv2d(4, 2, 1) fails).",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_first_layer_that_cannot_work_is_named_with_what_would(name):
    net, size, text = CASES[name]
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        check(net, size)
    with pytest.raises((RuntimeError, ValueError)):  # so that no case is a false alarm
        F.cross_entropy(net(torch.zeros(2, *size)), torch.zeros(2, dtype=torch.long))


def test_suggested_changes_really_work():
    check(Digits(), (1, 32, 32))
    check(Digits(), (1, 35, 35))
    check(Digits(features=256), (1, 28, 28))
    check(
        sequence(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.Conv2d(8, 8, 7)), (3, 16, 16)
    )


def test_the_suggested_size_is_the_smallest():
    net = sequence(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.Conv2d(8, 8, 7))
    for size in ((3, 15, 16), (3, 16, 15)):
        with pytest.raises(ShapeError):
            check(net, size)


def test_a_network_that_works_in_evaluation_only_is_refused():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.aux = nn.Linear(4, 2), nn.Linear(5, 2)

        def forward(self, x):
            return (self.head(x), self.aux(x)) if self.training else self.head(x)

    with pytest.raises(ShapeError, match=r"^check: aux = Linear\(5, 2\) wants"):
        check(Auxiliary(), (4,))


def test_a_missing_input_is_said_to_be_missing():
    class Two(nn.Module):
        def forward(self, left, right):
            return left + right

    with pytest.raises(ArgumentError, match="Give one size for each input of forward"):
        check(Two(), (3, 4, 4))
    check(Two(), [(3, 4, 4), (3, 4, 4)])
    check(Two(), {"left": (3, 4, 4), "right": (1, 4, 4)})


@pytest.mark.parametrize("size", [(), (0, 3), "3,4", ((0,),), (3.0, 4), 5])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(ArgumentError, match="is not a size"):
        check(nn.Identity(), size)


def test_errors_of_the_callers_own_code_are_left_alone():
    class Wrong(nn.Module):
        def forward(self, x):
            return x.no_such_thing

    with pytest.raises(AttributeError):
        check(Wrong(), (3,))


@pytest.mark.parametrize("function", [check, summary])
def test_nothing_of_the_module_is_changed(function):
    net = sequence(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(), nn.Flatten(),
        nn.LazyLinear(4),
    )  # fmt: skip
    net[2].eval()
    modes = [module.training for module in net.modules()]
    before = copy.deepcopy(net[1].state_dict())
    random = torch.get_rng_state()
    function(net, (3, 8, 8))
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(a, b) for a, b in zip(
        before.values(), net[1].state_dict().values(), strict=True
    ))  # fmt: skip
    assert isinstance(net[4], nn.LazyLinear)
    assert net[4].has_uninitialized_params()
    assert not net[0]._forward_hooks
    assert torch.equal(random, torch.get_rng_state())


def test_a_forward_that_keeps_things_keeps_none_of_ours():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.calls, self.kept = nn.Linear(2, 2), 0, []

        def forward(self, x):
            self.calls += 1
            self.kept.append(x)
            return self.layer(x)

    net = Counting()
    check(net, (2,))
    assert (net.calls, net.kept) == (0, [])
