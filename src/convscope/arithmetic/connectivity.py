"""Weights of three ways to connect the same two maps; biases are not counted.

``fully_connected_weights(inputs, outputs)``    every output sees every input
``locally_connected_weights(outputs, kernel_size, in_channels=)``    every output
    sees one patch, with weights of its own
``convolutional_weights(out_channels, kernel_size, in_channels=)``    every output
    of a channel sees its patch through the same weights
``compare_connectivity(...) -> Connectivity``   all three for one layer
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from convscope.arithmetic.padding import PaddingLike
from convscope.arithmetic.shapes import output_shape
from convscope.errors import explains_calls


@explains_calls
def fully_connected_weights(inputs: int, outputs: int) -> int:
    """Weights where every output sees every input.

    Args:
        inputs: Input values, of all channels and positions.
        outputs: Output values, of all channels and positions.

    >>> fully_connected_weights(200 * 200, 40_000)
    1600000000
    """
    return inputs * outputs


@explains_calls
def locally_connected_weights(
    outputs: int, kernel_size: Sequence[int], *, in_channels: int = 1
) -> int:
    """Weights where every output sees one patch and shares none of its weights.

    Args:
        outputs: Output values, of all channels and positions.
        kernel_size: Taps along each spatial axis.
        in_channels: Channels of the input, all of which the patch contains.

    >>> locally_connected_weights(40_000, (10, 10))
    4000000
    """
    return outputs * in_channels * prod(kernel_size)


@explains_calls
def convolutional_weights(
    out_channels: int, kernel_size: Sequence[int], *, in_channels: int = 1
) -> int:
    """Weights where all positions of an output channel share them.

    Args:
        out_channels: Filters, one for each output channel.
        kernel_size: Taps along each spatial axis.
        in_channels: Channels of the input, all of which the patch contains.

    >>> convolutional_weights(100, (10, 10))
    10000
    """
    return out_channels * in_channels * prod(kernel_size)


@dataclass(frozen=True)
class Connectivity:
    """Weights of one layer, connected in three ways.

    ``inputs`` and ``outputs`` are the values of the two maps, of all channels.

    >>> compare_connectivity(1, 8, (28, 28), (5, 5)).convolutional
    200
    """

    inputs: int
    outputs: int
    fully_connected: int
    locally_connected: int
    convolutional: int


@explains_calls
def compare_connectivity(
    in_channels: int,
    out_channels: int,
    sizes: Sequence[int],
    kernel_size: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: PaddingLike = "same",
) -> Connectivity:
    """Weights of the same map when it is fully, locally or convolutionally connected.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        sizes: Input lengths, in elements.
        kernel_size: Taps along each spatial axis.
        stride: Steps between windows; one integer serves all axes.
        padding: A name or numbers, as `parse_padding` reads them.

    Raises:
        ShapeError: No window fits; see `output_shape`.

    >>> compare_connectivity(1, 1, (200, 200), (10, 10)).locally_connected
    4000000
    """
    maps = output_shape(
        sizes,
        tuple(kernel_size),
        stride=stride,
        padding=padding,
        where="compare_connectivity",
    )
    inputs, outputs = in_channels * prod(sizes), out_channels * prod(maps)
    return Connectivity(
        inputs=inputs,
        outputs=outputs,
        fully_connected=fully_connected_weights(inputs, outputs),
        locally_connected=locally_connected_weights(
            outputs, kernel_size, in_channels=in_channels
        ),
        convolutional=convolutional_weights(
            out_channels, kernel_size, in_channels=in_channels
        ),
    )
