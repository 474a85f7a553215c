"""Small networks as users write them, each awkward in a way of its own.

``NETWORKS``     name -> what makes it, in evaluation and float64
``made(name)``   one, with the same weights each time, and its inputs
"""

import collections

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint

import convscope as cs

Pair = collections.namedtuple("Pair", "logits features")


class Base(nn.Module):
    """A convolution and a head; what lies between is in ``between``."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(F.relu(self.conv(x)).mean((2, 3)))


class GivesDict(Base):
    def forward(self, x):
        return {"logits": super().forward(x), "size": x.shape[-1]}


class GivesTuple(Base):
    def forward(self, x):
        features = F.relu(self.conv(x), inplace=True)
        return self.head(features.mean((2, 3))), [features, None]


class GivesNamedTuple(Base):
    def forward(self, x):
        features = torch.tanh(self.conv(x))
        return Pair(self.head(features.mean((2, 3))), features)


class Shared(Base):
    def __init__(self):
        super().__init__()
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.same = self.second
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.act(self.conv(x))
        x = self.act(self.same(self.act(self.second(x))))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Functions(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 3, 3, 3) / 3)
        self.bias = nn.Parameter(torch.randn(6) / 9)
        self.out = nn.Parameter(torch.randn(4, 6))
        self.register_buffer("mean", torch.randn(6) / 9)
        self.register_buffer("var", torch.rand(6) + 0.5)

    def forward(self, x):
        y = F.conv2d(x, self.weight, self.bias, stride=2, padding=1)
        y = torch.relu_(F.batch_norm(y, self.mean, self.var, training=self.training))
        y = F.max_pool2d(y, 2).mean(dim=[-1, -2])
        return torch.einsum("nc,kc->nk", y, self.out)


class Checkpointed(nn.Module):
    def __init__(self, reentrant=False):
        super().__init__()
        self.reentrant = reentrant
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.rest = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 1))
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = checkpoint(self.conv, x, use_reentrant=self.reentrant)
        x = checkpoint(self.rest, x, use_reentrant=self.reentrant)
        return self.head(x.mean((2, 3)))


class Attending(Base):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(6, 2, batch_first=True)
        self.norm = nn.LayerNorm(6)

    def forward(self, x):
        tokens = F.gelu(self.conv(x)).flatten(2).transpose(1, 2)
        seen, _ = self.attend(tokens, tokens, tokens)
        return self.head(self.norm(tokens + seen).mean(1))


class Recurrent(Base):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6 * 8, 3, batch_first=True, bidirectional=True)

    def forward(self, x):
        steps = F.relu(self.conv(x)).permute(0, 3, 1, 2).flatten(2)
        found, _ = self.lstm(steps)
        return self.head(found[:, -1])


class Branching(Base):
    def __init__(self):
        super().__init__()
        self.bright = nn.Conv2d(6, 6, 1)
        self.dark = nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, x):
        y = F.relu(self.conv(x))
        y = self.bright(y) if y.mean() > 9 else self.dark(y)
        return self.head(F.relu(y).amax((2, 3)))


class Counting(Base):
    """Keeps what it saw: in buffers that are written and replaced, and in a list."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("average", torch.ones(6))
        self.seen = []

    def forward(self, x):
        self.calls += 1
        y = F.relu(self.conv(x))
        self.seen.append(y.detach().mean())
        self.average.mul_(0.9).add_(y.detach().mean((0, 2, 3)), alpha=0.1)
        self.average = self.average * 1
        return self.head((y - self.average[:, None, None]).mean((2, 3)))


class WritesItsInput(Base):
    def forward(self, x):
        x -= 0.5
        y = self.conv(x.div_(0.25))
        y += 1
        return self.head(F.relu_(y).mean((2, 3)))


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        right = nn.ModuleList([nn.Conv2d(3, 3, 1), nn.ReLU()])
        left = nn.Conv2d(3, 3, 3, padding=1)
        self.parts = nn.ModuleDict(
            {"body": nn.ModuleDict({"left": left, "right": right})}
        )
        self.parts["heads"] = nn.ModuleDict({"class": nn.Linear(3, 4)})

    def forward(self, x):
        y = self.parts["body"]["left"](x)
        for part in self.parts["body"]["right"]:
            y = part(y)
        return self.parts["heads"]["class"]((y + x).mean((2, 3)))


class Spectrum(Base):
    """Complex numbers in the middle."""

    def forward(self, x):
        return self.head(torch.fft.rfft2(self.conv(x)).abs().mean((2, 3)))


class ComplexWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, dtype=torch.complex128)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.conv(x.to(self.conv.weight.dtype)).abs().mean((2, 3)))


class Signal(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 6, 5, stride=2)
        self.norm = nn.GroupNorm(2, 6)
        self.deep = nn.Conv1d(6, 6, 3, dilation=2, groups=6, padding="same")
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        y = self.deep(F.hardswish(self.norm(self.conv(x)), inplace=True))
        return self.head(F.silu(y).amax(-1))


class Volume(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(1, 4, 3, padding=1)
        self.norm = nn.InstanceNorm3d(4, affine=True)
        self.pool = nn.MaxPool3d(2)
        self.up = nn.ConvTranspose3d(4, 4, 2, stride=2)
        self.head = nn.Linear(4, 4)

    def forward(self, x):
        y = F.leaky_relu(self.norm(self.conv(x)), 0.1, inplace=True)
        return self.head(self.up(self.pool(y)).mean((2, 3, 4)))


class SeveralInputs(Base):
    def __init__(self):
        super().__init__()
        self.about = nn.Linear(2, 6)

    def forward(self, image, *, about, scale=1.0):
        gate = torch.sigmoid(self.about(about))[:, :, None, None]
        return self.head(F.relu(self.conv(image) * gate * scale).mean((2, 3)))


class Skipping(nn.Module):
    """A small U-Net: a map for each class."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.middle = nn.Conv2d(4, 8, 3, padding=1)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.out = nn.Conv2d(12, 4, 1)

    def forward(self, x):
        fine = F.relu(self.down(x))
        coarse = F.relu(self.middle(self.pool(fine)))
        return self.out(torch.cat([self.up(coarse), fine], 1))


def normed():
    return nn.Sequential(
        spectral_norm(nn.Conv2d(3, 6, 3)), nn.ReLU(),
        weight_norm(nn.Conv2d(6, 6, 3)), nn.PReLU(6),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip


def plain():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(54, 4),
    )  # fmt: skip


def optimized():
    return cs.optimize(plain().double().eval(), (3, 8, 8), training=False)


NETWORKS = {
    "a dict comes out": GivesDict,
    "a tuple comes out": GivesTuple,
    "a named tuple comes out": GivesNamedTuple,
    "modules are shared": Shared,
    "functions alone": Functions,
    "checkpoints": Checkpointed,
    "attention": Attending,
    "an LSTM": Recurrent,
    "a branch that depends on data": Branching,
    "buffers change": Counting,
    "it writes into its input": WritesItsInput,
    "nested dicts of modules": Nested,
    "complex numbers within": Spectrum,
    "complex weights": ComplexWeights,
    "signals": Signal,
    "volumes": Volume,
    "several inputs": SeveralInputs,
    "a map for each class": Skipping,
    "weights made of others": normed,
    "compiled": lambda: torch.compile(plain(), backend="eager"),
    "optimized": optimized,
    "a graph module": lambda: torch.fx.symbolic_trace(Shared()),
}


def made(name):
    """The network of that name and inputs for it."""
    torch.manual_seed(0)
    net = NETWORKS[name]().double()  # complex weights stay complex
    shape = {"signals": (2, 2, 32), "volumes": (2, 1, 6, 6, 6)}.get(name, (2, 3, 8, 8))
    random = torch.Generator().manual_seed(1)
    x = torch.rand(shape, generator=random, dtype=torch.float64)
    if name == "several inputs":
        about = torch.randn(2, 2, generator=random, dtype=torch.float64)
        return net.eval(), {"image": x, "about": about}
    return net.eval(), x


def uncompiled(name):
    """The same network for a judge, who sees its layers."""
    net, _ = made(name)
    return net._orig_mod if name == "compiled" else net


def called(net, inputs):
    """What it gives, of copies of its inputs."""
    if isinstance(inputs, dict):
        return net(**{name: x.clone() for name, x in inputs.items()})
    return net(inputs.clone())


def first(output):
    """The first tensor of any output."""
    while not isinstance(output, torch.Tensor):
        output = next(iter(output.values())) if isinstance(output, dict) else output[0]
    return output
