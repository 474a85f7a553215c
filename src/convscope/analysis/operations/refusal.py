"""What is wrong where something does not fit, in the same words for every layer.

``wrong_rank``, ``wrong_channels``, ``no_window``, ``unequal``   each makes a `Refusal`

A refusal has the shape that came, the shape that was wanted, the numbers in between,
and the changes that would make this one layer work. Whether a change makes the whole
network work is found out in ``check.py``, by trying.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from convscope.analysis.inputs import BATCH
from convscope.arithmetic import axis_name, kernel_span, nearest_fixes

Pair = tuple[int, int]


@dataclass(frozen=True)
class Refusal:
    """What is wrong with one call.

    Attributes:
        came: The shape that reaches it, as text.
        wanted: The shape it takes.
        because: The formula, with the numbers in it.
        changes: Arguments of the layer that would help, each alone.
        kind: ``rank``, ``channels``, ``features``, ``size``, ``map``, ``join``,
            ``view``; or what was called.
        values: What ``came`` and what it ``wants``, where that is one number.
        axes: For each spatial axis, below 0 where it is too short, above 0 where it is
            too long; empty where that is not known.
    """

    came: str
    wanted: str
    because: str = ""
    changes: tuple[dict[str, Any], ...] = ()
    kind: str = ""
    values: dict[str, int] = field(default_factory=dict)
    axes: tuple[int, ...] = ()


class RefusedError(Exception):
    """A call that would not work."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.because)
        self.refusal = refusal


def shape_text(shape: Sequence[int]) -> str:
    """A shape with its batch axis as a letter.

    >>> shape_text((2, 16, 5, 5))
    '(N, 16, 5, 5)'
    """
    rest = ", ".join(str(size) for size in shape[1:])
    return f"(N, {rest})" if rest else "(N,)"


def wanted_text(channels: int | None, axes: int) -> str:
    """The shape that a layer takes.

    >>> wanted_text(3, 2), wanted_text(None, 1)
    ('(N, 3, H, W)', '(N, C, L)')
    """
    letters = ", ".join(axis_name(axis, axes)[0].upper() for axis in range(axes))
    return f"(N, {'C' if channels is None else channels}, {letters})"


def wrong_rank(x: Tensor, channels: int | None, axes: int) -> Refusal | None:
    """Whether ``x`` is neither a batch nor, for certain, one image of one."""
    if x.ndim == axes + 2:
        return None
    if x.ndim == axes + 1 and (channels is None or BATCH != channels == x.shape[0]):
        return None
    return Refusal(
        shape_text(x.shape),
        wanted_text(channels, axes),
        f"{x.ndim} axes with the batch reach it, it takes {axes + 2}",
        kind="rank",
        values={"wants": 1 if channels is None else channels},
    )


def wrong_channels(
    x: Tensor,
    came: int,
    wants: int,
    wanted: str,
    *,
    argument: str = "in_channels",
    groups: int = 1,
    holds: str = "its weight is",
) -> Refusal | None:
    """Whether another number of channels reaches a layer than it takes.

    Args:
        x: What reaches it.
        came: Channels of that.
        wants: Channels that it takes.
        wanted: The shape that it takes.
        argument: Where it was told how many.
        groups: Blocks of channels, of which each count must be a multiple.
        holds: What is made for that many.
    """
    if came == wants:
        return None
    text = f"{came} channels reach it, {holds} for {wants}"
    if groups > 1:
        text += f" in {groups} groups"
    return Refusal(
        shape_text(x.shape),
        wanted,
        text,
        ({argument: came},) if came % groups == 0 or groups == wants else (),
        "channels",
        {"came": came, "wants": wants},
    )


def no_window(
    x: Tensor,
    channels: int | None,
    kernels: Sequence[int],
    *,
    stride: Sequence[int],
    padding: Sequence[Pair],
    dilation: Sequence[int],
    rounds_up: bool = False,
    half_padded: bool = False,
    whole_windows: bool = False,
) -> Refusal | None:
    """Whether not even one window fits along some axis.

    Args:
        x: What reaches the layer.
        channels: Channels that it takes; None where any number will do.
        kernels: Window lengths, in taps.
        stride: Steps from one window to the next, in input elements.
        padding: Elements added before and after.
        dilation: Steps from one tap to the next, in input elements.
        rounds_up: Whether a last window may reach past the end.
        half_padded: Whether padding may be at most half of the kernel.
        whole_windows: Whether a map must be as long as a kernel, whatever padding.
    """
    axes = len(kernels)
    sizes = list(x.shape[x.ndim - axes :])
    spans = [kernel_span(k, d) for k, d in zip(kernels, dilation, strict=True)]
    least = [
        max(1, span - sum(pair) - (step - 1 if rounds_up else 0))
        for span, pair, step in zip(spans, padding, stride, strict=True)
    ]
    if whole_windows:
        least = [max(pair) for pair in zip(least, kernels, strict=True)]
    short = [i for i in range(axes) if sizes[i] < least[i]]
    if not short:
        return None
    texts, more, taps = [], 0, list(kernels)
    for i in short:
        pads = sum(padding[i])
        padded = f" + {pads}" if pads else ""
        slack = sizes[i] + pads - spans[i]
        outputs = (-(-slack // stride[i]) if rounds_up else slack // stride[i]) + 1
        texts.append(
            f"{axis_name(i, axes)}: ({sizes[i]}{padded} - {spans[i]}) / {stride[i]} "
            f"+ 1 gives {outputs}"
            if outputs < 1
            else f"{axis_name(i, axes)}: {sizes[i]} is shorter than kernel_size="
            f"{kernels[i]}, which torch refuses whatever the padding"
        )
        fixes = nearest_fixes(
            sizes[i],
            kernels[i],
            padding=padding[i],
            dilation=dilation[i],
            pooling=half_padded,
        )
        if whole_windows:
            more, taps[i] = -1, min(sizes[i], kernels[i])
            continue
        more = -1 if fixes.padding is None or more < 0 else max(more, fixes.padding)
        taps[i] = fixes.kernel_size or 0
    if len({t.partition(": ")[2] for t in texts}) == 1 and len(texts) == axes:
        texts = [texts[0].partition(": ")[2]]
    changes: list[dict[str, Any]] = []
    if more > 0:
        added = [more if i in short else 0 for i in range(axes)]
        pairs = [(b + m, a + m) for (b, a), m in zip(padding, added, strict=True)]
        changes.append({"padding": _padding_text(pairs)})
    if all(taps):
        changes.append({"kernel_size": _one(taps)})
    head = "C" if channels is None else channels
    wanted = f"(N, {head}, {', '.join(f'{size} or more' for size in least)})"
    return Refusal(
        shape_text(x.shape),
        wanted,
        "; ".join(texts),
        tuple(changes),
        "map",
        axes=tuple(-(axis in short) for axis in range(axes)),
    )


def unequal(
    came: str, wanted: str, place: int, rank: int, sizes: Sequence[int]
) -> Refusal:
    """Tensors that meet with different lengths along one dimension."""
    names = ("batch", "channels" if rank > 2 else "features")
    axis = names[place] if place < 2 else axis_name(place - 2, rank - 2)
    text = f"{axis}: {' and '.join(map(str, sizes))} differ"
    return Refusal(came, wanted, text, kind="join")


def _padding_text(pairs: Sequence[Pair]) -> Any:
    """As it would be written: one number, one per axis, or pairs."""
    if any(before != after for before, after in pairs):
        return tuple(pairs)
    return _one([before for before, _ in pairs])


def _one(values: Sequence[int]) -> int | tuple[int, ...]:
    return values[0] if len(set(values)) == 1 else tuple(values)
