"""What a plain chain of layers gives for a drawing, by torch alone."""

import copy

import numpy as np
import torch
from PIL import Image
from torch import nn


def picture(run, image):
    """(1, C, H, W): an image as the run's network gets it."""
    preprocessing = run.spec.preprocessing
    decoded = torch.from_numpy(preprocessing.decode(image))
    return preprocessing.normalize(decoded[None])


def drawing(run, pixels):
    """(1, C, H, W): what is on the board, as the run's network gets it."""
    gray = np.array(pixels, np.uint8).reshape(280, 280)
    return picture(run, Image.fromarray(gray))


def steps(run, x, net=None):
    """What every card shows, in float64: the input, each layer, probabilities."""
    layers = copy.deepcopy(run.classifier if net is None else net).double().eval()
    found = [x.double()]
    with torch.no_grad():
        for layer in layers:
            found.append(layer(found[-1]))
        found.append(torch.softmax(found[-1] / run.spec.temperature, -1))
    return [each[0].numpy() for each in found]


def connected(run, x, of, unit, other):
    """Which places of one card depend on a unit of another, or it on them: ``lit``.

    Gradients of the chain with nothing in it that could cancel or choose: weights are
    made positive, the largest becomes the mean, and negative values are let through.
    """
    layers = copy.deepcopy(run.classifier).double().eval()
    for name, layer in list(layers.named_children()):
        if isinstance(layer, nn.ReLU):
            layers[int(name)] = nn.Identity()
        if isinstance(layer, nn.MaxPool2d):
            layers[int(name)] = nn.AvgPool2d(layer.kernel_size, layer.stride)
        if isinstance(layer, nn.Conv2d):
            layer.weight.data.abs_()
    found = [x.double().requires_grad_()]
    for layer in layers:
        found.append(layer(found[-1]))
    if other < of:
        (slopes,) = torch.autograd.grad(found[of][0][unit], found[other])
        rows, columns = slopes[0].abs().sum(0).nonzero(as_tuple=True)
    else:
        total = found[other][0].sum(0)
        places = [
            (row, column)
            for row in range(total.shape[0])
            for column in range(total.shape[1])
            if torch.autograd.grad(total[row, column], found[of], retain_graph=True)[0][
                0
            ][unit]
        ]
        rows, columns = torch.tensor(places).unbind(1)
    return f"{rows.min()}-{rows.max()} {columns.min()}-{columns.max()}"
