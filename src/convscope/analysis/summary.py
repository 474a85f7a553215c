"""``summary``: shapes, costs and receptive fields, before there is any weight."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from convscope.analysis.checking.check import failure_error, refuse_call
from convscope.analysis.checking.rebuild import layer_text
from convscope.analysis.inputs import (
    InputSize,
    Shape,
    inputs_for,
    is_sized,
    shapes_of,
    with_batch,
    without_batch,
)
from convscope.analysis.records import AxisField, Inexact, Row
from convscope.analysis.render import Summary
from convscope.analysis.tracing.calls import Call, named
from convscope.analysis.tracing.meta_copy import Scripted
from convscope.analysis.tracing.trace import LayerError, Trace, trace
from convscope.analysis.tracing.verify import difference
from convscope.arithmetic import (
    Range,
    explain_fit,
    ignored_elements,
    inference_activation_bytes,
    training_activation_bytes,
)
from convscope.execution import Inputs


def summary(
    module: nn.Module,
    input_size: InputSize | None = None,
    *,
    example_inputs: Any = None,
    name: str = "",
    training: bool = False,
    dtype: torch.dtype | None = None,
) -> Summary:
    """Shapes, parameters, multiply-adds, memory and receptive fields, layer by layer.

    No weight is allocated and the module is not changed. What TorchScript has compiled
    is one layer.

    Args:
        module: Any torch.nn.Module.
        input_size: Sizes without the batch axis, such as ``(C, H, W)``; a list of such
            sizes for several inputs. They stand for numbers of the type of the
            network's weights, and for indices where the first layer takes these.
        example_inputs: Instead of sizes, a batch that ``forward`` takes: a tuple of
            inputs; ``Inputs(positional, named)``; or the one input, of any structure.
            Images are counted along the first axis of its first tensor.
        name: What to call the network; its class if not given.
        training: As it is in training, instead of in evaluation.
        dtype: Of the inputs that sizes stand for.

    Raises:
        ShapeError: The network does not work on this input; see `check`.
        ArgumentError: ``input_size`` is no size, there are no inputs or both sorts of
            them, or ``forward`` takes other inputs.

    >>> net = nn.Sequential(nn.Conv2d(1, 6, 5), nn.Flatten(), nn.Linear(4704, 10))
    >>> record = summary(net, (1, 32, 32))
    >>> record.parameters, record.multiply_adds
    (47206, 164640)
    >>> words = torch.tensor([[1, 2, 3]])
    >>> summary(nn.Embedding(100, 8), example_inputs=words).rows[0].output_shape
    (3, 8)
    """
    inputs = inputs_for(
        module, input_size, example_inputs, where="summary", dtype=dtype
    )
    note = ""
    try:
        traced = _traced(module, inputs, training)
    except LayerError as error:
        refused = failure_error(module, inputs, error, training)
        of_rank = error.refusal is not None and error.refusal.kind == "rank"
        if of_rank or not is_sized(inputs):
            raise refused from None
        try:  # some networks are written for one image at a time
            traced = _traced(module, with_batch(inputs, 1), training)
            note = "it takes one image at a time"
        except LayerError:
            raise refused from None
    found = difference(module, traced, training)
    if isinstance(found, LayerError):
        raise failure_error(module, inputs, found, training) from None
    note = "; ".join(text for text in (note, found) if text)
    once = None
    if traced.calls[0].constant_products and traced.batch > 1 and is_sized(inputs):
        with contextlib.suppress(LayerError):  # to see what grows with the batch
            once = _traced(module, with_batch(inputs, 1), training)
    return _Builder(traced, name, note, once).build()


def _traced(module: nn.Module, inputs: Inputs, training: bool = False) -> Trace:
    return trace(module, inputs, training=training, refuse=refuse_call)


def exact_ranges(
    module: nn.Module, input_size: InputSize, layer: str = ""
) -> tuple[tuple[Range, ...], ...] | None:
    """First and last element of the first input that each output of a layer sees.

    Borders are regarded. One entry per spatial axis of the input; in it one range per
    output position, or a single one where all outputs see the same. None where it is
    not known.

    Args:
        module: Any torch.nn.Module.
        input_size: As in `summary`.
        layer: Path of the module, whose last call counts; or the label of a `Row`, such
            as ``relu:1`` for the first call and ``add_1`` for a function.

    Raises:
        ShapeError: The network does not work on this input; see `check`.

    >>> exact_ranges(nn.Conv1d(1, 1, 3, stride=2, padding=1), (1, 5))
    (((0, 1), (1, 3), (3, 4)),)
    """
    found = None
    for call, ranges in _ranges(module, input_size):
        if layer in named(call):
            found = ranges  # the last call counts
    return found


def exact_ranges_by_path(
    module: nn.Module, input_size: InputSize
) -> dict[str, tuple[tuple[Range, ...], ...]]:
    """`exact_ranges` of every module for which it is known, in the order of the calls.

    Args:
        module: Any torch.nn.Module.
        input_size: As in `summary`.

    Raises:
        ShapeError: The network does not work on this input; see `check`.

    >>> list(exact_ranges_by_path(nn.Sequential(nn.Conv1d(1, 1, 3)), (1, 5)))
    ['', '0']
    """
    found: dict[str, tuple[tuple[Range, ...], ...]] = {}
    for call, ranges in _ranges(module, input_size):
        if call.module is None:
            continue
        found.pop(call.path, None)  # the last call counts
        if ranges is not None:
            found[call.path] = ranges
    return found


def _ranges(
    module: nn.Module, input_size: InputSize
) -> Iterator[tuple[Call, tuple[tuple[Range, ...], ...] | None]]:
    """Every call with what each of its outputs sees; None where it is not known."""
    inputs = inputs_for(module, input_size, where="exact_ranges")
    try:
        traced = _traced(module, inputs)
    except LayerError as error:
        raise failure_error(module, inputs, error) from None
    keys = [(0, axis) for axis in range(len(shapes_of(inputs)[0]) - 1)]
    for call in traced.calls:
        value = call.value
        known = value is not None and all(key in value.seen for key in keys)
        if value is None or not known:
            yield call, None
        else:
            yield call, tuple(value.seen[key].ranges for key in keys)


class _Builder:
    """Turns a trace into records."""

    def __init__(
        self, traced: Trace, name: str, note: str, once: Trace | None = None
    ) -> None:
        self.traced = traced
        self.once = self._constants(once)  # products on constants, by call
        self.name = name or type(traced.root).__name__
        self.notes = [note] if note else []
        self.shapes = shapes_of(traced.inputs)
        self.counted: set[int] = set()

    def build(self) -> Summary:
        root = self.traced.root
        parameters = dict(root.named_parameters())
        rows = tuple(self._row(call) for call in self.traced.calls)
        inference, training = self._memory()
        every = list(parameters.values())
        buffers = list(root.buffers())
        named = parameters.items()
        trained = [p for p in every if p.requires_grad]
        reached = self.traced.reached
        self._note_unknown()
        return Summary(
            name=self.name,
            input_shapes=self.shapes,
            rows=rows,
            parameters=_numel(every),
            trainable=_numel(trained),
            buffers=_numel(buffers),
            multiply_adds=rows[0].multiply_adds,
            activation_products=rows[0].activation_products,
            constant_products=rows[0].constant_products,
            weight_bytes=sum(t.numel() * t.element_size() for t in [*every, *buffers]),
            inference_bytes=inference,
            training_bytes=training,
            inexact=tuple(self._inexact()),
            exceeding=tuple(_exceeding(rows, self.shapes)),
            unreached=tuple(
                n for n, p in named if p.requires_grad and id(p) not in reached
            ),
            frozen=tuple(n for n, p in named if not p.requires_grad),
            uncalled=tuple(self._uncalled()),
            notes=tuple(self.notes),
        )

    def _constants(self, once: Trace | None) -> dict[int, int]:
        """Products on constants in a batch of one, by call of the trace."""
        calls = self.traced.calls
        if once is None or len(once.calls) != len(calls):
            return {id(call): call.constant_products for call in calls}
        pairs = zip(calls, once.calls, strict=True)
        return {id(call): single.constant_products for call, single in pairs}

    def _row(self, call: Call) -> Row:
        module, batch = call.module, self.traced.batch
        parameters = buffers = 0
        if module is not None:
            new = [p for p in module.parameters() if id(p) not in self.counted]
            parameters = _numel(new)
            buffers = 0 if call.turn else _numel(module.buffers())
            if call.is_layer:
                self.counted.update(id(p) for p in new)
        kind = layer_text(module) if module else f"{call.name}({call.arguments})"
        return Row(
            path=call.path,
            name=call.name or call.path.rpartition(".")[2] or self.name,
            kind=kind,
            depth=call.depth,
            is_layer=call.is_layer,
            output_shapes=tuple(without_batch(shape, batch) for shape in call.outputs),
            parameters=parameters,
            buffers=buffers,
            multiply_adds=call.multiply_adds // batch + self.once[id(call)],
            constant_products=self.once[id(call)],
            activation_products=call.activation_products // batch,
            activation_bytes=call.output_bytes // batch if call.is_layer else 0,
            receptive_fields=self._fields(call),
            turn=call.turn,
            label=call.label,
        )

    def _fields(self, call: Call) -> tuple[tuple[AxisField, ...] | None, ...]:
        """For each input one field per axis."""
        found: list[tuple[AxisField, ...] | None] = []
        value = call.value
        for number, shape in enumerate(self.shapes):
            fields: list[AxisField] = []
            lost = False
            for axis in range(len(shape) - 1):
                key = (number, axis)
                if value is None or key in value.unknown:
                    lost = True
                elif key in value.seen:
                    seen = value.seen[key]
                    lengths = [r[1] - r[0] + 1 for r in seen.ranges if r is not None]
                    fields.append(
                        AxisField(
                            seen.field.size,
                            seen.field.stride,
                            seen.field.offset,
                            max(lengths, default=0),
                            seen.field.misaligned,
                        )
                    )
            found.append(None if lost else tuple(fields))
        return tuple(found)

    def _memory(self) -> tuple[int, int]:
        """Bytes of activations for one image: most at one time, and all together."""
        inputs = self.traced.inputs.tensors
        batch = self.traced.batch
        sizes = [x.numel() * x.element_size() // batch for x in inputs]
        sources: list[list[int]] = [[] for _ in inputs]
        places = {-1 - number: number for number in range(len(inputs))}
        for index, call in enumerate(self.traced.calls):
            if not call.is_layer:
                continue
            places[index] = len(sizes)
            reads = [places[read] for read in call.reads if read in places]
            sizes.append(call.output_bytes // batch)
            sources.append([read for read in reads if read < places[index]])
        return (
            inference_activation_bytes(sizes, sources, element_bytes=1),
            training_activation_bytes(sizes, element_bytes=1),
        )

    def _inexact(self) -> Iterable[Inexact]:
        for call in self.traced.calls:
            for sizes, layers in call.windows if call.is_layer else ():
                if any(layer.ceil_mode for layer in layers):
                    continue
                rest = [
                    ignored_elements(
                        size,
                        layer.kernel_size,
                        stride=layer.stride,
                        padding=layer.padding,
                        dilation=layer.dilation,
                    )
                    for size, layer in zip(sizes, layers, strict=True)
                ]
                if not any(rest):
                    continue
                yield Inexact(
                    _row_name(call),
                    tuple(
                        max(0, left - layer.padding[1])
                        for left, layer in zip(rest, layers, strict=True)
                    ),
                    explain_fit(
                        sizes,
                        [layer.kernel_size for layer in layers],
                        stride=[layer.stride for layer in layers],
                        padding=[layer.padding for layer in layers],
                        dilation=[layer.dilation for layer in layers],
                    ),
                )

    def _uncalled(self) -> Iterable[str]:
        called = {id(call.module) for call in self.traced.calls}
        inside = {
            id(m)
            for call in self.traced.calls
            if call.is_layer and call.module is not None
            for m in call.module.modules()
        }
        for path, module in self.traced.root.named_modules():
            own = any(True for _ in module.parameters(recurse=False))
            if own and id(module) not in called | inside:
                yield path

    def _note_unknown(self) -> None:
        traced = self.traced
        if traced.with_values:
            self.notes.append(
                "forward needs values, so it ran once on zeros with the weights it "
                f"has ({traced.reason}); what it does with other values is unknown"
            )
        for number in traced.integers:
            self.notes.append(
                f"input {number + 1} is taken for indices, which its first layer takes"
            )
        scripted = [m for m in traced.root.modules() if isinstance(m, Scripted)]
        if scripted:
            names = ", ".join(dict.fromkeys(type(m).__name__ for m in scripted))
            self.notes.append(
                f"TorchScript has compiled {names}, so that its layers are shown as one"
            )
        if any("quantized" in type(m).__module__ for m in traced.root.modules()):
            self.notes.append(
                "quantized layers keep their weights packed, so that neither their "
                "parameters nor their products are counted"
            )
        self.notes += traced.flow.notes()


def _exceeding(rows: tuple[Row, ...], shapes: tuple[Shape, ...]) -> Iterable[str]:
    """Layers with windows that are longer than the image along some axis."""
    for row in rows:
        fields = row.receptive_field
        if not row.is_layer or not fields:
            continue
        sizes = shapes[0][1:]
        if any(f.size > s and f.stride for f, s in zip(fields, sizes, strict=False)):
            yield row.path if row.path and row.path.endswith(row.name) else row.name


def _row_name(call: Call) -> str:
    return call.path or call.name


def _numel(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() for t in tensors)
