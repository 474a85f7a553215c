"""A small network that learns a few hundred small images in a second, to measure by."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 24  # pixels to which images are scaled down
BATCH = 32


def scaled_down(images: Tensor) -> Tensor:
    """Images of at most ``SIDE`` pixels; smaller ones as they are.

    Shape:
        images: (N, C, H, W) float32
        return: (N, C, h, w)

    >>> scaled_down(torch.zeros(2, 3, 48, 96)).shape
    torch.Size([2, 3, 12, 24])
    """
    height, width = images.shape[2:]
    scale = SIDE / max(height, width)
    if scale >= 1:
        return images
    size = [max(round(side * scale), 1) for side in (height, width)]
    return F.interpolate(images, size, mode="bilinear", antialias=True)


def learned(images: Tensor, labels: Tensor, classes: int, shown: int) -> nn.Module:
    """A network that has been shown so many images; torch's generator is used.

    Shape:
        images: (N, C, H, W) float32, normalized
        labels: (N,)

    >>> net = learned(torch.rand(8, 1, 12, 12), torch.arange(8) % 2, 2, 64)
    >>> net(torch.zeros(3, 1, 12, 12)).shape
    torch.Size([3, 2])
    """
    net = _network(images.shape[1], classes)
    steps = max(shown // BATCH, 1)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps)
    order = torch.cat(
        [torch.randperm(len(images)) for _ in range(shown // len(images) + 2)]
    )
    for step in range(steps):
        batch = order[step * BATCH : (step + 1) * BATCH]
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def _network(channels: int, classes: int) -> nn.Module:
    """Three convolutions that keep where things are: direction must be seen."""
    layers: list[nn.Module] = []
    for width in (16, 32, 64):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
        ]
        channels = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(64 * 9, classes)
    )
