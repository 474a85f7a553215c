"""What a stage is: convolution, bias, activation and pooling, as plain integers."""

import ctypes
import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import torch

from convscope.arithmetic import output_size
from convscope.errors import ArgumentError, KernelError, ShapeError, UnknownNameError
from convscope.kernels.activation import ACTIVATIONS, Activation
from convscope.kernels.library import call

Pooling = Literal["none", "max", "average"]
Pair = tuple[int, int]

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


def stage_of(numbers: Sequence[int]) -> StagePlan:
    """The stage whose ``numbers()`` these are."""
    channels, height, width, out_channels, *window = numbers[:6]
    return StagePlan(
        in_channels=channels,
        in_size=(height, width),
        out_channels=out_channels,
        kernel_size=(window[0], window[1]),
        stride=(numbers[6], numbers[7]),
        padding=((numbers[8], numbers[9]), (numbers[10], numbers[11])),
        bias=bool(numbers[12]),
        activation=ACTIVATIONS[numbers[13]],
        pooling=POOLINGS[numbers[14]],
        pool_size=(numbers[15], numbers[16]),
        pool_stride=(numbers[17], numbers[18]),
    )


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
    stages: tuple[StagePlan, ...]
    in_numbers: int  # of one image
    out_shape: tuple[int, int, int]
    saved_of_block: int  # bytes kept for 16 images between forward and backward
    weights: tuple[tuple[int, int], ...]  # numbers of each weight and of its bias


@functools.lru_cache(maxsize=256)
def prepared(numbers: tuple[int, ...]) -> Prepared:
    """Sizes and tables of a chain, kept for the chains used last."""
    given = (ctypes.c_int64 * len(numbers))(*numbers)
    count = len(numbers) // NUMBERS
    try:
        bytes_ = call("plan", given, count, None, 0)
    except KernelError as error:
        raise ArgumentError(
            f"stages: plan={list(numbers)} is not one that the native kernels take. "
            "Build it from StagePlan, or use torch for these layers."
        ) from error
    buffer = torch.empty(bytes_, dtype=torch.uint8)
    call("plan", given, count, buffer.data_ptr(), bytes_)
    stages = tuple(
        stage_of(numbers[i : i + NUMBERS]) for i in range(0, len(numbers), NUMBERS)
    )
    first, last = stages[0], stages[-1]
    return Prepared(
        buffer,
        buffer.data_ptr(),
        stages,
        first.in_channels * math.prod(first.in_size),
        (last.out_channels, *last.out_size),
        4 * call("saved_size", buffer.data_ptr(), 1),
        tuple((math.prod(s.weight_shape), s.out_channels * s.bias) for s in stages),
    )
