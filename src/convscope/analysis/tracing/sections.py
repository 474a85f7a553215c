"""A network cut at every call: which elements of one map make which of the next.

`Sections` follows a pass as `Dataflow` does, but what is known of a tensor is known in
terms of the maps before it, not of the network's input: at the end of each call its
outputs become maps that see themselves. What they saw until then is a `Link` to each
map that they are made from, with the elements themselves and not only their ends.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from convscope.analysis.operations.provenance import (
    Axis,
    Dim,
    Provenance,
    Seen,
    new_dim,
    size_of,
)
from convscope.analysis.tracing.dataflow import Dataflow, Key, key_of
from convscope.arithmetic import Range, ReceptiveField

WHOLE = -1
"""An axis that every map has, so that maps of one number per image are seen too."""


class Elements(tuple[int, int]):
    """A `Range` that also knows which of the elements between its ends are seen."""

    members: tuple[int, ...]

    def __new__(cls, members: tuple[int, ...]) -> "Elements":
        """``members`` in order, at least one."""
        made = super().__new__(cls, (members[0], members[-1]))
        made.members = members
        return made


class SeenElements(Seen):
    """What is seen along an axis, each range an `Elements`."""

    def joined(self, ranges: Iterable[Range]) -> Range:
        """All elements of all of them."""
        some = [one for one in ranges if isinstance(one, Elements)]
        if len(some) < 2:
            return some[0] if some else None
        return Elements(tuple(sorted({e for one in some for e in one.members})))


@dataclass(frozen=True)
class Link:
    """How a map is made from an earlier one.

    Attributes:
        source: Number of the earlier map.
        seen: For each axis of it, images apart, what is seen of it. None where that
            is not understood.
    """

    source: int
    seen: tuple[Seen, ...] | None


@dataclass(frozen=True)
class Section:
    """A map: an input, or an output of a call.

    Attributes:
        dims: Its dimensions with their atoms, images apart.
        links: To the maps that it is made from.
    """

    dims: tuple[Dim, ...]
    links: tuple[Link, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each dimension, images apart."""
        return tuple(map(size_of, self.dims))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of each atom, in their order."""
        return tuple(atom.size for dim in self.dims for atom in dim)

    @property
    def names(self) -> tuple[int, ...]:
        """Of each atom, in their order."""
        return tuple(atom.name for dim in self.dims for atom in dim)


class Sections(Dataflow):
    """The maps of one forward pass, in the order in which they are made."""

    def __init__(self) -> None:
        super().__init__()
        self.maps: list[Section] = []
        self.labels: dict[str, int] = {}  # of calls, with the numbers of their maps
        self.starts: dict[Key, tuple[int, Provenance]] = {}  # what is known of maps
        self.images: set[int] = set()  # atoms along which images lie
        self.identities: dict[int, tuple[Range, ...]] = {}

    def start(self, number: int, tensor: Tensor) -> None:
        """Declare an input of the network."""
        dims = tuple(new_dim(size) for size in tensor.shape)
        self.images |= {atom.name for dim in dims[:1] for atom in dim}
        self._cut(tensor, Provenance(dims, {}, from_input=True))
        self.inputs.append(self.value(tensor))

    def ended(self, label: str, outputs: Sequence[Tensor]) -> None:
        """Makes maps of the outputs of a call, where they are none yet."""
        for place, tensor in enumerate(outputs):
            value = self.value(tensor)
            if not value.from_input:
                continue
            number, start = self.starts.get(key_of(tensor), (0, None))
            if start is not value:
                number = self._cut(tensor, value)
            self.labels[f"{label}[{place}]" if place else label] = number

    def _cut(self, tensor: Tensor, value: Provenance) -> int:
        """Makes a map of a tensor; what it saw becomes links. Returns its number."""
        number = len(self.maps)
        dims = _without_images(value.dims, self.images)
        self.maps.append(Section(dims, tuple(self._links(value))))
        seen: dict[Axis, Seen] = {
            (number, place): SeenElements(
                atom.name, ReceptiveField.identity(), self._identity(atom.size)
            )
            for place, atom in enumerate(atom for dim in dims for atom in dim)
        }
        seen[number, WHOLE] = Seen(None, ReceptiveField.identity(), ((0, 0),))
        made = Provenance(value.dims, seen, from_input=True)
        self._set(tensor, made)
        self.starts[key_of(tensor)] = number, made
        return number

    def _links(self, value: Provenance) -> Iterable[Link]:
        sources = {number for number, _ in (*value.seen, *value.unknown)}
        for source in sorted(sources):
            axes = len(self.maps[source].names)
            seen = [value.seen.get((source, place)) for place in range(axes)]
            known = [one for one in seen if one is not None]
            yield Link(source, tuple(known) if len(known) == axes else None)

    def _identity(self, size: int) -> tuple[Range, ...]:
        if size not in self.identities:
            self.identities[size] = tuple(Elements((e,)) for e in range(size))
        return self.identities[size]


def _without_images(dims: Sequence[Dim], images: set[int]) -> tuple[Dim, ...]:
    """Dimensions without the atoms along which images lie.

    Where these are lost, the first dimension is taken for the images'.
    """
    if any(atom.name in images for dim in dims for atom in dim):
        left = [tuple(a for a in dim if a.name not in images) for dim in dims]
        return tuple(kept for kept in left if kept)
    return tuple(dims[1:])
