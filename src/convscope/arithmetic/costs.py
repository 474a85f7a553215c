"""What a layer costs: parameters, multiply-adds, bytes.

**Multiply-adds** are counted one way everywhere in this package: for one image, one
for each product of a weight with a value in a convolution or a linear layer. The
additions of the bias are not counted; products with the zeros of a padding are.
Norms, activations and pooling have no such sum of products and count 0. A
transposed convolution multiplies every input value with every tap, also where the
product falls into the part of the output that its padding cuts off.

**Parameters** are the learnable scalars; buffers (running statistics) are apart.

``convolution_parameters``, ``convolution_multiply_adds`` (``transposed=True`` too)
``linear_parameters``, ``linear_multiply_adds``, ``norm_parameters``, ``norm_buffers``
``weight_bytes``, ``training_activation_bytes``, ``inference_activation_bytes``
"""

from collections.abc import Sequence
from math import prod

from convscope.arithmetic.axis import require
from convscope.errors import ArgumentError, ShapeError, explains_calls


@explains_calls
def convolution_parameters(
    in_channels: int,
    out_channels: int,
    kernel_size: Sequence[int],
    *,
    groups: int = 1,
    bias: bool = True,
) -> int:
    """Learnable scalars of a convolution, transposed or not.

    Args:
        in_channels: Channels of the input, a multiple of ``groups``.
        out_channels: Channels of the output, a multiple of ``groups``.
        kernel_size: Taps along each spatial axis.
        groups: Blocks of channels that do not see each other.
        bias: Whether each output channel has one scalar more.

    Raises:
        ShapeError: ``groups`` does not divide a number of channels.
        ArgumentError: A value is not an integer of at least 1.

    >>> convolution_parameters(3, 10, (5, 5))
    760
    """
    weights = _weights(in_channels, out_channels, kernel_size, groups)
    return weights + (out_channels if bias else 0)


@explains_calls
def convolution_multiply_adds(
    in_channels: int,
    out_channels: int,
    kernel_size: Sequence[int],
    sizes: Sequence[int],
    *,
    groups: int = 1,
) -> int:
    """Products of a weight with a value, for one image.

    Every weight is used once at each position of the window.

    Args:
        in_channels: Channels of the input, a multiple of ``groups``.
        out_channels: Channels of the output, a multiple of ``groups``.
        kernel_size: Taps along each spatial axis.
        sizes: Positions of the window along each spatial axis: the *output* lengths
            of a convolution, the *input* lengths of a transposed one.
        groups: Blocks of channels that do not see each other.

    Raises:
        ShapeError: ``groups`` does not divide a number of channels.
        ArgumentError: A value is not an integer of at least 1.

    >>> convolution_multiply_adds(3, 10, (5, 5), (32, 32))
    768000
    """
    return _weights(in_channels, out_channels, kernel_size, groups) * prod(sizes)


@explains_calls
def linear_parameters(in_features: int, out_features: int, *, bias: bool = True) -> int:
    """Learnable scalars of a fully connected layer.

    >>> linear_parameters(400, 120)
    48120
    """
    return in_features * out_features + (out_features if bias else 0)


@explains_calls
def linear_multiply_adds(
    in_features: int, out_features: int, *, positions: int = 1
) -> int:
    """Products of a weight with a value, for one image.

    Args:
        in_features: Values into each output.
        out_features: Outputs.
        positions: Places the layer is applied at, in one image.

    >>> linear_multiply_adds(400, 120)
    48000
    """
    return in_features * out_features * positions


@explains_calls
def norm_parameters(channels: int, *, affine: bool = True) -> int:
    """Learnable scalars of a norm: a scale and a shift for each channel, or none.

    >>> norm_parameters(64)
    128
    """
    return 2 * channels if affine else 0


@explains_calls
def norm_buffers(channels: int, *, track_running_stats: bool = True) -> int:
    """Buffers of a batch norm: mean, variance, and one count of the batches.

    >>> norm_buffers(64)
    129
    """
    return 2 * channels + 1 if track_running_stats else 0


@explains_calls
def weight_bytes(parameters: int, *, element_bytes: int = 4) -> int:
    """Bytes that parameters take, 4 each in float32.

    >>> weight_bytes(61_706)
    246824
    """
    return parameters * element_bytes


@explains_calls
def training_activation_bytes(
    elements: Sequence[int], *, element_bytes: int = 4
) -> int:
    """Bytes of all activations, which training keeps for the backward pass.

    Args:
        elements: Elements of each layer's output, and of the network's input, for
            one image. Leave out what a layer overwrites in place.
        element_bytes: Bytes of one element, 4 in float32.

    >>> training_activation_bytes([1024, 4704, 1176])
    27616
    """
    return sum(elements) * element_bytes


@explains_calls
def inference_activation_bytes(
    elements: Sequence[int],
    inputs: Sequence[Sequence[int]] | None = None,
    *,
    element_bytes: int = 4,
) -> int:
    """Most bytes of activations alive at one time, when each is freed after its use.

    Args:
        elements: Elements of each activation for one image, in the order in which
            they are made; the network's input is the first.
        inputs: For each activation, the places in ``elements`` of those that it is
            made from; without it each is made from the one before.
        element_bytes: Bytes of one element, 4 in float32.

    Raises:
        ArgumentError: ``inputs`` has another length, or names a later activation.

    >>> inference_activation_bytes([1024, 4704, 1176])
    23520
    >>> inference_activation_bytes([10, 10, 10], [[], [0], [0, 1]], element_bytes=1)
    30
    """
    if inputs is None:
        inputs = [[place - 1] if place else [] for place in range(len(elements))]
    if len(inputs) != len(elements):
        raise ArgumentError(
            f"inference_activation_bytes: inputs has {len(inputs)} entries for "
            f"{len(elements)} activations. Give one for each."
        )
    last_use = list(range(len(elements)))
    for place, sources in enumerate(inputs):
        for source in sources:
            if not 0 <= source < place:
                raise ArgumentError(
                    f"inference_activation_bytes: inputs[{place}] names {source}, "
                    "which is not made before it. List activations in the order in "
                    "which they are made."
                )
            last_use[source] = place
    if elements:
        last_use[-1] = len(elements)
    alive = peak = 0
    for place, size in enumerate(elements):
        alive += size
        peak = max(peak, alive)
        alive -= sum(
            elements[other] for other in range(place + 1) if last_use[other] == place
        )
    return peak * element_bytes


@explains_calls
def require_groups(
    where: str, in_channels: int, out_channels: int, groups: int
) -> None:
    """Refuse groups that do not divide both numbers of channels.

    Raises:
        ShapeError: ``groups`` does not divide a number of channels.
        ArgumentError: A value is not an integer of at least 1.

    >>> require_groups("Conv2d", 4, 8, 2)
    """
    require(where, "groups", groups, 1)
    for name, channels in (
        ("in_channels", in_channels),
        ("out_channels", out_channels),
    ):
        require(where, name, channels, 1)
        if channels % groups:
            raise ShapeError(
                f"{where}: {name}={channels} is not a multiple of groups={groups}. "
                f"Use {_multiples(channels, groups)} channels, or groups that divide "
                "both numbers of channels."
            )


def _weights(
    in_channels: int, out_channels: int, kernel_size: Sequence[int], groups: int
) -> int:
    require_groups("convolution", in_channels, out_channels, groups)
    for taps in kernel_size:
        require("convolution", "kernel_size", taps, 1)
    return in_channels // groups * out_channels * prod(kernel_size)


def _multiples(value: int, step: int) -> str:
    """The multiples of ``step`` next to ``value``, as choices."""
    below = value // step * step
    return f"{below} or {below + step}" if below else str(step)
