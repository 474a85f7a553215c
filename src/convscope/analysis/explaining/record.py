"""``UnitExplanation``: a number of a network, and the chain that made it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from convscope.analysis.explaining.site import (
    Array,
    Detail,
    Index,
    Source,
    place_text,
    shown,
)
from convscope.analysis.explaining.window_sum import WindowSum


@dataclass(frozen=True, eq=False)
class NotExplained:
    """A number that was taken from the network, because its operation is not known.

    Attributes:
        what: The operation.
        value: The number, the network's own.
    """

    what: str
    value: float

    @property
    def tolerance(self) -> float:
        """0: it was taken."""
        return 0.0

    @property
    def follows(self) -> Source | None:
        """None."""
        return None

    @property
    def lines(self) -> tuple[str, ...]:
        """That it is not explained."""
        return (
            f"{self.what}: not explained, value taken from the network = "
            f"{shown(self.value)}",
        )

    def to_dict(self) -> dict[str, Any]:
        """The operation."""
        return {"operation": self.what, "not_explained": True}


@dataclass(frozen=True, eq=False)
class Overflowed:
    """A number that the network's format does not hold, so that it has infinity.

    Attributes:
        made: How the number was made.
        value: What the network has.
    """

    made: Detail
    value: float

    @property
    def tolerance(self) -> float:
        """0: infinity."""
        return 0.0

    @property
    def follows(self) -> Source | None:
        """Where it goes back to."""
        return self.made.follows

    @property
    def lines(self) -> tuple[str, ...]:
        """How it was made, and that it is too large."""
        return (*self.made.lines, f"too large for its number format = {self.value:g}")

    def to_dict(self) -> dict[str, Any]:
        """How it was made."""
        return {**self.made.to_dict(), "overflowed": True}


@dataclass(frozen=True, eq=False)
class Step:
    """One layer of the chain.

    Attributes:
        label: The layer, as `capture` names it.
        kind: As one would write it.
        index: The element of its output, with the image.
        detail: How it was made: `WindowSum`, `Winner`, `Normalized`, `Formula`,
            `Moved`, ... by the family of the operation.
        network_value: What the network has there.
        inputs: For each tensor that the layer takes, the layer that gave it; None for
            an input of the network.
    """

    label: str
    kind: str
    index: Index
    detail: Detail
    network_value: float
    inputs: tuple[str | None, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """What is explained, and how."""
        image, *rest = self.index or (0,)
        where = f"channel {rest[0]}" if rest else f"image {image}"
        if rest[1:]:
            where += f" at {place_text(rest[1:])}"
        name = self.label or "the network"
        return (f"{name} = {self.kind}, {where}", *self.detail.lines)

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "label": self.label,
            "kind": self.kind,
            "index": list(self.index),
            "value": self.detail.value,
            "network_value": self.network_value,
            "tolerance": self.detail.tolerance,
            "inputs": list(self.inputs),
            **self.detail.to_dict(),
        }


@dataclass(frozen=True, eq=False, repr=False)
class UnitExplanation:
    """Why a number in a network is what it is; ``str`` gives the lines.

    Attributes:
        layer: Which layer's output, as `capture` names it.
        image: Of the batch.
        channel: Of the output; None where it has none.
        position: Its place, one index per axis of space.
        steps: The chain: from what a sum of products made to the layer asked for.
        network_value: What the network has there.
        notes: What is not as one would expect.
    """

    layer: str
    image: int
    channel: int | None
    position: Index
    steps: tuple[Step, ...]
    network_value: float
    notes: tuple[str, ...] = ()
    find_field: Callable[[], "tuple[tuple[int, int] | None, ...] | None"] = field(
        default=lambda: None
    )

    @property
    def detail(self) -> Detail:
        """How the layer asked for made it; the last of the chain."""
        return self.steps[-1].detail

    @property
    def value(self) -> float:
        """The number, computed by us in float64."""
        return self.detail.value

    @property
    def tolerance(self) -> float:
        """What rounding can make of it: the network's own lies within."""
        return self.detail.tolerance

    @property
    def lines(self) -> tuple[str, ...]:
        """The chain, a line for each part; the last has the number."""
        return tuple(line for step in self.steps for line in step.lines)

    @property
    def products_of(self) -> WindowSum | None:
        """The last sum of products in the chain; None if there is none."""
        sums = [s.detail for s in self.steps if isinstance(s.detail, WindowSum)]
        return sums[-1] if sums else None

    @property
    def patch(self) -> Array | None:
        """What lies under the kernel, (channels, *taps)."""
        return None if self.products_of is None else self.products_of.patch

    @property
    def kernel(self) -> Array | None:
        """What it is multiplied by."""
        return None if self.products_of is None else self.products_of.kernel

    @property
    def products(self) -> Array | None:
        """Patch times kernel."""
        return None if self.products_of is None else self.products_of.products

    @property
    def sums(self) -> npt.NDArray[np.float64] | None:
        """Products added up, channel by channel."""
        return None if self.products_of is None else self.products_of.sums

    @property
    def bias(self) -> float | None:
        """What is added to the sum of products."""
        return None if self.products_of is None else self.products_of.bias

    @property
    def window(self) -> tuple[tuple[int | None, ...], ...] | None:
        """The element of the layer's input under each tap, per axis of space."""
        return None if self.products_of is None else self.products_of.window

    @property
    def receptive_field(self) -> tuple[tuple[int, int] | None, ...] | None:
        """First and last element of the network's input that it sees, per axis.

        Borders are regarded; None where arithmetic does not know it. It is found when
        it is asked for.
        """
        return self.find_field()

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON, arrays as nested lists."""
        seen = self.receptive_field
        return {
            "layer": self.layer,
            "image": self.image,
            "channel": self.channel,
            "position": list(self.position),
            "value": self.value,
            "network_value": self.network_value,
            "tolerance": self.tolerance,
            "receptive_field": seen and [span and list(span) for span in seen],
            "steps": [step.to_dict() for step in self.steps],
            "lines": list(self.lines),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        notes = [f"- {note}" for note in self.notes]
        return "\n".join([*self.lines, *notes])

    def __repr__(self) -> str:
        name = self.layer or "network"
        return f"UnitExplanation({name}, {shown(self.value)}, {len(self.steps)} steps)"
