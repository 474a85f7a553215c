"""What a recipe's network runs in: measured, or as a run says that it was before."""

from collections.abc import Callable, Sequence

from torch import nn

from convscope.errors import ArgumentError
from convscope.execution import Setting, choose
from convscope.train.recipe import Recipe

JUDGING_SECONDS = 0.4  # to measure for, where a few images may be all there is
JUDGING_IMAGES = 256  # one number for all that judges, so that all find one setting


def training_setting(
    net: nn.Module, input_shape: Sequence[int], recipe: Recipe
) -> Setting:
    """The setting that trains ``net`` fastest, as far as the recipe leaves a choice.

    >>> recipe = Recipe(device="cpu", precision="float32", optimize=False)
    >>> str(training_setting(nn.Linear(2, 2), (2,), recipe))
    'cpu, float32'
    """
    return choose(
        net,
        input_shape,
        device=recipe.device,
        precision=recipe.precision,
        batch_size=recipe.batch_size,
        optimize=recipe.optimize,
    )


def judging_setting(
    net: nn.Module,
    input_shape: Sequence[int],
    *,
    device: str = "auto",
    precision: str = "auto",
    optimize: bool = True,
    images: int = JUDGING_IMAGES,
) -> Setting:
    """The setting that evaluates and predicts fastest, ``images`` at a time.

    >>> str(judging_setting(nn.Linear(2, 2), (2,), device="cpu", optimize=False))
    'cpu, float32'
    """
    return choose(
        net,
        input_shape,
        device=device,
        precision=precision,
        batch_size=images,
        training=False,
        optimize=optimize,
        seconds=JUDGING_SECONDS,
    )


def same_setting(words: object, otherwise: Callable[[], Setting]) -> Setting:
    """The setting that a checkpoint names, where this machine has it.

    A run goes on to the same bits only as it began; another machine may have to go on
    otherwise.

    >>> from convscope.execution import choose
    >>> here = choose(nn.Linear(2, 2), device="cpu")
    >>> same_setting(here.to_dict(), lambda: here) == here
    True
    """
    if not isinstance(words, dict):
        return otherwise()
    try:
        return Setting.from_dict(words)
    except (ArgumentError, KeyError, TypeError, ValueError):
        return otherwise()
