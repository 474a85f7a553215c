"""Convolution arithmetic in motion: a frame for each window."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from convscope.analysis.explaining.convolution_steps import ConvolutionSteps, Step
from convscope.errors import ArgumentError
from convscope.viz.film import Film, Frame
from convscope.viz.picture import require_record
from convscope.viz.scene import WIDTH_OF_LETTER, Box, Boxes, Item, Scene, Words, fitted

Array = npt.NDArray[np.float64]

CELL, GAP, MARGIN = 30.0, 26.0, 16.0
FRAMES = 1024
MATRIX = 3000  # entries of the matrix that are drawn beside
CHANNELS = 4  # drawn of the input


def arithmetic(
    found: ConvolutionSteps, *, seconds: float = 0.8
) -> Film[ConvolutionSteps]:
    """A film of a convolution: window, products, sum, and the row of its matrix.

    Cells of the input are white, padding and what a transposed convolution spreads are
    gray; the window is framed, its cells show what they are multiplied by. Volumes are
    drawn slice by slice.

    Args:
        found: From `convscope.analysis.convolution_steps`.
        seconds: Of each frame at normal speed.

    Raises:
        ArgumentError: More windows than frames (1,024), or more channels than 4.

    >>> from convscope.analysis import convolution_steps
    >>> steps = convolution_steps([[1.0, 2.0], [3.0, 4.0]], [[1.0]], padding=1)
    >>> film = arithmetic(steps)
    >>> len(film.frames), film.frames[5].title
    (16, 'output (1, 1): 1×1 = 1')
    """
    require_record(
        found, ConvolutionSteps, "arithmetic", "cs.analysis.convolution_steps"
    )
    if len(found.steps) > FRAMES:
        raise ArgumentError(
            f"arithmetic: {len(found.steps):,} windows make too long a film. Give an "
            f"input with at most {FRAMES:,} windows."
        )
    if len(found.grid) > CHANNELS:
        raise ArgumentError(
            f"arithmetic: {len(found.grid)} channels do not fit beside each other. "
            f"Give at most {CHANNELS}."
        )
    layout = _Layout(found)
    frames = [
        Frame(f"output {_place(step.output)}: {step}", layout.scene(number))
        for number, step in enumerate(found.steps)
    ]
    name = f"{found.kind}: {found.settings}"
    return Film(frames, found, name=name, seconds=seconds, vector=True)


class _Layout:
    """Where grid, kernel, output and matrix stand; the same for every frame."""

    def __init__(self, found: ConvolutionSteps) -> None:
        self.found = found
        self.outputs = np.array([step.value for step in found.steps])
        digits = max(
            len(_number(v))
            for v in (*found.grid.ravel(), *found.kernel.ravel(), *self.outputs)
        )
        self.cell = max(CELL, 8 + 7 * digits)
        self.matrix = found.matrix()
        if self.matrix.size > MATRIX:
            self.matrix = np.zeros((0, 0))
        top = MARGIN + 22
        self.grid_at = (MARGIN, top)
        grid_size = self._size(found.grid)
        kernel_size = self._size(found.kernel)
        output_size = self._size(found.output[None])
        if len(found.size) == 1:  # signals lie below each other
            down = self.cell + GAP + 4
            self.kernel_at = (MARGIN, top + down)
            self.output_at = (MARGIN, top + 2 * down)
            bottom = top + 2 * down + self.cell
            wide = max(grid_size[0], kernel_size[0], output_size[0])
            self.width = wide + 2 * MARGIN
        else:
            self.kernel_at = (MARGIN + grid_size[0] + GAP, top)
            self.output_at = (self.kernel_at[0] + kernel_size[0] + GAP, top)
            self.width = self.output_at[0] + output_size[0] + MARGIN
            bottom = top + max(grid_size[1], kernel_size[1], output_size[1])
        self.line_at = bottom + 22
        self.matrix_at = (MARGIN, self.line_at + 42)
        self.height = self.line_at + 18
        if self.matrix.size:
            rows, columns = self.matrix.shape
            self.dot = min(14.0, (self.width - 2 * MARGIN) / columns, 320 / rows)
            self.dot = max(4.0, self.dot)
            self.width = max(self.width, 2 * MARGIN + self.dot * columns)
            self.height = self.matrix_at[1] + self.dot * rows + MARGIN
        self.width = max(self.width, 320.0)

    def scene(self, number: int) -> Scene:
        step = self.found.steps[number]
        items = [*self._grid(step), *self._kernel(), *self._output(number)]
        items += self._sum(step)
        if self.matrix.size:
            items += self._matrix(number)
        said = f"output {_place(step.output)}: {step}"
        return Scene(round(self.width), round(self.height), tuple(items), said=said)

    def _grid(self, step: Step) -> Iterator[Item]:
        found = self.found
        x, y = self.grid_at
        shape = " x ".join(map(str, found.size))
        yield Words(x, y - 14, f"input {shape}", 12, "muted", "start")
        under = {cell: tap for tap, cell in enumerate(step.cells)}
        cells = list(self._cells(found.grid, self.grid_at))
        for fill, is_input in (("paper", True), ("empty", False)):
            corners = [at for _, cell, at in cells if found.is_input[cell] == is_input]
            yield self._squares(corners, fill, "line")
        for channel, cell, (cx, cy) in cells:
            value = found.grid[(channel, *cell)]
            is_input = bool(found.is_input[cell])
            padded = not is_input and value == 0
            inside = cell in under
            if inside:
                yield Box(cx + 1, cy + 1, self.cell - 2, self.cell - 2, "", "accent", 2)
            shade = "muted" if padded else "ink"
            yield Words(cx + self.cell / 2, cy + self.cell * (0.42 if inside else 0.5),
                        "" if padded and not inside else _number(value), 12,
                        shade)  # fmt: skip
            if inside:
                weight = step.weights[channel, under[cell]]
                yield Words(cx + self.cell - 3, cy + self.cell - 6,
                            f"×{_number(weight)}", 8, "accent", "end")  # fmt: skip

    def _kernel(self) -> Iterator[Item]:
        found = self.found
        x, y = self.kernel_at
        title = "kernel" if found.kind == "convolution" else "kernel, flipped"
        yield Words(x, y - 14, title, 12, "muted", "start")
        cells = list(self._cells(found.kernel, self.kernel_at))
        yield self._squares([at for *_, at in cells], "paper", "accent")
        for channel, cell, (cx, cy) in cells:
            yield Words(cx + self.cell / 2, cy + self.cell / 2,
                        _number(found.kernel[(channel, *cell)]), 12,
                        "accent")  # fmt: skip

    def _output(self, number: int) -> Iterator[Item]:
        found = self.found
        x, y = self.output_at
        shape = " x ".join(map(str, found.output.shape))
        yield Words(x, y - 14, f"output {shape}", 12, "muted", "start")
        order = {step.output: place for place, step in enumerate(found.steps)}
        cells = list(self._cells(found.output[None], self.output_at))
        yield self._squares([at for *_, at in cells], "paper", "line")
        for _, cell, (cx, cy) in cells:
            place = order[cell]
            if place == number:
                yield Box(cx + 1, cy + 1, self.cell - 2, self.cell - 2, "", "mark", 2)
            if place <= number:
                yield Words(cx + self.cell / 2, cy + self.cell / 2,
                            _number(found.output[cell]), 12, "ink",
                            bold=place == number)  # fmt: skip

    def _squares(
        self, corners: Sequence[tuple[float, float]], fill: str, line: str
    ) -> Boxes:
        return Boxes(tuple(corners), self.cell, self.cell, fill, line)

    def _sum(self, step: Step) -> Iterator[Item]:
        products, _, total = str(step).rpartition(" = ")
        wide = 0.62 * 13  # digits are wider than letters
        room = self.width - 2 * MARGIN - wide * (len(total) + 3)
        text = f"{fitted(products, room, wide / WIDTH_OF_LETTER)} = {total}"
        yield Words(MARGIN, self.line_at, text, 13, "ink", "start")

    def _matrix(self, number: int) -> Iterator[Item]:
        x, y = self.matrix_at
        rows, columns = self.matrix.shape
        yield Words(x, y - 14, f"the same as a matrix, {rows} x {columns}: row "
                    f"{number}", 12, "muted", "start")  # fmt: skip
        yield Box(x, y, columns * self.dot, rows * self.dot, "empty")
        nonzero = np.argwhere(self.matrix)
        for fill, shown in (
            ("other", nonzero[nonzero[:, 0] != number]),
            ("accent", nonzero[nonzero[:, 0] == number]),
        ):
            corners = tuple((x + self.dot * c, y + self.dot * r) for r, c in shown)
            yield Boxes(corners, self.dot, self.dot, fill, "paper", 0.5)
        yield Box(x, y + number * self.dot, columns * self.dot, self.dot, "", "mark",
                  1.5)  # fmt: skip

    def _size(self, values: Array) -> tuple[float, float]:
        channels, *space = values.shape
        rows, columns = self._plane(space)
        depth = space[0] if len(space) == 3 else 1
        return (
            channels * columns * self.cell + (channels - 1) * GAP / 2,
            depth * rows * self.cell + (depth - 1) * GAP / 2,
        )

    @staticmethod
    def _plane(space: Sequence[int]) -> tuple[int, int]:
        return (1, space[0]) if len(space) == 1 else (space[-2], space[-1])

    def _cells(
        self, values: Array, at: tuple[float, float]
    ) -> Iterator[tuple[int, tuple[int, ...], tuple[float, float]]]:
        channels, *space = values.shape
        rows, columns = self._plane(space)
        for flat in range(math.prod(space)):
            cell = tuple(int(i) for i in np.unravel_index(flat, space))
            row, column = (0, cell[0]) if len(space) == 1 else cell[-2:]
            slice_ = cell[0] if len(space) == 3 else 0
            for channel in range(channels):
                yield channel, cell, (
                    at[0] + channel * (columns * self.cell + GAP / 2)
                    + column * self.cell,
                    at[1] + slice_ * (rows * self.cell + GAP / 2) + row * self.cell,
                )  # fmt: skip


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _place(place: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, place))})"
