"""The network of a run, built again once it is known to fit the run's weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from convscope import models
from convscope.errors import RunError
from convscope.train.spec import RunSpec

Shapes = Mapping[str, Sequence[int]]


def build_network(
    spec: RunSpec, weights: Shapes | None = None, where: str | Path = "the run"
) -> nn.Module:
    """The network that a spec describes, with random weights.

    It is built without memory first: a spec may ask for any size.

    Args:
        spec: Of the run.
        weights: The shapes of what will be loaded into it, if that is known.
        where: Whose weights they are, for messages.

    Raises:
        RunError: The spec describes no network, or another one than the weights'.

    >>> from convscope.train import fit
    >>> run = fit("softmax_regression", "digits", epochs=1, listeners=())
    >>> build_network(run.spec)
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=64, out_features=10, bias=True)
    )
    """
    if spec.model.name is None:
        raise RunError(
            "this run's network is not one of convscope's models. "
            "Build it and pass it: Run.load(folder, net=your_network)."
        )
    name = spec.model.name
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        outline = _built(spec)
    count = sum(p.numel() for p in outline.parameters())
    if count != spec.model.parameters:
        raise RunError(
            f"this run's spec tells of {spec.model.parameters:,} parameters, but "
            f"{name} with its options has {count:,}. Put the original spec.json back, "
            "or train again."
        )
    if weights is not None:
        require_fitting(weights, outline, name, where)
    return _built(spec)


def require_fitting(
    weights: Shapes, net: nn.Module, name: str, where: str | Path = "the run"
) -> None:
    """Refuses weights of other names or shapes than the network's.

    Raises:
        RunError: Names the first that does not fit.

    >>> require_fitting({"weight": (3, 2), "bias": (3,)}, nn.Linear(2, 3), "mine")
    >>> require_fitting({"weight": (9, 2), "bias": (3,)}, nn.Linear(2, 3), "mine")
    Traceback (most recent call last):
    convscope.errors.RunError: the weights in the run do not fit the network mine: \
size mismatch for weight: (9, 2) in the file, (3, 2) in the network.
    """
    own = {n: tuple(t.shape) for n, t in net.state_dict().items()}
    problem = ""
    if missing := sorted(own.keys() - weights.keys()):
        problem = f"{missing[0]} is missing in the file"
    elif unknown := sorted(weights.keys() - own.keys()):
        problem = f"{unknown[0]} is unknown to the network"
    for each, shape in own.items():
        if not problem and tuple(weights[each]) != shape:
            problem = (
                f"size mismatch for {each}: {tuple(weights[each])} in the file, "
                f"{shape} in the network"
            )
    if problem:
        raise RunError(
            f"the weights in {where} do not fit the network {name}: {problem}."
        )


def _built(spec: RunSpec) -> nn.Module:
    """Built as ``models.build`` does; whatever the spec makes it raise is RunError."""
    name, (channels, *size) = str(spec.model.name), spec.model.input_shape
    try:
        for option in spec.model.options.keys() - models.options(name).keys():
            raise TypeError(f"it has no option {option!r}")
        return models.build(
            name,
            num_classes=len(spec.classes),
            in_channels=channels,
            input_size=(size[0], size[1]),
            **spec.model.options,
        )
    except Exception as error:  # of any kind: options may hold anything
        says = str(error).strip().partition("\n")[0]
        raise RunError(
            f"this run's network cannot be built from its spec: {name}: {says}. "
            "Put the original spec.json back, or train again."
        ) from error
