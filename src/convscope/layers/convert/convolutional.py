"""A classifier that slides over larger images: convolutions in place of Linear."""

import copy
from collections.abc import Sequence
from math import prod
from typing import TypeVar, overload

import torch
from torch import Tensor, nn

from convscope.arithmetic import per_axis
from convscope.errors import ArgumentError, ShapeError
from convscope.layers.convert.by_layer import (
    Computed,
    Conversion,
    Shape,
    convolution_of,
    shape_text,
)
from convscope.layers.convert.by_operation import rewrite_forward

Net = TypeVar("Net", bound=nn.Module)


@overload
def to_convolutional(net: nn.Linear, input_size: Sequence[int]) -> nn.Module: ...
@overload
def to_convolutional(net: Net, input_size: Sequence[int]) -> Net: ...


def to_convolutional(net: nn.Module, input_size: Sequence[int]) -> nn.Module:
    """The same network with convolutions in place of its fully connected layers.

    A fully connected layer on a map of (C, h, w) is a convolution with a kernel of
    (h, w); on the size that the network was built for there is one place for it. On
    a larger image it slides: the output at ``(i, j)`` is what the network gives for
    the crop that begins at ``stride * (i, j)``, where ``stride`` is the product of
    all strides, and most of the work is shared between crops. With padding this is so
    except for what padding adds at the border of each crop.

    What is rewritten, at any depth and in any module that `torch.fx` can trace:
    Flatten (or flatten, view, reshape) goes; the Linear after it takes a kernel of the
    size of the map; later ones, 1x1; BatchNorm1d becomes that of the map; Softmax runs
    over channels. Global and adaptive pooling become pooling of the window that they
    have on ``input_size``; where windows are not all of one length there is no such
    pooling, and it is refused. All else stays what it is: group and instance norm, for
    one, then look at the whole of a larger image. The result has been tried on
    an image of ``input_size``, where it gives the same, and on one twice as large.

    Args:
        net: A network, or one `torch.nn.Linear`. It is left as it is: the result has
            copies of its parameters, in the same mode, under the same names where no
            module had to be rewritten around them.
        input_size: ``(C, H, W)`` that the network was built for, or ``(C, L)`` or
            ``(C, D, H, W)``; for one Linear, that of the map which is flattened.

    Shape:
        x:      (N, C, H, W), or larger
        return: (N, classes, 1, 1), or a map of them

    Raises:
        ArgumentError: A layer that has no form that slides; it is named by its path.
        ShapeError: A Linear takes another number of features than ``input_size`` has.

    Source:
        Sermanet et al., OverFeat, arXiv:1312.6229, section 3.5; Long, Shelhamer &
        Darrell, arXiv:1411.4038, section 3.1; as in SDNN of Matan et al. 1992.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 5), nn.Flatten(), nn.Linear(4 * 64, 10))
    >>> sliding = to_convolutional(net, (1, 12, 12))
    >>> sliding(torch.zeros(1, 1, 12, 12)).shape
    torch.Size([1, 10, 1, 1])
    >>> sliding(torch.zeros(1, 1, 20, 16)).shape
    torch.Size([1, 10, 9, 5])
    """
    where = "to_convolutional"
    sizes = tuple(input_size)
    if len(sizes) not in (2, 3, 4):
        raise ArgumentError(
            f"{where}: input_size={sizes} has {len(sizes)} "
            f"{'value' if len(sizes) == 1 else 'values'}. Give (C, L), (C, H, W) or "
            "(C, D, H, W)."
        )
    per_axis(sizes, len(sizes), name="input_size", where=where)
    if type(net) is nn.Linear:
        if net.in_features != prod(sizes):
            raise ShapeError(
                f"{where}: Linear takes {net.in_features} features, and "
                f"input_size={sizes} has {prod(sizes)}. Give the (C, ...) of the map "
                "that is flattened before it."
            )
        return convolution_of(copy.deepcopy(net), sizes)
    return _slid(net, sizes)


def _slid(net: nn.Module, input_size: Shape) -> nn.Module:
    """A copy of ``net``, rewritten and tried."""
    twin = copy.deepcopy(net)
    modes = {module: module.training for module in twin.modules()}
    image = _noise(net, (2, *input_size))
    conversion = Conversion(len(input_size) - 1, rewrite_forward)
    twin.eval()
    with torch.no_grad():
        new, out = conversion.step(twin, Computed(image.clone()), "")
        if out.flat_from is not None and any(size != 1 for size in out.flat_from[1:]):
            raise ArgumentError(
                f"to_convolutional: {type(net).__name__} ends in a flattened map of "
                f"{out.flat_from}, whose places would mix on a larger image. End it "
                "before the flattening, or in a Linear layer."
            )
        new.eval()
        _require_same(new, image, out, type(net).__name__)
    for module in new.modules():
        old = module if module in modes else conversion.origin.get(module, twin)
        module.training = modes.get(old, net.training)
    return new


def _noise(net: nn.Module, shape: Shape) -> Tensor:
    """Numbers of a kind that the network computes with, the same each time."""
    like = next((p for p in net.parameters() if p.is_floating_point()), torch.zeros(1))
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator).to(like.device, like.dtype)


def _require_same(new: nn.Module, image: Tensor, out: Computed, name: str) -> None:
    """The result, tried: equal on the size given, and at work on one twice as large."""
    larger = image.new_zeros(1, image.shape[1], *(2 * s for s in image.shape[2:]))
    ours = new(image.clone())
    expected = out.data if out.flat_from is None else out.data.reshape(ours.shape)
    # as many roundings as half of the digits leave room for
    bound = torch.finfo(ours.dtype).eps ** 0.5 * expected.abs().max()
    if ours.shape != expected.shape or (ours - expected).abs().max() > bound:
        raise ArgumentError(
            f"to_convolutional: {name}, rewritten, gives another output than before. "
            "Its forward does what no layer shows; write that as layers."
        )
    try:
        new(larger)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise ArgumentError(
            f"to_convolutional: {name}, rewritten, does not work on "
            f"{shape_text(larger)}, so something in it is made for one size: {error}"
        ) from error
