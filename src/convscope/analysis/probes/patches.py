"""What a filter looks for: the patches of the data that excite it most.

The images go through once, batch by batch; what is kept are the best few of each
channel, however many images there are. A patch is cut out by the receptive field of
the unit, as arithmetic has it: what the unit can see, and nothing else.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from convscope.analysis.capturing.capture import capture
from convscope.analysis.records import AxisField
from convscope.analysis.summary import exact_ranges, summary
from convscope.data.batching.batches import plain
from convscope.data.dataset import Dataset
from convscope.data.progress import Progress
from convscope.errors import ArgumentError, DataError, UnknownNameError

Box = tuple[tuple[int, int], ...]
MOST = 16  # channels, where nobody says which


@dataclass(frozen=True, eq=False)
class Patch:
    """Where a unit gave one of its largest values, and what it saw there.

    Attributes:
        value: What it gave.
        image: Which image of the data.
        name: Where that came from.
        position: Of the unit in its map.
        box: First and last element of what it sees, per axis; outside of the image
            where the window reaches over its border.
        pixels: (C, *size of the box) float32, from 0 to 1 for images; NaN outside.
    """

    value: float
    image: int
    name: str
    position: tuple[int, ...]
    box: Box
    pixels: npt.NDArray[np.float32]

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON, without pixels."""
        return {
            "value": self.value,
            "image": self.image,
            "name": self.name,
            "position": list(self.position),
            "box": [list(span) for span in self.box],
        }


@dataclass(frozen=True, eq=False)
class Patches:
    """The patches that excite the channels of a layer most.

    Attributes:
        network: Class of the network, or what it was called by.
        layer: The call's name, as `capture` has it.
        kind: The layer as one would write it.
        images: How many were gone through.
        channels: Which channels.
        out_channels: How many the layer has.
        top: For each channel its patches, the strongest first, one an image.
        field: Elements that a unit sees along each axis; None where it is not known,
            and patches are whole images.
        notes: What a person should know.
    """

    network: str
    layer: str
    kind: str
    images: int
    channels: tuple[int, ...]
    out_channels: int
    top: tuple[tuple[Patch, ...], ...]
    field: tuple[int, ...] | None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON, without pixels."""
        return {
            "network": self.network,
            "layer": self.layer,
            "kind": self.kind,
            "images": self.images,
            "channels": list(self.channels),
            "out_channels": self.out_channels,
            "field": self.field and list(self.field),
            "notes": list(self.notes),
            "top": [[patch.to_dict() for patch in row] for row in self.top],
        }


def top_patches(
    net: nn.Module,
    data: Dataset | Tensor,
    layer: str,
    *,
    channels: Sequence[int] | None = None,
    top: int = 9,
    part: str = "test",
    batch_size: int = 64,
    name: str = "",
    progress: Progress | None = None,
) -> Patches:
    """The patches of the data that excite each channel of a layer most.

    Args:
        net: Any network; it is as before afterwards.
        data: A data set, or inputs (N, C, *space).
        layer: As `capture` has it: a path, or a function's label.
        channels: Which; by default the first 16.
        top: Patches of each, at least 1; each from another image.
        part: Which images of a data set: ``train``, ``val`` or ``test``.
        batch_size: Images at a time.
        name: What to call the network; its class by default.
        progress: Called with images done, images in all, and what is being done.

    Raises:
        UnknownNameError: There is no such layer; names the nearest.
        ArgumentError: A bound is below 1, the layer has no such channel, gives no
            maps, or there is no such part.
        DataError: There are no images.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    >>> found = top_patches(net, torch.rand(5, 1, 8, 8), "1", top=2)
    >>> found.field, len(found.top), found.top[0][0].pixels.shape
    ((3, 3), 2, (1, 3, 3))
    """
    where = "top_patches"
    if top < 1 or batch_size < 1:
        raise ArgumentError(
            f"{where}: top={top}, batch_size={batch_size}: both must be at least 1."
        )
    if isinstance(data, Dataset) and part not in data.parts:
        raise UnknownNameError("part", part, data.parts)
    pixels = data.parts[part].pixels if isinstance(data, Dataset) else data
    if not len(pixels):
        raise DataError(f"{where}: there are no images. Choose another part.")
    best: _Best | None = None
    label, kind, count, network = layer, "", 0, name
    space: tuple[int, ...] = ()
    done = 0
    for x in _inputs(net, data, part, batch_size):
        found = capture(net, x, layer)
        if len(found) > 1:
            calls = ", ".join(found)
            raise ArgumentError(
                f"{where}: layer={layer!r} means {calls}. Name one of them."
            )
        (each,) = found.values()
        y = each.outputs[0] if each.outputs else torch.empty(0)
        if y.ndim < 2 or len(y) != len(x):
            raise ArgumentError(
                f"{where}: layer={layer!r} gives {tuple(y.shape)}, no maps (N, C, "
                "*space). Choose another."
            )
        if best is None:
            label, kind, count = each.label, each.kind, y.shape[1]
            network, space = name or found.name, tuple(y.shape[2:])
            best = _Best(_chosen(channels, count, where), top)
        best.add(y, done)
        done += len(x)
        if progress is not None:
            progress(done, len(pixels), "images")
    assert best is not None  # noqa: S101 - there was at least one image
    seen = _Seen(net, tuple(pixels.shape[1:]), label, space)
    names = data.parts[part].names if isinstance(data, Dataset) else None
    rows = []
    for row in best.rows():
        patches = []
        for value, image, place in row:
            position = tuple(int(i) for i in np.unravel_index(place, space or (1,)))
            position = position if space else ()
            box = seen.box(position)
            patches.append(
                Patch(
                    value, image, str(image) if names is None else str(names[image]),
                    position, box, _cut(pixels[image], box),
                )
            )  # fmt: skip
        rows.append(tuple(patches))
    notes = list(seen.notes)
    if len(best.channels) < count:
        notes.append(f"{len(best.channels)} of {count} channels shown")
    return Patches(
        network=network,
        layer=label,
        kind=kind,
        images=done,
        channels=best.channels,
        out_channels=count,
        top=tuple(rows),
        field=seen.field,
        notes=tuple(notes),
    )


class _Best:
    """The largest values of each channel so far: value, image, place in the map."""

    def __init__(self, channels: tuple[int, ...], top: int) -> None:
        self.channels, self.top = channels, top
        self.values = torch.empty(len(channels), 0)
        self.images = torch.empty(len(channels), 0, dtype=torch.long)
        self.places = torch.empty(len(channels), 0, dtype=torch.long)

    def add(self, y: Tensor, first: int) -> None:
        chosen = y.detach()[:, list(self.channels)].float().cpu()
        values, places = chosen.flatten(2).max(dim=2) if y.ndim > 2 else (
            chosen, torch.zeros(chosen.shape, dtype=torch.long)
        )  # fmt: skip
        images = torch.arange(first, first + len(y)).expand(len(self.channels), -1)
        merged = torch.cat([self.values, values.T.nan_to_num(-math.inf)], dim=1)
        order = merged.sort(dim=1, descending=True, stable=True).indices[:, : self.top]
        self.values = merged.gather(1, order)
        self.images = torch.cat([self.images, images], dim=1).gather(1, order)
        self.places = torch.cat([self.places, places.T], dim=1).gather(1, order)

    def rows(self) -> list[list[tuple[float, int, int]]]:
        lists = (self.values.tolist(), self.images.tolist(), self.places.tolist())
        return [list(zip(*row, strict=True)) for row in zip(*lists, strict=True)]


class _Seen:
    """What a unit of the layer sees of an input."""

    def __init__(
        self, net: nn.Module, shape: tuple[int, ...], label: str, space: tuple[int, ...]
    ) -> None:
        self.shape, self.notes = shape[1:], []
        path = label.partition(":")[0]
        rows = [row for row in summary(net, shape).rows if row.path == path]
        fields = rows[-1].receptive_field if rows and path == label else None
        self.fields: tuple[AxisField, ...] | None = fields or None
        self.ranges = exact_ranges(net, shape, path) if path == label else None
        self.field: tuple[int, ...] | None = None
        if self.ranges is None or len(self.ranges) != len(self.shape):
            self.ranges = None
            self.notes.append("what a unit sees is not known: patches are whole images")
        elif self.fields is not None:
            self.field = tuple(axis.size for axis in self.fields)
            if any(f > s for f, s in zip(self.field, self.shape, strict=True)):
                size = " x ".join(map(str, self.field))
                self.notes.append(
                    f"a unit sees {size} elements, more than the image along an axis: "
                    "there patches end with the image"
                )

    def box(self, position: tuple[int, ...]) -> Box:
        """First and last element along each axis; outside of the image on padding."""
        whole = tuple((0, size - 1) for size in self.shape)
        if self.ranges is None:
            return whole
        spans = []
        for axis, seen in enumerate(self.ranges):
            index = position[axis] if axis < len(position) and len(seen) > 1 else 0
            exact = seen[index]
            if exact is None:
                return whole
            spans.append(self._with_padding(axis, index, exact))
        return tuple(spans)

    def _with_padding(
        self, axis: int, index: int, exact: tuple[int, int]
    ) -> tuple[int, int]:
        """The whole window, if it is the exact range but for the border."""
        if self.fields is None:
            return exact
        field, last = self.fields[axis], self.shape[axis] - 1
        if not field.stride or field.size > self.shape[axis]:
            return exact
        first = math.floor(field.offset + field.stride * index)
        end = first + field.size - 1
        return (first, end) if (max(first, 0), min(end, last)) == exact else exact


def _cut(pixels: Tensor, box: Box) -> npt.NDArray[np.float32]:
    """The elements of an image in a box; NaN outside of it."""
    is_float = pixels.is_floating_point()
    values = (pixels.detach().float() if is_float else pixels).cpu().numpy()
    scale = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1
    size = [last - first + 1 for first, last in box]
    made = np.full((len(values), *size), np.nan, np.float32)
    inside, source = [slice(None)], [slice(None)]
    for (first, last), whole in zip(box, values.shape[1:], strict=True):
        low, high = max(first, 0), min(last, whole - 1)
        inside.append(slice(low - first, high - first + 1))
        source.append(slice(low, high + 1))
    made[tuple(inside)] = values[tuple(source)].astype(np.float32) / scale
    return made


def _inputs(
    net: nn.Module, data: Dataset | Tensor, part: str, batch_size: int
) -> Iterator[Tensor]:
    place = next((p.device for p in net.parameters()), torch.device("cpu"))
    if isinstance(data, Dataset):
        for batch in plain(data.parts[part], data.preprocessing, batch_size, place):
            yield batch.images
    else:
        for some in data.split(batch_size):
            yield some.to(place)


def _chosen(channels: Sequence[int] | None, count: int, where: str) -> tuple[int, ...]:
    if channels is None:
        return tuple(range(min(MOST, count)))
    for channel in channels:
        if not 0 <= channel < count:
            raise ArgumentError(
                f"{where}: channel {channel} is outside the {count} of this layer. Use "
                f"0 to {count - 1}."
            )
    if not channels:
        raise ArgumentError(f"{where}: channels is empty. Name at least one.")
    return tuple(channels)
