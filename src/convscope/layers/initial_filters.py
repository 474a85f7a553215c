"""Known filters, such as edge detectors, as the weights that a layer starts with."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from convscope.errors import ArgumentError, ShapeError, explains_calls
from convscope.functional.filters import FILTERS, filter_kernel
from convscope.private_torch import AnyConv

Convolution = TypeVar("Convolution", bound=nn.Module)


@explains_calls
@torch.no_grad()
def set_filters(
    conv: Convolution, filters: str | Tensor | Sequence[str | Tensor]
) -> Convolution:
    """Writes filters into a convolution, in turn over its output channels.

    Each input channel gets the filter divided by their number, so that a gray image in
    three channels answers as it would in one. The bias becomes 0. A filter smaller than
    the kernel is put in its middle; one that has a size takes the kernel's. The layer
    computes the cross-correlation with the filter, also if it flips its kernels.
    Nothing is frozen: training goes on from there.

    Args:
        conv: ``Conv1d``, ``Conv2d`` or ``Conv3d``, of this package or of torch.nn.
        filters: A name; the names, or the taps, of several; or a bank such as that of
            ``functional.gabor_bank``, one filter for each entry.

    Shape:
        filters: (kernels, *taps) as one tensor, (*taps) each

    Returns:
        ``conv``, changed in place.

    Raises:
        ArgumentError: ``conv`` is no such layer, or there are no filters.
        ShapeError: A filter has another number of axes, or more taps than the kernel.
        UnknownNameError: No filter of that name.

    >>> conv = set_filters(nn.Conv2d(1, 4, 3, padding=1), ["sobel", "identity"])
    >>> conv.weight[2, 0]
    tensor([[-1.,  0.,  1.],
            [-2.,  0.,  2.],
            [-1.,  0.,  1.]], grad_fn=<SelectBackward0>)
    """
    if not isinstance(conv, AnyConv) or conv.transposed:
        raise ArgumentError(
            f"set_filters: conv is a {type(conv).__name__}, which applies no filters "
            "to its input. Give a Conv1d, Conv2d or Conv3d."
        )
    given = [filters] if isinstance(filters, str) else list(filters)
    if not given:
        raise ArgumentError(
            "set_filters: filters is empty. Give one name, or a tensor of taps."
        )
    bank = torch.stack([_fitted(one, tuple(conv.kernel_size)) for one in given])
    if getattr(conv, "flip", False):
        bank = bank.flip(tuple(range(1, bank.ndim)))
    table = getattr(conv, "connections", None)
    if table is None:
        outputs = torch.arange(conv.out_channels)
        inputs = torch.tensor(conv.weight.shape[1])
        kernels = bank[outputs % len(bank)] / inputs
        conv.weight.copy_(kernels.unsqueeze(1).expand_as(conv.weight))
    else:  # one kernel for each pair of channels that is connected
        outputs = table.cpu().nonzero()[:, 0]
        inputs = table.cpu().sum(1)[outputs]
        shares = inputs.view(-1, *[1] * (bank.ndim - 1))
        conv.weight.copy_(bank[outputs % len(bank)] / shares)
    if conv.bias is not None:
        conv.bias.zero_()
    return conv


def _fitted(one: str | Tensor, sizes: tuple[int, ...]) -> Tensor:
    """The filter in the middle of a kernel of ``sizes``."""
    axes = len(sizes)
    taps = _named(one, sizes) if isinstance(one, str) else one.detach().cpu().double()
    if taps.ndim != axes:
        raise ShapeError(
            f"set_filters: a filter of shape {tuple(taps.shape)} has another number "
            f"of axes than the kernel {sizes}. Give filters with {axes}."
        )
    if any(few > many for few, many in zip(taps.shape, sizes, strict=True)):
        raise ShapeError(
            f"set_filters: a filter of shape {tuple(taps.shape)} does not fit into the "
            f"kernel {sizes}. Build the layer with kernel_size={tuple(taps.shape)}."
        )
    kernel = torch.zeros(sizes, dtype=torch.float64)
    middle = kernel
    for axis, (few, many) in enumerate(zip(taps.shape, sizes, strict=True)):
        middle = middle.narrow(axis, (many - 1) // 2 - (few - 1) // 2, few)
    middle.copy_(taps)
    return kernel


def _named(name: str, sizes: tuple[int, ...]) -> Tensor:
    """The filter as large as the shortest axis of the kernel, if it has a size."""
    sized = name in FILTERS and "size" in FILTERS[name].options
    options = {"size": min(sizes)} if sized else {}
    return filter_kernel(name, axes=len(sizes), dtype=torch.float64, **options)
