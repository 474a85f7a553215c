"""Every window of a layer with its numbers: what the desk and the quiz animate."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from convscope.analysis.explaining.convolution_steps import (
    ConvolutionSteps,
    Step,
    convolution_steps,
)
from convscope.errors import ArgumentError, ConvscopeError
from convscope.functional.filters import FILTERS, filter_kernel
from convscope.serve.workshop.settings import Axes

MOST_WINDOWS = 400  # that are drawn; sizes and costs are told of any
MOST_CELLS = 4000  # of the grid that is drawn
MOST_CHANNELS = 4
Array = npt.NDArray[np.float64]


def window_film(axes: Axes, outputs: tuple[int, ...]) -> dict[str, Any]:
    """The windows in order, if they are few enough to be drawn.

    Args:
        axes: Of the layer.
        outputs: Its output's sizes.

    Returns:
        ``film``, or None with the reason in ``film_note``; ``other``, what the same
        kernel gives turned around: convolution beside cross-correlation.

    Raises:
        ArgumentError: The named filter has other axes or taps than the kernel.
    """
    given = axes.given
    note = _too_many(axes, outputs)
    if note:
        return {"film": None, "film_note": note, "other": None}
    image, kernel = _numbers(axes)
    if given.is_pooling:
        return {"film": _pooled(axes, image), "film_note": "", "other": None}
    film, other = (
        _steps(axes, image, kernel, flip=f) for f in (given.flip, not given.flip)
    )
    return {"film": _record(film), "film_note": "", "other": other.output.tolist()}


def require_numbers(axes: Axes, outputs: tuple[int, ...]) -> None:
    """Refuses what `window_film` refuses, without the film.

    Raises:
        ArgumentError: The named filter has other axes or taps than the kernel.
    """
    if not _too_many(axes, outputs):
        _numbers(axes)


def _channels(axes: Axes) -> int:
    """Of the input that are drawn: those of one group; one of a pooling."""
    given = axes.given
    return 1 if given.is_pooling else given.channels // given.groups


def _too_many(axes: Axes, outputs: tuple[int, ...]) -> str:
    """Why the windows are not drawn; empty if they are."""
    given, channels = axes.given, _channels(axes)
    cells = channels * math.prod(
        size * (step if given.is_transposed else 1) + sum(ends)
        for size, step, ends in zip(axes.size, axes.stride, axes.ends, strict=True)
    )
    windows = math.prod(outputs)
    if windows > MOST_WINDOWS or cells > MOST_CELLS or channels > MOST_CHANNELS:
        return (
            f"{windows:,} windows on {cells:,} cells of {channels} channels are too "
            f"many to be drawn: at most {MOST_WINDOWS}, {MOST_CELLS:,} and "
            f"{MOST_CHANNELS} are."
        )
    return ""


def kernel_names(axes: int) -> dict[str, list[int]]:
    """Named kernels that have a form of so many axes, with their taps."""
    found = {}
    for name in FILTERS:
        try:
            found[name] = list(filter_kernel(name, axes=axes).shape)
        except ConvscopeError:
            continue
    return found


def _numbers(axes: Axes) -> tuple[Array, Array]:
    """The input (C, *space) and the kernel (C, *taps) that are drawn."""
    given, channels = axes.given, _channels(axes)
    rng = np.random.default_rng(given.seed)
    image = rng.integers(0, 10 if given.is_pooling else 4, (channels, *axes.size))
    kernel = rng.integers(-1, 3, (channels, *axes.kernel)).astype(np.float64)
    if given.filter:
        own = filter_kernel(given.filter, axes=given.axes).double().numpy()
        if own.shape != axes.kernel:
            shape = "x".join(map(str, own.shape))
            raise ArgumentError(
                f"desk: filter={given.filter!r} has {shape} taps, the kernel "
                f"{'x'.join(map(str, axes.kernel))}. Set kernel to {shape}."
            )
        kernel[:] = own
    return image.astype(np.float64), kernel


def _steps(axes: Axes, image: Array, kernel: Array, *, flip: bool) -> ConvolutionSteps:
    given = axes.given
    named = isinstance(given.padding, str) and not given.is_transposed
    return convolution_steps(
        image, kernel, stride=axes.stride,
        padding=given.padding if named else axes.ends, padding_mode=given.mode,
        dilation=axes.dilation, transposed=given.is_transposed,
        output_padding=axes.more if given.is_transposed else 0, flip=flip,
        axes=given.axes,
    )  # fmt: skip


def _record(film: ConvolutionSteps) -> dict[str, Any]:
    """What is drawn: the grid, and for each window the cells under its taps."""
    return {
        "kind": film.kind,
        "size": list(film.size),
        "grid": film.grid.tolist(),
        "is_input": film.is_input.tolist(),
        "kernel": film.kernel.tolist(),
        "output": film.output.tolist(),
        "steps": [
            {
                "output": list(step.output),
                "cells": [list(cell) for cell in step.cells],
                "weights": step.weights.tolist(),
                "value": step.value,
                "text": str(step),
            }
            for step in film.steps
        ],
    }


def _pooled(axes: Axes, image: Array) -> dict[str, Any]:
    """The windows of a pooling: those of a convolution, with another rule."""
    record = _record(
        film := _steps(axes, image, np.ones((1, *axes.kernel)), flip=False)
    )
    largest = axes.given.operation == "max pooling"
    record["kind"] = axes.given.operation
    record["kernel"] = None
    for drawn, step in zip(record["steps"], film.steps, strict=True):
        del drawn["weights"]
        value, drawn["text"] = _largest(step) if largest else _mean(step)
        drawn["value"] = value
        film.output[step.output] = value
    record["output"] = film.output.tolist()
    return record


def _largest(step: Step) -> tuple[float, str]:
    taken = [
        value
        for value, element in zip(step.values[0], step.elements, strict=True)
        if element is not None
    ]
    text = ", ".join(f"{value:g}" for value in taken)
    return max(taken), f"max({text}) = {max(taken):g}"


def _mean(step: Step) -> tuple[float, str]:
    values = step.values[0]
    text = " + ".join(f"{value:g}" for value in values)
    mean = float(values.mean())
    return mean, f"({text}) / {len(values)} = {mean:.4g}"
