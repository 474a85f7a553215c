"""The nearest sizes of an input on which a network works, axis by axis.

``working_sizes(verdict, sizes, kind)``   a few shapes, the nearest first

A network is asked by `Verdict`: a function from sizes to a `Status`. Where branches do
not meet, sizes that are multiples of the recorded strides work nearly always; from them
each axis is tried by itself, so that an axis that is right stays as it is.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

SECONDS = 5.0  # to look for sizes, once something does not work
LARGEST = 4096  # elements along an axis, the largest that is suggested
FARTHEST = 64  # elements away, where each size must be tried
ROUNDS = 12  # ways to grow or round sizes until something works
MOST = 3  # suggestions

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Status:
    """How a network does on an input of some size.

    Attributes:
        kind: Of the refusal: ``map``, ``features``, ``size``, ``join`` ...; empty where
            it works.
        sign: Below 0 where something is too small, above where it is too large.
        axes: The same for each axis, where that is known.
        strides: Input elements from one element to the next, in the deepest layer
            that was reached, per axis.
    """

    kind: str
    sign: int
    axes: tuple[int, ...]
    strides: Sizes

    @property
    def works(self) -> bool:
        """Whether it does."""
        return not self.kind


Verdict = Callable[[Sizes], Status]


def working_sizes(verdict: Verdict, sizes: Sizes) -> Iterator[Sizes]:
    """Sizes near the ones given for which the verdict is that it works."""
    search = _Search(verdict, sizes)
    kind = search.ask(sizes).kind
    if kind == "features":
        found = search.of_features()
    elif kind in ("map", "size", "join", "view"):
        found = search.of_axes() or search.together()
    else:
        found = []
    distinct = list(dict.fromkeys(found))
    working = [s for s in distinct if s != sizes and search.ask(s).works]
    yield from sorted(working, key=lambda s: _distance(s, sizes))[:MOST]


class _Search:
    """Asks for one size after the other, while there is time."""

    def __init__(self, verdict: Verdict, sizes: Sizes) -> None:
        self.verdict, self.sizes = verdict, sizes
        self.end = time.monotonic() + SECONDS
        self.known: dict[Sizes, Status] = {}

    def ask(self, sizes: Sizes) -> Status:
        if sizes not in self.known:
            self.known[sizes] = self.verdict(sizes)
        return self.known[sizes]

    def has_time(self) -> bool:
        return time.monotonic() < self.end

    def of_axes(self) -> list[Sizes]:
        """Each axis by itself; the others have sizes that work meanwhile."""
        anchor = self._anchor()
        if anchor is None:
            return []
        downs, ups = [], []
        for axis, size in enumerate(self.sizes):
            down, up = self._nearest(axis, anchor)
            downs.append(up if down is None else down)
            ups.append(up)
            if size in (down, up):
                downs[-1] = ups[-1] = size
        nearest = [
            min(pair, key=lambda s: abs(s - size))
            for size, *pair in zip(self.sizes, downs, ups, strict=True)
        ]
        return [tuple(nearest), tuple(downs), tuple(ups)]

    def _anchor(self) -> Sizes | None:
        """Sizes that work, found by growing what is small and rounding up the rest."""
        sizes = self.sizes
        for _ in range(ROUNDS):
            status = self.ask(sizes)
            if status.works:
                return sizes
            if status.kind == "size" and status.axes:
                sizes = self._of_fixed_size(sizes)
                return sizes if self.ask(sizes).works else None
            if status.kind == "map":
                axes = status.axes or (-1,) * len(sizes)
                grown = tuple(
                    2 * size if sign < 0 else size
                    for size, sign in zip(sizes, axes, strict=True)
                )
            else:
                grown = tuple(
                    -(-size // stride) * stride
                    for size, stride in zip(sizes, status.strides, strict=True)
                )
            if grown == sizes or max(grown) > LARGEST or not self.has_time():
                return None
            sizes = grown
        return None

    def _nearest(self, axis: int, anchor: Sizes) -> tuple[int | None, int]:
        """The next sizes along an axis, below if there is one and above."""
        size, top = self.sizes[axis], anchor[axis]

        def status(other: int) -> Status:
            return self.ask(_with(anchor, axis, other))

        if status(size).works:
            return size, size
        if top < size:  # of a layer that takes one size only
            return top, top
        stride = self.ask(anchor).strides[axis]
        low, floor = size, size // stride * stride
        if status(size).kind == "map":  # from the first that is not too small
            low = self._first_large_enough(status, size, top)
            floor = 0
        elif floor < 1 or not status(floor).works:
            floor = max(0, size - FARTHEST)
        up = next(
            (
                one
                for one in range(low + 1, top)
                if self.has_time() and status(one).works
            ),
            top,
        )
        down = None if floor < 1 or not status(floor).works else floor
        for other in range(size - 1, floor if low == size else size, -1):
            if not self.has_time() or status(other).kind == "map":
                break
            if status(other).works:
                return other, up
        return down, up

    def _first_large_enough(
        self, status: Callable[[int], Status], low: int, high: int
    ) -> int:
        """The largest of the sizes that are too small."""
        while high - low > 1 and self.has_time():
            middle = (low + high) // 2
            if status(middle).kind == "map":
                low = middle
            else:
                high = middle
        return low

    def _of_fixed_size(self, sizes: Sizes) -> Sizes:
        """Where a layer takes maps of one size: each axis until it has that."""
        for axis in range(len(sizes)):
            size = self._balance(partial(self._sign_along, axis, sizes), sizes[axis])
            sizes = _with(sizes, axis, size)
        return sizes

    def _sign_along(self, axis: int, sizes: Sizes, size: int) -> int:
        status = self.ask(_with(sizes, axis, size))
        if status.kind == "size" and status.axes:
            return status.axes[axis]
        return 0 if status.works else -1

    def of_features(self) -> list[Sizes]:
        """Where a linear layer wants as many values as a whole map has."""
        found = []
        space, first = len(self.sizes), self.sizes[0]
        if len(set(self.sizes)) == 1:  # a square stays one
            one = self._balance(lambda s: self.ask((s,) * space).sign, first)
            if self.ask((one,) * space).works:
                return [(one,) * space]
        for axis, begin in enumerate(self.sizes):
            size = self._balance(partial(self._sign_of, axis), begin)
            found.append(_with(self.sizes, axis, size))
        one = self._balance(lambda s: self.ask((s,) * space).sign, first)
        more = self._balance(lambda d: self.ask(self._moved(d)).sign, 0, self._least())
        return [*found, (one,) * space, self._moved(more)]

    def _sign_of(self, axis: int, size: int) -> int:
        return self.ask(_with(self.sizes, axis, size)).sign

    def together(self) -> list[Sizes]:
        """All axes longer, or shorter, by as much."""
        least = self._least()
        for distance in range(1, FARTHEST):
            for more in (-distance, distance):
                if not self.has_time():
                    return []
                if more >= least and self.ask(self._moved(more)).works:
                    return [self._moved(more)]
        return []

    def _least(self) -> int:
        return 1 - min(self.sizes)

    def _moved(self, more: int) -> Sizes:
        return tuple(size + more for size in self.sizes)

    def _balance(self, sign: Callable[[int], int], begin: int, least: int = 1) -> int:
        """Nearest to ``begin`` of where ``sign``, which only rises, is 0, if it is."""
        if sign(begin) < 0:
            low, high, step = begin, begin + 1, 1
            while sign(high) < 0:
                low, step = high, 2 * step
                high += step
                if high > LARGEST or not self.has_time():
                    return begin
            wanted = 0  # the smallest that is not too small
        else:
            low, high, wanted = least - 1, begin, 1  # the largest that is not too large
        while high - low > 1 and self.has_time():
            middle = (low + high) // 2
            low, high = (middle, high) if sign(middle) < wanted else (low, middle)
        return high if wanted == 0 else max(low, least)


def _with(sizes: Sizes, axis: int, size: int) -> Sizes:
    """Another size along one axis."""
    return (*sizes[:axis], size, *sizes[axis + 1 :])


def _distance(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))
