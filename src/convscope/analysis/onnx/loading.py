"""An ONNX file as onnx reads it, if it is of a sane size.

``loaded(onnx, path)``  the model, the functions of the file written out

A file from a stranger is data: nothing in it is executed, its bytes and its nodes are
limited, and weights that lie in other files are not opened.
"""

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from convscope.errors import ArgumentError

LARGEST_BYTES = 2**31  # protobuf's own limit
MOST_NODES = 20_000  # in all graphs together, functions written out
ADVICE = "Give a file that torch.onnx or convscope export wrote"


def loaded(onnx: Any, path: Path) -> Any:
    """The model.

    Raises:
        ArgumentError: It is not there, is no ONNX network, or is too large.
    """
    model = _read(onnx, path)
    if model.functions:
        model = _written_out(onnx, model, path.name)
    nodes = sum(1 for _ in _nodes(model.graph.node))
    if nodes > MOST_NODES:
        raise ArgumentError(
            f"summary: {path.name} has {nodes:,} nodes, more than {MOST_NODES:,}. Give "
            "a smaller network."
        )
    return model


def _read(onnx: Any, path: Path) -> Any:
    if not path.is_file():
        raise ArgumentError(f"summary: {path} is not there. Give the path of a file.")
    if path.stat().st_size > LARGEST_BYTES:
        raise ArgumentError(
            f"summary: {path.name} has {path.stat().st_size:,} bytes, more than an "
            f"ONNX file can have ({LARGEST_BYTES:,}). Give another file."
        )
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's kinds depend on its version
        raise ArgumentError(
            f"summary: {path.name} cannot be read as ONNX. {ADVICE}, or get it again: "
            "it may have been cut off."
        ) from error
    if not model.graph.node:
        raise ArgumentError(f"summary: {path.name} is no ONNX network. {ADVICE}.")
    return model


def inner_graphs(nodes: Iterable[Any]) -> Iterable[Any]:
    """The graphs that lie in nodes: branches, and bodies of loops."""
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g
            yield from attribute.graphs


def _written_out(onnx: Any, model: Any, where: str) -> Any:
    """The network with the file's own functions in the places of their calls.

    Functions that call functions can come to more nodes than any memory holds, so
    they are counted first.
    """
    from onnx import inliner

    functions = {(f.domain, f.name): f for f in model.functions}
    calls: dict[Any, list[Any]] = {
        key: [(n.domain, n.op_type) for n in _nodes(function.node)]
        for key, function in functions.items()
    }
    sizes: dict[Any, int] = {}
    order = TopologicalSorter(
        {key: [c for c in called if c in functions] for key, called in calls.items()}
    )
    try:
        for key in order.static_order():
            sizes[key] = sum(sizes.get(called, 1) for called in calls[key])
    except CycleError as error:
        name = error.args[1][0][1]
        raise ArgumentError(
            f"summary: {where}: the function {name!r} calls itself. The file is "
            "damaged; get it again."
        ) from error
    total = sum(sizes.get((n.domain, n.op_type), 1) for n in _nodes(model.graph.node))
    if total > MOST_NODES:
        raise ArgumentError(
            f"summary: {where} has {total:,} nodes with its functions written out, "
            f"more than {MOST_NODES:,}. Give a smaller network."
        )
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:
        raise ArgumentError(
            f"summary: {where}: its functions cannot be written out: "
            f"{_first_line(error)}. Get the file again."
        ) from error


def _nodes(nodes: Sequence[Any]) -> Iterable[Any]:
    """The nodes and those of all graphs inside them."""
    yield from nodes
    for graph in inner_graphs(nodes):
        yield from _nodes(graph.node)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
