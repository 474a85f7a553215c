"""Small ONNX files for the tests, node by node."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def node(kind, inputs, outputs=("y",), **more):
    return helper.make_node(kind, list(inputs), list(outputs), **more)


def value(name, shape=None, code=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, code, shape)


def numbers(*shape, dtype=np.float32):
    """Numbers that are none of 0, 1 and a round one."""
    return (np.arange(np.prod(shape, dtype=int)).reshape(shape) + 0.3).astype(dtype)


def stored_as(tensors, how):
    """The tensors as initializers, or as nodes in front of the others."""
    made = {
        name: numpy_helper.from_array(np.asarray(one), name)
        if not isinstance(one, TensorProto)
        else one
        for name, one in tensors.items()
    }
    if how == "initializer":
        return list(made.values()), []
    return [], [node("Constant", [], [n], value=one) for n, one in made.items()]


def saved(
    path,
    nodes,
    tensors=(),
    *,
    inputs=None,
    outputs=("y",),
    how="initializer",
    opset=18,
    functions=(),
    declared=(),
):
    """Writes a network; ``x`` is an image (1, 3, 8, 8) if nothing else is said."""
    initializers, constants = stored_as(dict(tensors), how)
    graph = helper.make_graph(
        [*constants, *nodes],
        "g",
        [value("x", (1, 3, 8, 8))] if inputs is None else inputs,
        [value(name) for name in outputs],
        initializer=initializers,
        value_info=list(declared),
    )
    imports = [helper.make_opsetid("", opset)]
    imports += [
        helper.make_opsetid(domain, 1)
        for domain in sorted({n.domain for n in nodes} | {f.domain for f in functions})
        if domain
    ]
    model = helper.make_model(graph, opset_imports=imports, functions=list(functions))
    onnx.save(model, path)
    return path
