"""``check``: does the network work on this input, and if not, where, why, what would.

The first call that cannot work is found by a `trace`, before torch refuses it. Each
change that is suggested has been tried: the network was traced again with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from convscope.analysis.checking.layers import layer_refusal
from convscope.analysis.checking.rebuild import layer_text, replacing
from convscope.analysis.checking.sizes import Sizes, Status, working_sizes
from convscope.analysis.inputs import (
    InputSize,
    Shape,
    inputs_for,
    is_sized,
    shapes_of,
    with_first,
)
from convscope.analysis.operations.refusal import Refusal, RefusedError, shape_text
from convscope.analysis.operations.registry import refusal
from convscope.analysis.tracing.calls import Call
from convscope.analysis.tracing.trace import (
    Change,
    LayerError,
    Trace,
    cause_text,
    trace,
)
from convscope.analysis.tracing.verify import difference
from convscope.errors import ArgumentError, ConvscopeError, ShapeError
from convscope.execution import Inputs
from convscope.execution.sample_inputs import floating_dtype

OF_TYPES = ("dtype", "scalar type", "Long", "bool", "indices must be")  # torch's words


@dataclass(frozen=True)
class _Failure:
    """The call that cannot work, and what came before it."""

    call: Call
    module: Call
    done: list[Call]
    refusal: Refusal | None
    cause: Exception

    @property
    def place(self) -> tuple[str, str, int]:
        """Equal for failures of the same call."""
        return (self.module.path, self.call.name, self.call.turn)


def check(
    module: nn.Module,
    input_size: InputSize | None = None,
    *,
    example_inputs: Any = None,
) -> None:
    """Refuse a network that cannot work on an input of this size.

    Nothing is allocated and the module is not changed. Both ways through the network
    are tried, as in evaluation and as in training.

    Args:
        module: Any torch.nn.Module.
        input_size: Sizes without the batch axis, such as ``(C, H, W)``; a list of such
            sizes for several inputs. They stand for numbers of the type of the
            network's weights, and for indices where the first layer takes these.
        example_inputs: Instead of sizes, a batch that ``forward`` takes: a tuple of
            inputs; ``Inputs(positional, named)``; or the one input, of any structure.

    Raises:
        ShapeError: A layer cannot work; the text names the first by its path and kind,
            with the shape that reaches it, the shape it wants, and the nearest changes
            that make the whole network work.
        ArgumentError: ``input_size`` is no size, there are no inputs or both sorts of
            them, or ``forward`` takes other inputs.

    >>> check(nn.Sequential(nn.Conv2d(1, 6, 5), nn.Flatten()), (1, 32, 32))
    >>> check(nn.Bilinear(2, 3, 4), example_inputs=(torch.ones(1, 2), torch.ones(1, 3)))
    """
    inputs = inputs_for(module, input_size, example_inputs, where="check")
    for training in (False, True):
        result = attempt(module, inputs, training=training)
        if isinstance(result, _Failure):
            raise _error(module, inputs, result, training) from None
        mixing = _mixing(result)
        if mixing is not None:
            raise ShapeError(mixing)
        found = None if training else difference(module, result)
        if isinstance(found, LayerError):
            raise failure_error(module, inputs, found) from None
        if found is not None:
            raise ShapeError(f"check: {found}. Report this to convscope.")


def attempt(
    module: nn.Module,
    inputs: Inputs,
    *,
    training: bool = False,
    change: Change | None = None,
) -> "Trace | _Failure":
    """A trace, or the call that it ends at."""
    try:
        return trace(
            module, inputs, training=training, change=change, refuse=refuse_call
        )
    except LayerError as error:
        return _failure(error)


def failure_error(
    module: nn.Module, inputs: Inputs, error: LayerError, training: bool = False
) -> Exception:
    """What ``check`` says of a network whose trace failed."""
    failure = _failure(error)
    return _error(module, inputs, failure, training)


def _failure(error: LayerError) -> _Failure:
    if not error.stack:
        raise ArgumentError(f"check: {error.cause}.") from error.cause
    outer = next(call for call in reversed(error.stack) if call.module is not None)
    for call in error.stack:
        if call.is_layer and call.module is not None:
            outer = call
            break
    return _Failure(error.stack[-1], outer, error.done, error.refusal, error.cause)


def refuse_call(
    called: str | nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
) -> None:
    """Raises where a call of a function, or of a layer of ours, cannot work."""
    if isinstance(called, str):
        problem, name = refusal(called, args, kwargs), called
    else:
        problem, name = layer_refusal(called, args, kwargs), type(called).__name__
    if problem is not None:
        raise RefusedError(replace(problem, kind=problem.kind or name))


def _error(
    module: nn.Module, inputs: Inputs, failure: _Failure, training: bool
) -> Exception:
    where = f"check: {_named(failure)}"
    problem = failure.refusal
    if problem is None:
        return _other_error(where, module, inputs, failure)
    because = f": {problem.because}" if problem.because else ""
    flattened = _flattened(failure, problem)
    reach = "reach" if " and " in problem.came else "reaches"
    text = f"{where} wants {problem.wanted}, but {problem.came} {reach} it{because}"
    remedies = list(_remedies(module, inputs, failure, problem, training))
    whole = [text for text, after in remedies if after is None]
    part = [f"{text} (then {after} fails)" for text, after in remedies if after]
    advice = whole or part
    if not advice:
        advice = [_general(problem)]
    return ShapeError(f"{text}{flattened}. Use {_any_of(advice)}.")


def _other_error(
    where: str, module: nn.Module, inputs: Inputs, failure: _Failure
) -> Exception:
    cause = failure.cause
    says = cause_text(cause).rstrip(".")
    came = " and ".join(shape_text(s) for s in failure.call.inputs) or "nothing"
    if isinstance(cause, ArgumentError):  # ours, and it says what to do
        owner = type(failure.module.module).__name__
        says = says.removeprefix(owner).removeprefix(":").removeprefix(",").strip()
        return ShapeError(f"{where} cannot work on {came}: {says}.")
    if isinstance(cause, RuntimeError | ValueError | IndexError):
        return _torch_error(where, module, inputs, came, says)
    if isinstance(cause, AssertionError) and "Guard failed" in says:
        return ShapeError(
            f"{where} cannot work on {came}: {says}. torch.export made it for inputs "
            "of one size: give example_inputs of that size, or export it again with "
            "dynamic_shapes."
        )
    if isinstance(cause, TypeError) and failure.module.parent is None:
        return ArgumentError(
            f"{where} does not take these inputs: {says}. Give one size for each "
            "input of forward, as a list, or example_inputs."
        )
    return cause


def _torch_error(
    where: str, module: nn.Module, inputs: Inputs, came: str, says: str
) -> ShapeError:
    """What torch says, and what to do about it."""
    kinds = dict.fromkeys(x.dtype for x in inputs.tensors)
    weights = floating_dtype(module, torch.float32)
    other = [k for k in kinds if k.is_floating_point and k != weights]
    if other and not is_sized(inputs):
        return ShapeError(
            f"{where} cannot work on {came}: the inputs given are "
            f"{_type_name(other[0])}, the network's weights are "
            f"{_type_name(weights)}. Give the inputs with .to({weights})."
        )
    advice = "Change this layer, or what comes before it."
    if any(word in says for word in OF_TYPES):
        advice = f"The inputs given are {' and '.join(map(_type_name, kinds))}: "
        advice += "give them in the type that it takes."
        if is_sized(inputs):
            advice = (
                f"Sizes stand for {' and '.join(map(_type_name, kinds))}: where "
                "forward takes other types, give example_inputs."
            )
    return ShapeError(f"{where} cannot work on {came}: {says}. {advice}")


def _type_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _named(failure: _Failure) -> str:
    """The call by path and kind: ``features.3 = Conv2d(...)``."""
    module, call = failure.module, failure.call
    assert module.module is not None  # noqa: S101  # `attempt` took one that has it
    kind = layer_text(module.module)
    turn = f" (call {module.turn + 1})" if module.turn else ""
    if module.is_layer or call is module:
        return f"{module.path} = {kind}{turn}" if module.path else kind
    owner = module.path or type(module.module).__name__
    return f"{owner}, {call.name}({call.arguments})"


def _flattened(failure: _Failure, problem: Refusal) -> str:
    """Where the features of a linear layer come from."""
    came = problem.values.get("came") if problem.kind == "features" else None
    for call in reversed(failure.done):
        if not call.outputs or not call.inputs or came is None:
            continue
        before, after = call.inputs[0], call.outputs[0]
        if after[-1] == came and len(before) > len(after):
            product = " x ".join(str(size) for size in before[1:])
            return f" ({product} = {came}, from {shape_text(before)})"
    return ""


def _remedies(
    module: nn.Module,
    inputs: Inputs,
    failure: _Failure,
    problem: Refusal,
    training: bool,
) -> Iterator[tuple[str, str | None]]:
    """Changes that were tried: as text, and the call that fails next, if any."""
    for changed in _other_inputs(module, inputs, problem, training):
        yield f"an input of {changed}", None
    for change in problem.changes:
        with_it = replacing(failure.module.path, change)
        is_whole = failure.module.is_layer or failure.call is failure.module
        if with_it is None or not is_whole:
            continue
        try:
            result = attempt(module, inputs, training=training, change=with_it)
        except (ConvscopeError, ValueError, RuntimeError):
            continue  # torch has no such layer
        text = " and ".join(f"{name}={value!r}" for name, value in change.items())
        if not isinstance(result, _Failure):
            yield text, None
        elif result.place != failure.place:
            yield text, _named(result)


def _other_inputs(
    module: nn.Module, inputs: Inputs, problem: Refusal, training: bool
) -> Iterator[str]:
    """Inputs near the one given on which the whole network works."""
    first = shapes_of(inputs)[0]

    def works(shape: Shape) -> bool:
        result = attempt(module, with_first(inputs, shape), training=training)
        return not isinstance(result, _Failure) and _mixing(result) is None

    if problem.kind in ("channels", "rank", "features") and len(first) == 3:
        channels_first = (first[2], first[0], first[1])
        if first[2] < min(first[:2]) and works(channels_first):
            yield f"{channels_first}, channels first"
            return
    wants = problem.values.get("wants", 0)
    if problem.kind == "rank" and works((wants, *first)):
        yield str((wants, *first))
        return
    if problem.kind == "channels" and wants:
        other = (wants, *first[1:])
        if works(other):
            yield str(other)
        return
    if len(first) < 2:
        if problem.kind == "features" and wants and works((wants,)):
            yield str((wants,))
        return

    def verdict(sizes: Sizes) -> Status:
        changed = with_first(inputs, (first[0], *sizes))
        for mode in (training, not training):
            found = _status(attempt(module, changed, training=mode), len(sizes))
            if not found.works:
                return found
        return found

    for sizes in working_sizes(verdict, first[1:]):
        yield str((first[0], *sizes))


def _status(result: "Trace | _Failure", space: int) -> Status:
    """What a trace says of the sizes that it began with."""
    if not isinstance(result, _Failure):
        mixes = _mixing(result) is not None
        strides = _strides(result.calls, space)
        return Status("view" if mixes else "", int(mixes), (), strides)
    strides = _strides(result.done, space)
    problem = result.refusal
    if problem is None:
        return Status("other", 1, (), strides)
    values = problem.values
    too_large = values.get("came", 0) > values.get("wants", 0)
    axes = problem.axes if len(problem.axes) == space else ()
    return Status(problem.kind, 1 if too_large else -1, axes, strides)


def _strides(calls: list[Call], space: int) -> Sizes:
    """The largest along each axis of the first input."""
    largest = [1] * space
    for call in calls:
        for (number, axis), seen in (call.value.seen if call.value else {}).items():
            if number == 0 and axis < space:
                largest[axis] = max(largest[axis], int(seen.field.stride))
    return tuple(largest)


def _mixing(result: Trace) -> str | None:
    """The ``view`` that makes rows of parts of several images, if there is one."""
    batch = result.batch
    if not result.outputs or not result.outputs[0] or result.outputs[0][0] == batch:
        return None
    for call in result.calls:
        if call.name not in ("view", "reshape") or not call.outputs:
            continue
        before, after = call.inputs[0], call.outputs[0]
        if before[0] == batch and after and after[0] != batch and len(before) > 2:
            if not is_sized(result.inputs) and _joins_axes(before, after):
                continue  # positions become rows, as a person may want it
            owner = call.parent
            path = (owner.path if owner else "") or type(result.root).__name__
            features = 1
            for size in before[1:]:
                features *= size
            return (
                f"check: {path}, {call.name}({call.arguments}) mixes images: "
                f"{batch} images of {shape_text(before)} become {after[0]} rows of "
                f"{after[-1]}, because one image has {features} values. Use "
                f"x.flatten(1), and in_features={features} in the layer behind it."
            )
    return None


def _joins_axes(before: Shape, after: Shape) -> bool:
    """Whether the first axes are made one, and no row is torn."""
    rows = 1
    for size in before:
        rows *= size
        if rows == after[0]:
            return True
    return False


def _general(problem: Refusal) -> str:
    if problem.kind == "join":
        return "the same stride and padding in the branches that meet here"
    if problem.kind == "rank":
        return "an input with as many axes as the layer takes"
    return "another layer here, or change what comes before it"


def _any_of(choices: list[str]) -> str:
    if len(choices) == 1:
        return choices[0]
    return f"{', '.join(choices[:-1])} or {choices[-1]}"
