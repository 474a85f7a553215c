"""What was not asked for, chosen by the images: size, channels and bits."""

import statistics
from collections.abc import Sequence
from typing import Literal

from convscope.data.preprocessing import Preprocessing

LADDER = (28, 32, 48, 64, 96, 128)  # pixels each way
GRAY_MODES = frozenset(("1", "L", "LA", "La"))


def choose_preprocessing(
    headers: Sequence[tuple[str, tuple[int, int]]],
    size: int | tuple[int, int] | None,
    channels: Literal[1, 3] | None,
    bits: Literal[8, 16] | None,
    resize: Literal["crop", "squash", "pad"] | None,
) -> tuple[Preprocessing, list[str]]:
    """What is not given, from the images; and why.

    >>> headers = [("L", (40, 30)), ("L", (50, 60))]
    >>> made, reasons = choose_preprocessing(headers, None, None, None, None)
    >>> made.size, made.channels, reasons[0]
    ((32, 32), 1, 'Kept in gray: 2 of 2 images are gray.')
    """
    reasons = []
    wide = sum(mode.startswith("I") for mode, _ in headers)
    gray = sum(mode in GRAY_MODES for mode, _ in headers) + wide
    if channels is None:
        channels = 1 if headers and gray == len(headers) else 3
        kept = "gray" if channels == 1 else "color"
        reasons.append(f"Kept in {kept}: {gray:,} of {len(headers):,} images are gray.")
    if bits is None:
        bits = 16 if wide else 8
        if wide:
            reasons.append(
                f"Kept with 16 bits: {wide:,} of {len(headers):,} have them."
            )
    if size is None:
        size, why = _size([pair for _, pair in headers])
        reasons.append(why)
    return (
        Preprocessing(
            channels=channels,
            bits=bits,
            size=(size, size) if isinstance(size, int) else size,
            resize=resize or "crop",
            mean=(0.0,) * channels,
            std=(1.0,) * channels,
        ),
        reasons,
    )


def conversions(
    headers: Sequence[tuple[str, tuple[int, int]]], channels: int
) -> list[str]:
    """Says if images are made what the network takes: gray, or of three channels.

    >>> conversions([("RGB", (8, 8)), ("L", (8, 8))], channels=1)
    ['1 of 2 images are in color; made gray.']
    """
    gray = sum(mode in GRAY_MODES or mode.startswith("I") for mode, _ in headers)
    color = len(headers) - gray
    if channels == 1 and color:
        return [f"{color:,} of {len(headers):,} images are in color; made gray."]
    if channels == 3 and gray:
        return [f"{gray:,} of {len(headers):,} images are gray; made red-green-blue."]
    return []


def _size(sizes: Sequence[tuple[int, int]]) -> tuple[int, str]:
    """A square that loses little and trains in reasonable time."""
    if not sizes:
        return LADDER[0], "No header could be read."
    first = sizes[0]
    if first[0] == first[1] <= LADDER[-1] and all(pair == first for pair in sizes):
        return first[0], f"Kept at {first[0]}x{first[0]} pixels: every image is."
    median = round(statistics.median(min(pair) for pair in sizes))
    rung = max((s for s in LADDER if s <= median), default=LADDER[0])
    more = f" A larger size={2 * rung} shows more." if 2 * rung <= median else ""
    return rung, (
        f"Resized to {rung}x{rung} pixels: the shorter sides have a median of "
        f"{median:,}.{more}"
    )
