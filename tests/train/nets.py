"""A small network and random images for it."""

import numpy as np
import torch
from torch import nn

from convscope.data.preprocessing import Preprocessing

GRAY = Preprocessing(channels=1, bits=8, size=(12, 12), mean=(0.4,), std=(0.3,))


def small_net(classes=4, channels=1):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 5, 3),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(20, classes),
    )


def images(count=11, channels=1, size=12, dtype=torch.uint8, seed=0):
    rng = np.random.default_rng(seed)
    high = torch.iinfo(dtype).max + 1
    pixels = rng.integers(0, high, (count, channels, size, size))
    return torch.from_numpy(pixels).to(dtype)
