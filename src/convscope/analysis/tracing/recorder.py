"""Follows one forward pass while it runs: what tensors see, and what it costs."""

import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

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
from convscope.arithmetic import Window
from convscope.execution import Inputs
from convscope.execution.outputs import tensors_in
from convscope.private_torch import (
    DispatchMode,
    WithoutFunctionMode,
    tree_map_only,
)

Refuse = Callable[[str | nn.Module, tuple[Any, ...], dict[str, Any]], None]

ESCAPES = ("numpy", "__array__", "tolist", "item")  # values leave torch
INDEXED = ("embedding", "embedding_bag", "one_hot")  # functions of indices


class Recorder(CallRecorder):
    """Follows what each tensor sees, and counts what is multiplied.

    Args:
        root: A copy of the network; it keeps the hooks.
        refuse: See `trace`.
        flow: Where what is found is kept.
    """

    def __init__(self, root: nn.Module, refuse: Refuse | None, flow: Dataflow) -> None:
        super().__init__(root)
        self.refuse = refuse
        self.flow = flow
        self.failed: list[Call] = []
        self.refused: Exception | None = None  # by an operation, the last time
        self.indices: set[int] = set()  # inputs that cannot be but integers
        self.makers: dict[int, int] = {}  # storage -> index of the call that made it
        self.sparing = Sparing(lambda t: storage_of(t) not in self.makers)

    def run(self, inputs: Inputs, values: bool) -> list[Tensor]:
        """The tensors that the network gives for these inputs."""
        self.watch()
        weights = itertools.chain(self.root.parameters(), self.root.buffers())
        self.flow.keep(tensor for tensor in weights if not is_lazy(tensor))
        self.inputs = inputs  # kept, so that no storage's place is used twice
        for number, tensor in enumerate(inputs.tensors):
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
                result = self.root(*inputs.positional, **inputs.named)
            except Exception:
                self.failed = list(self.stack)
                raise
        return list(tensors_in(result))

    def cause_of(self, error: Exception) -> Exception:
        """What an operation raised, where TorchScript has lost what it said."""
        lost = "TorchScript" in str(error).partition("\n")[0]
        return self.refused if lost and self.refused is not None else error

    def begins(
        self, call: Call, called: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Arguments | None:
        """Notes where values leave torch, and refuses what cannot work."""
        call.not_understood = len(self.flow.not_understood)
        if isinstance(called, str):
            self._escapes(called, args)
            self._note_indices(called, args, kwargs)
        if isinstance(called, str) or acts_as_ours(called):
            self._judge(called, args, kwargs)
        return None

    def inside(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The same for a function in a layer; ours was judged as a whole."""
        self._escapes(name, args)
        self._note_indices(name, args, kwargs)
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
        if not any(outer.is_layer for outer in self.stack[:-1]):
            self.flow.ended(call.label, tensors_of(output))

    def _escapes(self, name: str, args: tuple[Any, ...]) -> None:
        if name in ESCAPES:
            with WithoutFunctionMode():
                self.flow.escape(tensors_of(args))

    def _note_indices(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Inputs of numbers where a function takes indices beside its weight."""
        if name not in INDEXED:
            return
        with WithoutFunctionMode():
            for tensor in tensors_of((args, kwargs)):
                maker = self.makers.get(storage_of(tensor), 0)
                if maker < 0 and tensor.is_floating_point():
                    self.indices.add(-1 - maker)

    def _declared(self, module: nn.Module, args: Any, output: Any) -> None:
        """Takes a layer's own word for how it acts along each axis, if it gives it."""
        tell = getattr(module, "axis_layers", None)
        tensors, made = tensors_of(args), tensors_of(output)
        if tell is None or not tensors or not made or not acts_as_ours(module):
            return
        axes = getattr(module, "axes", 0)
        sizes = tuple(tensors[0].shape[tensors[0].ndim - axes :])
        layers, call = tell(sizes), self.stack[-1]
        apart = getattr(module, "groups_along", None)
        first = tensors[0].ndim - axes - 1
        groups = 1 if apart is None else apart(tensors[0].shape[first])
        self.flow.declare(tensors[0], made[0], layers, groups)
        del self.flow.not_understood[call.not_understood :]
        windows = [layer for layer in layers if isinstance(layer, Window)]
        if self.shown() is call:
            call.windows = [(sizes, layers)] if len(windows) == len(layers) else []

    def _returned(self, call: Call, output: Any) -> None:
        tensors = list(tensors_in(output))
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
        """Runs an operation, and follows it from its arguments to its result."""
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

    def __init__(self, recorder: Recorder, values: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.recorder = recorder
        self.values = values

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if not self.values and _mixed((args, kwargs)):
            args, kwargs = tree_map_only(Tensor, _to_meta, (args, kwargs))
        args, kwargs = self.recorder.sparing.arguments(func, args, kwargs)

        def run() -> Any:
            made = None if self.values else meta_result(func, args, kwargs)
            if made is not None:
                return made
            try:
                return func(*args, **kwargs)
            except Exception as error:
                self.recorder.refused = error
                raise

        return self.recorder.operation(func, args, kwargs, run)


def _mixed(tree: Any) -> bool:
    """Whether tensors with values meet tensors without."""
    devices = {t.device.type for t in tensors_of(tree)}
    return len(devices) > 1


def _to_meta(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_meta else tensor.to("meta")
