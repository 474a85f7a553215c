"""Subjects whose pages are written: networks with numbers at random, and no data."""

from types import SimpleNamespace

import torch
from torch import nn

import convscope as cs
from convscope.data.preprocessing import Preprocessing
from convscope.serve.subject import Subject


class Mixed(nn.Module):
    """Dilation, groups, batch norm, a residual, branches side by side."""

    def __init__(self):
        super().__init__()
        self.begin = nn.Conv2d(3, 8, 3, padding=2, dilation=2)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False)
        self.strided = nn.Conv2d(8, 6, (3, 2), stride=2, padding=(1, 0))
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)
        self.end = nn.Linear(14, 5)

    def forward(self, x):
        """(N, 3, H, W) to (N, 5)."""
        x = torch.relu(self.norm(self.begin(x)))
        x = torch.relu(x + self.grouped(x))
        x = torch.cat([self.strided(x)[..., :8, :8], self.pool(x)[..., :8, :8]], 1)
        return self.end(torch.nn.functional.gelu(x).mean((2, 3)))


def restless(net):
    """With running averages and scales that are not those of the beginning."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.normal_()
    return net.eval()


def subject(net, shape, classes, title="a network", **preprocessing):
    """What a page needs to know of a network that was not trained."""
    channels = shape[0]
    run = SimpleNamespace(
        folder=None, history=(), net=net, classifier=net,
        spec=SimpleNamespace(data=SimpleNamespace(source="")),
    )  # fmt: skip
    own = Preprocessing(
        channels=channels, size=shape[1:], mean=(0.3,) * channels,
        std=(0.25,) * channels, **preprocessing,
    )  # fmt: skip
    return Subject(net, title, tuple(classes), own, 1.5, run)


def made(name):
    """One of those that are tested, by name."""
    torch.manual_seed(0)
    digits = [str(digit) for digit in range(10)]
    if name == "mixed":
        return subject(restless(Mixed()), (3, 20, 18), "abcde")
    if name == "activations":
        return subject(Activations().eval(), (1, 8, 8), "abc")
    if name == "resnet20":
        return subject(restless(cs.models.build(name)), (3, 32, 32), digits)
    shape = (1, 32, 32) if name == "lenet_page" else (1, 28, 28)
    return subject(restless(cs.models.build(name)), shape, digits)


class Activations(nn.Module):
    """A chain of functions, and what is rare."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect")
        self.functions = nn.Sequential(
            nn.LeakyReLU(0.2), nn.ELU(0.5), nn.GELU(), nn.SiLU(), nn.Mish(),
            nn.Hardswish(), nn.PReLU(4), nn.GELU("tanh"), nn.Softplus(2.0), nn.Tanh(),
            nn.ReLU6(), nn.Hardtanh(-0.5, 0.7), nn.Sigmoid(), nn.Hardsigmoid(),
        )  # fmt: skip
        self.up = nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, groups=2)
        self.small = nn.AdaptiveAvgPool2d((3, 2))
        self.subsampled = cs.layers.Subsampling2d(6)
        self.end = nn.Linear(36, 3)

    def forward(self, x):
        """(N, 1, 8, 8) to (N, 3)."""
        x = self.functions(self.first(x) * 3)
        x = self.up(x) - 0.25
        x = torch.cat([self.small(x), self.small(torch.maximum(x, x * x))], 2)
        x = nn.functional.pad(x, (1, 1, 0, 0), value=0.5)
        x = x[:, :, :, 1:-1].reshape(len(x), 2, 36)[:, 0]
        return torch.softmax(self.end(x), 1)


NAMES = ("lenet_page", "mlp", "mixed", "resnet20")
