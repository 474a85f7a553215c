"""Does the network see the same thing when the image moves? Maps and outputs compared.

A layer is *equivariant* to a shift if its maps move with the image, *invariant* if they
stay. Convolution with stride 1 is equivariant but for its borders; pooling and stride
only to multiples of the step; a fully connected layer is neither.
"""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from convscope.analysis.summary import summary
from convscope.arithmetic import axis_name
from convscope.errors import ArgumentError, ShapeError


@dataclass(frozen=True)
class LayerShift:
    """One layer under the shifts.

    Attributes:
        path: Where it is.
        kind: The layer as one would write it.
        stride: Input elements from one of its outputs to the next; None where unknown.
        differences: For each shift the length of the difference between the moved maps
            and the maps of the moved image, as a share of the length of the maps; None
            where the shift is no multiple of the stride.
    """

    path: str
    kind: str
    stride: int | None
    differences: tuple[float | None, ...]


@dataclass(frozen=True)
class Equivariance:
    """What shifting the images did to a network.

    Attributes:
        name: Of the network.
        axis: Along which the images moved.
        shifts: How far, in elements.
        layers: The layers that keep the axis, in the order of the calls.
        output_changes: For each shift the length of the change of the outputs, as a
            share of the length of the outputs; 0 is invariant.
        same_class: For each shift the share of images whose largest output stays the
            same one; None where outputs are not (N, classes).
        images: Images it is a mean over.
    """

    name: str
    axis: str
    shifts: tuple[int, ...]
    layers: tuple[LayerShift, ...]
    output_changes: tuple[float, ...]
    same_class: tuple[float, ...] | None
    images: int

    def to_dict(self) -> dict[str, Any]:
        """The measurement as JSON."""
        return asdict(self)

    def __str__(self) -> str:
        width = max([len(row.path) for row in self.layers] + [len("same class")])
        lines = [f"{self.name}: images moved along {self.axis} by {self.shifts}"]
        head = "".join(f"{shift:>9}" for shift in self.shifts)
        lines.append(f"{'shift':{width}}{head}")
        for row in self.layers:
            lines.append(f"{row.path:{width}}" + "".join(map(_cell, row.differences)))
        changes = "".join(map(_cell, self.output_changes))
        lines.append(f"{'output':{width}}{changes}")
        if self.same_class is not None:
            same = "".join(f"{share:>9.1%}" for share in self.same_class)
            lines.append(f"{'same class':{width}}{same}")
        return "\n".join(lines)


def equivariance(
    net: nn.Module,
    images: Tensor,
    *,
    shifts: Sequence[int] = (1, 2, 4, 8),
    axis: int = -1,
    name: str = "",
) -> Equivariance:
    """Moves images and compares what each layer and the network make of them.

    Images move in a circle, so that nothing is lost. Maps are compared where both have
    values without going around: position ``p`` of the old maps with position ``p +
    shift / stride`` of the new ones. Borders are part of the measurement: a convolution
    with zero padding is not quite equivariant, and this shows by how much.

    Args:
        net: Any network with one input; it is left as it is.
        images: What to move, as the network takes them.
        shifts: Elements to move by, each above 0 and below the size.
        axis: Which spatial axis: -1 is the last.
        name: What to call the network; its class if not given.

    Shape:
        images: (N, C, *space)

    Raises:
        ShapeError: ``images`` have no such axis, or the network does not take them.
        ArgumentError: A shift is not between 1 and the size less 1.

    >>> net = nn.Sequential(nn.Conv1d(1, 2, 3, padding=1, padding_mode="circular"))
    >>> found = equivariance(net, torch.rand(4, 1, 8), shifts=(1, 3))
    >>> [round(d, 5) for d in found.layers[0].differences]
    [0.0, 0.0]
    """
    axes = images.ndim - 2
    if axes < 1 or not -axes <= axis < axes:
        raise ShapeError(
            f"equivariance: axis={axis} is not one of the {max(axes, 0)} spatial axes "
            f"of images with shape {tuple(images.shape)}. Give images (N, C, ...)."
        )
    place = axis % axes
    size = images.shape[2 + place]
    for shift in shifts:
        if not 1 <= shift < size:
            raise ArgumentError(
                f"equivariance: shift={shift} must be between 1 and {size - 1}, the "
                "size less 1."
            )
    net = copy.deepcopy(net).eval()
    strides = _strides(net, tuple(images.shape[1:]), place)
    before, output = _maps(net, images, list(strides))
    differences: dict[str, list[float | None]] = {path: [] for path in before}
    changes, same = [], []
    for shift in shifts:
        moved, other = _maps(net, images.roll(shift, 2 + place), list(strides))
        for path, maps in before.items():
            stride = strides[path][1]
            differences[path].append(
                _difference(maps, moved[path], shift, stride, 2 + place)
            )
        changes.append(_share(output, other))
        if output.ndim == 2:
            agree = output.argmax(1) == other.argmax(1)
            same.append(float(agree.double().mean()))
    return Equivariance(
        name or type(net).__name__,
        axis_name(place, axes),
        tuple(shifts),
        tuple(
            LayerShift(path, *strides[path], tuple(differences[path]))
            for path in before
        ),
        tuple(changes),
        tuple(same) if output.ndim == 2 else None,
        len(images),
    )


def _strides(
    net: nn.Module, shape: tuple[int, ...], place: int
) -> dict[str, tuple[str, int | None]]:
    """Kind and stride of every layer that keeps the spatial axes."""
    known = {path for path, _ in net.named_modules()}
    strides: dict[str, tuple[str, int | None]] = {}
    for row in summary(net, shape).rows:
        keeps = len(row.output_shape) == len(shape)
        if not row.is_layer or row.path not in known or row.turn or not keeps:
            continue
        fields = row.receptive_field
        stride = fields[place].stride if fields else None
        whole = stride is not None and Fraction(stride).denominator == 1
        strides[row.path] = (row.kind, int(stride) if whole and stride else None)
    return strides


def _maps(
    net: nn.Module, images: Tensor, paths: Sequence[str]
) -> tuple[dict[str, Tensor], Tensor]:
    """The first output of each layer, and of the network."""
    found: dict[str, Tensor] = {}

    def keep(path: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                found.setdefault(path, output.detach().double())

        return hook

    hooks = [net.get_submodule(p).register_forward_hook(keep(p)) for p in paths]
    try:
        with torch.no_grad():
            output: Tensor = net(images)
    finally:
        for hook in hooks:
            hook.remove()
    return {path: found[path] for path in paths if path in found}, output.double()


def _difference(
    maps: Tensor, moved: Tensor, shift: int, stride: int | None, dim: int
) -> float | None:
    if not stride or shift % stride:
        return None
    steps, size = shift // stride, maps.shape[dim]
    if steps >= size:
        return None
    return _share(
        maps.narrow(dim, 0, size - steps), moved.narrow(dim, steps, size - steps)
    )


def _share(expected: Tensor, found: Tensor) -> float:
    """Length of the difference, as a share of the length of what was expected."""
    length = float(torch.linalg.vector_norm(expected))
    return float(torch.linalg.vector_norm(found - expected)) / (length or 1.0)


def _cell(value: float | None) -> str:
    return f"{'-':>9}" if value is None else f"{value:>9.3f}"
