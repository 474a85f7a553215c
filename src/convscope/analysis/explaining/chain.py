"""From a number back to the products that it was made of, layer by layer."""

import math
from typing import Any

import torch
from torch import Tensor

from convscope.analysis.capturing.capture import kind_of
from convscope.analysis.capturing.forward import Pass, Taken
from convscope.analysis.explaining.record import NotExplained, Overflowed, Step
from convscope.analysis.explaining.registry import rule_of
from convscope.analysis.explaining.site import (
    Detail,
    Index,
    Site,
    place_text,
    remedy,
    rounding_unit,
)
from convscope.analysis.tracing.calls import Call, tensors_of
from convscope.errors import ExplanationError

LONGEST = 16  # layers of a chain
_MANY_SOURCES = ("cat", "concat", "concatenate", "stack", "hstack", "vstack")
_SEVERAL = ("moving numbers", "extreme")  # explained in each tensor that they give
STOPS = (
    "convolution", "transposed convolution", "local connections", "linear",
    "average pooling", "adaptive average pooling", "trained subsampling", "weighing",
    "power pooling", "stochastic pooling", "extreme",
)  # fmt: skip


def layers_behind(found: Pass, call: Call) -> list[str]:
    """Labels of a layer and of those that its chain may go back to."""
    calls = {call.label: call for call in found.calls}
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


def chain(
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
    if any(t.is_complex() for t in taken.inputs):
        known = False  # there are no lines for complex numbers
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
        f"rounding explains {detail.tolerance:.2g} of the difference. "
        f"{remedy([taken.call])}"
    )
