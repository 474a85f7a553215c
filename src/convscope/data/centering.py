"""Drawn digits put where the training digits lie, as MNIST's were."""

from typing import Literal

import numpy as np
from PIL import Image

INK = 1 / 16  # fainter than this share of full ink is paper: noise, or a soft edge
MASS_BOX = 20 / 28  # MNIST: digits of 20 x 20 in frames of 28 x 28


def centered(
    gray: np.ndarray,
    size: tuple[int, int],
    by: Literal["mass", "box"],
    resample: Image.Resampling,
) -> np.ndarray:
    """The ink of a drawing, light on black, scaled and moved to its standard place.

    The paper's gray is the median of the border. Ink is what differs from it, to the
    darker or the lighter side, whichever holds more. ``"mass"`` scales the bounding
    box of the ink to fit 20/28 of the frame and puts the center of mass in the middle,
    as near as whole pixels and an uncut digit allow; ``"box"`` scales the bounding box
    to fit the frame and puts its own center in the middle. Proportions are kept.

    Args:
        gray: The drawing, from 0 to 1.
        size: Height and width of the frame, in pixels.
        by: What is put in the middle.
        resample: The filter.

    Shape:
        gray:   (H, W)
        return: (*size,) float32 from 0 to 1; all 0 where there is no ink

    Source:
        LeCun et al. 1998, Gradient-based learning, section III.A, gives the box and
        the center of mass. The rule for paper and ink is ours.

    >>> paper = np.ones((9, 9)); paper[2:7, 4] = 0  # a dark stroke
    >>> centered(paper, (5, 5), "box", Image.Resampling.BOX)[:, 2].tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    frame = np.zeros(size, np.float32)
    ink = _ink(gray)
    rows, columns = (np.flatnonzero((ink > INK).any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return frame
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    limit = [round(MASS_BOX * s) for s in size] if by == "mass" else list(size)
    scale = min(max(1, limit[axis]) / box.shape[axis] for axis in (0, 1))
    height, width = (max(1, round(scale * side)) for side in box.shape)
    image = Image.fromarray(box).resize((width, height), resample)
    digit = np.asarray(image).clip(0, 1)  # bicubic and Lanczos overshoot
    top, left = (
        _start(digit.sum(axis=1 - axis), size[axis], by == "mass") for axis in (0, 1)
    )
    frame[top : top + height, left : left + width] = digit
    return frame


def _ink(gray: np.ndarray) -> np.ndarray:
    """0 where the paper is, 1 at full ink."""
    border = [gray[0], gray[-1], gray[1:-1, 0], gray[1:-1, -1]]
    paper = float(np.median(np.concatenate(border)))
    darker, lighter = np.clip(paper - gray, 0, None), np.clip(gray - paper, 0, None)
    if darker.sum() > lighter.sum():
        return (darker / paper).astype(np.float32)
    return (lighter / max(1 - paper, 1e-6)).astype(np.float32)


def _start(profile: np.ndarray, size: int, by_mass: bool) -> int:
    """Where the digit begins along one axis."""
    center = len(profile) / 2
    if by_mass and profile.sum() > 0:
        center = float(profile @ (np.arange(len(profile)) + 0.5) / profile.sum())
    start = int(np.floor(size / 2 - center + 0.5))
    return min(max(start, 0), size - len(profile))
