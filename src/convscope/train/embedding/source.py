"""What makes features: a network, and how pictures become its inputs."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from convscope import models
from convscope.data.preprocessing import Preprocessing
from convscope.errors import ArgumentError, DataError, Remedy, UnknownNameError
from convscope.execution import Setting, choose_device
from convscope.models import PRETRAINED, Pretrained
from convscope.models.weight_names import renamed
from convscope.train.judging.features import own_setting
from convscope.train.run import Run
from convscope.train.starting_weights import find_start

Net = nn.Module | Run | str | Path


@dataclass(frozen=True)
class Source:
    """A network whose features are wanted.

    Attributes:
        net: Itself.
        name: What a person calls it.
        preprocessing: How pictures become inputs; None where nobody has said.
        takes_inputs: Whether floating-point images are inputs of the network, and not
            pictures from 0 to 1.
        published: The published weights that a network was found to have.
        device: Where to run it; None is where it is.
        optimize: Whether the fastest setting is measured.
    """

    net: nn.Module
    name: str
    preprocessing: Preprocessing | None
    takes_inputs: bool = False
    published: Pretrained | None = None
    device: str | None = None
    optimize: bool = True

    def setting(self, input_shape: Sequence[int]) -> Setting:
        """The fastest setting in float32 for inputs of that shape, (C, ...).

        Raises:
            ArgumentError: No such device on this machine.
        """
        return own_setting(
            self.net, tuple(input_shape), device=self.device, optimize=self.optimize
        )

    @contextlib.contextmanager
    def placed(self, setting: Setting) -> Iterator[None]:
        """The network on the setting's device inside, and back where it was after."""
        before = next((p.device for p in self.net.parameters()), setting.device)
        self.net.to(setting.device)
        try:
            yield
        finally:
            self.net.to(before)

    def require_preprocessing(self, what: str) -> Preprocessing:
        """How pictures become inputs.

        Args:
            what: The images, in words: "files".

        Raises:
            ArgumentError: Nobody has said, and it cannot be known.
        """
        if self.preprocessing is not None:
            return self.preprocessing
        raise ArgumentError(
            f"features: net is a {self.name}, which does not say how {what} become its "
            "inputs: with another size, mean or standard deviation than in its "
            "training, its features would be wrong without a word.",
            remedies=[
                Remedy(
                    "give that of its training, as a data set has it", "preprocessing"
                ),
                Remedy("give the Run instead of its network"),
                Remedy("give a floating-point tensor of inputs"),
            ],
        )


def source_of(
    net: Net,
    *,
    preprocessing: Preprocessing | None = None,
    device: str | None = None,
    optimize: bool = True,
) -> Source:
    """What ``net`` names, with its preprocessing where that is known.

    Args:
        net: A network; a run, or its folder; or the name of a model that has published
            weights.
        preprocessing: How pictures become inputs, if not as in the training of the
            weights.
        device: Where to run it; by default where the network is, where the run was
            trained, or the best device there is.
        optimize: Whether the fastest setting is measured.

    Raises:
        UnknownNameError: A name that no model with published weights has.
        DataError: The package that carries the weights is not installed.
        RunError: The folder holds no run that can be used.
        ArgumentError: No such device on this machine, or ``net`` is of another type.

    >>> source_of(nn.Linear(2, 2)).takes_inputs
    True
    """
    if device is not None:
        choose_device(device)
    if isinstance(net, str) and net in models.cards():
        return _of_model(net, preprocessing, device, optimize)
    if isinstance(net, str | Path):
        if not Path(net).exists() and not _looks_like_a_path(net):
            raise UnknownNameError("model or run", str(net), PRETRAINED)
        net = Run.load(net, device=device, optimize=optimize)
    if isinstance(net, Run):
        if net.unfinished:
            warnings.warn(net.unfinished, stacklevel=3)
        own = net.spec.preprocessing
        name = net.spec.model.name or type(net.net).__name__
        return Source(
            net.net,
            f"{name} of {net.folder}" if net.folder else name,
            preprocessing or own,
            device=device or net.device,
            optimize=optimize,
        )
    if not isinstance(net, nn.Module):
        raise ArgumentError(
            f"features: net is a {type(net).__name__}. Give a network, a run or its "
            f"folder, or the name of a model: {', '.join(PRETRAINED)}."
        )
    net = getattr(net, "_orig_mod", net)  # what torch.compile holds: it skips hooks
    published = published_in(net) if preprocessing is None else None
    if published is not None:
        preprocessing = _declared(published, net)
        return Source(
            net, published.model, preprocessing, True, published, device, optimize
        )
    kind = type(net).__name__
    takes_inputs = preprocessing is None
    return Source(net, kind, preprocessing, takes_inputs, None, device, optimize)


def _of_model(
    name: str, preprocessing: Preprocessing | None, device: str | None, optimize: bool
) -> Source:
    if name not in PRETRAINED:
        raise ArgumentError(
            f"features: no published weights of {name} are known, and with random "
            f"weights it knows nothing of images. Take {', '.join(PRETRAINED)}, a run, "
            "or a network with weights of your own."
        )
    start = find_start(PRETRAINED[name].name, name)
    net = models.build(name, weights=start.name).eval()
    declared = preprocessing or start.preprocessing(3, None)
    named = f"{name} with {start.source}"
    return Source(net, named, declared, False, None, device or "auto", optimize)


def published_in(net: nn.Module) -> Pretrained | None:
    """The published weights that a network of ours still has, its last layer left out.

    They are compared number by number: training changes them, and then nobody but the
    run knows what its inputs were.

    >>> published_in(nn.Linear(2, 2)) is None
    True
    """
    built = getattr(net, "built_from", None)
    known = PRETRAINED.get(getattr(built, "name", ""))
    if known is None:
        return None
    own = net.state_dict()
    try:
        theirs = renamed(models.read_weights(known.path()), own)
    except DataError:
        return None
    kernels = [name for name, tensor in own.items() if tensor.ndim > 1]
    first, last = kernels[0], kernels[-1].rpartition(".")[0]
    inner = {
        name: tensor
        for name, tensor in own.items()
        if tensor.ndim and name != first and name.rpartition(".")[0] != last
    }
    same = (
        name in theirs and torch.equal(tensor.cpu(), theirs[name])
        for name, tensor in inner.items()
    )
    return known if all(same) else None


def _declared(known: Pretrained, net: nn.Module) -> Preprocessing | None:
    """The published preprocessing, at the size and channels the network is for."""
    built = getattr(net, "built_from", None)
    if (
        built is None
        or len(built.input_shape) != 3
        or built.input_shape[0] not in (1, 3)
    ):
        return None
    channels, height, width = built.input_shape
    start = find_start(known.name, known.model)
    declared = start.preprocessing(channels, None)
    return declared.model_copy(update={"size": (height, width)})


def _looks_like_a_path(net: str | Path) -> bool:
    return isinstance(net, Path) or "/" in net or "\\" in net
