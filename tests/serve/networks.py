"""Networks of several kinds as subjects of a page, untrained."""

import torch
from torch import nn

import convscope as cs
from convscope.data.preprocessing import Preprocessing
from convscope.serve.subject import Subject

MADE = {
    "lenet": lambda: (cs.models.build("lenet5"), (1, 32, 32)),
    "branches": lambda: (
        cs.models.build("resnet20", width=4, input_size=(16, 16)), (3, 16, 16)
    ),
    "mlp": lambda: (cs.models.build("mlp", input_size=(12, 12)), (1, 12, 12)),
    "averages": lambda: (
        nn.Sequential(
            nn.Conv2d(1, 1, 3, padding=1), nn.AvgPool2d(3, 2, 1, ceil_mode=True),
            nn.Tanh(), nn.AvgPool2d(2, count_include_pad=False), nn.Flatten(),
            nn.Linear(9, 10),
        ),
        (1, 12, 12),
    ),
}  # fmt: skip


def subject(name):
    """One of them."""
    torch.manual_seed(0)
    net, (channels, *size) = MADE[name]()
    names = tuple(map(str, range(10)))
    return Subject(
        net.eval(), name, names,
        Preprocessing(
            channels=channels, size=tuple(size), mean=(0.5,) * channels,
            std=(0.5,) * channels,
        ),
        2.0, None,
    )  # fmt: skip
