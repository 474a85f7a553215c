"""One forward pass without values: every call of a layer and every operation in it.

``trace(module, inputs)`` runs the code of ``forward`` on meta tensors, through a
`meta_copy` of the module, and writes down

* a `Call` for each module that is called and for each function that is called outside
  of a layer (``F.relu``, ``+``, ``torch.cat``), nested as they were called;
* what each of torch's own operations in it reads, writes and multiplies.

Code that needs values (``.item()``, ``numpy``, a mask of data) cannot run so; then one
forward pass is made on zeros with the module's own weights, and the trace says so.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convscope.analysis.inputs import (
    Shape,
    is_sized,
    on_meta,
    with_integers,
    with_values,
)
from convscope.analysis.operations.refusal import Refusal, RefusedError
from convscope.analysis.tracing.calls import Call
from convscope.analysis.tracing.dataflow import Dataflow
from convscope.analysis.tracing.meta_copy import meta_copy
from convscope.analysis.tracing.preserve import Snapshot
from convscope.analysis.tracing.recorder import Recorder, Refuse
from convscope.execution import Inputs

Change = Callable[[nn.Module], None]


@dataclass
class Trace:
    """What one forward pass was made of.

    Attributes:
        root: The copy of the network that it went through.
        inputs: What it was called with; some as integers, where sizes were asked for.
        calls: In their order.
        flow: What is known of every tensor.
        outputs: Shapes, with the batch axis.
        with_values: It could not run on meta tensors.
        reason: Why not.
        reached: Ids of the copy's parameters with a gradient.
        integers: Numbers of the inputs that sizes were given for and that turned out to
            be indices.
    """

    root: nn.Module
    inputs: Inputs
    calls: list[Call]
    flow: Dataflow
    outputs: tuple[Shape, ...]
    with_values: bool
    reason: str
    reached: frozenset[int]
    integers: tuple[int, ...] = ()

    @property
    def batch(self) -> int:
        """Images in the batch."""
        return self.inputs.images


class LayerError(Exception):
    """A forward pass that failed, and the calls it failed in, outermost first.

    Args:
        cause: What was raised.
        recorder: What had been written down until then.
    """

    def __init__(self, cause: Exception, recorder: Recorder) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.stack, self.done = recorder.failed, recorder.calls
        self.indices = frozenset(recorder.indices)
        refused = isinstance(cause, RefusedError)
        self.refusal: Refusal | None = cause.refusal if refused else None  # type: ignore[attr-defined]


def trace(
    module: nn.Module,
    inputs: Inputs,
    *,
    training: bool = False,
    values: bool = False,
    change: Change | None = None,
    refuse: Refuse | None = None,
    flow: Callable[[], Dataflow] = Dataflow,
) -> Trace:
    """What happens in one forward pass; the module is left as it is.

    Args:
        module: Any module.
        inputs: What it is called with. Sizes stand for numbers of the network's type,
            and for integers where the first layer takes indices.
        training: Trace it as it is in training.
        values: Compute, with the weights it has.
        change: Called with the copy before the pass, to try another layer.
        refuse: Called before each module of ours, and before each of torch's functions
            with its name, and with the arguments; may raise.
        flow: What keeps what is known of tensors, made for each pass.

    Raises:
        LayerError: The forward pass fails, with and without values.
    """
    integers: frozenset[int] = frozenset()
    while True:
        try:
            traced = _pass(module, inputs, training, values, change, refuse, flow)
        except LayerError as error:
            if not is_sized(inputs) or error.indices <= integers:
                raise
            integers |= error.indices
            inputs = with_integers(inputs, integers)
        else:
            traced.integers = tuple(sorted(integers))
            return traced


def _pass(
    module: nn.Module,
    inputs: Inputs,
    training: bool,
    values: bool,
    change: Change | None,
    refuse: Refuse | None,
    flow: Callable[[], Dataflow],
) -> Trace:
    reason, state = "", Snapshot(module, inputs)
    for keep_values in (True,) if values else (False, True):
        copy = meta_copy(module, keep_values=keep_values)
        _set_mode(copy, training)
        if change is not None:
            change(copy)
        recorder = Recorder(copy, refuse, flow())
        try:
            placed = (
                with_values(inputs, _device(module)) if keep_values else on_meta(inputs)
            )
            outputs = recorder.run(placed, keep_values)
        except Exception as raised:  # whatever the caller's code raises
            error = recorder.cause_of(raised)
            if keep_values or not _needs_values(error, module):
                raise LayerError(error, recorder) from error
            reason = cause_text(error)
            continue
        finally:
            state.restore()
        shapes = tuple(tuple(t.shape) for t in outputs)
        reached = frozenset(_with_gradient(outputs))
        return Trace(
            copy,
            inputs,
            recorder.calls,
            recorder.flow,
            shapes,
            keep_values,
            reason,
            reached,
        )
    raise AssertionError("the second pass either returns or raises")


def _set_mode(copy: nn.Module, training: bool) -> None:
    """As ``copy.train`` does it; what torch.export has made knows one mode only."""
    try:
        copy.train(training)
    except NotImplementedError:
        for module in copy.modules():
            module.training = training


def _device(module: nn.Module) -> torch.device:
    first = next(module.parameters(), torch.empty(0))
    return torch.device("cpu") if first.is_meta else first.device


def cause_text(error: Exception) -> str:
    """What an error says, in a line."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _with_gradient(outputs: list[Tensor]) -> Iterator[int]:
    """Ids of the parameters that the gradient of any output reaches."""
    waiting = [t.grad_fn for t in outputs if t.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        variable = getattr(node, "variable", None)
        if variable is not None:
            yield id(variable)
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)


def _needs_values(error: Exception, module: nn.Module) -> bool:
    """Whether the same pass may succeed with values, and values are there."""
    text = f"{type(error).__name__}: {error}".lower()
    if any(p.is_meta for p in module.parameters()):
        return False
    elsewhere = "meta" in text or "always be on cpu" in text  # of packed sequences
    return elsewhere or isinstance(error, NotImplementedError)
