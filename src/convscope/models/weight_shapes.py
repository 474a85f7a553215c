"""Weights made for color photographs, for inputs of other channels or axes."""

from collections.abc import Mapping

from torch import Tensor, nn

from convscope.errors import ShapeError

_SHOWN = 3  # changes that are told one by one
_OTHER_AXES = {
    1: "summed over rows for signals",
    3: "repeated along depth for volumes, divided by its length",
}


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


def to_axes(
    weight: Tensor, kernel_size: tuple[int, ...], *, enlarges: int = 1
) -> Tensor:
    """Kernels of images, for signals or volumes.

    For volumes each kernel is repeated along depth and divided by its length: a volume
    whose slices are equal gives what one slice gave. For signals it is summed over its
    rows: a signal gives what an image gave whose rows were all that signal.

    Args:
        weight: Of a two-dimensional convolution, with square kernels.
        kernel_size: Of the layer that it is for.
        enlarges: The stride of a transposed convolution: only one in so many elements
            of a kernel meets each output.

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
        return weight.sum(2) / enlarges
    if len(kernel_size) == 3:
        return weight.unsqueeze(2).expand(-1, -1, rows, -1, -1) * (enlarges / rows)
    return weight


def to_places(weight: Tensor, places: int) -> Tensor:
    """Weights of a linear layer on a flattened square map, for signals or volumes.

    As ``to_axes``: for a cube they are repeated along depth and divided by its length,
    for a row they are summed over the rows.

    Args:
        weight: Of a linear layer on maps of (C, K, K).
        places: C x K x K x K for a cube, C x K for a row.

    Shape:
        weight: (units, C x K x K)
        return: (units, places)

    Raises:
        ShapeError: No square map has a cube or a row of that many places.

    >>> import torch
    >>> to_places(torch.arange(4.0)[None], 2)  # (0, 1) and (2, 3)
    tensor([[2., 4.]])
    >>> to_places(torch.tensor([[2.0, 4, 6, 8]]), 8)
    tensor([[1., 2., 3., 4., 1., 2., 3., 4.]])
    """
    units, own = weight.shape
    side = places // own if places > own else own // places
    exact = own * side == places if places > own else places * side == own
    if not exact or own % side**2:
        raise ShapeError(
            f"to_places: {own} weights are of no square map that gives {places} places."
        )
    maps = weight.view(units, -1, side, side)
    if places < own:
        return maps.sum(2).flatten(1)
    return maps.unsqueeze(2).expand(-1, -1, side, -1, -1).flatten(1) / side


def adapted(
    net: nn.Module, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors in the network's shapes where a rule leads there, and what was done.

    Args:
        net: Whose layers tell what may be adapted: weights of convolutions, and of the
            linear layer after them.
        wanted: The network's tensors.
        found: The file's, by the same names.

    >>> import torch
    >>> net, gray = nn.Sequential(nn.Conv2d(1, 1, 1)), torch.ones(1, 3, 1, 1)
    >>> adapted(net, {"0.weight": net[0].weight}, {"0.weight": gray})[1]
    {'0.weight': 'summed over its 3 channels'}
    """
    result, changed = dict(found), {}
    first = True
    axes = 2
    for name, own in wanted.items():
        layer = net.get_submodule(name.rpartition(".")[0])
        tensor, said = result[name], []
        if _is_kernel(layer, name):
            if tensor.ndim == 4 and own.ndim in (3, 5) and _is_cube(tensor, own):
                axes = own.ndim - 2
                size = tuple(own.shape[2:])
                tensor = to_axes(tensor, size, enlarges=_enlarges(layer))
                said.append(_OTHER_AXES[axes])
            if first and _may_change_channels(layer, tensor, own):
                theirs, ours = tensor.shape[1], own.shape[1]
                tensor = to_channels(tensor, ours)
                said.append(
                    f"summed over its {theirs} channels" if ours == 1
                    else f"its {theirs} channels repeated for {ours}, scaled"
                )  # fmt: skip
            first = False
        elif isinstance(layer, nn.Linear) and _is_map(tensor, own, axes):
            tensor = to_places(tensor, own.shape[1])
            said.append(_OTHER_AXES[axes])
        if said:
            result[name], changed[name] = tensor, "; ".join(said)
    kinds = set(changed.values())
    if len(changed) > _SHOWN and len(kinds) == 1:  # every kernel the same way
        changed = {f"{len(changed)} kernels": kinds.pop()}
    return result, changed


def _is_kernel(layer: nn.Module, name: str) -> bool:
    """Whether it is the weight of a convolution."""
    return name.rpartition(".")[2] == "weight" and hasattr(layer, "kernel_size")


def _is_cube(tensor: Tensor, own: Tensor) -> bool:
    return {*tensor.shape[2:], *own.shape[2:]} == {tensor.shape[2]}


def _is_map(tensor: Tensor, own: Tensor, axes: int) -> bool:
    """Whether one is of maps of (C, K, K), the other of as many along other axes."""
    if axes == 2 or tensor.ndim != 2 or own.ndim != 2:
        return False
    theirs, ours = tensor.shape[1], own.shape[1]
    small, large = sorted((theirs, ours))
    side = large // max(small, 1)
    return (
        (ours > theirs) == (axes == 3)
        and small * side == large
        and side > 1
        and theirs % side**2 == 0
        and tensor.shape[0] == own.shape[0]
    )


def _enlarges(layer: nn.Module) -> int:
    stride = getattr(layer, "stride", 1)
    transposed = bool(getattr(layer, "transposed", False))
    return int(stride[0] if isinstance(stride, tuple) else stride) if transposed else 1


def _may_change_channels(layer: nn.Module, tensor: Tensor, own: Tensor) -> bool:
    return (
        tensor.ndim == own.ndim
        and tensor.shape[1] in (1, 3)
        and tensor.shape[1] != own.shape[1]
        and tensor.shape[0] == own.shape[0]
        and getattr(layer, "groups", 1) == 1
        and not getattr(layer, "transposed", False)
    )
