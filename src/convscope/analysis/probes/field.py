"""The receptive field of one unit on the input, as it grows from layer to layer."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from convscope.analysis.checking.rebuild import layer_text
from convscope.analysis.inputs import Shape
from convscope.analysis.probes.effective import (
    EffectiveField,
    NoGradientError,
    effective_receptive_field,
)
from convscope.analysis.summary import exact_ranges_by_path
from convscope.analysis.tracing.meta_copy import plain_path, uncompiled
from convscope.arithmetic import axis_name
from convscope.errors import ArgumentError, UnknownNameError

Span = tuple[int, int]


@dataclass(frozen=True)
class FieldStep:
    """One layer on the way to the unit.

    Attributes:
        path: Where the layer is.
        kind: The layer as one would write it.
        position: Of that unit of it which looks at the same place.
        box: First and last element of the input that this unit sees, per axis.
    """

    path: str
    kind: str
    position: Shape
    box: tuple[Span, ...]

    @property
    def size(self) -> Shape:
        """Elements along each axis, borders regarded."""
        return tuple(last - first + 1 for first, last in self.box)


@dataclass(frozen=True, eq=False)
class UnitField:
    """What one unit sees of the input.

    Attributes:
        network: Class of the network, or what it was called by.
        input_shape: (C, *space).
        steps: Layers at which the field grows, the unit's own last.
        effective: What it really looks at, measured; None where that was not wanted,
            or cannot be.
        notes: Why it cannot.
    """

    network: str
    input_shape: Shape
    steps: tuple[FieldStep, ...]
    effective: EffectiveField | None
    notes: tuple[str, ...] = ()

    @property
    def unit(self) -> FieldStep:
        """The unit itself."""
        return self.steps[-1]

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON."""
        return {
            "network": self.network,
            "input_shape": list(self.input_shape),
            "steps": [
                {
                    "path": step.path,
                    "kind": step.kind,
                    "position": list(step.position),
                    "box": [list(span) for span in step.box],
                    "size": list(step.size),
                }
                for step in self.steps
            ],
            "effective": self.effective and self.effective.to_dict(),
            "notes": list(self.notes),
        }


def unit_field(
    net: nn.Module,
    input_shape: Shape,
    layer: str = "",
    position: Shape | None = None,
    *,
    samples: int = 16,
    seed: int = 0,
    name: str = "",
) -> UnitField:
    """What one unit sees of the input, by arithmetic layer by layer, and by gradient.

    Of every layer before it, that unit is taken which looks at the same place: whose
    field has its middle nearest to the middle of the unit's.

    Args:
        net: Any network with one input.
        input_shape: (C, *space).
        layer: Path of the unit's layer; the network's output by default.
        position: Of the unit in its map, one index per axis; by default the middle.
        samples: Noise inputs for the measured field; 0 for none.
        seed: Of the noise.
        name: What to call the network; its class by default.

    Raises:
        UnknownNameError: There is no module at ``layer``; names the nearest.
        ArgumentError: There is no such position, or what the layer sees is not known.
        ShapeError: The network does not work on this input; see `check`.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3))
    >>> found = unit_field(net, (1, 9, 9), "2", (0, 4), samples=0)
    >>> [(step.path, step.box) for step in found.steps]
    [('0', ((1, 3), (5, 7))), ('2', ((0, 4), (4, 8)))]
    """
    where = "unit_field"
    plain, layer = uncompiled(net), plain_path(layer)
    modules = dict(plain.named_modules())
    if layer not in modules:
        raise UnknownNameError("layer", layer, modules)
    ranges = exact_ranges_by_path(net, input_shape)
    if layer not in ranges:
        raise ArgumentError(
            f"{where}: what layer={layer!r} sees is not known, or it is not called. "
            "Look at the notes of summary(...)."
        )
    sizes = tuple(len(axis) for axis in ranges[layer])
    index = _position(position, sizes, where)
    box = _box(ranges[layer], index)
    if box is None:
        raise ArgumentError(
            f"{where}: the unit at position={index} of layer={layer!r} sees padding "
            "only. Choose another."
        )
    steps: list[FieldStep] = []
    for path in _before(list(ranges), layer):
        if any(True for _ in modules[path].children()):
            continue
        place = _nearest(ranges[path], box)
        own = _box(ranges[path], place)
        if own is None or own == box or not _within(own, box):
            continue
        if not steps or own != steps[-1].box:
            steps.append(FieldStep(path, layer_text(modules[path]), place, own))
    steps.append(FieldStep(layer, _kind(modules[layer]), index, box))
    effective: EffectiveField | None = None
    notes: tuple[str, ...] = ()
    if samples:
        wanted = tuple(i for i, n in zip(index, sizes, strict=True) if n > 1)
        try:
            effective = effective_receptive_field(
                net, input_shape, layer=layer, samples=samples, seed=seed,
                output_index=wanted if len(wanted) == len(sizes) else None,
            )  # fmt: skip
        except NoGradientError:
            notes = ("what it uses cannot be measured: no gradient reaches the input",)
    return UnitField(
        name or type(plain).__name__,
        tuple(input_shape),
        tuple(steps),
        effective,
        notes,
    )


def _before(paths: list[str], layer: str) -> list[str]:
    """Modules that are called before it, and those inside of it."""
    first = paths.index(layer)
    inside = f"{layer}." if layer else ""
    return paths[:first] + [p for p in paths[first + 1 :] if p.startswith(inside)]


def _within(own: tuple[Span, ...], box: tuple[Span, ...]) -> bool:
    return all(
        outer[0] <= inner[0] and inner[1] <= outer[1]
        for inner, outer in zip(own, box, strict=True)
    )


def _kind(module: nn.Module) -> str:
    return layer_text(module).partition("\n")[0]


def _position(wanted: Shape | None, sizes: Shape, where: str) -> Shape:
    if wanted is None:
        return tuple(size // 2 for size in sizes)
    if len(wanted) != len(sizes):
        raise ArgumentError(
            f"{where}: position={wanted} has {len(wanted)} "
            f"number{'s' * (len(wanted) != 1)}, the map has "
            f"{len(sizes)} axes. Give {len(sizes)}."
        )
    for axis, (index, size) in enumerate(zip(wanted, sizes, strict=True)):
        if not 0 <= index < size:
            raise ArgumentError(
                f"{where}: position={wanted} is outside the map, which has {size} "
                f"units along the {axis_name(axis, len(sizes))}. Use 0 to {size - 1}."
            )
    return tuple(wanted)


def _box(
    ranges: tuple[tuple[Span | None, ...], ...], index: Shape
) -> tuple[Span, ...] | None:
    spans = []
    for seen, place in zip(ranges, index, strict=True):
        span = seen[place] if len(seen) > 1 else seen[0]
        if span is None:
            return None
        spans.append(span)
    return tuple(spans)


def _nearest(
    ranges: tuple[tuple[Span | None, ...], ...], box: tuple[Span, ...]
) -> Shape:
    """Along each axis the unit whose field has its middle nearest to the box's."""
    found = []
    for seen, (first, last) in zip(ranges, box, strict=True):
        there = [place for place, span in enumerate(seen) if span is not None]
        found.append(
            min(there, key=lambda p: abs(sum(seen[p] or (0, 0)) - first - last))
            if there
            else 0
        )
    return tuple(found)
