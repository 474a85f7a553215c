"""``check``: does the network work on this input, and if not, where, why, what would.

The first call that cannot work is found by a `trace`, before torch refuses it. Each
change that is suggested has been tried: the network was traced again with it.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import nn

from convscope.analysis.checking.layers import layer_refusal
from convscope.analysis.checking.rebuild import layer_text, replacing
from convscope.analysis.inputs import (
    BATCH,
    Inputs,
    InputSize,
    Shape,
    parse_inputs,
)
from convscope.analysis.operations.refusal import Refusal, RefusedError, shape_text
from convscope.analysis.operations.registry import refusal
from convscope.analysis.tracing.calls import Call
from convscope.analysis.tracing.trace import Change, LayerError, Trace, trace
from convscope.analysis.tracing.verify import difference
from convscope.errors import ArgumentError, ConvscopeError, ShapeError

SECONDS = 2.0  # to look for input sizes that work, once something does not
LARGEST = 4096  # elements along an axis, the largest input that is suggested
FARTHEST = 64  # elements away from the size given, where each size must be tried
BY_SIZE = ("map", "features", "size")  # kinds of refusal that another size may end


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


def check(module: nn.Module, input_size: InputSize) -> None:
    """Refuse a network that cannot work on an input of this size.

    Nothing is allocated and the module is not changed. Both ways through the network
    are tried, as in evaluation and as in training.

    Args:
        module: Any torch.nn.Module.
        input_size: Sizes without the batch axis, such as ``(C, H, W)``; a list of such
            sizes for several inputs.

    Raises:
        ShapeError: A layer cannot work; the text names the first by its path and kind,
            with the shape that reaches it, the shape it wants, and the nearest changes
            that make the whole network work.
        ArgumentError: ``input_size`` is no size, or ``forward`` takes other inputs.

    >>> check(nn.Sequential(nn.Conv2d(1, 6, 5), nn.Flatten()), (1, 32, 32))
    """
    inputs = parse_inputs(input_size, where="check")
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
        return _other_error(where, failure)
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


def _other_error(where: str, failure: _Failure) -> Exception:
    cause = failure.cause
    says = str(cause).strip().partition("\n")[0].rstrip(".")
    came = " and ".join(shape_text(s) for s in failure.call.inputs) or "nothing"
    if isinstance(cause, ArgumentError):  # ours, and it says what to do
        owner = type(failure.module.module).__name__
        says = says.removeprefix(owner).removeprefix(":").removeprefix(",").strip()
        return ShapeError(f"{where} cannot work on {came}: {says}.")
    if isinstance(cause, RuntimeError | ValueError | IndexError):
        return ShapeError(
            f"{where} cannot work on {came}: {says}. Change this layer, or what comes "
            "before it."
        )
    if isinstance(cause, TypeError) and failure.module.parent is None:
        return ArgumentError(
            f"{where} does not take these inputs: {says}. Give one size for each "
            "input of forward, as a list."
        )
    return cause


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
    first = inputs.shapes[0]

    def works(shape: Shape) -> bool:
        changed = Inputs((shape, *inputs.shapes[1:]), inputs.names)
        result = attempt(module, changed, training=training)
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
    for shape in _sizes(module, inputs, problem, training):
        yield str(shape)


def _sizes(
    module: nn.Module, inputs: Inputs, problem: Refusal, training: bool
) -> Iterator[Shape]:
    """The nearest spatial sizes that work, all axes longer or shorter by as much."""
    first = inputs.shapes[0]
    end = time.monotonic() + SECONDS

    def shape(more: int) -> Shape:
        return (first[0], *(size + more for size in first[1:]))

    def verdict(more: int) -> int:
        """Below 0 where the map is too small, above 0 where it is too large."""
        changed = Inputs((shape(more), *inputs.shapes[1:]), inputs.names)
        result = attempt(module, changed, training=training)
        if not isinstance(result, _Failure):
            return 0 if _mixing(result) is None else 1
        other = result.refusal
        if other is None or other.kind not in BY_SIZE:
            return 1 if more > 0 else -1
        values = other.values
        return 1 if values and values["came"] > values["wants"] else -1

    least = 1 - min(first[1:])
    if problem.kind in ("join", "view"):
        for distance in range(1, min(FARTHEST, min(first[1:]) // 2 + 1)):
            for more in (distance, -distance):
                if more >= least and time.monotonic() < end and verdict(more) == 0:
                    yield shape(more)
                    return
        return
    if problem.kind not in BY_SIZE:
        return
    if verdict(0) < 0:
        low, high = 0, 1
        while verdict(high) < 0:
            low, high = high, 2 * high
            if high + max(first[1:]) > LARGEST or time.monotonic() > end:
                return
        wanted = 0
    else:
        low, high = least - 1, 0
        wanted = 1
    # The smallest size that is not too small, or the largest that is not too large.
    while high - low > 1 and time.monotonic() < end:
        middle = (low + high) // 2
        if verdict(middle) < wanted:
            low = middle
        else:
            high = middle
    best = high if wanted == 0 else low
    if best >= least and verdict(best) == 0:
        yield shape(best)


def _mixing(result: Trace) -> str | None:
    """The ``view`` that makes rows of parts of several images, if there is one."""
    if not result.outputs or not result.outputs[0]:
        return None
    if result.outputs[0][0] == BATCH:
        return None
    for call in result.calls:
        if call.name not in ("view", "reshape") or not call.outputs:
            continue
        before, after = call.inputs[0], call.outputs[0]
        if before[0] == BATCH and after and after[0] != BATCH and len(before) > 2:
            owner = call.parent
            path = (owner.path if owner else "") or type(result.root).__name__
            features = 1
            for size in before[1:]:
                features *= size
            return (
                f"check: {path}, {call.name}({call.arguments}) mixes images: "
                f"{BATCH} images of {shape_text(before)} become {after[0]} rows of "
                f"{after[-1]}, because one image has {features} values. Use "
                f"x.flatten(1), and in_features={features} in the layer behind it."
            )
    return None


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
