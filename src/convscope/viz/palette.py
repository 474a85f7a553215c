"""Every color of the pictures, the report and the page: one home.

``THEMES``        paper, ink and marks, for light and for dark
``sequential``    values from 0 upwards: dark to bright, lightness rises evenly
``diverging``     signed values: orange, neutral at 0, blue; as strong on both sides
``SERIES``        lines and bars that must be told apart (after Okabe and Ito)

Colors are computed in OKLab, where equal steps look equally large, and told apart by
lightness first, so that color-blind readers and gray prints lose nothing.

Source:
    Ottosson 2020, "A perceptual color space for image processing"; Okabe and Ito
    2008, "Color universal design".
"""

import math
from dataclasses import asdict, dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from convscope.errors import UnknownNameError

ThemeName = Literal["light", "dark"]
Colors = npt.NDArray[np.float64]

ACCENT = "#0b6e8f"
COUNT = 256  # colors of a palette
SERIES = (
    ACCENT, "#e69f00", "#cc79a7", "#56b4e9", "#009e73", "#d55e00", "#707070",
)  # fmt: skip


@dataclass(frozen=True)
class Theme:
    """The tokens of light or of dark: what is not a value.

    Attributes:
        name: ``light`` or ``dark``.
        paper: Behind everything.
        ink: Text.
        muted: Text that matters less; 4.5:1 on paper, as ink.
        line: Frames and grids.
        accent: What is ours or chosen.
        other: What is beside it.
        mark: What is drawn over a map and must be seen on any of its colors.
        empty: Cells without a value, such as padding.
        raised: Behind what is set apart; text stands on it as on paper.
        on_accent: Text on the accent.
        caution: Behind a warning.
        on_caution: Its text.
    """

    name: ThemeName
    paper: str
    ink: str
    muted: str
    line: str
    accent: str
    other: str
    mark: str
    empty: str
    raised: str
    on_accent: str
    caution: str
    on_caution: str

    def to_dict(self) -> dict[str, str]:
        """The tokens by name, as a stylesheet wants them."""
        return asdict(self)


THEMES: dict[str, Theme] = {
    "light": Theme(
        name="light", paper="#ffffff", ink="#1b1f23", muted="#5b646d", line="#c9ced3",
        accent=ACCENT, other="#8b939b", mark="#e6550d", empty="#e4e7ea",
        raised="#f5f7f8", on_accent="#ffffff", caution="#fff3d6", on_caution="#5c4300",
    ),
    "dark": Theme(
        name="dark", paper="#14181c", ink="#e6e9ec", muted="#a0a8b0", line="#3d454d",
        accent="#3fa7c9", other="#7d868f", mark="#ff8c42", empty="#2a3036",
        raised="#1b2025", on_accent="#0c1114", caution="#3a2f12", on_caution="#ffe3a3",
    ),
}  # fmt: skip


def theme_named(name: str) -> Theme:
    """The theme of that name.

    Raises:
        UnknownNameError: Another name than ``light`` and ``dark``.

    >>> theme_named("dark").paper
    '#14181c'
    """
    if name not in THEMES:
        raise UnknownNameError("theme", str(name), THEMES)
    return THEMES[name]


def sequential() -> Colors:
    """Colors of values from 0 (dark) to the largest (bright), the same in both themes.

    Shape:
        return: (256, 3) red, green, blue on the scale 0 to 1

    >>> sequential().shape
    (256, 3)
    """
    return _evenly(
        [_oklch(0.17, 0.035, 262), _oklch(0.33, 0.085, 250), _oklch(0.50, 0.095, 226),
         _oklch(0.67, 0.105, 190), _oklch(0.83, 0.115, 125), _oklch(0.97, 0.070, 103)]
    )  # fmt: skip


def diverging(theme: ThemeName = "light") -> Colors:
    """Colors of signed values: the middle is 0, near the paper's own color.

    Args:
        theme: ``light`` ends dark on both sides, ``dark`` ends bright.

    Shape:
        return: (256, 3) red, green, blue on the scale 0 to 1

    >>> middle = diverging()[127:129].mean(axis=0)
    >>> bool(np.ptp(middle) < 0.02)  # gray, nearly white
    True
    """
    if theme_named(theme).name == "light":
        steps = ((0.965, 0.0), (0.80, 0.085), (0.60, 0.115), (0.38, 0.085))
    else:
        steps = ((0.26, 0.0), (0.44, 0.075), (0.65, 0.115), (0.88, 0.062))
    below = _evenly([_oklch(light, c, 58) for light, c in steps], COUNT // 2)
    above = _evenly([_oklch(light, c, 228) for light, c in steps], COUNT // 2)
    return np.concatenate([below[::-1], above])


def hexadecimal(colors: Colors) -> list[str]:
    """Colors as a stylesheet writes them.

    >>> hexadecimal(np.array([[1.0, 0.0, 0.5]]))
    ['#ff0080']
    """
    return ["#" + bytes(row).hex() for row in np.round(colors * 255).astype(np.uint8)]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colors, 1 to 21, as WCAG 2.2 defines it.

    >>> round(contrast("#ffffff", "#000000"), 6)
    21.0
    """
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def to_oklab(colors: Colors) -> Colors:
    """OKLab coordinates (..., 3) of red, green, blue on the scale 0 to 1.

    >>> np.round(to_oklab(np.ones(3)), 3).tolist()
    [1.0, 0.0, 0.0]
    """
    linear = np.where(
        colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4
    )
    found: Colors = np.cbrt(linear @ _TO_CONES.T) @ _TO_LAB.T + 0.0
    return found


# Ottosson's matrices: linear sRGB to cones, cube roots of cones to L, a, b.
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def _oklch(lightness: float, chroma: float, hue: float) -> Colors:
    angle = math.radians(hue)
    return np.array([lightness, chroma * math.cos(angle), chroma * math.sin(angle)])


def _evenly(anchors: list[Colors], count: int = COUNT) -> Colors:
    """Colors on the way through the anchors, each step as large as the others."""
    path = np.stack(anchors)
    dense = np.linspace(0, len(path) - 1, 4096)
    points = np.stack([_smooth(dense, path[:, axis]) for axis in range(3)], axis=1)
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    wanted = np.linspace(0, along[-1], count)
    lab = np.stack([np.interp(wanted, along, points[:, a]) for a in range(3)], axis=1)
    return _to_rgb(lab)


def _smooth(x: Colors, values: Colors) -> Colors:
    """A cubic through the values at 0, 1, 2, ..., without overshoot at its ends."""
    slopes = np.gradient(values)
    left = np.clip(x.astype(int), 0, len(values) - 2)
    t = x - left
    a, b, p, q = values[left], values[left + 1], slopes[left], slopes[left + 1]
    cubic: Colors = (
        (2 * t**3 - 3 * t**2 + 1) * a + (t**3 - 2 * t**2 + t) * p
        + (3 * t**2 - 2 * t**3) * b + (t**3 - t**2) * q
    )  # fmt: skip
    return cubic


def _to_rgb(lab: Colors) -> Colors:
    linear = (lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_CONES).T
    linear = np.clip(linear, 0, 1)
    rgb: Colors = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    return rgb


@cache
def _luminance(color: str) -> float:
    parts = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
