"""Kernels made for color photographs, for inputs of other channels or axes."""

from torch import Tensor

from convscope.errors import ShapeError


def to_channels(weight: Tensor, channels: int) -> Tensor:
    """First-layer kernels for another number of input channels.

    For one channel the kernels are summed: a gray picture gives what it gave as three
    equal channels. For other numbers they are repeated in turn and scaled by the ratio
    of the counts, so that outputs keep their size on average.

    Args:
        weight: Of a convolution that sees all channels.
        channels: Those of the new input.

    Shape:
        weight: (C_out, C_in, *kernel_size)
        return: (C_out, channels, *kernel_size)

    >>> import torch
    >>> to_channels(torch.tensor([[[1.0], [2.0], [3.0]]]), 1)
    tensor([[[6.]]])
    >>> to_channels(torch.tensor([[[2.0], [4.0]]]), 4).flatten()
    tensor([1., 2., 1., 2.])
    """
    own = weight.shape[1]
    if channels == own:
        return weight
    if channels == 1:
        return weight.sum(1, keepdim=True)
    order = [number % own for number in range(channels)]
    return weight[:, order] * (own / channels)


def to_axes(weight: Tensor, kernel_size: tuple[int, ...]) -> Tensor:
    """Kernels of images, for signals or volumes.

    For volumes each kernel is repeated along depth and divided by its length: a volume
    whose slices are equal gives what one slice gave. For signals it is summed over its
    rows: a signal gives what an image gave whose rows were all that signal.

    Args:
        weight: Of a two-dimensional convolution, with square kernels.
        kernel_size: Of the layer that it is for.

    Shape:
        weight: (C_out, C_in, K, K)
        return: (C_out, C_in, *kernel_size)

    Raises:
        ShapeError: The kernel is not square, or its length differs.

    >>> import torch
    >>> to_axes(torch.ones(1, 1, 3, 3), (3,)).tolist()
    [[[3.0, 3.0, 3.0]]]
    >>> float(to_axes(torch.ones(1, 1, 2, 2), (2, 2, 2)).sum())
    4.0
    """
    rows, columns = weight.shape[2:]
    if set(kernel_size) != {rows} or rows != columns:
        raise ShapeError(
            f"to_axes: kernels of {rows}x{columns} do not give kernels of "
            f"{'x'.join(map(str, kernel_size))}. Both must be square, of one length."
        )
    if len(kernel_size) == 1:
        return weight.sum(2)
    if len(kernel_size) == 3:
        return weight.unsqueeze(2).expand(-1, -1, rows, -1, -1) / rows
    return weight
