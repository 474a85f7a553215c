"""A convolution window by window: what a film of convolution arithmetic shows."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from convscope.arithmetic import (
    kernel_span,
    output_size,
    resolve_paddings,
    transposed_output_size,
)
from convscope.arithmetic.axis import per_axis
from convscope.arithmetic.borders import (
    PADDING_MODES,
    BorderMode,
    PaddingMode,
    border_element,
)
from convscope.arithmetic.padding import (
    PaddingLike,
    parse_padding,
    resolve_transposed_padding,
)
from convscope.arithmetic.shapes import require_room
from convscope.arithmetic.windows import Table, transposed_windows, windows
from convscope.errors import ArgumentError, ShapeError, UnknownNameError

Array = npt.NDArray[np.float64]
MOST = 4096  # windows


@dataclass(frozen=True, eq=False)
class Step:
    """One window: what lies under each tap, and the sum.

    Attributes:
        output: Place of the sum on the output's space.
        cells: For each tap in order, its place on the grid that is drawn.
        elements: For each tap, the input element under it; None on padding, or between
            the elements that a transposed convolution spreads.
        values: (C, taps) what lies under the taps.
        weights: (C, taps) what they are multiplied by.
        scale: What the sum is multiplied by: with partial padding the number of taps
            over the number of those on the input, else 1.
        value: The sum, scaled.
    """

    output: tuple[int, ...]
    cells: tuple[tuple[int, ...], ...]
    elements: tuple[tuple[int, ...] | None, ...]
    values: Array
    weights: Array
    scale: float
    value: float

    @property
    def products(self) -> Array:
        """(C, taps) the values times the weights."""
        return self.values * self.weights

    def __str__(self) -> str:
        """The sum as a lecture would write it."""
        terms = [
            f"{_factor(value)}×{_factor(weight)}"
            for value, weight in zip(
                self.values.ravel(), self.weights.ravel(), strict=True
            )
            if value * weight != 0
        ]
        total = " + ".join(terms) if terms else "0"
        if self.scale != 1:
            total = f"({total})·{self.scale:.3g}"
        return f"{total} = {self.value:.4g}".replace("-", "−")


def _factor(value: float) -> str:
    return f"{value:.4g}" if value >= 0 else f"({value:.4g})"


@dataclass(frozen=True, eq=False)
class ConvolutionSteps:
    """Every window of one output channel, in order.

    Attributes:
        kind: ``"convolution"`` or ``"transposed convolution"``.
        grid: (C, *space) what is drawn: the input with its padding, or spread.
        is_input: (*space) which cells of the grid are elements of the input.
        kernel: (C, *taps) as it is laid on the grid.
        output: (*space) all sums.
        steps: The windows.
        size: (*space) of the input.
        settings: What was asked for, in words.
    """

    kind: str
    grid: Array
    is_input: npt.NDArray[np.bool_]
    kernel: Array
    output: Array
    steps: tuple[Step, ...]
    size: tuple[int, ...]
    settings: str

    def matrix(self) -> Array:
        """The same convolution as a matrix: a row for each window.

        Doubly block Toeplitz where the padding is zeros: the row of a window is that
        of its neighbor, moved. Columns are the input's elements, channel by channel.

        Shape:
            return: (outputs, C * elements)
        """
        elements = math.prod(self.size)
        rows = np.zeros((len(self.steps), len(self.grid) * elements))
        for row, step in enumerate(self.steps):
            for tap, element in enumerate(step.elements):
                if element is not None:
                    place = int(np.ravel_multi_index(element, self.size))
                    for channel, weights in enumerate(step.weights):
                        weight = weights[tap] * step.scale
                        rows[row, channel * elements + place] += weight
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists."""
        return {
            "kind": self.kind,
            "settings": self.settings,
            "grid": self.grid.tolist(),
            "kernel": self.kernel.tolist(),
            "output": self.output.tolist(),
            "steps": [
                {
                    "output": list(step.output),
                    "cells": [list(cell) for cell in step.cells],
                    "elements": [e and list(e) for e in step.elements],
                    "products": step.products.tolist(),
                    "scale": step.scale,
                    "value": step.value,
                }
                for step in self.steps
            ],
        }


def convolution_steps(
    image: npt.ArrayLike,
    kernel: npt.ArrayLike,
    *,
    stride: int | Sequence[int] = 1,
    padding: PaddingLike = 0,
    padding_mode: PaddingMode = "zeros",
    dilation: int | Sequence[int] = 1,
    transposed: bool = False,
    output_padding: int | Sequence[int] = 0,
    flip: bool = False,
    axes: int | None = None,
) -> ConvolutionSteps:
    """What lies under every tap of every window, and the sums.

    Args:
        image: Numbers, with or without channels.
        kernel: Numbers of one filter, with as many axes as the image. Of a grouped
            convolution give the channels of the filter's own group.
        stride: Step of the windows; of a transposed convolution, of the outputs that
            neighboring inputs reach.
        padding: As ``layers.Conv2d`` takes it.
        padding_mode: What padding holds.
        dilation: Step of the taps.
        transposed: Whether it is a transposed convolution, drawn as its equal: the
            input spread by the stride, padded, under the flipped kernel.
        output_padding: Elements added at the output's end; transposed only.
        flip: Turn the kernel around first: convolution as signal processing has it.
        axes: Axes of space, 1 to 3. By default arrays of 1 and 2 axes are one channel,
            (L) and (H, W), those of 3 and 4 have channels, (C, H, W) and (C, D, H, W).

    Shape:
        image:  (C, *space) or (*space)
        kernel: (C, *taps) or (*taps)

    Raises:
        ShapeError: No window fits, or the kernel has other axes or channels.
        ArgumentError: More than 4,096 windows, or settings that do not go together.
        UnknownNameError: Another padding mode.

    >>> found = convolution_steps([1.0, 2.0, 3.0], [1.0, -1.0])
    >>> found.output.tolist(), str(found.steps[0])
    ([-1.0, -1.0], '1×1 + 2×(−1) = −1')
    """
    where = "convolution_steps"
    x, w = _channels(image, kernel, axes, where)
    axes = x.ndim - 1
    if padding_mode not in PADDING_MODES:
        raise UnknownNameError("padding_mode", padding_mode, PADDING_MODES)
    if flip:
        w = np.flip(w, tuple(range(1, w.ndim)))
    space, taps = x.shape[1:], w.shape[1:]
    strides = per_axis(stride, axes, name="stride", where=where)
    dilations = per_axis(dilation, axes, name="dilation", where=where)
    if transposed:
        if padding_mode != "zeros":
            raise ArgumentError(
                f"{where}: padding_mode={padding_mode!r} has no meaning where padding "
                "is cut off the output, as of a transposed convolution. Leave it out."
            )
        plan = _transposed(space, taps, strides, padding, dilations, output_padding)
    elif np.any(output_padding):
        raise ArgumentError(
            f"{where}: output_padding={output_padding} is for transposed convolutions. "
            "Leave it out, or give transposed=True."
        )
    else:
        plan = _plain(space, taps, strides, padding, dilations)
        require_room(space, plan.padding, padding_mode, where=where)
    count = math.prod(plan.outputs)
    if count > MOST:
        raise ArgumentError(
            f"{where}: {count:,} windows are more than a film can show ({MOST:,}). "
            "Give a smaller image."
        )
    laid = np.flip(w, tuple(range(1, w.ndim))) if transposed else w
    grid, is_input = _grid(x, plan, padding_mode)
    steps = [
        _step(output, x, w, plan, padding_mode)
        for output in itertools.product(*map(range, plan.outputs))
    ]
    found = np.array([step.value for step in steps]).reshape(plan.outputs)
    return ConvolutionSteps(
        kind="transposed convolution" if transposed else "convolution",
        grid=grid,
        is_input=is_input,
        kernel=laid,
        output=found,
        steps=tuple(steps),
        size=space,
        settings=_words(strides, plan, padding_mode, dilations, flip),
    )


@dataclass(frozen=True)
class _Plan:
    """Where everything lies, axis by axis."""

    tables: list[Table]  # input element under each tap of each output
    places: list[list[list[int]]]  # the same as cells of the grid
    outputs: tuple[int, ...]
    before: tuple[int, ...]  # cells of the grid before the first element
    step: tuple[int, ...]  # cells from one element to the next
    shape: tuple[int, ...]  # of the grid
    padding: tuple[tuple[int, int], ...]
    spans: tuple[int, ...]


def _plain(
    space: tuple[int, ...],
    taps: tuple[int, ...],
    strides: tuple[int, ...],
    padding: PaddingLike,
    dilations: tuple[int, ...],
) -> _Plan:
    pads = resolve_paddings(
        padding, space, taps, stride=strides, dilation=dilations,
        where="convolution_steps",
    )  # fmt: skip
    tables, places, outputs = [], [], []
    for size, k, s, pad, d in zip(space, taps, strides, pads, dilations, strict=True):
        outputs.append(
            output_size(size, k, stride=s, padding=pad, dilation=d,
                        where="convolution_steps")
        )  # fmt: skip
        tables.append(windows(size, k, stride=s, padding=pad, dilation=d))
        places.append([[o * s + t * d for t in range(k)] for o in range(outputs[-1])])
    return _Plan(
        tables, places, tuple(outputs), tuple(before for before, _ in pads),
        (1,) * len(space),
        tuple(n + sum(pad) for n, pad in zip(space, pads, strict=True)), pads,
        tuple(map(kernel_span, taps, dilations)),
    )  # fmt: skip


def _transposed(
    space: tuple[int, ...],
    taps: tuple[int, ...],
    strides: tuple[int, ...],
    padding: PaddingLike,
    dilations: tuple[int, ...],
    output_padding: int | Sequence[int],
) -> _Plan:
    where = "convolution_steps"
    more = per_axis(output_padding, len(space), name="output_padding", minimum=0,
                    where=where)  # fmt: skip
    tables, places, outputs, befores, shape, pads = [], [], [], [], [], []
    parsed = parse_padding(padding, len(space), where=where)
    for size, k, s, pad, d, extra in zip(
        space, taps, strides, parsed, dilations, more, strict=True
    ):
        own, added = resolve_transposed_padding(pad, k, stride=s, dilation=d)
        extra = extra or added
        out = transposed_output_size(size, k, stride=s, padding=own, dilation=d,
                                     output_padding=extra, where=where)  # fmt: skip
        reach = kernel_span(k, d) - 1
        # Output o reads cells o .. o + reach of the spread input, padded by `reach`
        # less what is cut off; the flipped kernel lies on them.
        before = max(0, reach - own[0])
        shift = before - (reach - own[0])
        tables.append(
            transposed_windows(size, k, stride=s, padding=own, dilation=d,
                               output_padding=extra)
        )  # fmt: skip
        places.append(
            [[o + reach - t * d + shift for t in range(k)] for o in range(out)]
        )
        spread = (size - 1) * s + 1
        last = max(out - 1 + reach + shift, before + spread - 1)
        outputs.append(out)
        befores.append(before)
        shape.append(last + 1)
        pads.append(own)
    return _Plan(
        tables, places, tuple(outputs), tuple(befores), strides, tuple(shape),
        tuple(pads), tuple(map(kernel_span, taps, dilations)),
    )  # fmt: skip


def _step(
    output: tuple[int, ...], x: Array, w: Array, plan: _Plan, mode: PaddingMode
) -> Step:
    rows = [table[o] for table, o in zip(plan.tables, output, strict=True)]
    cells = [place[o] for place, o in zip(plan.places, output, strict=True)]
    elements: list[tuple[int, ...] | None] = []
    values = []
    for tap in itertools.product(*(range(len(row)) for row in rows)):
        place = tuple(cells[axis][t] for axis, t in enumerate(tap))
        under: list[int | None] = [rows[axis][t] for axis, t in enumerate(tap)]
        if None in under and mode not in ("zeros", "partial"):
            under = [
                border_element(
                    (p - b) // s, size, cast("BorderMode", mode)
                )
                for p, b, s, size in zip(
                    place, plan.before, plan.step, x.shape[1:], strict=True
                )
            ]  # fmt: skip
        if None in under:
            elements.append(None)
            values.append(np.zeros(len(x)))
        else:
            element: Any = tuple(under)
            elements.append(element)
            values.append(x[(slice(None), *element)])
    under_taps, weights = np.stack(values, axis=1), w.reshape(len(w), -1)
    inside = sum(element is not None for element in elements)
    scale = 1.0
    if mode == "partial":
        scale = len(elements) / inside if inside else 0.0
    return Step(
        output=output,
        cells=tuple(itertools.product(*cells)),
        elements=tuple(elements),
        values=under_taps,
        weights=weights,
        scale=scale,
        value=float((under_taps * weights).sum() * scale),
    )


def _grid(
    x: Array, plan: _Plan, mode: PaddingMode
) -> tuple[Array, npt.NDArray[np.bool_]]:
    grid = np.zeros((len(x), *plan.shape))
    is_input = np.zeros(plan.shape, bool)
    inner: Any = tuple(
        slice(b, b + (n - 1) * s + 1, s)
        for b, n, s in zip(plan.before, x.shape[1:], plan.step, strict=True)
    )
    grid[(slice(None), *inner)] = x
    is_input[inner] = True
    if mode in ("zeros", "partial", "constant"):
        return grid, is_input
    for cell in itertools.product(*map(range, plan.shape)):
        if is_input[cell]:
            continue
        places = zip(cell, plan.before, x.shape[1:], strict=True)
        element = [border_element(c - b, n, cast("BorderMode", mode))
                   for c, b, n in places]  # fmt: skip
        if None not in element:
            here: Any = (slice(None), *cell)
            there: Any = (slice(None), *element)
            grid[here] = x[there]
    return grid, is_input


def _channels(
    image: npt.ArrayLike, kernel: npt.ArrayLike, axes: int | None, where: str
) -> tuple[Array, Array]:
    x, w = np.asarray(image, np.float64), np.asarray(kernel, np.float64)
    if x.ndim != w.ndim or not x.size or not w.size:
        raise ShapeError(
            f"{where}: image has shape {x.shape} and kernel {w.shape}. Give both as "
            "(C, *space), or both without a channel axis."
        )
    if not (np.isfinite(x).all() and np.isfinite(w).all()):
        raise ArgumentError(
            f"{where}: image or kernel holds numbers that are not finite."
        )
    if axes is None:
        axes = x.ndim if x.ndim < 3 else x.ndim - 1
    if axes not in (1, 2, 3) or x.ndim not in (axes, axes + 1):
        raise ShapeError(
            f"{where}: image {x.shape} does not have axes={axes} of space, with or "
            "without channels. Give axes=1, 2 or 3."
        )
    if x.ndim == axes:
        x, w = x[None], w[None]
    if x.shape[0] != w.shape[0]:
        raise ShapeError(
            f"{where}: image {x.shape} has {x.shape[0]} channels, kernel {w.shape} "
            f"{w.shape[0]}. Give the same channels to both."
        )
    return x, w


def _words(
    strides: tuple[int, ...],
    plan: _Plan,
    mode: PaddingMode,
    dilations: tuple[int, ...],
    flip: bool,
) -> str:
    def each(name: str, values: Sequence[Any], usual: Any) -> list[str]:
        if all(value == usual for value in values):
            return []
        same = len(set(values)) == 1
        return [f"{name} {values[0] if same else ' x '.join(map(str, values))}"]

    pads = [a if a == b else f"{a}+{b}" for a, b in plan.padding]
    found = [*each("stride", strides, 1), *each("padding", pads, 0)]
    if mode != "zeros" and any(any(pair) for pair in plan.padding):
        found[-1] += f" ({mode})"
    found += each("dilation", dilations, 1)
    if flip:
        found.append("kernel flipped")
    return ", ".join(found) or "stride 1, no padding"
