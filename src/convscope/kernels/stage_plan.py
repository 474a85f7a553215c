"""What a stage is: convolution, bias, activation and pooling, as plain integers."""

import ctypes
import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import torch

from convscope.arithmetic import output_size
from convscope.errors import ArgumentError, ShapeError, UnknownNameError
from convscope.kernels.library import library

Activation = Literal["none", "relu", "tanh", "abs", "gelu", "sigmoid"]
"""What a stage can apply to its sums."""
Pooling = Literal["none", "max", "average"]
Pair = tuple[int, int]

ACTIVATIONS: Final[tuple[Activation, ...]] = (
    "none",
    "relu",
    "tanh",
    "abs",
    "gelu",
    "sigmoid",
)
POOLINGS: Final[tuple[Pooling, ...]] = ("none", "max", "average")
NUMBERS = 19  # of convscope_stage in native/convscope.h


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """One stage of a chain; a kernel as large as the input is a fully connected layer.

    Args:
        in_channels: Channels of the input.
        in_size: Height and width of the input, in elements; height 1 for signals.
        out_channels: Channels of the output.
        kernel_size: Height and width of the kernel, in elements.
        stride: Step of the convolution, in elements.
        padding: Zeros ``(before, after)`` each axis.
        bias: Whether the convolution has one.
        activation: ``none``, ``relu``, ``tanh``, ``abs``, ``gelu`` (the exact one) or
            ``sigmoid``.
        pooling: ``none``, ``max`` or ``average``, after the activation.
        pool_size: Height and width of the pooling window, at most 15.
        pool_stride: Step of the pooling, at most 15.

    Raises:
        UnknownNameError: There is no such activation or pooling.
        ShapeError: A window does not fit.
        ArgumentError: A pooling window or its step is above 15.

    >>> StagePlan(
    ...     in_channels=1, in_size=(32, 32), out_channels=6, kernel_size=(5, 5),
    ...     activation="relu", pooling="max", pool_size=(2, 2), pool_stride=(2, 2),
    ... ).out_size
    (14, 14)
    """

    in_channels: int
    in_size: Pair
    out_channels: int
    kernel_size: Pair
    stride: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))
    bias: bool = True
    activation: Activation = "none"
    pooling: Pooling = "none"
    pool_size: Pair = (1, 1)
    pool_stride: Pair = (1, 1)

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise UnknownNameError("activation", self.activation, ACTIVATIONS)
        if self.pooling not in POOLINGS:
            raise UnknownNameError("pooling", self.pooling, POOLINGS)
        if self.pooling != "none" and max(*self.pool_size, *self.pool_stride) > 15:
            raise ArgumentError(
                f"StagePlan: pool_size={self.pool_size} and "
                f"pool_stride={self.pool_stride} may be 15 at most. "
                "Leave this pooling to torch."
            )
        _ = self.out_size

    @property
    def conv_size(self) -> Pair:
        """Height and width after the convolution."""
        return self._along(0), self._along(1)

    def _along(self, axis: int) -> int:
        return output_size(
            self.in_size[axis],
            self.kernel_size[axis],
            stride=self.stride[axis],
            padding=self.padding[axis],
            where="StagePlan",
        )

    @property
    def out_size(self) -> Pair:
        """Height and width after the pooling."""
        height, width = self.conv_size
        if self.pooling == "none":
            return height, width
        return (
            output_size(height, self.pool_size[0], stride=self.pool_stride[0]),
            output_size(width, self.pool_size[1], stride=self.pool_stride[1]),
        )

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Of the weight, as a convolution has it."""
        return (self.out_channels, self.in_channels, *self.kernel_size)

    def numbers(self) -> list[int]:
        """The stage as the native side reads it."""
        (top, bottom), (left, right) = self.padding
        return [
            *(self.in_channels, *self.in_size, self.out_channels, *self.kernel_size),
            *(*self.stride, top, bottom, left, right, int(self.bias)),
            *(ACTIVATIONS.index(self.activation), POOLINGS.index(self.pooling)),
            *(*self.pool_size, *self.pool_stride),
        ]


def numbers_of(plan: Sequence[StagePlan]) -> list[int]:
    """A whole chain as integers.

    Raises:
        ArgumentError: There is no stage.
        ShapeError: A stage does not take what the one before gives.
    """
    if not plan:
        raise ArgumentError("plan=[] has no stage. Give at least one.")
    for before, after in itertools.pairwise(plan):
        given, taken = (before.out_channels, *before.out_size), after.in_size
        if given != (after.in_channels, *taken):
            raise ShapeError(
                f"plan: a stage gives {given} (channels, height, width), but the next "
                f"takes {(after.in_channels, *taken)}. Make the two agree."
            )
    return [number for stage in plan for number in stage.numbers()]


class Prepared(NamedTuple):
    """A chain worked out once: what every call of the native side needs to know."""

    buffer: torch.Tensor  # of the native side's own sizes and tables
    address: int
    in_numbers: int  # of one image
    out_shape: tuple[int, int, int]
    saved_of_block: int  # bytes kept for 16 images between forward and backward
    weights: tuple[tuple[int, int], ...]  # numbers of each weight and of its bias


@functools.lru_cache(maxsize=256)
def prepared(numbers: tuple[int, ...]) -> Prepared:
    """Sizes and tables of a chain, kept for the chains used last."""
    native = library()
    given = (ctypes.c_int64 * len(numbers))(*numbers)
    count = len(numbers) // NUMBERS
    bytes_ = native.convscope_plan(given, count, None, 0)
    if bytes_ < 0:
        raise ArgumentError(
            f"stages: plan={list(numbers)} is not one that the native kernels take. "
            "Build it from StagePlan, or use torch for these layers."
        )
    buffer = torch.empty(bytes_, dtype=torch.uint8)
    native.convscope_plan(given, count, buffer.data_ptr(), bytes_)
    stages = [numbers[i : i + NUMBERS] for i in range(0, len(numbers), NUMBERS)]
    channels, height, width = stages[0][:3]
    return Prepared(
        buffer,
        buffer.data_ptr(),
        channels * height * width,
        _out_shape(stages[-1]),
        4 * native.convscope_saved_size(buffer.data_ptr(), 1),
        tuple((s[3] * s[0] * s[4] * s[5], s[3] * s[12]) for s in stages),
    )


def _out_shape(stage: Sequence[int]) -> tuple[int, int, int]:
    """Channels, height and width that a stage's numbers lead to."""
    in_size, kernel, stride = stage[1:3], stage[4:6], stage[6:8]
    paddings, pool, step = (stage[8:10], stage[10:12]), stage[15:17], stage[17:19]
    sizes = []
    for axis in (0, 1):
        before, after = paddings[axis]
        size = output_size(
            in_size[axis], kernel[axis], stride=stride[axis], padding=(before, after)
        )
        if stage[14]:
            size = output_size(size, pool[axis], stride=step[axis])
        sizes.append(size)
    return stage[3], sizes[0], sizes[1]
