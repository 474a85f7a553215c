"""The learning rate as a function of progress; it has no state to save."""

import math

from convscope.train.recipe import Recipe

_FLOOR = 0.04  # where one-cycle's rise begins, as a part of the peak


def warmup_part(recipe: Recipe) -> float:
    """Part of training in which the rate rises.

    >>> warmup_part(Recipe(schedule="onecycle")), warmup_part(Recipe(warmup=0.5))
    (0.2, 0.5)
    """
    if recipe.warmup is not None:
        return recipe.warmup
    return 0.2 if recipe.schedule == "onecycle" else 0.0


def rate(recipe: Recipe, progress: float) -> float:
    """Learning rate when ``progress`` (0 to 1) of the training is done.

    ========  ======================================================================
    onecycle  straight up from 4 % to the peak, then straight down to 0
    cosine    half a cosine from the peak to 0
    step      the peak, times ``step_factor`` at each of ``step_at``
    constant  the peak
    ========  ======================================================================

    All rise in a straight line during ``warmup`` first.

    Source:
        Smith and Topin, arXiv:1708.07120 (one cycle; there momentum moves too);
        Loshchilov and Hutter, arXiv:1608.03983 (cosine, without restarts).

    >>> [round(rate(Recipe(learning_rate=1.0), p), 3) for p in (0.0, 0.2, 0.6, 1.0)]
    [0.04, 1.0, 0.5, 0.0]
    """
    warmup = warmup_part(recipe)
    peak = recipe.learning_rate
    if progress < warmup:
        return peak * (_FLOOR + (1 - _FLOOR) * progress / warmup)
    if recipe.schedule == "step":
        passed = sum(progress >= at for at in recipe.step_at)
        return peak * recipe.step_factor**passed
    if recipe.schedule == "constant":
        return peak
    after = (min(progress, 1.0) - warmup) / (1 - warmup)
    if recipe.schedule == "cosine":
        return peak * (1 + math.cos(math.pi * after)) / 2
    return peak * (1 - after)
