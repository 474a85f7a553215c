"""``cs.models.build``: a network by name, with fresh or with published weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convscope.models.card import build_untrained
from convscope.models.published_weights import PRETRAINED, pretrained
from convscope.models.weights import classes_in, load_weights
from convscope.models.weights_file import read_weights


def build(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    input_size: Sequence[int] | None = None,
    axes: int | None = None,
    weights: str | Path | None = None,
    **options: Any,
) -> nn.Module:
    """A new network of the model ``name``.

    Args:
        name: One of ``cards()``.
        num_classes: Outputs; 10 if not given, with ``weights`` those of their
            training. With another number the last layer begins anew.
        in_channels: Channels of the input; the card's if not given.
        input_size: Height and width of the input, or the length of a signal, or
            depth, height and width of a volume; the card's if not given.
        axes: How many numbers ``input_size`` has, 1, 2 or 3, if it is not given: the
            network is then for the card's size along each of them.
        weights: The name of published weights, as ``"imagenet"`` (``PRETRAINED`` lists
            them), or a weights file; by default weights are random. ``load_weights``
            says how they are adapted to other channels, axes and classes.
        options: What this model takes besides, such as ``width`` of ``resnet9``.

    Raises:
        UnknownNameError: No model, no option of this model, or no published weights
            have that name.
        ShapeError: The input is smaller than the model's smallest, or the model
            cannot be built with that many axes; or the weights do not fit.
        ArgumentError: ``num_classes`` or ``in_channels`` is below 1, or an option
            has a value that the model does not take.
        DataError: The weights are not there, or cannot be read.

    >>> sum(p.numel() for p in build("lenet5").parameters())
    61706
    >>> build("resnet18", input_size=(1000,)).conv1
    Conv1d(3, 64, kernel_size=(7,), stride=(2,), padding=(3,), bias=False)
    """
    path: Path | None = None
    how: dict[str, Any] = {
        "in_channels": in_channels,
        "input_size": input_size,
        "axes": axes,
        **options,
    }
    if weights is not None:
        named = isinstance(weights, str) and weights in {
            each.name for each in PRETRAINED.values()
        }
        if named or not (Path(weights).suffix or Path(weights).exists()):
            published = pretrained(name, str(weights))
            path = published.path()
            num_classes = published.num_classes if num_classes is None else num_classes
        else:
            path = Path(weights)
            if num_classes is None:
                num_classes = _classes_of(name, path, how)
    net = build_untrained(
        name, num_classes=10 if num_classes is None else num_classes, **how
    )
    if path is not None:
        load_weights(net, path)
    return net


def _classes_of(name: str, path: Path, how: dict[str, Any]) -> int | None:
    """For how many classes a file is that holds weights of the model."""
    with torch.device("meta"):
        net = build_untrained(name, **how)
    return classes_in(read_weights(path), net, path.name)
