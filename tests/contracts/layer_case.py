"""One layer as the contract of layers tries it."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Case:
    """A layer, what goes in and what must come out.

    Attributes:
        name: What the tests call it; unique.
        make: Builds it; called after the seed is set.
        input: Shape of a batch that it takes.
        output: Shape of what comes out, from arithmetic or by hand.
        parameters: Learnable scalars, from arithmetic or by hand.
        channels: Channels that it insists on; None where any number will do.
        any_rank: Whether it takes any number of axes.
        double: Whether gradcheck in float64 applies.
        onnx: Whether it must export to ONNX and give the same there.
        compile: Whether it must compile to one graph and give the same.
        deterministic: Whether evaluation gives the same twice.
        empty_batch: Whether a batch of none gives a batch of none.
        single: Whether a batch of one gives what it gives within a batch, in
            evaluation.
    """

    name: str
    make: Callable[[], nn.Module]
    input: tuple[int, ...]
    output: tuple[int, ...]
    parameters: int = 0
    channels: int | None = None
    any_rank: bool = False
    double: bool = True
    onnx: bool = True
    compile: bool = True
    deterministic: bool = True
    empty_batch: bool = True
    single: bool = True
