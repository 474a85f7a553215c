"""Which elements along one axis, and which of another axis they are connected to.

``Places``            some elements of an axis, in order
``Passage(rows)``     which inputs each output reads, to be followed both ways
``passage.inputs(places)``   what these outputs read
``passage.outputs(places)``  which outputs read any of these inputs

Almost always the elements lie side by side, and then both answers are two look-ups.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Places(NamedTuple):
    """Elements of an axis, at least one.

    ``bits`` is None where they are all those from ``first`` to ``last``; else bit ``i``
    of it says whether element ``i`` is one.

    >>> places_of([2, 4, 6]).members
    (2, 4, 6)
    >>> Places(3, 5).members
    (3, 4, 5)
    """

    first: int
    last: int
    bits: int | None = None

    @property
    def members(self) -> tuple[int, ...]:
        """The elements one by one."""
        all_of_them = range(self.first, self.last + 1)
        if self.bits is None:
            return tuple(all_of_them)
        return tuple(element for element in all_of_them if self.bits >> element & 1)

    @property
    def mask(self) -> int:
        """Bit ``i`` says whether element ``i`` is one."""
        if self.bits is not None:
            return self.bits
        return (1 << self.last + 1) - (1 << self.first)

    def union(self, other: "Places") -> "Places":
        """The elements of either.

        >>> Places(0, 3).union(Places(4, 5))
        Places(first=0, last=5, bits=None)
        """
        if self == other:
            return self
        first, last = min(self.first, other.first), max(self.last, other.last)
        if self.bits is None and other.bits is None:
            below, above = (self, other) if self.first <= other.first else (other, self)
            if above.first <= below.last + 1:
                return Places(first, last)
        for one in (self, other):
            if one.bits is None and (one.first, one.last) == (first, last):
                return one
        return _of_mask(self.mask | other.mask)

    def intersection(self, other: "Places") -> "Places | None":
        """The elements of both; None if there are none.

        >>> Places(0, 3).intersection(Places(2, 5))
        Places(first=2, last=3, bits=None)
        """
        if self.bits is None and other.bits is None:
            first, last = max(self.first, other.first), min(self.last, other.last)
            return Places(first, last) if first <= last else None
        mask = self.mask & other.mask
        return _of_mask(mask) if mask else None


def places_of(members: Iterable[int]) -> Places:
    """The places of these elements, of which there is at least one.

    >>> places_of([4, 3, 5])
    Places(first=3, last=5, bits=None)
    """
    mask = 0
    for element in members:
        mask |= 1 << element
    return _of_mask(mask)


def _of_mask(mask: int) -> Places:
    first, last = (mask & -mask).bit_length() - 1, mask.bit_length() - 1
    whole = mask >> first == (1 << last - first + 1) - 1
    return Places(first, last, None if whole else mask)


class Passage:
    """Which elements of an axis each output reads.

    Args:
        rows: For each output the elements that it reads, in order; empty for none.
        size: Elements of the axis.

    >>> every_second = Passage([(0, 1), (2, 3)], 5)
    >>> every_second.inputs(Places(1, 1))
    Places(first=2, last=3, bits=None)
    >>> every_second.outputs(Places(1, 2))
    Places(first=0, last=1, bits=None)
    >>> every_second.outputs(Places(4, 4)) is None
    True
    """

    def __init__(self, rows: Sequence[Sequence[int]], size: int) -> None:
        self.rows, self.size = rows, size
        self.copies = len(rows) == size and all(
            len(row) == 1 and row[0] == place for place, row in enumerate(rows)
        )
        self._inputs: _OneWay | None = None
        self._outputs: _OneWay | None = None

    def inputs(self, places: Places) -> Places | None:
        """Elements that any of these outputs reads; None for none."""
        if self.copies:
            return places
        if self._inputs is None:
            self._inputs = _OneWay(self.rows)
        return self._inputs.of(places)

    def outputs(self, places: Places) -> Places | None:
        """Outputs that read any of these elements; None for none."""
        if self.copies:
            return places
        if self._outputs is None:
            readers: list[list[int]] = [[] for _ in range(self.size)]
            for place, row in enumerate(self.rows):
                for element in row:
                    readers[element].append(place)
            self._outputs = _OneWay(readers)
        return self._outputs.of(places)


class _OneWay:
    """What each of some rows holds, and whether two look-ups tell what several do."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self.ends = [(row[0], row[-1]) if row else None for row in rows]
        self.rows = rows
        self.masks: list[int] | None = None
        self.whole: Places | None = None
        filled = [place for place, row in enumerate(rows) if row]
        self.begin = filled[0] if filled else 0
        self.end = filled[-1] if filled else -1
        self.even = len(filled) == self.end - self.begin + 1 and _is_even(
            rows[self.begin : self.end + 1]
        )

    def of(self, places: Places) -> Places | None:
        """What the rows at these places hold together."""
        first, last, bits = places
        if self.even and bits is None:
            first, last = max(first, self.begin), min(last, self.end)
            if first > last:
                return None
            lower, upper = self.ends[first], self.ends[last]
            return Places(lower[0], upper[1]) if lower and upper else None
        whole = bits is None and first <= self.begin and self.end <= last
        if whole and self.whole is not None:
            return self.whole
        if self.masks is None:
            self.masks = [sum(1 << element for element in row) for row in self.rows]
        found, before = 0, -1
        for place in range(first, last + 1) if bits is None else places.members:
            mask = self.masks[place]
            if mask != before:
                found |= mask
                before = mask
        made = _of_mask(found) if found else None
        if whole:
            self.whole = made
        return made


def _is_even(rows: Sequence[Sequence[int]]) -> bool:
    """Whether each holds neighbors, and the next goes on where it is or ends."""
    before = rows[0] if rows else ()
    for row in rows:
        if row[-1] - row[0] != len(row) - 1 or row[0] < before[0]:
            return False
        if row[-1] < before[-1] or row[0] > before[-1] + 1:
            return False
        before = row
    return True
