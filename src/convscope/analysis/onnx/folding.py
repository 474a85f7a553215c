"""Shapes of a node's outputs, and numbers made from numbers, one node at a time.

A graph computes many of its sizes from sizes. So shapes and numbers have to be found
together, node by node: a ``Reshape`` needs the numbers that a ``Shape`` and a
``Concat`` before it have made.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from convscope.analysis.inputs import Shape
from convscope.analysis.onnx.fitting import (
    require_as_many,
    require_fit,
    require_sense,
)
from convscope.analysis.onnx.plain import Plain, plain
from convscope.analysis.onnx.reading import Step
from convscope.analysis.onnx.tensor import GraphTensor, shape_of
from convscope.errors import ArgumentError, ShapeError
from convscope.terminal import printable

IR_VERSION = 10
MOST_NUMBERS = 4096  # of one constant that is computed

# Operators whose numbers are computed; all are cheap for so few numbers.
FOLDED = {
    "Abs", "Add", "And", "ArgMax", "ArgMin", "Cast", "CastLike", "Ceil", "Clip",
    "Concat", "ConstantOfShape", "CumSum", "Div", "Equal", "Expand", "Flatten", "Floor",
    "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual", "Identity",
    "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "NonZero", "Not", "Or",
    "Range", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Round",
    "ScatterElements", "ScatterND", "Sign", "Slice", "Split", "Sqrt", "Squeeze", "Sub",
    "Sum", "Tile", "Transpose", "Unsqueeze", "Where", "Xor",
}  # fmt: skip
UNBOUNDED = ("NonZero",)  # their size is not inferred, and no larger than their input


class Folding:
    """Infers with onnx's own rules; rules of other domains are here."""

    def __init__(
        self, onnx: Any, name: str, opsets: Mapping[str, int], sizes: str
    ) -> None:
        self.onnx, self.name, self.opsets, self.sizes = onnx, name, opsets, sizes
        self._context = onnx.checker.C.CheckerContext()
        self._context.ir_version = IR_VERSION
        self._context.opset_imports = dict(opsets)
        self.imports = [onnx.helper.make_opsetid(d, v) for d, v in opsets.items()]

    def types(self, step: Step, inputs: Sequence[GraphTensor | None]) -> list[Any]:
        """The type of each output; None where nothing is known.

        Raises:
            ShapeError: What reaches the node does not fit it.
        """
        given = plain(step)
        require_sense(self.name, step, inputs)
        require_fit(self.name, step, given, inputs)
        if given.kind == "MatMulNBits":
            return [self._columns(inputs[0], int(given.attributes["N"]))]
        if step.node.domain != "com.microsoft":
            found = self._inferred(step, step.node, inputs)
            if found and inputs:
                require_as_many(self.name, step, inputs[0], found[0])
            return found
        node, used = self._standing_for(given, step, inputs)
        if node is None:
            return [None] * len(step.outputs)
        found = self._inferred(step, node, used)
        return found + [None] * (len(step.outputs) - len(found))

    def _inferred(
        self, step: Step, node: Any, inputs: Sequence[GraphTensor | None]
    ) -> list[Any]:
        domain = "" if node.domain == "ai.onnx" else node.domain
        if "" in node.output:  # one that is left out has a shape, too
            whole = self.onnx.NodeProto()
            whole.CopyFrom(node)
            for place, name in enumerate(node.output):
                whole.output[place] = name or f"left out {place}"
            node = whole
        nothing: list[Any] = [None] * len(node.output)
        try:
            schema = self.onnx.defs.get_schema(
                node.op_type, self.opsets.get(domain, 1), domain
            )
        except Exception:  # an operator that this onnx does not know
            return nothing
        if step.graphs:
            return nothing
        self._require_valid(step, node)
        given = {n: t for n, t in zip(node.input, inputs, strict=True) if t is not None}
        if any(tensor.type is None for tensor in given.values()):
            return nothing
        data = {
            name: self.onnx.numpy_helper.from_array(tensor.value, name)
            for name, tensor in given.items()
            if tensor.value is not None
        }
        try:
            made = self.onnx.shape_inference.infer_node_outputs(
                schema,
                node,
                {name: tensor.type for name, tensor in given.items()},
                data,
                opset_imports=self.imports,
                ir_version=IR_VERSION,
            )
        except Exception as error:  # onnx raises its own kinds, all with a text
            raise ShapeError(
                f"summary: {self.name}: {step.kind} {step.name!r} does not take what "
                f"reaches it for {self.sizes}: {_first_line(error)}. Give a size that "
                "the network was made for."
            ) from error
        return [made.get(name) for name in node.output]

    def _require_valid(self, step: Step, node: Any) -> None:
        """Number and types of inputs and attributes; onnx's own rules rely on them."""
        try:
            self.onnx.checker.check_node(node, self._context)
        except Exception as error:  # onnx raises its own kinds, all with a text
            raise ArgumentError(
                f"summary: {self.name}: {step.kind} {step.name!r} is not as ONNX has "
                f"it: {_first_line(error)}. The file is damaged; get it again."
            ) from error

    def _standing_for(
        self, given: Plain, step: Step, inputs: Sequence[GraphTensor | None]
    ) -> tuple[Any, list[GraphTensor | None]]:
        """A node of ONNX with the same shapes; elements count as float32."""
        kind, used = given.kind, [inputs[place] for place in given.places]
        if kind == "FusedMatMul":
            kind, used = (
                "MatMul",
                [
                    self._transposed(one, given.attributes.get(name, 0))
                    for one, name in zip(used[:2], ("transA", "transB"), strict=True)
                ],
            )
        names = [f"i{n}" if one is not None else "" for n, one in enumerate(used)]
        outputs = [f"o{n}" for n, name in enumerate(step.outputs) if name]
        kinds = {"LSTM": 3, "LayerNormalization": 1, "RMSNormalization": 1}
        try:
            schema = self.onnx.defs.get_schema(kind, 23, "")
            node = self.onnx.helper.make_node(
                kind, names, outputs[: kinds.get(kind, 1)],
                **{n: v for n, v in given.attributes.items() if n in schema.attributes},
            )  # fmt: skip
        except Exception:  # no operator of ONNX
            return None, []
        floats = [None if one is None else self._as_float(one) for one in used]
        return node, floats

    def _as_float(self, tensor: GraphTensor) -> GraphTensor:
        if tensor.type is None:
            return tensor
        type_ = self.onnx.TypeProto()
        type_.CopyFrom(tensor.type)
        type_.tensor_type.elem_type = self.onnx.TensorProto.FLOAT
        return GraphTensor(type_, tensor.sees)

    def _transposed(
        self, tensor: GraphTensor | None, wanted: int
    ) -> GraphTensor | None:
        shape = None if tensor is None else tensor.shape
        if tensor is None or not wanted or shape is None or len(shape) < 2:
            return tensor
        return GraphTensor(
            self.tensor_type(1, (*shape[:-2], shape[-1], shape[-2])), tensor.sees
        )

    def _columns(self, x: GraphTensor | None, columns: int) -> Any:
        if x is None or x.shape is None:
            return None
        code = x.type.tensor_type.elem_type
        return self.tensor_type(code, (*x.shape[:-1], columns))

    def tensor_type(self, code: int, shape: Sequence[int | None] | None) -> Any:
        """A type as onnx writes it."""
        return self.onnx.helper.make_tensor_type_proto(code, shape)

    def numbers(
        self, step: Step, inputs: Sequence[GraphTensor | None], types: Sequence[Any]
    ) -> list[Any]:
        """The numbers of each output, where they are few and can be known."""
        nothing: list[Any] = [None] * len(step.outputs)
        if step.kind in ("Shape", "Size") and inputs[0] is not None:
            return [_of_shape(step, inputs[0].shape)]
        if step.kind not in FOLDED or any(
            one is not None and one.value is None for one in inputs
        ):
            return nothing
        for type_ in types:
            shape = shape_of(type_)
            if shape is None and step.kind in UNBOUNDED:
                continue
            if shape is None or prod(shape) > MOST_NUMBERS:
                return nothing
        try:
            return self._computed(step, inputs, types)
        except Exception:  # whatever onnx's reference does not do
            return nothing

    def _computed(
        self, step: Step, inputs: Sequence[GraphTensor | None], types: Sequence[Any]
    ) -> list[Any]:
        from onnx.reference import ReferenceEvaluator

        helper = self.onnx.helper
        given = {
            name: one for name, one in zip(step.inputs, inputs, strict=True) if one
        }
        graph = helper.make_graph(
            [step.node],
            "one",
            [helper.make_value_info(name, one.type) for name, one in given.items()],
            [
                helper.make_value_info(name, type_)
                for name, type_ in zip(step.outputs, types, strict=True)
                if name
            ],
        )
        model = helper.make_model(graph, opset_imports=self.imports)
        with np.errstate(all="ignore"):
            made = ReferenceEvaluator(model).run(
                None, {name: one.value for name, one in given.items()}
            )
        rest = iter([np.asarray(one) for one in made])
        return [next(rest) if name else None for name in step.outputs]


def _first_line(error: Exception) -> str:
    return printable(str(error).strip().partition("\n")[0].rstrip("."))


def _of_shape(step: Step, shape: Shape | None) -> Any:
    if shape is None:
        return None
    if step.kind == "Size":
        return np.array(prod(shape))
    start, end = step.attributes.get("start", 0), step.attributes.get("end")
    return np.array(shape[start:end], dtype=np.int64)
