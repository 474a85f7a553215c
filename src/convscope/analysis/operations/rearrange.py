"""Operations that move elements and compute nothing: view, permute, slice, join.

Each takes values and the arguments of torch's operation and gives the value of the
result; None where it is not understood.
"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from convscope.analysis.operations.provenance import (
    Atom,
    Dim,
    Provenance,
    Seen,
    broadcast,
    hull,
    new_dim,
)
from convscope.arithmetic import (
    BorderMode,
    Range,
    ReceptiveField,
    ResizeMode,
    Upsample,
    Window,
    border_element,
    resize_windows,
)


def viewed(value: Provenance, shape: Sequence[int]) -> Provenance:
    """``view``: the same elements in the same order, other dimensions.

    Atoms are handed out to the new dimensions in order. An atom that would have to be
    divided between two dimensions becomes new ones, and what moved along it is
    collapsed.
    """
    waiting = [atom for dim in value.dims for atom in dim if atom.size != 1]
    ones = {atom.name for dim in value.dims for atom in dim if atom.size == 1}
    singles = [a for dim in value.dims for a in dim if a.name in ones]
    dims: list[Dim] = []
    for size in shape:
        taken: list[Atom] = []
        need = size
        while need > 1 and waiting and need % waiting[0].size == 0:
            need //= waiting[0].size
            taken.append(waiting.pop(0))
        if need > 1:
            taken.append(new_dim(need)[0])
            _take(waiting, need)
        if not taken and singles and size == 1:
            taken = [singles.pop(0)]
        dims.append(tuple(taken) or new_dim(1))
    return value.with_dims(dims)


def _take(waiting: list[Atom], need: int) -> None:
    """Takes ``need`` positions off the front, dividing atoms into new ones."""
    while need > 1 and waiting:
        atom = waiting.pop(0)
        if atom.size % need == 0:
            rest = atom.size // need
            need = 1
            if rest > 1:
                waiting.insert(0, new_dim(rest)[0])
        elif need % atom.size == 0:
            need //= atom.size
        elif waiting:  # merge with the next and try again
            following = waiting.pop(0)
            waiting.insert(0, new_dim(atom.size * following.size)[0])
        else:
            need = 1


def permuted(value: Provenance, order: Sequence[int]) -> Provenance:
    """``permute``, ``transpose``, ``t``."""
    return value.with_dims([value.dims[place] for place in order])


def swapped(value: Provenance, one: int, other: int) -> Provenance:
    """``transpose`` of two dimensions."""
    order = list(range(len(value.dims)))
    order[one], order[other] = order[other], order[one]
    return permuted(value, order)


def sliced(value: Provenance, dim: int, start: int, end: int, step: int) -> Provenance:
    """``x[..., start:end:step]`` along ``dim``; indices are within the length."""
    size = value.shape[dim]
    start, end = min(start, size), min(end, size)
    if (start, step) == (0, 1) and end == size:
        return value
    table = [[place] for place in range(start, end, step)]
    return value.through(dim, Window(1, stride=step, padding=(-start, 0)), table)


def padded(
    value: Provenance, dim: int, before: int, after: int, mode: BorderMode
) -> Provenance:
    """Elements added at both ends of ``dim``, or cut off where they are below 0."""
    size = value.shape[dim]
    if not before and not after:
        return value
    places = range(-before, size + after)
    table = [[border_element(place, size, mode)] for place in places]
    return value.through(dim, Window(1, padding=(before, after)), table)


def resized(
    value: Provenance, dim: int, outputs: int, mode: ResizeMode, *, align_corners: bool
) -> Provenance:
    """Interpolated to another length along ``dim``."""
    size = value.shape[dim]
    table = resize_windows(size, outputs, mode=mode, align_corners=align_corners)
    return value.through(dim, Upsample(Fraction(outputs, size), mode), table)


def selected(value: Provenance, dim: int, index: int) -> Provenance:
    """``x[..., index]``: one position, and the dimension is gone."""
    value, axes = value.along(dim)
    seen = dict(value.seen)
    for axis in axes:
        one = seen[axis]
        field = ReceptiveField((one.field.range(index),), 0, one.field.misaligned)
        seen[axis] = replace(one, atom=None, field=field, ranges=(one.ranges[index],))
    dims = value.dims[:dim] + value.dims[dim + 1 :]
    return replace(value, seen=seen).with_dims(dims)


def expanded(value: Provenance, shape: Sequence[int]) -> Provenance:
    """``expand``: dimensions of length 1 repeated, new ones in front."""
    wanted = Provenance(tuple(new_dim(size) for size in shape), {})
    return broadcast([value, wanted])


def concatenated(values: Sequence[Provenance], dim: int) -> Provenance:
    """``cat``: along channels the union, along space one after the other."""
    values = [value.along(dim)[0] for value in values]
    made = new_dim(sum(value.shape[dim] for value in values))
    moving = {
        axis
        for value in values
        for axis, one in value.seen.items()
        if one.atom == value.dims[dim][0].name
    }
    lengthened = []
    for value in values:
        dims = list(value.dims)
        dims[dim] = made
        others = {a: one for a, one in value.seen.items() if a not in moving}
        lengthened.append(replace(value, seen=others, dims=tuple(dims)))
    whole = broadcast(lengthened)
    seen = dict(whole.seen)
    for axis in moving:
        pieces: list[Seen] = []
        ranges: list[Range] = []
        for value in values:
            one = value.seen.get(axis)
            length = value.shape[dim]
            if one is None:
                ranges += [None] * length
                continue
            pieces.append(one)
            ranges += one.ranges if len(one.ranges) == length else one.ranges * length
        field = pieces[0].field
        if any(other.field != field for other in pieces):
            field = ReceptiveField((hull(ranges),), 0)
        name = whole.dims[dim][0].name
        seen[axis] = replace(pieces[0], atom=name, field=field, ranges=tuple(ranges))
    return replace(whole, seen=seen)


def written(base: Provenance, part: Provenance, starts: Sequence[int]) -> Provenance:
    """A tensor into which another has been written, from ``starts`` on.

    Along space the ranges of the written positions are replaced. The field far from
    borders is that of whichever piece is the longer: a border that is filled by itself
    does not change what the middle sees.
    """
    if base.shape == part.shape:
        return part
    names = [d for d, size in enumerate(part.shape) if size != base.shape[d]]
    for dim in names:
        part = _placed(part, dim, base.shape[dim], starts[dim])
    kept = dict(base.seen)
    whole = broadcast([base, part])
    seen = dict(whole.seen)
    for dim in names:
        atom = whole.dims[dim][0].name if len(whole.dims[dim]) == 1 else None
        for axis, one in part.seen.items():
            if axis in kept and one.atom == part.dims[dim][0].name and atom is not None:
                old, length = kept[axis], base.shape[dim]
                ranges = list(old.ranges * (length if len(old.ranges) == 1 else 1))
                end = starts[dim] + _length(one)
                ranges[starts[dim] : end] = one.ranges[starts[dim] : end]
                longer = 2 * _length(one) > length
                field = one.field if longer else old.field
                seen[axis] = replace(old, atom=atom, field=field, ranges=tuple(ranges))
    return replace(whole, seen=seen)


def _placed(part: Provenance, dim: int, size: int, start: int) -> Provenance:
    """``part`` at ``start`` of a longer dimension, with nothing around it."""
    after = size - part.shape[dim] - start
    places = range(-start, part.shape[dim] + after)
    inside = range(part.shape[dim])
    table = [[place if place in inside else None] for place in places]
    return part.through(dim, Window(1, padding=(start, after)), table)


def _length(seen: Seen) -> int:
    """How many positions a placed part really fills."""
    return sum(one is not None for one in seen.ranges)


def in_groups(value: Provenance, dim: int, groups: int, outputs: int) -> Provenance:
    """Positions along ``dim`` that mix within each of some groups of equal length."""
    if groups == 1 or not value.along(dim)[1]:
        return made_into(value, dim, outputs)
    inside = value.shape[dim] // groups
    value = value.through(dim, Window(inside, stride=inside))
    return value.through(dim, Upsample(outputs // groups))


def made_into(value: Provenance, dim: int, size: int) -> Provenance:
    """All positions along ``dim`` made into ``size`` others."""
    value = value.mixed([dim])
    dims = list(value.dims)
    dims[dim] = new_dim(size)
    return value.with_dims(dims)


def aligned_batches(left: Provenance, right: Provenance, count: int) -> Provenance:
    """``right``, its first dimensions taken for the same positions as ``left``'s."""
    shape = [*left.shape[:count], 1, 1]
    right = broadcast([Provenance(tuple(new_dim(s) for s in shape), {}), right])
    return replace(right, dims=(*left.dims[:count], *right.dims[count:]))
