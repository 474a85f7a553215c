"""Which units of a network are connected: what one sees, and what sees it.

``unit_cones(net, (1, 28, 28))``     once for a network: some tenths of a second
``.sees("conv2", (3, 5, 5))``        its receptive field in every map before it
``.seen_by("conv1", (0, 4, 4))``     its outgoing cone in every map after it

Both are arithmetic on the intervals of each axis; no forward pass is made.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any, TypeAlias

from torch import nn

from convscope.analysis.checking.check import failure_error, refuse_call
from convscope.analysis.inputs import InputSize, Shape, inputs_for
from convscope.analysis.operations.provenance import Dim, Seen
from convscope.analysis.tracing.meta_copy import uncompiled
from convscope.analysis.tracing.sections import Elements, Link, Section, Sections
from convscope.analysis.tracing.trace import LayerError, trace
from convscope.arithmetic import Passage, Places
from convscope.errors import ArgumentError, UnknownNameError

State: TypeAlias = "tuple[Places, ...] | None"  # None where it is not known
Way: TypeAlias = "tuple[int | None, Passage]"  # the atom of the later map, or all


@dataclass(frozen=True)
class Region:
    """Units of one map that are connected to a unit of another.

    Attributes:
        layer: Label of the map's call, as `Row.label`; or the name of an input.
        lengths: For each axis of the map its length; several for an axis into which
            others have been flattened, whose product it is.
        places: The units, along each of these; None where they could not be told, so
            that they may be anywhere in the map.
    """

    layer: str
    lengths: tuple[Shape, ...]
    places: tuple[Places, ...] | None

    @property
    def known(self) -> bool:
        """Whether the units could be told."""
        return self.places is not None

    @property
    def shape(self) -> Shape:
        """Of the map, (C, *space)."""
        return tuple(map(prod, self.lengths))

    @property
    def box(self) -> tuple[tuple[int, int], ...]:
        """First and last index along each axis; the whole map where not known."""
        return tuple(
            (
                _flat([one.first for one in places], lengths),
                _flat([one.last for one in places], lengths),
            )
            for places, lengths in self._axes()
        )

    @property
    def size(self) -> Shape:
        """Of the box, along each axis."""
        return tuple(last - first + 1 for first, last in self.box)

    def elements(self, axis: int) -> tuple[int, ...]:
        """The indices along an axis, one by one: with dilation not all of the box's."""
        places, lengths = self._axes()[axis]
        combined = product(*(one.members for one in places))
        return tuple(_flat(together, lengths) for together in combined)

    def _axes(self) -> list[tuple[list[Places], Shape]]:
        every = iter(
            [Places(0, length - 1) for axis in self.lengths for length in axis]
            if self.places is None
            else self.places
        )
        return [([next(every) for _ in axis], axis) for axis in self.lengths]

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON."""
        return {
            "layer": self.layer,
            "shape": list(self.shape),
            "known": self.known,
            "box": [list(span) for span in self.box],
        }


class UnitCones:
    """What every unit of a network sees, and which units see it.

    Attributes:
        network: Class of the network.
        shapes: Of every map by its label, (C, *space), in the order in which they are
            made; inputs first.
        inputs: Labels of the inputs among them.
        notes: What is left out, or not known.
    """

    def __init__(
        self,
        network: str,
        maps: Sequence[Section],
        labels: dict[str, int],
        notes: tuple[str, ...],
    ) -> None:
        self.network, self.notes = network, notes
        self._maps = maps
        self._numbers = labels
        self._links = [_Wire(one, number, maps) for number, m in enumerate(maps)
                       for one in m.links]  # fmt: skip
        self._into: list[list[_Wire]] = [[] for _ in maps]
        self._out: list[list[_Wire]] = [[] for _ in maps]
        for wire in self._links:
            self._into[wire.later].append(wire)
            self._out[wire.earlier].append(wire)
        self._lengths = [
            tuple(tuple(atom.size for atom in dim) for dim in one.dims) for one in maps
        ]
        self._names: list[list[str]] = [[] for _ in maps]
        for label, number in labels.items():
            self._names[number].append(label)
        self.inputs = tuple(n for n, place in labels.items() if not maps[place].links)

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Of every map by its label, (C, *space), inputs first."""
        return {
            label: self._maps[number].shape for label, number in self._numbers.items()
        }

    @property
    def numbers(self) -> dict[str, int]:
        """Which map each label names; calls that change nothing share their input's."""
        return dict(self._numbers)

    def made_from(self, number: int) -> tuple[int, ...]:
        """The maps that a map is made from; none for an input."""
        return tuple(wire.earlier for wire in self._into[number])

    def sees(self, layer: str, index: Shape) -> dict[str, Region]:
        """Receptive field of a unit: what it sees of every map before it.

        Along the axes of an image the boxes are exact, borders and branches regarded;
        along channels they are whole groups. Maps that it cannot see are left out.

        Args:
            layer: Label of the unit's call, as `Row.label`.
            index: Of the unit in its map, the channel first: ``(C, *space)``.

        Raises:
            UnknownNameError: There is no such label; names the nearest.
            ArgumentError: ``index`` is outside of the map.

        >>> net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.MaxPool1d(2))
        >>> cones = unit_cones(net, (1, 8))
        >>> {name: r.box for name, r in cones.sees("2", (1, 2)).items()}
        {'input': ((0, 0), (4, 7)), '0': ((1, 1), (4, 5)), '1': ((1, 1), (4, 5))}
        """
        number, start = self._unit(layer, index, "sees")
        found: dict[int, State] = {number: start}
        for later in range(number, -1, -1):
            if later in found:
                for wire in self._into[later]:
                    wire.back(found)
        del found[number]
        return self._regions(sorted(found), found)

    def seen_by(self, layer: str, index: Shape) -> dict[str, Region]:
        """Outgoing cone of a unit: which units of every later map see it.

        Args:
            layer: As in `sees`; also the name of an input.
            index: As in `sees`.

        Raises:
            UnknownNameError: There is no such label; names the nearest.
            ArgumentError: ``index`` is outside of the map.

        >>> net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.MaxPool1d(2))
        >>> cones = unit_cones(net, (1, 8))
        >>> {name: r.box for name, r in cones.seen_by("0", (1, 3)).items() if name}
        {'1': ((1, 1), (3, 3)), '2': ((1, 1), (1, 1))}
        """
        number, start = self._unit(layer, index, "seen_by")
        found: dict[int, State] = {number: start}
        for earlier in range(number, len(self._maps)):
            if earlier in found:
                for wire in self._out[earlier]:
                    wire.forth(found)
        del found[number]
        return self._regions(sorted(found), found)

    def _regions(
        self, order: Iterable[int], found: dict[int, State]
    ) -> dict[str, Region]:
        made = {}
        for number in order:
            lengths, places = self._lengths[number], found[number]
            for label in self._names[number]:
                made[label] = Region(label, lengths, places)
        return made

    def _unit(self, layer: str, index: Shape, what: str) -> tuple[int, State]:
        if layer not in self._numbers:
            raise UnknownNameError("layer", layer, self._numbers)
        number = self._numbers[layer]
        one, where = self._maps[number], f"UnitCones.{what}"
        if len(index) != len(one.dims):
            raise ArgumentError(
                f"{where}: index={tuple(index)} has {len(index)} numbers, the map of "
                f"layer={layer!r} has {len(one.dims)} axes, {one.shape}. Give "
                f"{len(one.dims)}, the channel first."
            )
        for place, size in zip(index, one.shape, strict=True):
            if not 0 <= place < size:
                raise ArgumentError(
                    f"{where}: index={tuple(index)} is outside of the map of "
                    f"layer={layer!r}, which is {one.shape}. Indices begin at 0."
                )
        return number, tuple(
            Places(at, at)
            for place, dim in zip(index, one.dims, strict=True)
            for at in _apart(place, dim)
        )


class _Wire:
    """A `Link`, ready to be followed both ways."""

    def __init__(self, link: Link, later: int, maps: Sequence[Section]) -> None:
        self.earlier, self.later = link.source, later
        self.sizes, names = maps[later].sizes, maps[later].names
        self.ways: list[Way] | None = None
        if link.seen is not None:
            self.ways = [
                _way(one, names, size)
                for one, size in zip(link.seen, maps[link.source].sizes, strict=True)
            ]
        self.copies = self.ways is not None and (
            [place for place, _ in self.ways] == list(range(len(names)))
            and all(passage.copies for _, passage in self.ways)
        )

    def back(self, found: dict[int, State]) -> None:
        """From the units of the later map to what they see of the earlier one."""
        state = found[self.later]
        if self.ways is None or state is None:
            found[self.earlier] = None
            return
        if self.copies:
            self._add(found, self.earlier, state)
            return
        made = []
        for place, passage in self.ways:
            one = passage.inputs(_FIRST if place is None else state[place])
            if one is None:
                return
            made.append(one)
        self._add(found, self.earlier, tuple(made))

    def forth(self, found: dict[int, State]) -> None:
        """From units of the earlier map to those of the later one that see them."""
        state = found[self.earlier]
        if self.ways is None or state is None:
            found[self.later] = None
            return
        if self.copies:
            self._add(found, self.later, state)
            return
        made: list[Places | None] = [None] * len(self.sizes)
        for (place, passage), own in zip(self.ways, state, strict=True):
            one = passage.outputs(own)
            if one is None:
                return
            if place is not None:
                before = made[place]
                both = one if before is None else one.intersection(before)
                if both is None:
                    return
                made[place] = both
        whole = tuple(
            Places(0, size - 1) if one is None else one
            for one, size in zip(made, self.sizes, strict=True)
        )
        self._add(found, self.later, whole)

    @staticmethod
    def _add(found: dict[int, State], number: int, made: tuple[Places, ...]) -> None:
        before = found.get(number, ())
        if before is None:
            return
        found[number] = (
            tuple(map(Places.union, before, made)) if before or not made else made
        )


_FIRST = Places(0, 0)


def _way(seen: Seen, names: tuple[int, ...], size: int) -> Way:
    """Along which atom of the later map it moves, and what each place there reads."""
    rows = [one.members if isinstance(one, Elements) else () for one in seen.ranges]
    if seen.atom in names:
        return names.index(seen.atom), Passage(rows, size)
    together = sorted({element for row in rows for element in row})
    return None, Passage([together], size)


def unit_cones(
    net: nn.Module, input_size: InputSize | None = None, *, example_inputs: Any = None
) -> UnitCones:
    """Which units of a network are connected, for every pair of its maps.

    Args:
        net: Any torch.nn.Module.
        input_size: As in `summary`.
        example_inputs: As in `summary`.

    Raises:
        ShapeError: The network does not work on this input; see `check`.

    >>> cones = unit_cones(nn.Conv2d(1, 4, 3), (1, 8, 8))
    >>> cones.sees("", (0, 5, 5))["input"].box
    ((0, 0), (5, 7), (5, 7))
    """
    inputs = inputs_for(net, input_size, example_inputs, where="unit_cones")
    passes: list[Sections] = []

    def sections() -> Sections:
        passes.append(Sections())
        return passes[-1]

    try:
        trace(net, inputs, refuse=refuse_call, flow=sections)
    except LayerError as error:
        raise failure_error(net, inputs, error) from None
    flow, count = passes[-1], len(inputs.tensors)
    labels = {_input_name(n, count, flow.labels): n for n in range(count)}
    name = type(uncompiled(net)).__name__
    return UnitCones(name, flow.maps, {**labels, **flow.labels}, tuple(flow.notes()))


def _input_name(number: int, count: int, taken: dict[str, int]) -> str:
    name = "input" if count == 1 else f"input_{number + 1}"
    while name in taken:
        name += "_"
    return name


def _apart(place: int, dim: Dim) -> list[int]:
    """An index along a dimension, as one along each of its atoms."""
    found = []
    for atom in reversed(dim):
        place, own = divmod(place, atom.size)
        found.append(own)
    return found[::-1]


def _flat(places: Iterable[int], sizes: Iterable[int]) -> int:
    """The reverse of `_apart`."""
    index = 0
    for place, size in zip(places, sizes, strict=True):
        index = index * size + place
    return index
