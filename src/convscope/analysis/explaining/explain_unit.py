"""``explain_unit``: why a number in a network is what it is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from convscope.analysis.capturing.choosing import Choice, Everything, is_glob
from convscope.analysis.capturing.forward import Pass, Taken, passed
from convscope.analysis.capturing.given import Given, require_network
from convscope.analysis.capturing.holding import Holder
from convscope.analysis.explaining.chain import chain, layers_behind
from convscope.analysis.explaining.record import UnitExplanation
from convscope.analysis.explaining.registry import is_unknown
from convscope.analysis.explaining.site import Index
from convscope.analysis.tracing.calls import named, tensors_of
from convscope.analysis.tracing.meta_copy import unwrapped
from convscope.arithmetic import axis_name
from convscope.errors import ArgumentError

MOST_HELD = 2**29  # bytes of all layers, to do with one forward pass


def explain_unit(
    net: nn.Module,
    inputs: Given,
    layer: str,
    channel: int | None = None,
    position: int | Sequence[int] = (),
    *,
    image: int = 0,
    output: int = 0,
    training: bool = False,
) -> UnitExplanation:
    """Why one number of a network is what it is, down to the products.

    The chain begins at the last sum of products (a convolution, a linear layer, a
    pooling that adds up) and goes on through what follows it up to ``layer``: batch
    norm, activation, the winner of a max pooling, the addition of a residual. Each
    number is computed anew in float64 and compared with the network's own.

    Args:
        net: Any torch.nn.Module.
        inputs: (N, C, ...), with the batch axis; as `capture` takes them.
        layer: Whose output, as `capture` names it: a path, a function's label such as
            ``"layer1.0.add_1"``, ``"relu:2"`` for a second call.
        channel: Index on the axis behind the images: a map, or a feature.
        position: Index on each further axis, counted from 0; negative ones are
            refused, because a window may begin at -1, on padding.
        image: Of the batch.
        output: Which tensor, of a layer that returns several.
        training: Explain what the network gives in training.

    Raises:
        UnknownNameError: There is no such layer; names the nearest.
        ArgumentError: There is no such element, or the layer gives no numbers.
        ShapeError: The network does not work on these inputs; see `check`.
        ExplanationError: What we computed differs from what the network has by more
            than rounding.

    >>> import torch
    >>> net = nn.Sequential(nn.Conv2d(1, 1, 2, bias=False), nn.ReLU())
    >>> _ = net[0].weight.data.copy_(torch.tensor([[[[0, 0.25], [0.5, 1]]]]))
    >>> x = torch.tensor([[[[0.0, 80, 40], [20, 40, 0], [0, 0, 40]]]])
    >>> print(explain_unit(net, x, "1", 0, (1, 1)))
    0 = Conv2d(1, 1, 2, bias=False), channel 0 at (1, 1)
    convolution: window 1-2 x 1-2
    channel 0: 40*0 + 0*0.25 + 0*0.5 + 40*1 = 40
    1 = ReLU, channel 0 at (1, 1)
    ReLU: max(0, 40) = 40
    """
    where = "explain_unit"
    choice = _choice(net, layer, where)
    holder = Holder(MOST_HELD)
    with passed(
        net, inputs, Everything(), training=training, with_inputs=True,
        with_graph=False, where=where, opens=is_unknown, holder=holder,
        until=str(choice.wanted[0]) if choice.wanted else "",
    ) as found:  # fmt: skip
        pass
    call = choice.one_of(taken.call for taken in found.taken)
    if not holder.is_whole:
        with passed(
            net, inputs, layers_behind(found, call), training=training,
            with_inputs=True, with_graph=False, where=where, opens=is_unknown,
        ) as found:  # fmt: skip
            pass
    unit = _Unit(call.label, image, channel, position, output)
    return _explained(found, unit, net, inputs, training, where)


class UnitExplainer:
    """Explains any number of units of one forward pass, each in some milliseconds.

    What every layer took and gave is kept as long as this is.

    Args:
        net: As `explain_unit` takes it.
        inputs: As `explain_unit` takes them.
        training: As in `explain_unit`.

    Raises:
        ArgumentError: The network cannot be looked into; see `capture`.
        ShapeError: The network does not work on these inputs; see `check`.

    >>> import torch
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    >>> explainer = UnitExplainer(net, torch.ones(1, 1, 8, 8))
    >>> before = explainer.explain("0", 1, (2, 2)).value
    >>> abs(explainer.explain("1", 1, (2, 2)).value - max(0.0, before)) < 1e-6
    True
    """

    def __init__(
        self, net: nn.Module, inputs: Given, *, training: bool = False
    ) -> None:
        self.net, self.inputs, self.training = net, inputs, training
        options: dict[str, Any] = {
            "training": training, "with_inputs": True, "with_graph": False,
            "where": "UnitExplainer", "opens": is_unknown,
        }  # fmt: skip
        holder = Holder(None)
        with passed(net, inputs, Everything(), holder=holder, **options) as found:
            pass
        if not holder.is_whole:
            with passed(net, inputs, Everything(), **options) as found:
                pass
        self._found = found

    def explain(
        self,
        layer: str,
        channel: int | None = None,
        position: int | Sequence[int] = (),
        *,
        image: int = 0,
        output: int = 0,
    ) -> UnitExplanation:
        """As `explain_unit`, which has the arguments and errors."""
        where = "UnitExplainer.explain"
        choice = _choice(self.net, layer, where)
        call = choice.one_of(taken.call for taken in self._found.taken)
        unit = _Unit(call.label, image, channel, position, output)
        return _explained(
            self._found, unit, self.net, self.inputs, self.training, where
        )


@dataclass(frozen=True)
class _Unit:
    """Which number is asked for."""

    label: str
    image: int
    channel: int | None
    position: int | Sequence[int]
    output: int


def _choice(net: nn.Module, layer: str, where: str) -> Choice:
    if not isinstance(layer, str) or is_glob(layer):
        raise ArgumentError(
            f"{where}: layer={layer!r} is not one layer. Give a path, such as "
            "'features.0'; capture(net, inputs) lists them."
        )
    require_network(net, where)
    return Choice(layer, net, unwrapped(net), where)


def _explained(
    found: Pass, unit: _Unit, net: nn.Module, inputs: Given, training: bool, where: str
) -> UnitExplanation:
    by_label = {one.call.label: one for one in reversed(found.taken)}
    taken = by_label[unit.label]
    tensor = _output(taken, unit.output, where)
    index = _index(tensor, unit.image, unit.channel, unit.position, where)
    steps = chain(found, by_label, unit.label, index, unit.output, training, where)
    spot = tuple(index[2:]) if len(index) > 1 else ()

    def find_field() -> "tuple[tuple[int, int] | None, ...] | None":
        return _field(net, inputs, named(taken.call)[-1], spot)

    return UnitExplanation(
        unit.label, unit.image, unit.channel, spot, steps, steps[-1].network_value,
        tuple(found.notes), find_field,
    )  # fmt: skip


def _output(taken: Taken, number: int, where: str) -> Tensor:
    tensors = tensors_of(taken.output)
    if not 0 <= number < len(tensors):
        raise ArgumentError(
            f"{where}: output={number} is not one of the {len(tensors)} tensors that "
            f"{taken.call.label!r} returns."
        )
    tensor = tensors[number]
    if tensor.is_complex():
        raise ArgumentError(
            f"{where}: {taken.call.label!r} gives complex numbers, which are not "
            "explained. Choose a layer of real ones."
        )
    return tensor


def _index(
    tensor: Tensor,
    image: int,
    channel: int | None,
    position: int | Sequence[int],
    where: str,
) -> Index:
    """The element, with the image first."""
    spot = tuple(position) if isinstance(position, Iterable) else (position,)
    if tensor.ndim == 0 and channel is None and not spot and image == 0:
        return ()
    parts = [("image", image)]
    if channel is not None:
        parts.append(("channel", channel))
    shape = tuple(tensor.shape)
    if channel is None and tensor.ndim > 1:
        raise ArgumentError(
            f"{where}: channel is missing: the layer gives {shape}. Give a channel of "
            f"0 to {shape[1] - 1}."
        )
    axes = tensor.ndim - len(parts)
    if len(spot) != axes:
        numbers = "number" if len(spot) == 1 else "numbers"
        several = "axis" if axes == 1 else "axes"
        raise ArgumentError(
            f"{where}: position={position!r} has {len(spot)} {numbers}, but the layer "
            f"gives {shape}: image, channel and {axes} {several} of space. Give {axes}."
        )
    names = [
        axis_name(axis, axes) if axes < 4 else f"axis {axis}" for axis in range(axes)
    ]
    parts += [
        (f"position {place!r} along the {name}", one)
        for name, one, place in zip(names, spot, spot, strict=True)
    ]
    for (name, one), size in zip(parts, shape, strict=True):
        whole = hasattr(one, "__index__") and not isinstance(one, bool)
        if not whole or not 0 <= one < size:
            said = name if name.startswith("position") else f"{name}={one!r}"
            raise ArgumentError(
                f"{where}: {said} is not in the layer's output of shape {shape}. Use 0 "
                f"to {size - 1}."
            )
    return tuple(int(one) for _, one in parts)


def _field(
    net: nn.Module, inputs: Given, layer: str, spot: Index
) -> "tuple[tuple[int, int] | None, ...] | None":
    """What the element sees of the first input."""
    from convscope.analysis.summary import exact_ranges

    tensor = inputs
    if isinstance(inputs, dict | list | tuple):
        return None
    assert isinstance(tensor, Tensor)  # noqa: S101
    ranges = exact_ranges(net, tuple(tensor.shape[1:]), layer)
    if ranges is None or (spot and len(spot) != len(ranges)):
        return None
    return tuple(
        seen[spot[axis]] if len(seen) > 1 and spot else seen[0]
        for axis, seen in enumerate(ranges)
    )
