"""Which part of the input one output element can see, along one axis.

Far from the borders: ``ReceptiveField`` with ``size``, ``stride``, ``offset``.

``ReceptiveField.identity()``    an input element sees itself
``field.through(layer, size=)``  the field of the layer's output
``field.union(other)``           addition, concatenation; notes misaligned branches
``field.whole(size)``            every output of a map of ``size`` (global pooling)
``field.range(index, input_size=)``  first and last input element, or None
``receptive_field(layers)``      the field of a chain

Exactly, for one input size, borders included: a *range* ``(first, last)`` or None
per output element, carried forward with ``identity_ranges(size)``,
``ranges_through(table, ranges)`` and ``union_ranges(a, b)``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd, lcm
from typing import TypeAlias

from convscope.arithmetic.chain import AxisLayer
from convscope.errors import ShapeError, explains_calls

Range: TypeAlias = tuple[int, int] | None
"""First and last input element that an output sees; None for no element."""


@dataclass(frozen=True)
class ReceptiveField:
    """The input elements that outputs see, if the input had no borders.

    Output ``o`` sees ``ranges[o % len(ranges)]``, moved by
    ``o // len(ranges) * step``; None where it sees nothing. Without upsampling
    there is one range. ``misaligned``: it joins branches that look at different
    places; see `union`.

    >>> ReceptiveField.identity()
    ReceptiveField(size=1, stride=1, offset=0)
    """

    ranges: tuple[Range, ...]
    step: int
    misaligned: bool = False

    @staticmethod
    def identity() -> "ReceptiveField":
        """The field of an input element: itself.

        >>> ReceptiveField.identity().range(5)
        (5, 5)
        """
        return ReceptiveField(((0, 0),), 1)

    @property
    def size(self) -> int:
        """Input elements from the first to the last; the largest if they differ."""
        return max((r[1] - r[0] + 1 for r in self.ranges if r), default=0)

    @property
    def stride(self) -> int | Fraction:
        """Input elements from one output to the next, on average ("jump")."""
        return _whole(Fraction(self.step, len(self.ranges)))

    @property
    def offset(self) -> int | Fraction:
        """Where the first window begins, in input elements; below 0 on padding.

        With upsampling the windows do not move evenly: then it is where a window of
        ``size`` would begin that is centered, on average, where they are.
        """
        if len(self.ranges) == 1 and self.ranges[0]:
            return self.ranges[0][0]
        return _whole(self.center - Fraction(self.size - 1, 2))

    @property
    def center(self) -> Fraction:
        """Middle of the first window, in input elements; a mean with upsampling."""
        middles = [m for m in self._middles(len(self.ranges)) if m is not None]
        if not middles:
            return Fraction(0)
        return sum(middles, Fraction(0)) / len(middles)

    def range(self, index: int, input_size: int | None = None) -> Range:
        """First and last input element that output ``index`` sees; None for none.

        Args:
            index: Which output element.
            input_size: Clips to ``0 .. input_size - 1``. Layers in between may also
                pad or leave out elements; `ranges_through` regards them too.

        >>> ReceptiveField(((-1, 1),), 2).range(0, input_size=8)
        (0, 1)
        """
        turn, residue = divmod(index, len(self.ranges))
        base = self.ranges[residue]
        if base is None:
            return None
        first, last = (end + turn * self.step for end in base)
        if input_size is not None:
            first, last = max(first, 0), min(last, input_size - 1)
        return (first, last) if first <= last else None

    def through(self, layer: AxisLayer, size: int | None = None) -> "ReceptiveField":
        """The field of the output of ``layer``, whose input has this field.

        Args:
            layer: `Window`, `Transposed`, `Upsample` or `Adaptive`.
            size: Length of the layer's input; `Adaptive` needs it.

        Source:
            Araujo, Norris & Sim 2019, "Computing receptive fields of convolutional
            neural networks"; there without upsampling.

        >>> from convscope.arithmetic.chain import Window
        >>> ReceptiveField.identity().through(Window(7, stride=2, padding=(3, 3)))
        ReceptiveField(size=7, stride=2, offset=-3)
        """
        pattern = layer.pattern(size)
        own = len(self.ranges)
        turns = own // gcd(own, pattern.step) if pattern.step else 1
        rows = [
            [element + turn * pattern.step for element in row]
            for turn in range(turns)
            for row in pattern.rows
        ]
        step = turns * pattern.step * self.step // own
        seen = tuple(_hull(self.range(element) for element in row) for row in rows)
        return _reduced(seen, step, self.misaligned)

    def whole(self, size: int) -> "ReceptiveField":
        """The field of a value made from all ``size`` outputs; its stride is 0.

        >>> ReceptiveField(((-1, 1),), 2).whole(4)
        ReceptiveField(size=9, stride=0, offset=-1)
        """
        seen = _hull(self.range(index) for index in range(size))
        return ReceptiveField((seen,), 0, self.misaligned)

    def union(self, other: "ReceptiveField") -> "ReceptiveField":
        """What either branch sees, where two are added or concatenated.

        The result is ``misaligned`` if the branches do: their windows are not
        centered, on average over a period, on the same element, so that values are
        joined that look at different places. A branch that sees the whole map
        (stride 0) is aligned with any other and contains it. Where the strides
        differ, no even field covers both; the larger one's stride is kept.

        >>> small, large = ReceptiveField(((0, 0),), 2), ReceptiveField(((-1, 1),), 2)
        >>> small.union(large)
        ReceptiveField(size=3, stride=2, offset=-1)
        """
        misaligned = self.misaligned or other.misaligned
        for one in (self, other):
            if one.step == 0:
                return replace(one, misaligned=misaligned)
        if self.stride != other.stride:
            large, small = (self, other) if self.size >= other.size else (other, self)
            ranges = (_hull((large.ranges[0], small.ranges[0])), *large.ranges[1:])
            return ReceptiveField(ranges, large.step, misaligned=True)
        period = lcm(len(self.ranges), len(other.ranges))
        joined = tuple(_hull((self.range(o), other.range(o))) for o in range(period))
        misaligned = misaligned or self.shift(other) != 0
        return _reduced(joined, self.step * (period // len(self.ranges)), misaligned)

    def shift(self, other: "ReceptiveField") -> int | Fraction:
        """How far the other's windows are centered behind ours, in input elements.

        The mean over a period of outputs that see something in both fields.

        Raises:
            ShapeError: The strides differ, so that the shift grows along the axis.

        >>> ReceptiveField(((0, 0),), 1).shift(ReceptiveField(((0, 1),), 1))
        Fraction(1, 2)
        """
        if self.stride != other.stride:
            raise ShapeError(
                f"ReceptiveField.shift: stride={other.stride} of the other field "
                f"differs from {self.stride}. Compare fields of equal stride."
            )
        period = lcm(len(self.ranges), len(other.ranges))
        pairs = zip(self._middles(period), other._middles(period), strict=True)
        apart = [b - a for a, b in pairs if a is not None and b is not None]
        return _whole(sum(apart, Fraction(0)) / len(apart)) if apart else 0

    def _middles(self, period: int) -> list[Fraction | None]:
        """Middles of ``period`` windows, each less its index times the stride."""
        ranges = [self.range(output) for output in range(period)]
        return [
            None if r is None else Fraction(r[0] + r[1], 2) - output * self.stride
            for output, r in enumerate(ranges)
        ]

    def __repr__(self) -> str:
        flag = ", misaligned=True" if self.misaligned else ""
        return (
            f"ReceptiveField(size={self.size}, stride={self.stride}, "
            f"offset={self.offset}{flag})"
        )


@explains_calls
def receptive_field(
    layers: Iterable[AxisLayer], size: int | None = None
) -> ReceptiveField:
    """The receptive field of the last layer of a chain, in elements of its input.

    Args:
        layers: The layers, first to last.
        size: Input length, in elements; only `Adaptive` needs it.

    Raises:
        ArgumentError: A layer needs ``size`` and it is not given.
        ShapeError: ``size`` is given and a window does not fit.

    >>> from convscope.arithmetic.chain import Window
    >>> receptive_field([Window(3), Window(3), Window(3)])
    ReceptiveField(size=7, stride=1, offset=0)
    """
    field = ReceptiveField.identity()
    for layer in layers:
        field = field.through(layer, size)
        size = None if size is None else layer.output_size(size)
    return field


@explains_calls
def identity_ranges(size: int) -> list[Range]:
    """The range of each element of an input of ``size``: itself.

    >>> identity_ranges(2)
    [(0, 0), (1, 1)]
    """
    return [(element, element) for element in range(size)]


@explains_calls
def ranges_through(
    table: Sequence[Sequence[int | None]], ranges: Sequence[Range]
) -> list[Range]:
    """The input range of each output of a layer, borders included.

    Args:
        table: Which elements of the layer's input lie under each output.
        ranges: The range of each element of the layer's input.

    >>> ranges_through([[None, 0, 1], [1, 2, 3]], identity_ranges(4))
    [(0, 1), (1, 3)]
    """
    return [
        _hull(ranges[element] for element in row if element is not None)
        for row in table
    ]


@explains_calls
def union_ranges(ours: Sequence[Range], others: Sequence[Range]) -> list[Range]:
    """The range of each element where two maps of equal length are joined.

    >>> union_ranges([(0, 1), None], [(1, 3), None])
    [(0, 3), None]
    """
    return [_hull(pair) for pair in zip(ours, others, strict=True)]


@explains_calls
def input_range(layers: Iterable[AxisLayer], size: int, index: int) -> Range:
    """First and last input element that output ``index`` of a chain sees.

    Args:
        layers: The layers, first to last.
        size: Input length, in elements.
        index: Which output of the last layer, at least 0.

    Raises:
        ShapeError: A window does not fit, or there is no such output.

    >>> from convscope.arithmetic.chain import Window
    >>> input_range([Window(3, padding=(1, 1)), Window(2, stride=2)], 8, 0)
    (0, 2)
    """
    ranges = identity_ranges(size)
    for layer in layers:
        ranges = ranges_through(layer.table(len(ranges)), ranges)
    if not 0 <= index < len(ranges):
        raise ShapeError(
            f"input_range: index={index} is not one of the {len(ranges)} outputs. "
            f"Use an index from 0 to {len(ranges) - 1}."
        )
    return ranges[index]


def _hull(ranges: Iterable[Range]) -> Range:
    """The smallest range that contains all of them."""
    some = [r for r in ranges if r is not None]
    if not some:
        return None
    return min(r[0] for r in some), max(r[1] for r in some)


def _reduced(ranges: tuple[Range, ...], step: int, misaligned: bool) -> ReceptiveField:
    """The same field with the shortest period."""
    period = len(ranges)
    full = ReceptiveField(ranges, step, misaligned)
    for shorter in range(1, period):
        if period % shorter or step * shorter % period:
            continue
        short = ReceptiveField(ranges[:shorter], step * shorter // period, misaligned)
        if all(short.range(output) == ranges[output] for output in range(period)):
            return short
    return full


def _whole(value: Fraction) -> int | Fraction:
    """An int where the value is one."""
    return value.numerator if value.denominator == 1 else value
