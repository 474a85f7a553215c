"""Filters by name: what each does to an image is known before anything is learned.

Kernels are written as a layer applies them: tap by tap on what lies under it, without
turning the kernel (cross-correlation). Under true convolution the kernels that are not
symmetric, the edge and emboss kernels, answer with the opposite sign or side.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from convscope.arithmetic import require
from convscope.errors import ArgumentError, UnknownNameError, explains_calls


@dataclass(frozen=True)
class Filter:
    """One named filter.

    Attributes:
        name: What it is asked for by.
        says: What it does to an image.
        make: Gives the kernel in float64; its arguments are the filter's options.
        any_axes: Whether it exists for 1 and 3 spatial axes too.

    >>> FILTERS["gaussian"].options
    {'size': None, 'sigma': None}
    """

    name: str
    says: str
    make: Callable[..., Tensor]
    any_axes: bool

    @property
    def options(self) -> dict[str, Any]:
        """What can be set, with the values that hold otherwise."""
        parameters = inspect.signature(self.make).parameters.values()
        return {p.name: p.default for p in parameters if p.name != "axes"}


@explains_calls
def filter_kernel(
    name: str, *, axes: int = 2, dtype: torch.dtype = torch.float32, **options: Any
) -> Tensor:
    """The kernel of a named filter.

    Args:
        name: One of `FILTERS`.
        axes: Spatial axes, 1 to 3; filters of directions in the plane have 2.
        dtype: Number format of the kernel.
        options: What this filter lets one set; see ``FILTERS[name].options``. ``size``
            is in taps, ``sigma`` and ``wavelength`` in pixels, angles in degrees from
            "to the right" towards "down", ``axis`` is the spatial axis across which
            edges are looked for.

    Shape:
        return: one axis of taps for each spatial axis

    Raises:
        UnknownNameError: No filter, or no option, of that name.
        ArgumentError: An option is out of range, or the filter has no such ``axes``.

    >>> filter_kernel("edges_4")
    tensor([[ 0.,  1.,  0.],
            [ 1., -4.,  1.],
            [ 0.,  1.,  0.]])
    >>> filter_kernel("gaussian", size=9, sigma=2.0).sum()
    tensor(1.)
    """
    if name not in FILTERS:
        raise UnknownNameError("filter", name, FILTERS)
    chosen = FILTERS[name]
    for option in options:
        if option not in chosen.options:
            if not chosen.options:
                raise ArgumentError(
                    f"filter_kernel: {option}={options[option]!r} cannot be set: "
                    f"{name!r} is 3 by 3 and fixed. Leave {option} out."
                )
            raise UnknownNameError(f"option of {name!r}", option, chosen.options)
    if axes not in (1, 2, 3) or (axes != 2 and not chosen.any_axes):
        number = "1, 2 or 3" if chosen.any_axes else "2"
        raise ArgumentError(
            f"filter_kernel: axes={axes!r} is not possible for {name!r}, which has "
            f"{number}. Use axes=2."
        )
    if chosen.any_axes:
        options["axes"] = axes
    return chosen.make(**options).to(dtype)


@explains_calls
def gaussian_taps(
    size: int, sigma: float | None = None, *, dtype: torch.dtype = torch.float64
) -> Tensor:
    """A Gaussian along one axis, sampled at the taps and summing to 1.

    Args:
        size: Taps; of an even number none lies in the middle.
        sigma: Standard deviation, in taps, above 0; by default ``size / 4``.
        dtype: Number format of the result.

    Shape:
        return: (size,)

    Raises:
        ArgumentError: ``size`` is no integer of at least 1, ``sigma`` is not above 0.

    >>> gaussian_taps(3, 1.0)
    tensor([0.2741, 0.4519, 0.2741], dtype=torch.float64)
    """
    require("gaussian", "size", size, 1)
    width = size / 4 if sigma is None else _positive("gaussian", "sigma", sigma)
    at = _offsets(size)
    # From the peak of the sampled points, which never underflows to 0 / 0.
    exponents = at.square() / (2 * width**2)
    taps = torch.exp(exponents.min() - exponents)
    return (taps / taps.sum()).to(dtype)


@explains_calls
def gabor_bank(
    orientations: int = 8,
    scales: int = 8,
    size: int = 9,
    *,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Gabor filters of all orientations at all scales, the finest first.

    Args:
        orientations: Directions, evenly spread over 180 degrees.
        scales: Wavelengths, from 3 pixels to ``size`` in equal ratios.
        size: Taps along each axis.
        dtype: Number format of the bank.

    Shape:
        return: (scales * orientations, size, size)

    Raises:
        ArgumentError: A number is below 1, or ``size`` below 3.

    Source:
        A fixed first stage as Jarrett et al. (2009) hold against learned filters;
        wavelengths and envelopes here are ours.

    >>> gabor_bank().shape
    torch.Size([64, 9, 9])
    """
    require("gabor_bank", "orientations", orientations, 1)
    require("gabor_bank", "scales", scales, 1)
    require("gabor_bank", "size", size, 3)
    ratio = (size / 3) ** (1 / max(scales - 1, 1))
    kernels = [
        _gabor(size, angle=180 * turn / orientations, wavelength=3 * ratio**scale)
        for scale in range(scales)
        for turn in range(orientations)
    ]
    return torch.stack(kernels).to(dtype)


def _identity(axes: int, size: int = 3) -> Tensor:
    require("identity", "size", size, 1)
    kernel = torch.zeros((size,) * axes, dtype=torch.float64)
    kernel[((size - 1) // 2,) * axes] = 1
    return kernel


def _box(axes: int, size: int = 3) -> Tensor:
    require("box", "size", size, 1)
    return torch.full((size,) * axes, 1 / size**axes, dtype=torch.float64)


def _gaussian(axes: int, size: int | None = None, sigma: float | None = None) -> Tensor:
    if size is None:
        size = 5 if sigma is None else _reach("gaussian", sigma)
    return _outer([gaussian_taps(size, sigma)] * axes)


def _binomial(axes: int, size: int = 3) -> Tensor:
    require("binomial", "size", size, 1)
    row = [math.comb(size - 1, tap) / 2 ** (size - 1) for tap in range(size)]
    return _outer([torch.tensor(row, dtype=torch.float64)] * axes)


def _sobel(axes: int, axis: int = -1) -> Tensor:
    return _difference("sobel", axes, axis, [1, 2, 1])


def _prewitt(axes: int, axis: int = -1) -> Tensor:
    return _difference("prewitt", axes, axis, [1, 1, 1])


def _laplacian_of_gaussian(
    axes: int, size: int | None = None, sigma: float = 1.0
) -> Tensor:
    """(r^2 / sigma^4 - axes / sigma^2) G(r), less a Gaussian so that it sums to 0."""
    size = _reach("laplacian_of_gaussian", sigma) if size is None else size
    bell = _outer([gaussian_taps(size, sigma)] * axes)
    square = torch.zeros((), dtype=torch.float64)
    for axis in range(axes):
        square = square + _grid(size, axes, axis).square()
    kernel = (square / sigma**4 - axes / sigma**2) * bell
    return kernel - kernel.sum() * bell


def _oriented_edges(
    size: int | None = None, angle: float = 0.0, sigma: float = 1.0
) -> Tensor:
    """The slope of a Gaussian-smoothed image in one direction, per pixel."""
    size = _reach("oriented_edges", sigma) if size is None else size
    require("oriented_edges", "size", size, 2)
    along = _along(size, angle)
    kernel = along * _outer([gaussian_taps(size, sigma)] * 2)
    slope: Tensor = (kernel * along).sum()
    return kernel / slope


def _gabor(
    size: int = 9,
    angle: float = 0.0,
    wavelength: float = 4.0,
    sigma: float | None = None,
    phase: float = 0.0,
    aspect: float = 0.5,
) -> Tensor:
    """A wave under a Gaussian; sum 0, so that flat parts give 0, and norm 1."""
    require("gabor", "size", size, 2)
    period = _positive("gabor", "wavelength", wavelength)
    width = 0.56 * period if sigma is None else _positive("gabor", "sigma", sigma)
    squash = _positive("gabor", "aspect", aspect)
    along, across = _along(size, angle), _along(size, angle + 90)
    bell = torch.exp(-(along.square() + (squash * across).square()) / (2 * width**2))
    wave = bell * torch.cos(2 * math.pi * along / period + math.radians(phase))
    wave = wave - bell * (wave.sum() / bell.sum())
    norm: Tensor = torch.linalg.vector_norm(wave)
    if norm < 1e-9:
        raise ArgumentError(
            f"gabor: wavelength={wavelength!r} with phase={phase!r} is 0 at every tap. "
            "Use a longer wavelength, or another phase."
        )
    return wave / norm


def _fixed(*rows: tuple[int, ...]) -> Callable[[], Tensor]:
    return lambda: torch.tensor(rows, dtype=torch.float64)


def _difference(where: str, axes: int, axis: int, smooth: list[int]) -> Tensor:
    if axis not in range(-axes, axes):
        raise ArgumentError(
            f"{where}: axis={axis!r} is not one of {axes} spatial "
            f"{'axis' if axes == 1 else 'axes'}. Use {-axes} to {axes - 1}."
        )
    profiles = [torch.tensor(smooth, dtype=torch.float64)] * axes
    profiles[axis] = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    return _outer(profiles)


def _outer(profiles: list[Tensor]) -> Tensor:
    """Product of one profile per axis."""
    kernel = profiles[0]
    for profile in profiles[1:]:
        kernel = kernel[..., None] * profile
    return kernel


def _offsets(size: int) -> Tensor:
    """Where the taps lie, from the middle."""
    return torch.arange(size, dtype=torch.float64) - (size - 1) / 2


def _grid(size: int, axes: int, axis: int) -> Tensor:
    """Offsets along one axis, shaped to broadcast over all."""
    return _offsets(size).view([-1 if other == axis else 1 for other in range(axes)])


def _along(size: int, angle: float) -> Tensor:
    """How far each tap lies in direction ``angle``, in degrees, from the middle."""
    turn = math.radians(angle)
    return math.cos(turn) * _grid(size, 2, 1) + math.sin(turn) * _grid(size, 2, 0)


def _reach(where: str, sigma: float) -> int:
    """Taps of a Gaussian cut off at 4 sigma on either side, as SciPy does."""
    return 2 * int(4 * _positive(where, "sigma", sigma) + 0.5) + 1


def _positive(where: str, name: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ArgumentError(
            f"{where}: {name}={value!r} is not a number above 0. Use 1.0, for example."
        )
    return value


FILTERS: Mapping[str, Filter] = MappingProxyType(
    {
        name: Filter(name, says, make, any_axes)
        for name, says, make, any_axes in (
            ("identity", "leaves the image as it is", _identity, True),
            ("box", "blurs: the mean of a square", _box, True),
            ("gaussian", "blurs, less with distance", _gaussian, True),
            ("binomial", "blurs with small whole weights", _binomial, True),
            (
                "sharpen",
                "adds what a pixel differs from its 4 neighbors",
                _fixed((0, -1, 0), (-1, 5, -1), (0, -1, 0)),
                False,
            ),
            (
                "edges_4",
                "4 neighbors less the pixel 4 times: 0 where it is flat",
                _fixed((0, 1, 0), (1, -4, 1), (0, 1, 0)),
                False,
            ),
            (
                "edges_8",
                "the pixel 8 times less its 8 neighbors: 0 where it is flat",
                _fixed((-1, -1, -1), (-1, 8, -1), (-1, -1, -1)),
                False,
            ),
            (
                "emboss",
                "a relief, lit from the upper left",
                _fixed((-2, -1, 0), (-1, 1, 1), (0, 1, 2)),
                False,
            ),
            (
                "horizontal_edges",
                "positive where it gets brighter downwards",
                _fixed((-1, -1, -1), (0, 0, 0), (1, 1, 1)),
                False,
            ),
            (
                "vertical_edges",
                "positive where it gets brighter to the right",
                _fixed((-1, 0, 1), (-1, 0, 1), (-1, 0, 1)),
                False,
            ),
            ("sobel", "edges across one axis, smoothed 1 2 1", _sobel, True),
            ("prewitt", "edges across one axis, smoothed 1 1 1", _prewitt, True),
            (
                "laplacian_of_gaussian",
                "blobs and edges of one size; negative inside bright ones",
                _laplacian_of_gaussian,
                True,
            ),
            (
                "oriented_edges",
                "slope of the smoothed image in one direction, per pixel",
                _oriented_edges,
                False,
            ),
            ("gabor", "waves of one length and direction", _gabor, False),
        )
    }
)
"""Every filter that has a name."""
