"""``onnx_summary``: the summary of an ONNX file, from its graph."""

from collections.abc import Iterable
from pathlib import Path

from convscope.analysis.inputs import Shape
from convscope.analysis.onnx.folding import Folding
from convscope.analysis.onnx.following import Follower
from convscope.analysis.onnx.reading import NetworkFile, read
from convscope.analysis.onnx.sizes import InputSize, Sizes, input_types
from convscope.analysis.onnx.tensor import GraphTensor, shape_of
from convscope.analysis.render import Summary
from convscope.arithmetic import inference_activation_bytes, training_activation_bytes
from convscope.errors import MissingExtraError
from convscope.terminal import printable


def onnx_summary(
    path: str | Path, input_size: InputSize | None = None, *, name: str = ""
) -> Summary:
    """Shapes, costs and receptive fields of the network in an ONNX file.

    The network is not run, and no weight is needed but for its shape. What counts as a
    parameter is decided by where a stored tensor goes (``parameters.py``). Operators
    that are not known, loops, and branches that depend on the input do not stop it:
    their parameters count, a note says what is left out.

    Args:
        path: The file.
        input_size: The lengths that the file leaves open: for one input
            ``(3, 224, 224)``, for several ``[(3, 224, 224), (10,)]`` in their order, or
            some by name ``{"image": (3, 224, 224)}``. Without the batch axis, which is
            then 1 or what the file says, or with it. An input without axes takes its
            value: ``{"rate": 16000}``.
        name: What to call it; the file's name if not given.

    Raises:
        MissingExtraError: onnx is not installed.
        ArgumentError: The file is no ONNX network, is damaged or too large.
        ShapeError: A length is open, or does not fit the network.

    Source:
        https://onnx.ai/onnx/repo-docs/IR.html. Multiply-adds and parameters as in
        `summary`, docs/explanation/counting.md.

    >>> onnx_summary("net.onnx")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    convscope.errors.ArgumentError: summary: net.onnx is not there. ...
    """
    try:
        import onnx
        from onnx import shape_inference  # noqa: F401  # a module of its own
    except ImportError:
        raise MissingExtraError("onnx", "onnx") from None
    file = read(onnx, Path(path))
    sizes = input_types(onnx, file.graph.inputs, input_size, file.name)
    shown = ", ".join(f"{one} {shape_of(type_)}" for one, type_ in sizes.types.items())
    folding = Folding(onnx, file.name, file.opsets, shown)
    follower = Follower(onnx, folding, sizes.symbols if sizes.as_declared else None)
    scope: dict[str, GraphTensor] = {
        one: follower.start(type_, sizes.numbers.get(one))
        for one, type_ in sizes.types.items()
    }
    follower.run(file.graph, scope)
    return _summary(follower, file, sizes, name or file.name)


def _summary(follower: Follower, file: NetworkFile, sizes: Sizes, name: str) -> Summary:
    recording, tally = follower.recording, follower.tally
    rows, (parameters, buffers) = tuple(recording.rows), tally.totals
    return Summary(
        name=name,
        input_shapes=_input_shapes(sizes),
        rows=rows,
        parameters=parameters,
        trainable=parameters,
        buffers=buffers,
        multiply_adds=sum(row.multiply_adds for row in rows),
        activation_products=sum(row.activation_products for row in rows),
        constant_products=sum(row.constant_products for row in rows),
        weight_bytes=tally.bytes,
        inference_bytes=inference_activation_bytes(
            recording.bytes, recording.sources, element_bytes=1
        ),
        training_bytes=training_activation_bytes(recording.bytes, element_bytes=1),
        notes=tuple(_notes(follower, file, sizes)),
    )


def _input_shapes(sizes: Sizes) -> tuple[Shape, ...]:
    """Of the inputs that are no single given number, without the batch axis."""
    found = []
    for name, type_ in sizes.types.items():
        if name not in sizes.numbers:
            shape = shape_of(type_) or ()
            found.append(shape[1:] if shape[:1] == (1,) else shape)
    return tuple(found)


def _notes(follower: Follower, file: NetworkFile, sizes: Sizes) -> list[str]:
    recording, sight = follower.recording, follower.sight
    notes = ["names and layers are those of the file; training may have had others"]
    if recording.strange:
        notes.append(
            f"unknown operators: {_names(recording.strange)}; their multiply-adds are "
            "not included, and what comes after them may be of unknown size"
        )
    if "If" in recording.strange:
        alone = [printable(n) for n, t in sizes.types.items() if shape_of(t) == ()]
        value = f"; a value for {' or '.join(alone)} may decide it" if alone else ""
        notes.append(f"which branch If takes depends on the input{value}")
    if recording.unsized:
        notes.append(
            f"multiply-adds of {_names(recording.unsized)} are not included where "
            "sizes depend on the values of the input (marked ?)"
        )
    if batches := {one: shape_of(type_) for one, type_ in sizes.types.items()}:
        first, shape = next(iter(batches.items()))
        if shape and len(shape) > 1 and shape[0] > 1:
            notes.append(
                f"the first axis of {printable(first)} is {shape[0]:,}; all counts are "
                "for the whole of it"
            )
    if file.missing:
        notes.append(
            f"weights lie in {printable(', '.join(file.missing))}, not found beside "
            "the file; their shapes are as the file says"
        )
    if sight.over_space:
        notes.append(
            "group, instance and layer norms, and quantization on the way, take "
            "statistics of the whole map; receptive fields leave these out"
        )
    if sight.too_long:
        notes.append(
            f"receptive fields are not followed beyond {sight.too_long}: there are "
            "too many positions"
        )
    if sight.lost:
        notes.append(f"receptive fields are unknown after {_names(sight.lost)}")
    return notes


def _names(kinds: Iterable[str]) -> str:
    """Kinds of operators, each once, as a list in a sentence."""
    return ", ".join(dict.fromkeys(kinds))
