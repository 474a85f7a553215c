"""From torch's operations to those of `program`; what is not known is refused."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.private_torch import tree_map_only
from convscope.serve.portable.names import BINARY, MOVES, REDUCED, UNARY, WEIGHTED
from convscope.serve.portable.per_axis import (
    UnlikeError,
    adaptive,
    gathered,
    sliding,
    weighted,
)
from convscope.serve.portable.program import Array, Operation, PortableError, Program
from convscope.serve.portable.pruning import pruned
from convscope.serve.portable.recording import Performed, Recording, Ref, recorded


def program_of(net: nn.Module, x: Tensor, labels: tuple[str, ...]) -> Program:
    """The program of a network in evaluation, from one pass on ``x``.

    Args:
        net: Any module that takes one tensor.
        x: (1, C, ...)
        labels: Of the cards, as `capture` names layers; the first is the input's.

    Raises:
        PortableError: A layer does what this form does not know.
    """
    return Lowering(recorded(net, x), net, labels).program()


class Lowering:
    """Makes one program."""

    def __init__(
        self, recording: Recording, net: nn.Module, labels: tuple[str, ...]
    ) -> None:
        self.recording, self.net, self.labels = recording, net, labels
        self.operations: list[Operation] = []
        self.constants: list[Array] = []
        self.known: dict[Any, int] = {}  # constants by their memory
        self.kept: list[Tensor] = []
        self.values = {0: 0}  # numbers of tensors -> values
        self.failed: dict[int, PortableError] = {}
        self.label = ""

    def program(self) -> Program:
        """All operations that the cards and the answer need."""
        found = self.recording
        ends = sorted((number, label) for label, number in found.outputs.items())
        for one in found.performed:
            last = max((n for n in one.results if n is not None), default=0)
            self.label = next((label for n, label in ends if n >= last), "")
            self._attempt(one)
        self._require(found.output, *(found.outputs.get(n) for n in self.labels))
        named = {k: n for k, n in found.outputs.items() if k}  # "" is the whole
        cards = [0, *(self._value(named.get(label)) for label in self.labels[1:])]
        if found.output is None:
            raise PortableError(
                "play: the network's answer does not depend on its input. Use the "
                "page with its server."
            )
        return pruned(
            Program(
                tuple(self.operations), tuple(self.constants), tuple(cards),
                self.values[found.output], self._parameters(),
            )
        )  # fmt: skip

    def _value(self, number: int | None) -> int | None:
        return None if number is None else self.values.get(number)

    def _parameters(self) -> dict[int, tuple[int | None, int | None]]:
        """Which constants the kernels of each card are, so that they can be changed."""
        made: dict[int, tuple[int | None, int | None]] = {}
        for card, label in enumerate(self.labels):
            number = self._value(self.recording.outputs.get(label)) if card else None
            while number:
                operation = self.operations[number - 1]
                if operation["op"] in ("conv", "convt", "dense"):
                    made[card] = (operation["w"], operation["b"])
                if operation["op"] != "same":
                    break
                number = operation["in"][0]
        return made

    def _attempt(self, one: Performed) -> None:
        """Lowers an operation, or keeps why not, in case that its result is used."""
        try:
            failed = [self.failed[ref.number] for ref in _refs(one)
                      if ref.number in self.failed]  # fmt: skip
            if failed:
                raise failed[0]
            self._lower(one)
        except PortableError as error:
            self.failed |= {n: error for n in one.results if n is not None}
        else:
            unlike = PortableError(self._refusal(one))
            self.failed |= {
                n: unlike for n in one.results if n is not None and n not in self.values
            }

    def _require(self, *numbers: int | None) -> None:
        for number in numbers:
            if number in self.failed:
                raise self.failed[number]

    def _refusal(self, one: Performed) -> str:
        return (
            f"play: layer {self.label!r} uses {one.name.split('.')[0]!r}, which the "
            "page in one file cannot do. Use the page with its server."
        )

    def _lower(self, one: Performed) -> None:
        name = one.name.split(".")[0]
        inplace = name.endswith("_") and not name.startswith("_")
        name = name.rstrip("_") if inplace else name
        try:
            if name in MOVES:
                self._move(one)
                return
            handler: Callable[..., Operation] | None = getattr(self, f"_{name}", None)
            arguments = self._bound(one)
            if handler is not None:
                made = handler(**arguments)
            elif name in WEIGHTED:
                made = self._weighted(one)
            elif name in UNARY:
                made = self._unary(name, arguments)
            elif name in BINARY:
                made = self._binary(BINARY[name], arguments)
            elif name in REDUCED:
                made = self._reduce(REDUCED[name], arguments)
            else:
                raise UnlikeError
        except (UnlikeError, TypeError, KeyError, RuntimeError) as error:
            raise PortableError(self._refusal(one)) from error
        self._give(one.results[0], made)

    def _bound(self, one: Performed) -> dict[str, Any]:
        """Arguments by the names of the operation's schema."""
        found: dict[str, Any] = {}
        for place, argument in enumerate(one.func._schema.arguments):
            value = argument.default_value if argument.has_default_value() else None
            if place < len(one.arguments):
                value = one.arguments[place]
            name = "x" if argument.name in ("self", "input") else argument.name
            found[name] = one.named.get(argument.name, value)
        return found

    def _give(self, number: int | None, operation: Operation) -> None:
        self.operations.append(operation)
        if number is not None:
            self.values[number] = len(self.operations)

    def _ref(self, what: "Ref | Tensor | float") -> int:
        if isinstance(what, Ref):
            return self.values[what.number]
        return -1 - self._constant(what)

    def _constant(self, what: "Tensor | float | Array | None") -> int:
        if isinstance(what, Tensor):
            place = what.untyped_storage().data_ptr() if what.numel() else 0
            key: Any = (
                place,
                what.storage_offset(),
                what.shape,
                what.stride(),
                what.dtype,
            )
            self.kept.append(what)
            array = what.detach().cpu().numpy()
        else:
            array = np.asarray(what)
            key = ("number", array.shape, array.tobytes())
        if key not in self.known:
            self.known[key] = len(self.constants)
            self.constants.append(
                np.ascontiguousarray(array, np.float32).reshape(array.shape)
            )
        return self.known[key]

    def _weights(self, what: Tensor | None) -> int | None:
        if isinstance(what, Ref):
            raise UnlikeError
        return None if what is None else self._constant(what)

    def _shape(self, what: "Ref | Tensor | float") -> list[int]:
        return list(what.shape) if isinstance(what, Ref | Tensor) else []

    def _again(self, one: Performed, x: Tensor) -> Any:
        """The operation on another tensor in place of the one that it took."""
        with torch.no_grad():
            args, named = tree_map_only(Ref, lambda _: x, (one.arguments, one.named))
            return one.func(*args, **named)

    def _source(self, one: Performed) -> Ref:
        refs = _refs(one)
        if len(refs) != 1:
            raise UnlikeError
        return refs[0]

    def _move(self, one: Performed) -> None:
        source = self._source(one)
        fill = 0.0
        if one.name.startswith("constant_pad_nd") and len(one.arguments) > 2:
            fill = float(one.arguments[2])
        count = int(np.prod(source.shape))
        # From 1, so that what is filled in differs from every element.
        places = torch.arange(1, count + 1, dtype=torch.float64).reshape(source.shape)
        if one.name.startswith("constant_pad_nd"):
            given = torch.constant_pad_nd(places, one.arguments[1], 0.0)
        else:
            given = self._again(one, places)
        many = given if isinstance(given, tuple | list) else (given,)
        for number, made in zip(one.results, many, strict=True):
            table = made.numpy().astype(np.int64) - 1
            start = self.values[source.number]
            if table.size == count and (table.ravel() == np.arange(count)).all():
                if list(table.shape) == list(source.shape) and number is not None:
                    self.values[number] = start
                    continue
                operation = {"op": "same", "in": [start], "shape": list(table.shape)}
            else:
                operation = gathered(table, start, fill)
            self._give(number, operation)

    def _weighted(self, one: Performed) -> Operation:
        source = self._source(one)
        return {
            "op": "axes", "in": [self.values[source.number]],
            **weighted(lambda x: self._again(one, x), source.shape),
        }  # fmt: skip

    def _unary(self, name: str, given: dict[str, Any]) -> Operation:
        x = given.pop("x")
        args = [None if v is None else v for v in given.values()]
        return {"op": "unary", "name": name, "in": [self._ref(x)], "args": args,
                "shape": self._shape(x)}  # fmt: skip

    def _binary(self, name: str, given: dict[str, Any]) -> Operation:
        one, other = _two(given)
        if given.get("rounding_mode") is not None:
            raise UnlikeError
        if name == "rsub":
            name, one, other = "sub", other, one
            if given.get("alpha", 1) != 1:
                raise UnlikeError
        shape = list(np.broadcast_shapes(self._shape(one), self._shape(other)))
        return {"op": "binary", "name": name, "in": [self._ref(one), self._ref(other)],
                "alpha": given.get("alpha", 1), "shape": shape}  # fmt: skip

    def _addcmul(self, x: Any, tensor1: Any, tensor2: Any, value: float = 1) -> Any:
        made = self._binary("mul", {"x": tensor1, "other": tensor2})
        self._give(None, made)
        shape = list(np.broadcast_shapes(self._shape(x), made["shape"]))
        return {
            "op": "binary", "name": "add", "in": [self._ref(x), len(self.operations)],
            "alpha": value, "shape": shape,
        }  # fmt: skip

    def _glu(self, x: Ref, dim: int = -1) -> Operation:
        places = np.arange(np.prod(x.shape)).reshape(x.shape)
        start = self.values[x.number]
        for half in np.split(places, 2, dim):
            self._give(None, gathered(half, start, 0.0))
            number, shape = len(self.operations), list(half.shape)
        self._give(None, {"op": "unary", "name": "sigmoid", "in": [number], "args": [],
                          "shape": shape})  # fmt: skip
        return {"op": "binary", "name": "mul", "in": [number - 1, number + 1],
                "alpha": 1, "shape": shape}  # fmt: skip

    def _where(self, condition: Any, x: Any, other: Any) -> Operation:
        three = (condition, x, other)
        shape = list(np.broadcast_shapes(*map(self._shape, three)))
        return {"op": "where", "in": [self._ref(one) for one in three], "shape": shape}

    def _reduce(self, name: str, given: dict[str, Any]) -> Operation:
        x, dims = given["x"], given.get("dim")
        rank = len(x.shape)
        if given.get("dtype") is not None:
            raise UnlikeError
        axes = sorted(
            {
                d % rank
                for d in ([dims] if isinstance(dims, int) else dims or range(rank))
            }
        )
        keep = given.get("keepdim", False)
        shape = [
            1 if at in axes else size
            for at, size in enumerate(x.shape) if keep or at not in axes
        ]  # fmt: skip
        return {"op": "reduce", "name": name, "in": [self._ref(x)], "axes": axes,
                "shape": shape}  # fmt: skip

    def _convolution(
        self, x: Ref, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any,
        dilation: Any, transposed: bool, output_padding: Any, groups: int,
    ) -> Operation:  # fmt: skip
        taps = list(weight.shape[2:])
        each = [list(v) * len(taps) if len(v) == 1 else list(v)
                for v in (stride, padding, dilation, output_padding)]  # fmt: skip
        strides, pads, dilations, more = each
        made = {
            "op": "convt" if transposed else "conv", "in": [self._ref(x)],
            "w": self._weights(weight), "b": self._weights(bias), "stride": strides,
            "padding": pads, "dilation": dilations, "groups": groups,
        }  # fmt: skip
        sizes = zip(x.shape[2:], taps, strides, pads, dilations, more, strict=True)
        if transposed:
            space = [(n - 1) * s - 2 * p + d * (k - 1) + o + 1
                     for n, k, s, p, d, o in sizes]  # fmt: skip
            channels = weight.shape[1] * groups
        else:
            space = [(n + 2 * p - d * (k - 1) - 1) // s + 1
                     for n, k, s, p, d, _ in sizes]  # fmt: skip
            channels = weight.shape[0]
        return {**made, "shape": [1, channels, *space]}

    def _dense(self, x: Ref, weight: Tensor, bias: Tensor | None) -> Operation:
        return {
            "op": "dense", "in": [self._ref(x)], "w": self._weights(weight),
            "b": self._weights(bias), "shape": [*x.shape[:-1], weight.shape[0]],
        }  # fmt: skip

    def _addmm(
        self, x: Any, mat1: Any, mat2: Any, beta: Any = 1, alpha: Any = 1
    ) -> Any:
        plain = isinstance(x, Tensor) and x.ndim == 1 and beta == alpha == 1
        if not (plain and isinstance(mat1, Ref) and isinstance(mat2, Tensor)):
            raise UnlikeError
        return self._dense(mat1, mat2.t(), x)

    def _linear(self, x: Ref, weight: Tensor, bias: Tensor | None = None) -> Operation:
        return self._dense(x, weight, bias)

    def _mm(self, x: Any, mat2: Any) -> Operation:
        if isinstance(x, Ref) and isinstance(mat2, Tensor):
            return self._dense(x, mat2.t(), None)
        return self._bmm(x, mat2)

    def _bmm(self, x: Any, mat2: Any) -> Operation:
        return {"op": "matmul", "in": [self._ref(x), self._ref(mat2)],
                "shape": [*x.shape[:-1], mat2.shape[-1]],
                "sizes": [x.shape[-2], x.shape[-1], mat2.shape[-1]]}  # fmt: skip

    def _native_batch_norm(
        self, x: Ref, weight: Any, bias: Any, running_mean: Any, running_var: Any,
        training: bool, momentum: float, eps: float,
    ) -> Operation:  # fmt: skip
        inner = int(np.prod(x.shape[2:]))
        if training:
            return self._standard(x, inner, inner, weight, bias, eps)
        return {
            "op": "norm", "in": [self._ref(x)], "w": self._weights(weight),
            "b": self._weights(bias), "mean": self._weights(running_mean),
            "var": self._weights(running_var), "eps": eps, "shape": list(x.shape),
        }  # fmt: skip

    _cudnn_batch_norm = _native_batch_norm

    def _standard(
        self, x: Ref, block: int, inner: int, weight: Any, bias: Any, eps: float,
        centered: bool = True,
    ) -> Operation:  # fmt: skip
        return {
            "op": "standard", "in": [self._ref(x)], "block": block, "inner": inner,
            "w": self._weights(weight), "b": self._weights(bias), "eps": eps,
            "centered": centered, "shape": list(x.shape),
        }  # fmt: skip

    def _native_group_norm(self, **given: Any) -> Operation:
        x, weight, bias, _, channels, size, group, eps = given.values()
        block = channels * size // group
        return self._standard(x, block, size, weight, bias, eps)

    def _native_layer_norm(
        self, x: Ref, normalized_shape: Any, weight: Any, bias: Any, eps: float
    ) -> Operation:
        return self._standard(x, int(np.prod(normalized_shape)), 1, weight, bias, eps)

    def __fused_rms_norm(
        self, x: Ref, normalized_shape: Any, weight: Any, eps: float | None
    ) -> Operation:
        size = int(np.prod(normalized_shape))
        small = float(np.finfo(np.float32).eps) if eps is None else eps
        return self._standard(x, size, 1, weight, None, small, centered=False)

    def __softmax(self, x: Ref, dim: int, half_to_float: bool) -> Operation:
        return {"op": "softmax", "in": [self._ref(x)], "axis": dim % len(x.shape),
                "log": False, "shape": list(x.shape)}  # fmt: skip

    def __log_softmax(self, x: Ref, dim: int, half_to_float: bool) -> Operation:
        return {**self.__softmax(x, dim, half_to_float), "log": True}

    def _cat(self, tensors: Any, dim: int = 0) -> Operation:
        shape = self._shape(tensors[0])
        shape[dim] = sum(self._shape(one)[dim] for one in tensors)
        return {"op": "cat", "in": [self._ref(one) for one in tensors],
                "axis": dim % len(shape), "shape": shape}  # fmt: skip

    def _max_pool2d_with_indices(
        self, x: Ref, kernel_size: Any, stride: Any = (), padding: Any = 0,
        dilation: Any = 1, ceil_mode: bool = False,
    ) -> Operation:  # fmt: skip
        axes = len(kernel_size)
        pool = {2: torch.max_pool2d, 3: torch.max_pool3d}[axes]
        given = kernel_size, stride or kernel_size, padding, dilation
        shape = pool(torch.zeros(x.shape), *given, ceil_mode).shape
        return self._pooled(x, sliding(x.shape, shape, *given), shape)

    _max_pool3d_with_indices = _max_pool2d_with_indices

    def _adaptive_max_pool2d(self, x: Ref, output_size: Any) -> Operation:
        shape = (*x.shape[: -len(output_size)], *output_size)
        return self._pooled(x, adaptive(x.shape, output_size), shape)

    _adaptive_max_pool3d = _adaptive_max_pool2d

    def _pooled(self, x: Ref, taps: list[dict[str, Any]], shape: Any) -> Operation:
        return {"op": "maxpool", "in": [self._ref(x)], "taps": taps,
                "shape": list(shape)}  # fmt: skip


def _refs(one: Performed) -> list[Ref]:
    found: list[Ref] = []
    tree_map_only(Ref, found.append, (one.arguments, one.named))
    return found


def _two(given: dict[str, Any]) -> tuple[Any, Any]:
    one, other, *_ = given.values()
    return one, other


for _name, _method in list(vars(Lowering).items()):  # private names, as torch has them
    if _name.startswith("_Lowering__") and inspect.isfunction(_method):
        setattr(Lowering, "_" + _name.removeprefix("_Lowering_"), _method)
