"""The network that an argument names: a run, a model, or a function of the user's."""

import contextlib
import importlib
import inspect
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from convscope import models
from convscope.errors import ArgumentError

if TYPE_CHECKING:
    from convscope.train.run import Run


@dataclass(frozen=True)
class Named:
    """A network with weights, and what is known of it.

    Attributes:
        net: The network, in evaluation.
        name: What to call it.
        input_shape: (C, *space) of one input; None where nobody said.
        run: The run that it is of, if it is of one.
        weights: What its weights were asked for by: a name or a file.
        is_random: Whether its weights are those of a new network.
        scaling: How pixels become its inputs, as ``--scaling`` was given.
    """

    net: nn.Module
    name: str
    input_shape: tuple[int, ...] | None
    run: "Run | None" = None
    weights: str | None = None
    is_random: bool = False
    scaling: str | None = None

    @property
    def title(self) -> str:
        """Its name, and that nothing was learned if that is so."""
        return f"{self.name} (random weights)" if self.is_random else self.name

    @property
    def classes(self) -> tuple[str, ...] | None:
        """What its outputs are called; None where nobody said."""
        if self.run is not None:
            return self.run.spec.classes
        known = models.PRETRAINED.get(self.name)
        return known.classes if known and known.name == self.weights else None


def named_network(
    target: str,
    *,
    where: str,
    sizes: Sequence[str] | None = None,
    arguments: Sequence[str] | None = None,
    weights: str | None = None,
    scaling: str | None = None,
    seed: int = 0,
) -> Named:
    """The network of a run folder, of a model's name, or of package.module:factory.

    Args:
        target: Which.
        where: What an error message begins with.
        sizes: Its input, as ``--input`` was given.
        arguments: Of the factory or model, as ``--arg`` was given.
        weights: Published weights by name, or a weights file; of a model.
        scaling: How pixels become inputs, as ``--scaling`` was given; of a network
            of which nobody knows.
        seed: Of the weights of a new network.

    Raises:
        ArgumentError: There is nothing of that name, or arguments that it cannot take.
    """
    path = Path(target)
    given = [size_of(text, where=where) for text in sizes or ()]
    named = dict(argument_of(text, where=where) for text in arguments or ())
    if len(given) > 1:
        raise ArgumentError(f"{where}: --input is given twice. Give it once.")
    shape = given[0] if given else None
    if path.is_dir():
        if named or weights:
            raise ArgumentError(
                f"{where}: {target} is a run, which has its own model and weights. "
                "Leave out --arg and --weights."
            )
        if scaling is not None:
            raise ArgumentError(
                f"{where}: {target} is a run, which takes pictures as in its training. "
                "Leave out --scaling."
            )
        return _of_run(path, shape)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        if ":" in target:
            if weights:
                raise ArgumentError(
                    f"{where}: --weights is for our models. Load them in {target}."
                )
            net = from_factory(target, named, where=where).eval()
            return Named(net, target.rpartition(":")[2], shape, scaling=scaling)
        if len(path.parts) > 1 or path.suffix:
            raise ArgumentError(
                f"{where}: {target} is not there. Give a run folder, a model's name, "
                "or package.module:factory."
            )
        if weights and scaling is not None:
            raise ArgumentError(
                f"{where}: {target} takes pictures as in the training of its weights. "
                "Leave out --scaling."
            )
        return replace(_of_model(target, shape, named, weights), scaling=scaling)


def _of_run(path: Path, shape: tuple[int, ...] | None) -> Named:
    from convscope.train.run import Run

    run = Run.load(path)
    return Named(run.net.eval(), path.name, shape or run.spec.input_shape, run)


def _of_model(
    name: str,
    shape: tuple[int, ...] | None,
    named: dict[str, Any],
    weights: str | None,
) -> Named:
    card = models.find(name)
    shape = shape or card.input_shape
    arguments: dict[str, Any] = {} if weights else {"num_classes": card.num_classes}
    arguments |= named
    net = models.build(
        name, in_channels=shape[0], input_size=shape[1:], weights=weights, **arguments
    )
    return Named(net.eval(), name, shape, weights=weights, is_random=weights is None)


def from_factory(
    target: str, named: dict[str, Any], *, where: str, device: str = "cpu"
) -> nn.Module:
    """Calls ``package.module:factory`` with the named arguments.

    Raises:
        ArgumentError: There is no such module or function, it takes other arguments, or
            it makes no torch.nn.Module.
    """
    place, _, factory = target.partition(":")
    sys.path.insert(0, str(Path.cwd()))  # the caller's own file, as python -m finds it
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"{where}: {target}: there is no module {error.name!r}. Give a module that "
            "python can import from here, such as package.module:factory."
        ) from error
    finally:
        sys.path.remove(str(Path.cwd()))
    made: Any = module
    for part in factory.split("."):
        if not hasattr(made, part):
            raise ArgumentError(
                f"{where}: {target}: {place} has no {part!r}. Give the name of a class "
                "or a function in it."
            )
        made = getattr(made, part)
    if not isinstance(made, nn.Module):
        try:
            with contextlib.suppress(ValueError):  # a builtin that does not tell
                inspect.signature(made).bind(**named)
        except TypeError as error:
            raise ArgumentError(
                f"{where}: {target}: {error}. Give its arguments with --arg key=value."
            ) from error
        with torch.device(device):
            made = made(**named)
    if not isinstance(made, nn.Module):
        raise ArgumentError(
            f"{where}: {target} makes a {type(made).__name__}. It must make a "
            "torch.nn.Module."
        )
    return made


def size_of(text: str, *, where: str) -> tuple[int, ...]:
    """The size in a text: ``1,32,32`` or ``1x32x32``.

    >>> size_of("1x28x28", where="show")
    (1, 28, 28)
    """
    parts = text.replace("x", ",").split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise ArgumentError(
            f"{where}: --input {text} is not a size. Give numbers without the batch "
            "axis, such as --input 3,224,224."
        )
    return tuple(int(part) for part in parts)


def argument_of(text: str, *, where: str) -> tuple[str, Any]:
    """``key=value``; the value is read as JSON where it is JSON.

    >>> argument_of("width=16", where="show")
    ('width', 16)
    """
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise ArgumentError(
            f"{where}: --arg {text} is not key=value. Write --arg num_classes=10."
        )
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value
