"""Layers that training leaves as they are, or whose statistics it does."""

import difflib
import fnmatch
import re
from collections.abc import Iterable

from torch import nn

from convscope.errors import Remedy, TrainingError, UnknownNameError
from convscope.private_torch import AnyBatchNorm
from convscope.train.recipe import Recipe


class HeldLayers:
    """What a recipe holds of a network: ``freeze`` and ``norm_statistics``.

    Args:
        net: Its frozen parameters ask for no gradient until ``release``.
        recipe: Names of layers or parameters, with ``*`` and ``?``.

    Raises:
        UnknownNameError: A pattern fits no layer and no parameter.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3))
    >>> held = HeldLayers(net, Recipe(freeze=("0", "1")))
    >>> [p.requires_grad for p in net.parameters()]
    [False, False, False, False, True, True]
    >>> held.release()
    >>> all(p.requires_grad for p in net.parameters())
    True
    """

    def __init__(self, net: nn.Module, recipe: Recipe) -> None:
        modules = {name: module for name, module in net.named_modules() if name}
        parameters = dict(net.named_parameters())
        names = {*modules, *parameters}
        frozen: set[str] = set()
        for pattern in recipe.freeze:
            found = set(fnmatch.filter(names, pattern))
            if not found:
                raise UnknownNameError(
                    "layer to freeze", pattern, _near(pattern, names)
                )
            frozen |= found
        self._parameters = [
            parameter
            for name, parameter in parameters.items()
            if parameter.requires_grad and _is_in(name, frozen)
        ]
        for parameter in self._parameters:
            parameter.requires_grad_(False)
        held = recipe.norm_statistics == "start"
        self._norms = [
            module
            for name, module in modules.items()
            if isinstance(module, AnyBatchNorm) and (held or _is_in(name, frozen))
        ]

    def hold_statistics(self) -> None:
        """Puts batch norms that are held in evaluation mode, after ``net.train()``."""
        for norm in self._norms:
            norm.eval()

    def release(self) -> None:
        """Lets frozen parameters ask for gradients again."""
        for parameter in self._parameters:
            parameter.requires_grad_(True)


def require_something_to_train(net: nn.Module, recipe: Recipe) -> None:
    """Refuses a network whose weights would all stay as they are.

    Raises:
        UnknownNameError: A pattern of ``freeze`` fits nothing.
        TrainingError: All weights are frozen, or there are none.

    >>> require_something_to_train(nn.Linear(2, 2), Recipe(freeze=("*",)))
    Traceback (most recent call last):
    convscope.errors.TrainingError: fit: freeze=('*',) holds all 2 parameters of the \
network, so nothing is trained. Leave some layers out of it.
    """
    before = [p for p in net.parameters() if p.requires_grad]
    held = HeldLayers(net, recipe)
    trained = any(p.requires_grad for p in net.parameters())
    held.release()
    if trained:
        return
    count = len(list(net.parameters()))
    if before:
        raise TrainingError(
            f"fit: freeze={recipe.freeze} holds all {count} parameters of the network, "
            "so nothing is trained.",
            remedies=[Remedy("leave some layers out of it")],
        )
    what = f"all {count} parameters are frozen" if count else "it has no parameters"
    raise TrainingError(
        f"fit: the network cannot be trained: {what}.",
        remedies=[Remedy("let some ask for a gradient (p.requires_grad_())")]
        if count
        else [Remedy("give it layers with weights")],
    )


def _near(pattern: str, names: Iterable[str]) -> list[str]:
    """The name most like the pattern's, or the outermost layers if none is."""
    bare = re.sub(r"[*?\[\]]", "", pattern).strip(".")
    near = difflib.get_close_matches(bare, list(names), n=1, cutoff=0.5)
    return near or sorted({name.partition(".")[0] for name in names})


def _is_in(name: str, layers: Iterable[str]) -> bool:
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)
