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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from convscope.analysis.inputs import BATCH, Inputs, Shape
from convscope.analysis.operations.provenance import Provenance
from convscope.analysis.operations.refusal import Refusal, RefusedError
from convscope.analysis.operations.registry import meta_result
from convscope.analysis.tracing.dataflow import Cost, Dataflow
from convscope.analysis.tracing.meta_copy import meta_copy
from convscope.analysis.tracing.preserve import Snapshot
from convscope.arithmetic import Window
from convscope.private_torch import (
    DispatchMode,
    WithoutFunctionMode,
    tree_leaves,
    tree_map_only,
)

Change = Callable[[nn.Module], None]
Refuse = Callable[[str | nn.Module, tuple[Any, ...], dict[str, Any]], None]

_TORCH, _OURS = "torch.nn.modules.", "convscope.layers."
ESCAPES = ("numpy", "__array__", "tolist", "item")  # values leave torch
_NESTING = ("container", "transformer")  # torch's modules that are not one layer


@dataclass(eq=False)
class Call:
    """A module or a function, called once.

    Attributes:
        path: Where the module is: ``layer1.0.conv1``; a function's caller.
        name: The function's name; empty for a module.
        module: The copied module; None for a function.
        parent: The call it happened in.
        turn: 0 for the first call of this module, 1 for the second.
        inputs: Shapes of the tensors passed to it, with the batch axis.
        outputs: Shapes of the tensors it returned.
        value: What is known of the first output: see `Dataflow`.
        multiply_adds: Of the operations in it, for the whole batch.
        activation_products: Products of two activations (attention), likewise.
        constant_products: Products that do not depend on any input, likewise.
        new_elements: Elements of its output, 0 if it lies in memory of another.
        reads: Places of the calls whose outputs it read; -1 and below for inputs.
    """

    path: str
    name: str
    module: nn.Module | None
    parent: "Call | None"
    turn: int = 0
    arguments: str = ""
    inputs: tuple[Shape, ...] = ()
    outputs: tuple[Shape, ...] = ()
    value: Provenance | None = None
    multiply_adds: int = 0
    activation_products: int = 0
    constant_products: int = 0
    new_elements: int = 0
    output_bytes: int = 0
    operations: int = 0
    windows: list[tuple[Any, ...]] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)
    not_understood: int = 0  # operations before it

    @property
    def depth(self) -> int:
        """0 for the network itself."""
        return 0 if self.parent is None else self.parent.depth + 1

    @property
    def is_layer(self) -> bool:
        """Whether it is shown as one, whatever happens inside."""
        return self.module is None or _leaf(self.module, self.parent is None)


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


class _Recorder:
    """The hooks and modes of one forward pass."""

    def __init__(self, root: nn.Module, refuse: Refuse | None) -> None:
        self.root = root
        self.refuse = refuse
        self.flow = Dataflow()
        self.calls: list[Call] = []
        self.stack: list[Call] = []
        self.failed: list[Call] = []
        self.turns: dict[int, int] = {}
        self.kept: list[Tensor] = []  # so that no storage's place is used twice
        self.copies: dict[int, torch.UntypedStorage] = {}  # of the caller's tensors
        self.makers: dict[int, int] = {}  # storage -> index of the call that made it

    def run(
        self, inputs: Inputs, batch: int, dtype: torch.dtype, values: bool
    ) -> list[Tensor]:
        for path, module in self.root.named_modules(remove_duplicate=True):
            if isinstance(module, torch.jit.ScriptModule):
                continue
            module.register_forward_pre_hook(self._enter(path), with_kwargs=True)
            module.register_forward_hook(self._leave)
        weights = itertools.chain(self.root.parameters(), self.root.buffers())
        self.flow.keep(tensor for tensor in weights if not is_lazy(tensor))
        device = "cpu" if values else "meta"
        positional, named = inputs.tensors(batch, device, dtype)
        for number, tensor in enumerate([*positional, *named.values()]):
            self.flow.start(number, tensor)
            self.makers[_storage(tensor)] = -1 - number
        with contextlib.ExitStack() as modes:
            modes.enter_context(torch.inference_mode(False))
            modes.enter_context(torch.enable_grad())
            if values:
                modes.enter_context(torch.random.fork_rng(devices=[]))
            modes.enter_context(_Operations(self, values))
            modes.enter_context(_Functions(self))
            try:
                result = self.root(*positional, **named)
            except Exception:
                self.failed = list(self.stack)
                raise
        return _tensors(result)

    def _enter(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            turn = self.turns.get(id(module), 0)
            self.turns[id(module)] = turn + 1
            with WithoutFunctionMode():
                call = Call(
                    path, "", module, self.stack[-1] if self.stack else None, turn
                )
                call.inputs = _shapes((args, kwargs))
            call.not_understood = len(self.flow.not_understood)
            self._push(call)
            if _acts_as_ours(module):
                self._judge(module, args, kwargs)

        return hook

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        while self.stack and self.stack[-1].module is not module:
            self.stack.pop()
        if self.stack:
            with WithoutFunctionMode():
                self._declared(module, args, output)
                self._returned(self.stack.pop(), output)

    def _declared(self, module: nn.Module, args: Any, output: Any) -> None:
        """Takes a layer's own word for how it acts along each axis, if it gives it."""
        tell = getattr(module, "axis_layers", None)
        tensors, made = _tensors(args), _tensors(output)
        if tell is None or not tensors or not made or not _acts_as_ours(module):
            return
        axes = getattr(module, "axes", 0)
        sizes = tuple(tensors[0].shape[tensors[0].ndim - axes :])
        layers, call = tell(sizes), self.stack[-1]
        self.flow.declare(tensors[0], made[0], layers)
        del self.flow.not_understood[call.not_understood :]
        windows = [layer for layer in layers if isinstance(layer, Window)]
        if self.shown() is call:
            call.windows = [(sizes, layers)] if len(windows) == len(layers) else []

    def _push(self, call: Call) -> None:
        if not any(outer.is_layer for outer in self.stack):
            self.calls.append(call)
        self.stack.append(call)

    def _returned(self, call: Call, output: Any) -> None:
        tensors = _tensors(output)
        call.outputs = tuple(tuple(t.shape) for t in tensors)
        if not tensors:
            return
        call.value = self.flow.value(tensors[0])
        new = [t for t in tensors if self._made_in(call, t)]
        call.new_elements = sum(t.numel() for t in new)
        call.output_bytes = sum(t.numel() * t.element_size() for t in new)

    def _made_in(self, call: Call, tensor: Tensor) -> bool:
        maker = self.makers.get(_storage(tensor))
        if maker is None or maker < 0:
            return False
        made: Call | None = self.calls[maker]
        while made is not None:
            if made is call:
                return True
            made = made.parent
        return False

    def shown(self) -> Call | None:
        """The innermost call that is a row: the layer, not what happens inside."""
        for call in self.stack:
            if call.is_layer:
                return call
        return self.stack[-1] if self.stack else None

    def function(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = getattr(func, "__name__", "")
        if name in ESCAPES:
            with WithoutFunctionMode():
                self.flow.escape(_tensors(args))
        outer = self.shown()
        if outer is None or outer.is_layer:
            if outer is None or not _acts_as_ours(outer.module):
                self._judge(name, args, kwargs)  # ours was judged as a whole
            return func(*args, **kwargs)
        call = Call(outer.path, name.strip("_"), None, outer)
        with WithoutFunctionMode():
            call.inputs = _shapes((args, kwargs))
            call.arguments = _plain_arguments(args, kwargs)
        self._push(call)
        self._judge(name, args, kwargs)
        result = func(*args, **kwargs)  # if it raises, the stack shows where
        with WithoutFunctionMode():
            self._returned(call, result)
        while self.stack.pop() is not call:
            pass
        if call.operations == 0 and call is self.calls[-1]:
            self.calls.pop()  # a question such as x.shape
        return result

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
        if any(is_lazy(t) for t in _tensors((args, kwargs))):
            return run()  # a parameter that is getting its shape
        pending = self.flow.before(func, args, kwargs)
        result = run()
        if not any(is_lazy(t) for t in _tensors(result)):
            self._count(self.flow.through(pending, result), args, kwargs, result)
        return result

    def spared(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, with copies of the caller's tensors that are written into."""
        schema = func._schema
        if schema.is_mutable or "batch_norm" in schema.name:
            for tensor in _written(schema, args, kwargs):
                place = _storage(tensor)
                if not tensor.is_meta and place not in self.makers:
                    self.kept.append(tensor)
                    if place not in self.copies:
                        self.copies[place] = tensor.untyped_storage().clone()
        if not self.copies:
            return args, kwargs
        found: tuple[tuple[Any, ...], dict[str, Any]]
        found = tree_map_only(Tensor, self._copied, (args, kwargs))
        return found

    def _copied(self, tensor: Tensor) -> Tensor:
        copy = self.copies.get(_storage(tensor))
        if copy is None:
            return tensor
        made = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        return made.set_(copy, tensor.storage_offset(), tensor.shape, tensor.stride())

    def _count(self, cost: Cost, args: Any, kwargs: Any, result: Any) -> None:
        """Adds an operation to the calls that it happens in."""
        row = self.shown()
        if row is None:
            return
        place = len(self.calls) - 1
        while self.calls[place] is not row:
            place -= 1
        for read in _tensors((args, kwargs)):
            maker = self.makers.get(_storage(read))
            if maker is not None and maker != place and maker not in row.reads:
                row.reads.append(maker)
        for made in _tensors(result):
            self.makers.setdefault(_storage(made), place)
        if cost.window is not None:
            row.windows.append(cost.window)
        weightless = _weightless(row.module)
        for call in self.stack:
            call.operations += 1
            if not weightless:
                call.multiply_adds += cost.multiply_adds
                call.constant_products += cost.constant_products
            call.activation_products += cost.activation_products


class _Functions(TorchFunctionMode):
    """Sees the functions that Python code calls, before torch takes them apart."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return self.recorder.function(func, args, kwargs or {})


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
        args, kwargs = self.recorder.spared(func, args, kwargs)

        def run() -> Any:
            made = None if self.values else meta_result(func, args, kwargs)
            return func(*args, **kwargs) if made is None else made

        return self.recorder.operation(func, args, kwargs, run)


def _written(
    schema: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[Tensor]:
    """The tensors that an operation changes."""
    named = {a.name: a for a in schema.arguments}
    for argument, value in [*zip(schema.arguments, args, strict=False)] + [
        (named[key], value) for key, value in kwargs.items()
    ]:
        changed = argument.alias_info is not None and argument.alias_info.is_write
        if changed or argument.name.startswith("running_"):
            yield from _tensors(value)


def _dtype(module: nn.Module, given: torch.dtype | None) -> torch.dtype:
    """That of the network's first weights that are no integers."""
    if given is not None:
        return given
    for tensor in itertools.chain(module.parameters(), module.buffers()):
        if tensor.is_floating_point() or tensor.is_complex():
            return tensor.dtype
    return torch.float32


def _leaf(module: nn.Module, is_root: bool) -> bool:
    """Whether a module is one layer: torch's own, or without modules inside."""
    kind = type(module).__mro__[1 if _is_parametrized(module) else 0].__module__
    if kind.startswith(_TORCH):
        return not kind.endswith(_NESTING)
    return (not is_root or kind.startswith(_OURS)) and not any(
        name != "parametrizations" for name, _ in module.named_children()
    )


def _acts_as_ours(module: nn.Module | None) -> bool:
    """Whether what it does is what a layer of ours does; a subclass may do other."""
    return module is not None and type(module).forward.__module__.startswith(_OURS)


def _weightless(module: nn.Module | None) -> bool:
    """A layer of ours that keeps no numbers, whatever fixed window it multiplies by."""
    if module is None or not _acts_as_ours(module):
        return False
    return not any(True for _ in itertools.chain(module.parameters(), module.buffers()))


def _is_parametrized(module: nn.Module) -> bool:
    return "parametrizations" in module._modules


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


def _tensors(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _shapes(tree: Any) -> tuple[Shape, ...]:
    return tuple(
        tuple(t.shape) for t in _tensors(tree) if not isinstance(t, nn.Parameter)
    )


def _storage(tensor: Tensor) -> int:
    return cast("int", tensor.untyped_storage()._cdata)


def _mixed(tree: Any) -> bool:
    """Whether tensors with values meet tensors without."""
    devices = {t.device.type for t in _tensors(tree)}
    return len(devices) > 1


def _to_meta(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_meta else tensor.to("meta")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _plain_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """The arguments of a function that are not tensors, as they would be written."""
    plain = (int, float, str, bool)

    def shown(value: Any) -> bool:
        if isinstance(value, (tuple, list)):
            return bool(value) and all(type(v) in plain for v in value)
        return type(value) in plain

    texts = [repr(a) for a in args if shown(a)]
    texts += [f"{k}={v!r}" for k, v in kwargs.items() if shown(v)]
    return ", ".join(texts)
