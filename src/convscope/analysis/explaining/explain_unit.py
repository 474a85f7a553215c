"""``explain_unit``: why a number in a network is what it is."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convscope.analysis.capturing.capture import kind_of
from convscope.analysis.capturing.choosing import is_glob
from convscope.analysis.capturing.forward import Given, Pass, Taken, passed
from convscope.analysis.explaining.record import (
    NotExplained,
    Overflowed,
    Step,
    UnitExplanation,
)
from convscope.analysis.explaining.registry import is_unknown, rule_of
from convscope.analysis.explaining.site import Detail, Index, Site, place_text
from convscope.analysis.tracing.calls import named, tensors_of
from convscope.arithmetic import axis_name
from convscope.errors import ArgumentError, ExplanationError

LONGEST = 16  # layers of a chain
_MANY_SOURCES = ("cat", "concat", "concatenate", "stack", "hstack", "vstack")


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
    if not isinstance(layer, str) or is_glob(layer):
        raise ArgumentError(
            f"{where}: layer={layer!r} is not one layer. Give a path, such as "
            "'features.0'; capture(net, inputs) lists them."
        )
    with passed(
        net, inputs, layer, training=training, with_inputs=True, with_graph=False,
        where=where, opens=is_unknown,
    ) as found:  # fmt: skip
        pass
    taken = _asked_for(found, layer)
    tensor = _output(taken, output, where)
    index = _index(tensor, image, channel, position, where)
    if _needs_more(taken):
        with passed(
            net, inputs, _wanted(found, taken), training=training, with_inputs=True,
            with_graph=False, where=where, opens=is_unknown,
        ) as found:  # fmt: skip
            pass
    by_label = {one.call.label: one for one in found.taken}
    steps = _chain(found, by_label, taken.call.label, index, output, training, where)
    spot = tuple(index[2:]) if len(index) > 1 else ()

    def find_field() -> "tuple[tuple[int, int] | None, ...] | None":
        return _field(net, inputs, named(taken.call)[-1], spot)

    return UnitExplanation(
        taken.call.label, image, channel, spot, steps, steps[-1].network_value,
        tuple(found.notes), find_field,
    )  # fmt: skip


def _asked_for(found: Pass, layer: str) -> Taken:
    """The call of that name; of several calls of a module the first."""
    return next(one for one in found.taken if layer in named(one.call))


def _needs_more(taken: Taken) -> bool:
    """Whether the chain goes on into other layers, or down into this one."""
    if not taken.call.is_layer:
        return True
    rule = rule_of(taken.call)
    return rule is not None and rule.name not in STOPS


_SEVERAL = ("moving numbers", "extreme")  # explained in each tensor that they give
STOPS = (
    "convolution", "transposed convolution", "local connections", "linear",
    "average pooling", "adaptive average pooling", "trained subsampling", "weighing",
    "power pooling", "stochastic pooling", "extreme",
)  # fmt: skip


def _wanted(found: Pass, taken: Taken) -> list[str]:
    """Labels of the layers that the chain may go back to."""
    calls = {call.label: call for call in found.calls}
    call = taken.call
    begin = [call.label]
    if not call.is_layer:
        begin += [
            label for label, one in calls.items() if one.is_layer and _inside(one, call)
        ]
    wanted = dict.fromkeys(begin)
    waiting = [(label, 0) for label in begin]
    while waiting:
        label, depth = waiting.pop()
        rule = rule_of(calls[label]) if label in calls else None
        if rule is None or rule.name in STOPS or depth > LONGEST:
            continue
        sources = found.sources.get(label, ())
        several = calls[label].name in _MANY_SOURCES
        for source in sources if several else sources[:2]:
            if source is not None and source not in wanted:
                wanted[source] = None
                waiting.append((source, depth + 1))
    return list(wanted)


def _inside(call: Any, outer: Any) -> bool:
    while call is not None:
        if call is outer:
            return True
        call = call.parent
    return False


def _chain(
    found: Pass,
    by_label: dict[str, Taken],
    label: str,
    index: Index,
    number: int,
    training: bool,
    where: str,
) -> tuple[Step, ...]:
    """The steps that lead to an element, the first one first."""
    steps: list[Step] = []
    seen: set[str] = set()
    while label in by_label and label not in seen and len(steps) < LONGEST:
        seen.add(label)
        taken = by_label[label]
        if not taken.call.is_layer:
            inner = _last_inside(found, by_label, taken, number)
            if inner is not None:
                label = inner
                continue
        step, tensors = _step(found, taken, index, number, training, where)
        steps.append(step)
        follows = step.detail.follows
        if follows is None or follows[0] >= len(step.inputs):
            break
        source = step.inputs[follows[0]]
        if source is None:
            break
        made = tensors_of(by_label[source].output) if source in by_label else []
        fitting = [
            at
            for at, tensor in enumerate(made)
            if tensor.shape == tensors[follows[0]].shape
            and torch.equal(tensor, tensors[follows[0]])
        ]
        if not fitting:  # it was written into after it was given
            break
        label, index, number = source, follows[1], fitting[0]
    return tuple(reversed(steps))


def _last_inside(
    found: Pass, by_label: dict[str, Taken], taken: Taken, number: int
) -> str | None:
    """The last layer within a module that gave what the module gives."""
    value = tensors_of(taken.output)[number]
    for call in reversed(found.calls):
        one = by_label.get(call.label)
        if one is None or one is taken or not _inside_label(call, taken.call.label):
            continue
        made = tensors_of(one.output)
        same = made and made[0].shape == value.shape and torch.equal(made[0], value)
        if call.is_layer and same:
            return call.label
    return None


def _inside_label(call: Any, label: str) -> bool:
    while call is not None:
        if call.label == label and call.module is not None:
            return True
        call = call.parent
    return False


def _step(
    found: Pass, taken: Taken, index: Index, number: int, training: bool, where: str
) -> tuple[Step, tuple[Tensor, ...]]:
    tensor = tensors_of(taken.output)[number]
    site = Site(
        taken.call, taken.arguments, taken.named, tensor, index,
        training if taken.call.module is None else taken.call.module.training,
        rounding_unit((tensor, *taken.inputs)), number,
    )  # fmt: skip
    network = float(tensor[index].item())
    rule = rule_of(taken.call)
    detail: Detail | None = None
    known = rule is not None and (number == 0 or rule.name in _SEVERAL)
    if rule is not None and known:
        detail = rule.explain(site)
    kind = kind_of(taken)
    if detail is None:
        detail = NotExplained(kind, network)
    if math.isinf(network) and abs(detail.value) >= torch.finfo(tensor.dtype).max:
        detail = Overflowed(detail, network)
    _require_equal(detail, network, taken, index, where)
    sources = found.sources.get(taken.call.label, ())
    return Step(taken.call.label, kind, index, detail, network, sources), taken.inputs


def _require_equal(
    detail: Detail, network: float, taken: Taken, index: Index, where: str
) -> None:
    """Refuse a number that differs from the network's by more than rounding."""
    ours = detail.value
    if ours == network or (math.isnan(ours) and math.isnan(network)):
        return
    if abs(ours - network) <= detail.tolerance:
        return
    raise ExplanationError(
        f"{where}: {taken.call.label or 'the network'} = {kind_of(taken)} has "
        f"{network!r} at {place_text(index)}, but its parts give {ours!r}, and "
        f"rounding explains {detail.tolerance:.2g} of the difference. Report this to "
        "convscope."
    )


def rounding_unit(tensors: Iterable[Tensor]) -> float:
    """The rounding unit of the coarsest format that takes part."""
    units = [torch.finfo(t.dtype).eps for t in tensors if t.is_floating_point()]
    unit = max(units, default=torch.finfo(torch.float64).eps)
    on_gpu = any(t.is_cuda for t in tensors)
    if on_gpu and torch.backends.cudnn.allow_tf32:
        unit = max(unit, 2.0**-10)  # TF32 keeps 10 bits of each factor
    return unit


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
