"""One forward pass without values: every call of a layer and every operation in it.

``trace(module, inputs)`` runs the code of ``forward`` on meta tensors, through a
`meta_copy` of the module, and writes down

* a `Call` for each module that is called and for each function that is called outside
  of a layer (``F.relu``, ``+``, ``torch.cat``), nested as they were called;
* what each of torch's own operations in it reads, writes and multiplies.

Code that needs values (``.item()``, ``numpy``, a mask of data) cannot run so; then one
forward pass is made on zeros with the module's own weights, and the trace says so.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from convscope.analysis.inputs import BATCH, Inputs, Shape
from convscope.analysis.operations.refusal import Refusal, RefusedError
from convscope.analysis.operations.registry import meta_result
from convscope.analysis.tracing.calls import (
    Arguments,
    Call,
    CallRecorder,
    FunctionMode,
    Sparing,
    acts_as_ours,
    is_weightless,
    storage_of,
    tensors_of,
)
from convscope.analysis.tracing.dataflow import Cost, Dataflow
from convscope.analysis.tracing.meta_copy import meta_copy
from convscope.analysis.tracing.preserve import Snapshot
from convscope.arithmetic import Window
from convscope.private_torch import (
    DispatchMode,
    WithoutFunctionMode,
    tree_map_only,
)

Change = Callable[[nn.Module], None]
Refuse = Callable[[str | nn.Module, tuple[Any, ...], dict[str, Any]], None]

ESCAPES = ("numpy", "__array__", "tolist", "item")  # values leave torch


@dataclass
class Trace:
    """What one forward pass was made of."""

    root: nn.Module
    inputs: Inputs
    batch: int
    calls: list[Call]
    flow: Dataflow
    outputs: tuple[Shape, ...]
    with_values: bool  # it could not run on meta tensors
    reason: str  # why not
    reached: frozenset[int]  # ids of the copy's parameters with a gradient


class LayerError(Exception):
    """A forward pass that failed, and the calls it failed in, outermost first."""

    def __init__(self, cause: Exception, stack: list[Call], done: list[Call]) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.stack = stack
        self.done = done
        refused = isinstance(cause, RefusedError)
        self.refusal: Refusal | None = cause.refusal if refused else None  # type: ignore[attr-defined]


def trace(
    module: nn.Module,
    inputs: Inputs,
    *,
    training: bool = False,
    batch: int = BATCH,
    dtype: torch.dtype | None = None,
    values: bool = False,
    change: Change | None = None,
    refuse: Refuse | None = None,
) -> Trace:
    """What happens in one forward pass; the module is left as it is.

    Args:
        module: Any module.
        inputs: Shapes of its inputs.
        training: Trace it as it is in training.
        batch: Images in the batch.
        dtype: Of the inputs; by default that of the network's weights.
        values: Compute on the processor, with the weights it has.
        change: Called with the copy before the pass, to try another layer.
        refuse: Called before each module of ours, and before each of torch's functions
            with its name, and with the arguments; may raise.

    Raises:
        LayerError: The forward pass fails, with and without values.
    """
    reason, state = "", Snapshot(module)
    for keep_values in (True,) if values else (False, True):
        copy = meta_copy(module, keep_values=keep_values)
        copy.train(training)
        if change is not None:
            change(copy)
        recorder = _Recorder(copy, refuse)
        try:
            outputs = recorder.run(inputs, batch, _dtype(module, dtype), keep_values)
        except Exception as error:  # whatever the caller's code raises
            failed = LayerError(error, recorder.failed, recorder.calls)
            if keep_values or not _needs_values(error, module):
                raise failed from error
            reason = _first_line(error)
            continue
        finally:
            state.restore()
        shapes = tuple(tuple(t.shape) for t in outputs)
        reached = frozenset(_with_gradient(outputs))
        return Trace(
            copy,
            inputs,
            batch,
            recorder.calls,
            recorder.flow,
            shapes,
            keep_values,
            reason,
            reached,
        )
    raise AssertionError("the second pass either returns or raises")


class _Recorder(CallRecorder):
    """The hooks and modes of one forward pass."""

    def __init__(self, root: nn.Module, refuse: Refuse | None) -> None:
        super().__init__(root)
        self.refuse = refuse
        self.flow = Dataflow()
        self.failed: list[Call] = []
        self.makers: dict[int, int] = {}  # storage -> index of the call that made it
        self.sparing = Sparing(lambda t: storage_of(t) not in self.makers)

    def run(
        self, inputs: Inputs, batch: int, dtype: torch.dtype, values: bool
    ) -> list[Tensor]:
        self.watch()
        weights = itertools.chain(self.root.parameters(), self.root.buffers())
        self.flow.keep(tensor for tensor in weights if not is_lazy(tensor))
        device = "cpu" if values else "meta"
        positional, named = inputs.tensors(batch, device, dtype)
        for number, tensor in enumerate([*positional, *named.values()]):
            self.flow.start(number, tensor)
            self.makers[storage_of(tensor)] = -1 - number
        with contextlib.ExitStack() as modes:
            modes.enter_context(torch.inference_mode(False))
            modes.enter_context(torch.enable_grad())
            if values:
                modes.enter_context(torch.random.fork_rng(devices=[]))
            modes.enter_context(_Operations(self, values))
            modes.enter_context(FunctionMode(self))
            try:
                result = self.root(*positional, **named)
            except Exception:
                self.failed = list(self.stack)
                raise
        return tensors_of(result)

    def begins(
        self, call: Call, called: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Arguments | None:
        """Notes where values leave torch, and refuses what cannot work."""
        call.not_understood = len(self.flow.not_understood)
        if isinstance(called, str):
            self._escapes(called, args)
        if isinstance(called, str) or acts_as_ours(called):
            self._judge(called, args, kwargs)
        return None

    def inside(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The same for a function in a layer; ours was judged as a whole."""
        self._escapes(name, args)
        outer = self.shown()
        if outer is None or not acts_as_ours(outer.module):
            self._judge(name, args, kwargs)

    def ends(
        self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        """Notes what it returned."""
        if call.module is not None:
            self._declared(call.module, args, output)
        self._returned(call, output)

    def _escapes(self, name: str, args: tuple[Any, ...]) -> None:
        if name in ESCAPES:
            with WithoutFunctionMode():
                self.flow.escape(tensors_of(args))

    def _declared(self, module: nn.Module, args: Any, output: Any) -> None:
        """Takes a layer's own word for how it acts along each axis, if it gives it."""
        tell = getattr(module, "axis_layers", None)
        tensors, made = tensors_of(args), tensors_of(output)
        if tell is None or not tensors or not made or not acts_as_ours(module):
            return
        axes = getattr(module, "axes", 0)
        sizes = tuple(tensors[0].shape[tensors[0].ndim - axes :])
        layers, call = tell(sizes), self.stack[-1]
        self.flow.declare(tensors[0], made[0], layers)
        del self.flow.not_understood[call.not_understood :]
        windows = [layer for layer in layers if isinstance(layer, Window)]
        if self.shown() is call:
            call.windows = [(sizes, layers)] if len(windows) == len(layers) else []

    def _returned(self, call: Call, output: Any) -> None:
        tensors = tensors_of(output)
        call.outputs = tuple(tuple(t.shape) for t in tensors)
        if not tensors:
            return
        call.value = self.flow.value(tensors[0])
        new = [t for t in tensors if self._made_in(call, t)]
        call.new_elements = sum(t.numel() for t in new)
        call.output_bytes = sum(t.numel() * t.element_size() for t in new)

    def _made_in(self, call: Call, tensor: Tensor) -> bool:
        maker = self.makers.get(storage_of(tensor))
        if maker is None or maker < 0:
            return False
        made: Call | None = self.calls[maker]
        while made is not None:
            if made is call:
                return True
            made = made.parent
        return False

    def _judge(
        self,
        called: str | nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        if self.refuse is not None:
            with WithoutFunctionMode():
                self.refuse(called, args, kwargs)

    def operation(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        run: Callable[[], Any],
    ) -> Any:
        if any(is_lazy(t) for t in tensors_of((args, kwargs))):
            return run()  # a parameter that is getting its shape
        pending = self.flow.before(func, args, kwargs)
        result = run()
        if not any(is_lazy(t) for t in tensors_of(result)):
            self._count(self.flow.through(pending, result), args, kwargs, result)
        return result

    def _count(self, cost: Cost, args: Any, kwargs: Any, result: Any) -> None:
        """Adds an operation to the calls that it happens in."""
        row = self.shown()
        if row is None:
            return
        place = len(self.calls) - 1
        while self.calls[place] is not row:
            place -= 1
        for read in tensors_of((args, kwargs)):
            maker = self.makers.get(storage_of(read))
            if maker is not None and maker != place and maker not in row.reads:
                row.reads.append(maker)
        for made in tensors_of(result):
            self.makers.setdefault(storage_of(made), place)
        if cost.window is not None:
            row.windows.append(cost.window)
        weightless = is_weightless(row.module)
        for call in self.stack:
            call.operations += 1
            if not weightless:
                call.multiply_adds += cost.multiply_adds
                call.constant_products += cost.constant_products
            call.activation_products += cost.activation_products


class _Operations(DispatchMode):
    """Sees the operations that functions are made of."""

    def __init__(self, recorder: _Recorder, values: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.recorder = recorder
        self.values = values

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the guard would import all of torch._dynamo: 1.4 s, 100 MB

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if not self.values and _mixed((args, kwargs)):
            args, kwargs = tree_map_only(Tensor, _to_meta, (args, kwargs))
        args, kwargs = self.recorder.sparing.arguments(func, args, kwargs)

        def run() -> Any:
            made = None if self.values else meta_result(func, args, kwargs)
            return func(*args, **kwargs) if made is None else made

        return self.recorder.operation(func, args, kwargs, run)


def _dtype(module: nn.Module, given: torch.dtype | None) -> torch.dtype:
    """That of the network's first weights that are no integers."""
    if given is not None:
        return given
    for tensor in itertools.chain(module.parameters(), module.buffers()):
        if tensor.is_floating_point() or tensor.is_complex():
            return tensor.dtype
    return torch.float32


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
    return "meta" in text or isinstance(error, NotImplementedError)


def _mixed(tree: Any) -> bool:
    """Whether tensors with values meet tensors without."""
    devices = {t.device.type for t in tensors_of(tree)}
    return len(devices) > 1


def _to_meta(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_meta else tensor.to("meta")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
