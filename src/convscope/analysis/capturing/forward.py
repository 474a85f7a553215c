"""One forward pass that keeps the values of chosen calls, on a copy of the network.

``passed(net, inputs, ...)``  a `Pass`: what the chosen calls took and gave, with its
                              graph if gradients are wanted

The copy (`meta_copy`) shares only the weights, and those it may not write into. All
else that a forward can reach is put back (`Snapshot`), as are the random numbers. So
hooks, mode, buffers and gradients of the caller's network need no undoing: nothing
touches them.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from convscope.analysis.capturing.arrival import Arrival, arrival
from convscope.analysis.capturing.choosing import (
    Choice,
    Everything,
    Layers,
    UsersOf,
    Uses,
)
from convscope.analysis.capturing.given import (
    Given,
    GivenInputs,
    explain_failure,
    require_network,
)
from convscope.analysis.capturing.holding import Enough, Holder
from convscope.analysis.tracing.calls import (
    Arguments,
    Call,
    CallRecorder,
    FunctionMode,
    Sparing,
    named,
    storage_of,
    tensors_of,
    tensors_passed,
)
from convscope.analysis.tracing.meta_copy import meta_copy
from convscope.analysis.tracing.preserve import Snapshot
from convscope.execution.optimized import Optimized
from convscope.execution.outputs import map_tensors
from convscope.private_torch import DispatchMode, WithoutFunctionMode


@dataclass(eq=False)
class Taken:
    """What one call took and gave, copied before anything could write into it.

    Attributes:
        call: Which.
        arguments: Positional arguments, tensors copied.
        named: Those by name.
        output: What it returned.
        input_edges: Where the gradient of each tensor in the arguments arrives.
        output_edges: The same of what it returned.
    """

    call: Call
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    input_edges: list[Arrival | None]
    output: Any = None
    output_edges: tuple[Arrival | None, ...] = ()

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Tensors that were passed, weights apart."""
        return tensors_passed(self.arguments, self.named)


@dataclass(eq=False)
class Pass:
    """One forward pass.

    Attributes:
        root: The copy that ran.
        inputs: Tensors that it ran on; leaves whose gradients can be asked for.
        output: What it gave.
        calls: All, in the order in which they began.
        taken: What was kept of the chosen ones.
        notes: What is not as one would expect.
        sources: For each layer by label, for each tensor that it takes, the label of
            the layer that gave it; None for an input of the network.
    """

    root: nn.Module
    inputs: list[Tensor]
    output: Any
    calls: list[Call]
    taken: list[Taken]
    notes: list[str]
    sources: dict[str, tuple[str | None, ...]]


@contextlib.contextmanager
def passed(
    net: nn.Module,
    inputs: Given,
    layers: Layers | Uses | Everything,
    *,
    training: bool,
    with_inputs: bool,
    with_graph: bool,
    where: str,
    parameters: Sequence[str] = (),
    shares: bool = False,
    opens: Callable[[nn.Module], bool] = lambda _: False,
    holder: Holder | None = None,
    until: str = "",
) -> Iterator[Pass]:
    """The forward pass, for as long as its graph is needed.

    Afterwards the network is as before.

    Args:
        net: Any module.
        inputs: Its inputs, with the batch axis.
        layers: Which calls to keep; see `Choice`, `Uses` and `Everything`.
        training: Run it as in training.
        with_inputs: Keep what the calls take, too.
        with_graph: Keep the graph, for gradients.
        where: What an error message begins with.
        parameters: Those that get a gradient even if they are frozen.
        shares: Whether the gradient at what a chosen call takes is what comes through
            this call alone, without what comes through others that take it too.
        opens: Which modules to look into, though they are one layer.
        holder: Keeps values without copying them, in place of copies.
        until: The call after whose end the pass is over, by its name.

    Raises:
        ArgumentError: The network has no weights or cannot be looked into, ``inputs``
            are of another kind, or ``layers`` means nothing.
        ShapeError: The network does not work on these inputs; see `check`.
    """
    require_network(net, where)
    given = GivenInputs(inputs, where)
    state = Snapshot(net)
    theirs = {place for t in state.kept if (place := _place(t)) is not None}
    outside = torch.inference_mode(False)  # whose tensors have no gradients
    outside.__enter__()
    try:
        root = meta_copy(net, keep_values=True).train(training)
        choice: Choice | UsersOf | Everything
        if isinstance(layers, Uses):
            choice = UsersOf(root.get_parameter(layers.parameter))
        elif isinstance(layers, Everything):
            choice = layers
        else:
            choice = Choice(layers, net, root, where)
        for name in parameters:
            root.get_parameter(name).requires_grad_()
        recorder = _Recorder(
            root, choice, with_inputs, with_graph, theirs, shares, opens, holder, until
        )
        positional, named = given.for_call(with_graph)
        try:
            with _modes(net, root, recorder, with_graph):
                output = root(*positional, **named)
        except Enough:
            output = None
        except Exception as error:
            state.restore()
            explain_failure(net, given, error, training, where)
            raise
        recorder.over = True
        choice.require_matches(call.label for call in recorder.calls)
        calls, notes = list(recorder.calls), _notes(net)
        with torch.random.fork_rng(devices=[]):  # a checkpoint may draw again
            yield Pass(
                root, given.leaves, output, calls, recorder.taken, notes,
                recorder.sources,
            )  # fmt: skip
    finally:
        outside.__exit__(None, None, None)
        state.restore()


class _Recorder(CallRecorder):
    """Keeps the values of chosen calls."""

    def __init__(
        self,
        root: nn.Module,
        choice: Choice | UsersOf | Everything,
        with_inputs: bool,
        with_graph: bool,
        theirs: set[int],
        shares: bool,
        opens: Callable[[nn.Module], bool],
        holder: Holder | None,
        until: str,
    ) -> None:
        super().__init__(root, opens)
        self.holder, self.until = holder, until
        self.keep = _kept if holder is None else holder.hold
        self.choice, self.shares = choice, shares
        self.with_inputs, self.with_graph = with_inputs, with_graph
        self.sparing = Sparing(lambda t: _place(t) in theirs)
        self.waiting: dict[int, Taken] = {}  # by id of the call
        self.outer: dict[int, tuple[list[Arrival | None], list[Any]]] = {}
        self.taken: list[Taken] = []
        self.sources: dict[str, tuple[str | None, ...]] = {}
        self.makers = WeakTensorKeyDictionary()  # tensor -> label of who gave it last
        self.quiet = False  # while values are copied
        self.over = False  # what runs now is no forward pass, but a checkpoint's again

    def begins(
        self, call: Call, called: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Arguments | None:
        """Copies what a chosen call takes."""
        self._note_escape(called)
        is_shown = bool(self.calls) and self.calls[-1] is call
        if is_shown and not self.over:
            passed = tensors_passed(args, kwargs)
            self.sources[call.label] = tuple(self.makers.get(t) for t in passed)
        if self.over or not self.choice.means(call, is_shown, args, kwargs):
            return None
        taken = Taken(call, (), {}, [])
        self.waiting[id(call)] = taken
        self.taken.append(taken)
        if self.with_inputs:
            with self._copying():
                outer = [self._edge(t) for t in tensors_passed(args, kwargs)]
                if self.shares:
                    args, kwargs = map_tensors(_aliased, (args, kwargs))
                taken.arguments, taken.named = map_tensors(self.keep, (args, kwargs))
                passed = tensors_passed(args, kwargs)
                taken.input_edges = [self._edge(t) for t in passed]
                if self.shares:
                    versions = [(t, t._version) for t in passed]
                    self.outer[id(call)] = outer, versions
        return (args, kwargs) if self.shares else None

    def inside(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Notes where values leave torch."""
        self._note_escape(name)

    def _note_escape(self, called: Any) -> None:
        if self.holder is not None and called in ("numpy", "__array__", "data_ptr"):
            self.holder.escaped = True  # who holds the memory may write into it

    def ends(
        self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        """Copies what a chosen call gave."""
        if not self.over and call.is_layer and call.label in self.sources:
            for tensor in tensors_of(output):
                self.makers[tensor] = call.label
        taken = self.waiting.pop(id(call), None)
        if taken is None:
            return
        with self._copying():
            taken.output = map_tensors(self.keep, output)
            taken.output_edges = tuple(self._edge(t) for t in tensors_of(output))
        outer, versions = self.outer.pop(id(call), ([], []))
        if any(t._version != before for t, before in versions):
            # What is written into leaves its place in the graph to who had it before.
            taken.input_edges = outer
        if self.until and self.until in named(call):
            raise Enough

    def _edge(self, tensor: Tensor) -> Arrival | None:
        return arrival(tensor) if self.with_graph else None

    @contextlib.contextmanager
    def _copying(self) -> Iterator[None]:
        self.quiet = True
        try:
            with WithoutFunctionMode():
                yield
        finally:
            self.quiet = False


class _Operations(DispatchMode):
    """Counts operations, so that questions are no calls, and spares others' tensors."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.recorder = recorder

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.recorder.quiet:
            return func(*args, **kwargs)
        for call in self.recorder.stack:
            call.operations += 1
        args, kwargs = self.recorder.sparing.arguments(func, args, kwargs)
        if self.recorder.holder is not None:
            self.recorder.holder.before(func, args, kwargs)
        return func(*args, **kwargs)


@contextlib.contextmanager
def _modes(
    net: nn.Module, root: nn.Module, recorder: _Recorder, with_graph: bool
) -> Iterator[None]:
    recorder.watch()
    tensors = [*root.parameters(), *root.buffers()]
    devices = {t.device.index or 0 for t in tensors if t.device.type == "cuda"}
    with contextlib.ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.set_grad_enabled(with_graph))
        modes.enter_context(torch.random.fork_rng(devices=sorted(devices)))
        if isinstance(net, Optimized):
            modes.enter_context(net.setting.autocast())
        modes.enter_context(_Operations(recorder))
        modes.enter_context(FunctionMode(recorder))
        yield


def _notes(net: nn.Module) -> list[str]:
    notes = []
    if isinstance(net, Optimized):
        notes.append(
            "an optimized network is captured layer by layer, without what it computes "
            "as one; last digits may differ"
        )
    if any("_orig_mod" in m._modules or m._compiled_call_impl for m in net.modules()):
        notes.append(
            "a compiled network is captured as it was before torch.compile; last "
            "digits may differ"
        )
    return notes


def _kept(tensor: Tensor) -> Tensor:
    """A copy without history; a weight is not copied, nothing writes into it."""
    return tensor if isinstance(tensor, nn.Parameter) else tensor.detach().clone()


def _aliased(tensor: Tensor) -> Tensor:
    """The same memory at a place of its own in the graph."""
    if isinstance(tensor, nn.Parameter) or not tensor.requires_grad:
        return tensor
    return tensor.view_as(tensor)


def _place(value: object) -> int | None:
    """The memory of a tensor; None for anything else."""
    if not isinstance(value, Tensor):
        return None
    try:
        return storage_of(value)
    except (NotImplementedError, RuntimeError):  # a tensor without memory of its own
        return None
