"""What is known of a tensor in a network: which input elements its elements see.

A tensor's dimension is a tuple of *atoms*: ``flatten`` puts the atoms of height and
width into one dimension, and a later ``view`` takes them apart again, so that what each
position sees is still known. Along each spatial axis of each input, a tensor has a
`Seen`: the atom along which the view moves, and the view itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TypeAlias

from convscope.arithmetic import (
    AxisLayer,
    Range,
    ReceptiveField,
    identity_ranges,
)

Axis: TypeAlias = tuple[int, int]  # (number of the input, its spatial axis)


@dataclass(frozen=True)
class Atom:
    """A length that is never split; compared by identity of ``name``."""

    name: int
    size: int


Dim: TypeAlias = tuple[Atom, ...]
_names = count()


@dataclass(frozen=True)
class Seen:
    """What is seen along one input axis.

    Attributes:
        atom: Name of the atom along which it moves; None where every element sees
            the same.
        field: Far from borders.
        ranges: For each position along the atom, borders included; one if none moves.
    """

    atom: int | None
    field: ReceptiveField
    ranges: tuple[Range, ...]

    def joined(self, ranges: Iterable[Range]) -> Range:
        """What is seen by what is made from several elements."""
        return hull(ranges)

    def through(self, rows: Sequence[Sequence[int | None]]) -> tuple[Range, ...]:
        """What each output sees, of a layer that reads these elements for it."""
        return tuple(
            self.joined(self.ranges[element] for element in row if element is not None)
            for row in rows
        )

    def collapsed(self) -> "Seen":
        """What an element sees that is made from all positions."""
        if self.atom is None:
            return self
        field = self.field.whole(len(self.ranges))
        return replace(self, atom=None, field=field, ranges=(self.joined(self.ranges),))

    def union(self, other: "Seen") -> "Seen":
        """What an element sees that is made from one of each."""
        ours, others = self, other
        if ours.atom != others.atom and None not in (ours.atom, others.atom):
            ours, others = ours.collapsed(), others.collapsed()
        length = max(len(ours.ranges), len(others.ranges))
        atom = others.atom if ours.atom is None else ours.atom
        pairs = zip(
            _spread(ours.ranges, length), _spread(others.ranges, length), strict=True
        )
        return replace(
            self,
            atom=atom,
            field=ours.field.union(others.field),
            ranges=tuple(map(self.joined, pairs)),
        )


@dataclass(frozen=True)
class Provenance:
    """A tensor: the atoms of each dimension and what it sees.

    Attributes:
        dims: One tuple of atoms per dimension.
        seen: By input axis; an axis that is not in it is not seen.
        unknown: Input axes of which nothing is known any more.
        from_input: Whether it depends on an input at all.
    """

    dims: tuple[Dim, ...]
    seen: Mapping[Axis, Seen]
    unknown: frozenset[Axis] = frozenset()
    from_input: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each dimension."""
        return tuple(size_of(dim) for dim in self.dims)

    def mixed(self, dims: Iterable[int]) -> "Provenance":
        """Every element now depends on all positions along these dimensions."""
        names = {atom.name for dim in dims for atom in self.dims[dim]}
        seen = {
            axis: one.collapsed() if one.atom in names else one
            for axis, one in self.seen.items()
        }
        return replace(self, seen=seen)

    def with_dims(self, dims: Iterable[Dim]) -> "Provenance":
        """Other dimensions; what moved along an atom that is gone is collapsed."""
        kept = tuple(dims)
        names = {atom.name for dim in kept for atom in dim}
        seen = {
            axis: one if one.atom is None or one.atom in names else one.collapsed()
            for axis, one in self.seen.items()
        }
        return replace(self, dims=kept, seen=seen)

    def along(self, dim: int) -> tuple["Provenance", list[Axis]]:
        """The same with one atom in ``dim``, and the input axes that move along it."""
        value = self
        if len(self.dims[dim]) != 1:
            dims = list(self.dims)
            dims[dim] = new_dim(size_of(self.dims[dim]))
            value = self.with_dims(dims)
        name = value.dims[dim][0].name
        return value, [axis for axis, one in value.seen.items() if one.atom == name]

    def through(
        self,
        dim: int,
        layer: AxisLayer,
        table: Sequence[Sequence[int | None]] | None = None,
    ) -> "Provenance":
        """After a layer that moves a window along ``dim``.

        ``table``, where it is not the layer's own, says what each output reads.
        """
        value, axes = self.along(dim)
        size = value.shape[dim]
        rows = layer.table(size) if table is None else table
        dims = list(value.dims)
        dims[dim] = new_dim(len(rows))
        seen = dict(value.seen)
        for axis in axes:
            old = seen[axis]
            seen[axis] = replace(
                old,
                atom=dims[dim][0].name,
                field=old.field.through(layer, size),
                ranges=old.through(rows),
            )
        return replace(value, dims=tuple(dims), seen=seen)


def input_provenance(number: int, shape: Sequence[int]) -> Provenance:
    """A network's input ``(N, C, *spatial)``: each element sees itself."""
    dims = tuple(new_dim(size) for size in shape)
    seen = {
        (number, axis): Seen(
            dim[0].name, ReceptiveField.identity(), tuple(identity_ranges(dim[0].size))
        )
        for axis, dim in enumerate(dims[2:])
    }
    return Provenance(dims, seen, from_input=True)


def constant(shape: Sequence[int]) -> Provenance:
    """A tensor that does not depend on any input, such as a weight."""
    return Provenance(tuple(new_dim(size) for size in shape), {})


def unknown(values: Iterable[Provenance], shape: Sequence[int]) -> Provenance:
    """Made from ``values`` in a way that is not understood."""
    axes: set[Axis] = set()
    from_input = False
    for value in values:
        axes |= set(value.seen) | value.unknown
        from_input = from_input or value.from_input
    dims = tuple(new_dim(size) for size in shape)
    return Provenance(dims, {}, frozenset(axes), from_input)


def joined(values: Sequence[Provenance], dims: Sequence[Dim]) -> Provenance:
    """What an element sees that is made from one element of each value."""
    seen: dict[Axis, Seen] = {}
    lost: frozenset[Axis] = frozenset()
    for value in values:
        lost |= value.unknown
        for axis, one in value.seen.items():
            seen[axis] = seen[axis].union(one) if axis in seen else one
    kept = {axis: one for axis, one in seen.items() if axis not in lost}
    made = Provenance(tuple(dims), kept, lost, any(v.from_input for v in values))
    return made.with_dims(dims)


def broadcast(values: Sequence[Provenance]) -> Provenance:
    """Elementwise: dimensions aligned from the last, length 1 repeated."""
    rank = max(len(value.dims) for value in values)
    dims: list[Dim] = []
    renamed: list[dict[int, int | None]] = [{} for _ in values]
    for place in range(-rank, 0):
        there = [v.dims[place] if -place <= len(v.dims) else () for v in values]
        largest = max((size_of(dim) for dim in there), default=1)
        chosen = max(
            (dim for dim in there if size_of(dim) == largest),
            key=lambda dim: len(dim),
        )
        dims.append(chosen)
        for names, dim in zip(renamed, there, strict=True):
            same = [atom.size for atom in dim] == [atom.size for atom in chosen]
            for index, atom in enumerate(dim):
                names[atom.name] = chosen[index].name if same else None
    return joined(
        [_renamed(v, names) for v, names in zip(values, renamed, strict=True)], dims
    )


def _renamed(value: Provenance, names: Mapping[int, int | None]) -> Provenance:
    """Views moved to other atoms; those without a counterpart are collapsed."""
    seen = {}
    for axis, one in value.seen.items():
        atom = None if one.atom is None else names.get(one.atom)
        if one.atom is not None and atom is None:
            seen[axis] = one.collapsed()
        else:
            seen[axis] = replace(one, atom=atom)
    return replace(value, seen=seen)


def new_dim(size: int) -> Dim:
    """A dimension of one atom that no other tensor has."""
    return (Atom(next(_names), size),)


def size_of(dim: Dim) -> int:
    """Length of a dimension: the product of its atoms."""
    length = 1
    for atom in dim:
        length *= atom.size
    return length


def hull(ranges: Iterable[Range]) -> Range:
    """The smallest range that contains all of them."""
    some = [one for one in ranges if one is not None]
    if not some:
        return None
    return min(one[0] for one in some), max(one[1] for one in some)


def _spread(ranges: tuple[Range, ...], length: int) -> tuple[Range, ...]:
    return ranges * length if len(ranges) == 1 else ranges
