"""Which modules and functions a forward pass calls, and what each call is named.

``CallRecorder(root)``  hooks on every module and a mode that sees functions; what is
                        done at each call is up to the class derived from it
``Labels``              the one naming of calls, for `summary` as for `capture`
``Sparing``             keeps a pass from writing into tensors that are not its own
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from convscope.analysis.inputs import Shape
from convscope.analysis.operations.provenance import Provenance
from convscope.analysis.tracing.meta_copy import Scripted
from convscope.private_torch import WithoutFunctionMode, tree_leaves, tree_map_only

Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
_NO_TENSORS = (int, float, bool, str, torch.dtype, torch.device)
_TORCH, _OURS = "torch.nn.modules.", "convscope.layers."
_NESTING = ("container", "transformer")  # torch's modules that are not one layer


@dataclass(eq=False)
class Call:
    """A module or a function, called once.

    Attributes:
        path: Where the module is: ``layer1.0.conv1``; a function's caller.
        name: The function's name; empty for a module.
        module: The copied module; None for a function.
        function: The function; None for a module.
        parent: The call it happened in.
        turn: 0 for the first call of this module, 1 for the second.
        label: Its name among all calls: see `Labels`.
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
    label: str = ""
    function: Any = None
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
    opened: bool = False  # what happens inside is shown, though it is a leaf

    @property
    def depth(self) -> int:
        """0 for the network itself."""
        return 0 if self.parent is None else self.parent.depth + 1

    @cached_property
    def is_layer(self) -> bool:
        """Whether it is shown as one, whatever happens inside."""
        if self.module is None or self.opened:
            return self.module is None
        return is_leaf(self.module, self.parent is None)


class Labels:
    """Names of calls, each given once.

    A module is named by its path, ``layer1.0.conv1``; its second call is
    ``layer1.0.conv1:2``. A function is named by the module that calls it, what it is
    and its number there: ``layer1.0.add_1``, ``relu_2``.

    >>> labels = Labels(["relu_1"])
    >>> labels.function("", "relu"), labels.module("fc", 0), labels.module("fc", 1)
    ('relu_2', 'fc', 'fc:2')
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = set(taken)
        self.numbers: Counter[tuple[str, str]] = Counter()

    def module(self, path: str, turn: int) -> str:
        """Of a call of the module at ``path``; ``turn`` is 0 for the first."""
        return f"{path}:{turn + 1}" if turn else path

    def function(self, path: str, name: str) -> str:
        """Of the next call of the function in the module at ``path``."""
        while True:
            self.numbers[path, name] += 1
            number = self.numbers[path, name]
            label = f"{path}.{name}_{number}" if path else f"{name}_{number}"
            if label not in self.taken:
                return label

    def give_back(self, path: str, name: str) -> None:
        """The call that was named last was none."""
        self.numbers[path, name] -= 1


def named(call: Call) -> tuple[str, ...]:
    """What a caller may write for a call: ``relu``, for each call too, and ``relu:2``.

    >>> named(Call("fc", "", nn.Identity(), None, 1, "fc:2"))
    ('fc', 'fc:2')
    """
    if call.module is None:
        return (call.label,)
    return call.path, f"{call.path}:{call.turn + 1}"


class CallRecorder:
    """The calls of one forward pass, in the order in which they begin.

    Args:
        root: The network; hooks are set on its modules and stay there, so it should be
            a `meta_copy`.
        opens: Which modules to look into, though they are one layer.
    """

    def __init__(
        self, root: nn.Module, opens: Callable[[nn.Module], bool] = lambda _: False
    ) -> None:
        self.root, self.opens = root, opens
        self.calls: list[Call] = []
        self.stack: list[Call] = []
        self.turns: Counter[int] = Counter()
        self.labels = Labels(path for path, _ in root.named_modules())

    def begins(
        self, call: Call, called: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Arguments | None:
        """A call is about to run; ``called`` is the module, or the function's name.

        What is returned takes the place of its arguments.
        """
        return None

    def ends(
        self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        """A call has run."""

    def inside(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A function is about to run within a layer, and is no call of its own."""

    def watch(self) -> None:
        """Sets the hooks."""
        for path, module in self.root.named_modules(remove_duplicate=True):
            own = itertools.chain(
                module.parameters(recurse=False), module.buffers(recurse=False)
            )
            module.register_forward_pre_hook(
                self._enter(path),
                with_kwargs=True,
                prepend=any(is_lazy(t) for t in own),  # it gets its size in the call
            )
            module.register_forward_hook(self._leave, with_kwargs=True)

    def shown(self) -> Call | None:
        """The innermost call that is a row: the layer, not what happens inside."""
        for call in self.stack:
            if call.is_layer:
                return call
        return self.stack[-1] if self.stack else None

    def _enter(self, path: str) -> Callable[..., Arguments | None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> Arguments | None:
            turn = self.turns[id(module)]
            self.turns[id(module)] += 1
            with WithoutFunctionMode():
                parent = self.stack[-1] if self.stack else None
                call = Call(path, "", module, parent, turn)
                call.label = self.labels.module(path, turn)
                call.opened = self.opens(module)
                call.inputs = shapes_in((args, kwargs))
            self._push(call)
            return self.begins(call, module, args, kwargs)

        return hook

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        while self.stack and self.stack[-1].module is not module:
            self.stack.pop()
        if self.stack:
            with WithoutFunctionMode():
                call = self.stack[-1]
                self.ends(call, args, kwargs, output)
                self.stack.pop()

    def _push(self, call: Call) -> None:
        if not any(outer.is_layer for outer in self.stack):
            self.calls.append(call)
        self.stack.append(call)

    def function(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs a function, as a call of its own if it is outside of a layer."""
        name = getattr(func, "__name__", "")
        outer = self.shown()
        if outer is None or outer.is_layer:
            self.inside(name, args, kwargs)
            return func(*args, **kwargs)
        call = Call(outer.path, name.strip("_"), None, outer)
        call.label = self.labels.function(call.path, call.name)
        call.function = func
        with WithoutFunctionMode():
            call.inputs = shapes_in((args, kwargs))
            call.arguments = plain_arguments(args, kwargs)
        self._push(call)
        args, kwargs = self.begins(call, name, args, kwargs) or (args, kwargs)
        result = func(*args, **kwargs)  # if it raises, the stack shows where
        if call.operations or call is not self.calls[-1]:
            with WithoutFunctionMode():
                self.ends(call, args, kwargs, result)
        else:
            self.calls.pop()  # a question such as x.shape
            self.labels.give_back(call.path, call.name)
        while self.stack.pop() is not call:
            pass
        return result


class FunctionMode(TorchFunctionMode):
    """Sees the functions that Python code calls, before torch takes them apart."""

    def __init__(self, recorder: CallRecorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return self.recorder.function(func, args, kwargs or {})


class Sparing:
    """Copies tensors of others before a pass writes into them.

    Args:
        is_theirs: Whether a tensor is not the pass's own.
    """

    def __init__(self, is_theirs: Callable[[Tensor], bool]) -> None:
        self.is_theirs = is_theirs
        self.kept: list[Tensor] = []  # so that no storage's place is used twice
        self.copies: dict[int, torch.UntypedStorage] = {}

    def arguments(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Those of an operation, with copies of what it would write into."""
        schema = func._schema
        if schema.is_mutable or "batch_norm" in schema.name:
            for tensor in written_by(schema, args, kwargs):
                place = storage_of(tensor)
                if not tensor.is_meta and self.is_theirs(tensor):
                    self.kept.append(tensor)
                    if place not in self.copies:
                        self.copies[place] = tensor.untyped_storage().clone()
        if not self.copies:
            return args, kwargs
        found: tuple[tuple[Any, ...], dict[str, Any]]
        found = tree_map_only(Tensor, self._copied, (args, kwargs))
        return found

    def _copied(self, tensor: Tensor) -> Tensor:
        copy = self.copies.get(storage_of(tensor))
        if copy is None:
            return tensor
        made = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        return made.set_(copy, tensor.storage_offset(), tensor.shape, tensor.stride())


def written_by(
    schema: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[Tensor]:
    """The tensors that an operation changes."""
    named = {a.name: a for a in schema.arguments}
    for argument, value in [*zip(schema.arguments, args, strict=False)] + [
        (named[key], value) for key, value in kwargs.items()
    ]:
        changed = argument.alias_info is not None and argument.alias_info.is_write
        if changed or argument.name.startswith("running_"):
            yield from tensors_of(value)


def is_leaf(module: nn.Module, is_root: bool) -> bool:
    """Whether a module is one layer: torch's own, or without modules inside."""
    if isinstance(module, Scripted):
        return True
    kind = type(module).__mro__[1 if _is_parametrized(module) else 0].__module__
    if kind.startswith(_TORCH):
        return not kind.endswith(_NESTING)
    return (not is_root or kind.startswith(_OURS)) and not any(
        name != "parametrizations" for name, _ in module.named_children()
    )


def acts_as_ours(module: nn.Module | None) -> bool:
    """Whether what it does is what a layer of ours does; a subclass may do other."""
    if module is None:
        return False
    return (type(module).forward.__module__ or "").startswith(_OURS)  # fx has none


def is_weightless(module: nn.Module | None) -> bool:
    """A layer of ours that keeps no numbers, whatever fixed window it multiplies by."""
    if module is None or not acts_as_ours(module):
        return False
    return not any(True for _ in itertools.chain(module.parameters(), module.buffers()))


def _is_parametrized(module: nn.Module) -> bool:
    return "parametrizations" in module._modules


def tensors_of(tree: Any) -> list[Tensor]:
    """Those in nested arguments, in order."""
    found: list[Tensor] = []
    _gather(tree, found)
    return found


def _gather(tree: Any, found: list[Tensor]) -> None:
    """Looks through what most arguments are; torch's own walk is far slower."""
    if isinstance(tree, Tensor):
        found.append(tree)
    elif type(tree) in (tuple, list):
        for part in tree:
            _gather(part, found)
    elif type(tree) is dict:
        for part in tree.values():
            _gather(part, found)
    elif tree is not None and type(tree) not in _NO_TENSORS:
        found += [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def tensors_passed(args: Any, kwargs: Any) -> tuple[Tensor, ...]:
    """Those in the arguments of a call, weights apart, in order."""
    found = tensors_of((args, kwargs))
    return tuple(t for t in found if not isinstance(t, nn.Parameter))


def shapes_in(tree: Any) -> tuple[Shape, ...]:
    """Of the tensors in nested arguments that are no parameters."""
    passed = tensors_passed(tree, {})
    return tuple(tuple(t.shape) for t in passed if not is_lazy(t))


def storage_of(tensor: Tensor) -> int:
    """The memory it lies in, as a number that is one's own as long as it lives."""
    return cast("int", tensor.untyped_storage()._cdata)


def plain_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """The arguments of a function that are not tensors, as they would be written."""
    plain = (int, float, str, bool)

    def shown(value: Any) -> bool:
        if isinstance(value, (tuple, list)):
            return bool(value) and all(type(v) in plain for v in value)
        return type(value) in plain

    texts = [repr(a) for a in args if shown(a)]
    texts += [f"{k}={v!r}" for k, v in kwargs.items() if shown(v)]
    return ", ".join(texts)
