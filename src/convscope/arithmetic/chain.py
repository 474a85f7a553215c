"""A layer as it acts along one axis, for questions about chains of layers.

``Window(kernel_size, stride, padding, dilation, ceil_mode)``  convolution, pooling
``Transposed(kernel_size, stride, padding, dilation, output_padding)``
``Upsample(scale, mode)``    interpolation by an integer or a fraction
``Adaptive(outputs)``        adaptive pooling

Each has ``output_size(size)``, ``table(size)`` (see ``windows.py``) and
``pattern(size)``: what the table repeats, far from the borders. Layers that leave
sizes alone (activations, norms) are left out of a chain.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Protocol

from convscope.arithmetic.axis import both_ends
from convscope.arithmetic.borders import BorderMode, border_element
from convscope.arithmetic.shapes import (
    CeilMode,
    output_size,
    transposed_output_size,
)
from convscope.arithmetic.windows import (
    ResizeMode,
    Table,
    adaptive_windows,
    interpolated_from,
    resize_windows,
    transposed_windows,
    windows,
)
from convscope.errors import ArgumentError, explains_calls


@dataclass(frozen=True)
class Pattern:
    """Elements that outputs ``0 .. len(rows) - 1`` see; then all move by ``step``.

    Output ``o`` sees ``rows[o % len(rows)]``, moved by ``o // len(rows) * step``
    input elements. Indices below 0 are padding.

    >>> Window(3, stride=2, padding=(1, 1)).pattern()
    Pattern(rows=((-1, 0, 1),), step=2)
    """

    rows: tuple[tuple[int, ...], ...]
    step: int


class AxisLayer(Protocol):
    """What every layer in a chain can tell about one axis.

    >>> layer: AxisLayer = Window(3)
    >>> layer.output_size(5), layer.table(4)
    (3, [[0, 1, 2], [1, 2, 3]])
    """

    def output_size(self, size: int) -> int:
        """Output length for an input of ``size`` elements."""

    def table(self, size: int) -> Table:
        """The input elements under each output; None on padding."""

    def pattern(self, size: int | None = None) -> Pattern:
        """What `table` repeats, without the borders."""


@dataclass(frozen=True)
class Window:
    """A convolution or a pooling along one axis; arguments as in `output_size`.

    >>> Window(3, stride=2, padding=(1, 1)).output_size(224)
    112
    """

    kernel_size: int
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1
    ceil_mode: CeilMode = False

    def __post_init__(self) -> None:
        if isinstance(self.padding, int):  # a pair may cut off elements, below 0
            object.__setattr__(
                self, "padding", both_ends(self.padding, where=type(self).__name__)
            )

    def output_size(self, size: int) -> int:
        """Output length for an input of ``size`` elements."""
        return output_size(
            size,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            ceil_mode=self.ceil_mode,
        )

    def table(self, size: int) -> Table:
        """The input element under each tap; None on padding."""
        return windows(
            size,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            ceil_mode=self.ceil_mode,
        )

    def pattern(self, size: int | None = None) -> Pattern:
        """One row: the first window."""
        taps = range(self.kernel_size)
        row = tuple(tap * self.dilation - self.padding[0] for tap in taps)
        return Pattern((row,), self.stride)


@dataclass(frozen=True)
class Bordered(Window):
    """A window whose padding repeats elements of the input.

    >>> Bordered(3, padding=(1, 1), border="circular").table(4)[0]
    [3, 0, 1]
    """

    border: BorderMode = "zeros"

    def table(self, size: int) -> Table:
        """The input element under each tap; None on padding that repeats nothing."""
        if self.border in ("zeros", "constant"):
            return super().table(size)
        starts = [
            output * self.stride - self.padding[0]
            for output in range(self.output_size(size))
        ]
        taps = range(0, self.kernel_size * self.dilation, self.dilation)
        return [
            [border_element(start + tap, size, self.border) for tap in taps]
            for start in starts
        ]


@dataclass(frozen=True)
class Transposed:
    """A transposed convolution; arguments as in `transposed_output_size`.

    >>> Transposed(4, stride=2, padding=(1, 1)).output_size(7)
    14
    """

    kernel_size: int
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1
    output_padding: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "padding", both_ends(self.padding, where=type(self).__name__)
        )

    def output_size(self, size: int) -> int:
        """Output length for an input of ``size`` elements."""
        return transposed_output_size(
            size,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            output_padding=self.output_padding,
        )

    def table(self, size: int) -> Table:
        """The input element that reaches each output through each tap."""
        return transposed_windows(
            size,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            output_padding=self.output_padding,
        )

    def pattern(self, size: int | None = None) -> Pattern:
        """One row for each of ``stride`` outputs; a row may be empty."""
        rows = []
        for output in range(self.stride):
            first = output + self.padding[0]
            places = [first - tap * self.dilation for tap in range(self.kernel_size)]
            rows.append(tuple(p // self.stride for p in places if p % self.stride == 0))
        return Pattern(tuple(rows), 1)


@dataclass(frozen=True)
class Upsample:
    """Interpolation to ``floor(size * scale)`` elements.

    Where that is rounded, the table follows the lengths (``F.interpolate`` with a
    size) and the pattern the scale.

    >>> Upsample(2).output_size(7)
    14
    """

    scale: int | Fraction
    mode: ResizeMode = "nearest"

    def __post_init__(self) -> None:
        if not isinstance(self.scale, int | Fraction) or self.scale <= 0:
            raise ArgumentError(
                f"Upsample: scale={self.scale!r} is not a whole number or a Fraction "
                "above 0. Use fractions.Fraction for a scale such as 3/2."
            )

    def output_size(self, size: int) -> int:
        """Output length for an input of ``size`` elements."""
        return floor(size * self.scale)

    def table(self, size: int) -> Table:
        """The input elements that each output is made from."""
        return [
            list(row)
            for row in resize_windows(size, self.output_size(size), mode=self.mode)
        ]

    def pattern(self, size: int | None = None) -> Pattern:
        """One row for each output of the smallest whole ratio."""
        outputs, step = Fraction(self.scale).as_integer_ratio()
        return Pattern(
            tuple(
                tuple(interpolated_from(output, step, outputs, self.mode))
                for output in range(outputs)
            ),
            step,
        )


@dataclass(frozen=True)
class Adaptive:
    """Adaptive pooling to ``outputs`` elements, whatever the input.

    >>> Adaptive(6).output_size(13)
    6
    """

    outputs: int

    def output_size(self, size: int) -> int:
        """``outputs``."""
        return self.outputs

    def table(self, size: int) -> Table:
        """The input elements under each window."""
        return [list(row) for row in adaptive_windows(size, self.outputs)]

    def pattern(self, size: int | None = None) -> Pattern:
        """The table itself; a single output has no next one, hence step 0."""
        if size is None:
            raise ArgumentError(
                "Adaptive: size=None leaves its windows open. Give the input size."
            )
        rows = tuple(tuple(row) for row in adaptive_windows(size, self.outputs))
        return Pattern(rows, 0 if self.outputs == 1 else size)


@explains_calls
def chain_sizes(layers: Iterable[AxisLayer], size: int) -> tuple[int, ...]:
    """The length after each layer, beginning with the input's.

    Args:
        layers: The layers, first to last.
        size: Input length, in elements.

    Raises:
        ShapeError: A window does not fit.

    >>> chain_sizes([Window(5), Window(2, stride=2), Window(5)], 32)
    (32, 28, 14, 10)
    """
    sizes = [size]
    for layer in layers:
        sizes.append(layer.output_size(sizes[-1]))
    return tuple(sizes)
