"""Finds a learning rate by trying rising ones on a copy of the network."""

import copy
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from convscope.data import Dataset
from convscope.data.batching.batches import Batch, Batches
from convscope.errors import ArgumentError, TrainingError
from convscope.execution import Optimized
from convscope.train.classification import class_weights, heads_of
from convscope.train.fastest_setting import training_setting
from convscope.train.recipe import Recipe
from convscope.train.training.loop import training_batches
from convscope.train.training.optimizer import Optimizer
from convscope.train.training.step import TrainingStep, key_generators


@dataclass(frozen=True)
class RateSearch:
    """Losses at rising learning rates, and what they suggest.

    Attributes:
        rates: One for each step tried.
        losses: Smoothed training loss after each.
        suggestion: A tenth of the rate at which the loss was lowest: below the point
            where training starts to come apart.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float


def find_rate(
    net: nn.Module,
    data: Dataset,
    recipe: Recipe,
    *,
    steps: int = 100,
    lowest: float = 1e-5,
    highest: float = 10.0,
    output: str | int | None = None,
    auxiliary: Mapping[Any, float] | None = None,
) -> RateSearch:
    """Trains a copy of ``net`` for ``steps`` steps, each at a higher rate.

    The network itself, its training flags and torch's random state are as before.

    Args:
        net: Stays as it is.
        data: Its training part is drawn from as in training.
        recipe: Everything but the learning rate is taken from it.
        steps: How many rates are tried.
        lowest: The first rate.
        highest: The last rate; the search ends earlier if the loss explodes.
        output: Which of the network's outputs is for the classes, as in ``fit``.
        auxiliary: Others that are trained with it, as in ``fit``.

    Raises:
        ShapeError: The network gives several outputs, and none is chosen.
        ArgumentError: Fewer than 10 steps, or the rates do not rise.
        TrainingError: The loss is not finite from the beginning.

    Source:
        Smith, arXiv:1506.01186, section 3.3; there the rate rises in a straight line,
        here by a constant factor, and the suggestion is a rule of thumb.

    >>> from convscope.data import load
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> 1e-5 < find_rate(net, load("digits"), Recipe(), steps=20).suggestion < 10
    True
    """
    if steps < 10:
        raise ArgumentError(f"find_rate: steps={steps} must be at least 10.")
    if not 0 < lowest < highest:
        raise ArgumentError(
            f"find_rate: lowest={lowest} must be above 0 and below highest={highest}."
        )
    heads = heads_of(output, auxiliary)
    setting = training_setting(net, data.input_shape, recipe)
    trial = setting.place(copy.deepcopy(net)).train()
    fast = Optimized(trial, setting, same_dropout=True)
    batches = training_batches(data, recipe, setting)
    optimizer = Optimizer(trial, recipe)
    factor = (highest / lowest) ** (1 / (steps - 1))
    rates: list[float] = []
    losses: list[float] = []
    smooth = 0.0
    one_step = TrainingStep(
        trial,
        fast,
        optimizer,
        label_smoothing=recipe.label_smoothing,
        class_weights=class_weights(data, recipe, setting.device),
        clip_norm=recipe.clip_norm,
        heads=heads,
    )
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        for step, batch in enumerate(itertools.islice(_endless(batches), steps)):
            key_generators(recipe.seed, step, setting.device)
            optimizer.set_rate(lowest * factor**step)
            loss = one_step.loss(batch.images, batch.targets)
            value = loss.item()
            if not math.isfinite(value) or (losses and value > 4 * losses[0]):
                break
            one_step.update(loss)
            smooth = 0.9 * smooth + 0.1 * value
            rates.append(lowest * factor**step)
            losses.append(smooth / (1 - 0.9 ** (step + 1)))
    if len(losses) < 2:
        raise TrainingError(
            f"find_rate: the loss is {value} at the lowest rate {lowest:g}. "
            "Check the data and the network's first weights."
        )
    best = min(range(len(losses)), key=losses.__getitem__)
    return RateSearch(tuple(rates), tuple(losses), _round(rates[best] / 10))


def _endless(batches: Batches) -> Iterator[Batch]:
    for epoch in itertools.count():
        yield from batches.epoch(epoch)


def _round(rate: float) -> float:
    """Two significant digits: more would claim a precision that is not there."""
    return float(f"{rate:.1e}")
