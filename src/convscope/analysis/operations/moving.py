"""Moving elements without computing: view, permute, slice, join, pad."""

import itertools
from collections.abc import Sequence
from math import prod
from typing import Any, cast

from torch import Tensor

from convscope.analysis.operations.operation import (
    Arguments,
    Node,
    Operation,
    Shape,
    SightRule,
    meta,
)
from convscope.analysis.operations.provenance import Provenance, joined, new_dim
from convscope.analysis.operations.rearrange import (
    concatenated,
    expanded,
    in_groups,
    made_into,
    padded,
    permuted,
    selected,
    sliced,
    swapped,
    viewed,
)
from convscope.analysis.operations.refusal import Refusal, shape_text, unequal
from convscope.arithmetic import BorderMode, Upsample, Window

END = 2**62  # torch writes an open end of a slice as the largest integer
BORDERS: dict[str, BorderMode] = {
    "constant": "zeros",
    "reflect": "reflect",
    "edge": "replicate",
    "wrap": "circular",
}


def _same(a: Arguments, shape: Shape) -> Provenance:
    return cast("Provenance", a["self"] if "self" in a else a["input"])


def _view(a: Arguments, shape: Shape) -> Provenance:
    return viewed(a["self"], shape)


def _strided(a: Arguments, shape: Shape) -> Provenance | None:
    """Other strides; torch uses them to write one layout for another."""
    value: Provenance = a["self"]
    return value if value.shape == shape else None


def _transpose(a: Arguments, shape: Shape) -> Provenance:
    return swapped(a["self"], a["dim0"], a["dim1"])


def _t(a: Arguments, shape: Shape) -> Provenance:
    return permuted(a["self"], range(len(shape) - 1, -1, -1))


def _permute(a: Arguments, shape: Shape) -> Provenance:
    return permuted(a["self"], [dim % len(shape) for dim in a["dims"]])


def _unsqueeze(a: Arguments, shape: Shape) -> Provenance:
    dims = list(a["self"].dims)
    dims.insert(a["dim"] % len(shape), new_dim(1))
    return cast("Provenance", a["self"].with_dims(dims))


def _slice(a: Arguments, shape: Shape) -> Provenance:
    dim = a["dim"] % len(shape)
    size = a["self"].shape[dim]
    start = 0 if a["start"] is None else a["start"]
    end = size if a["end"] is None or a["end"] > END else a["end"]
    start, end = (max(0, p + size) if p < 0 else p for p in (start, end))
    return sliced(a["self"], dim, start, end, a["step"])


def _select(a: Arguments, shape: Shape) -> Provenance:
    dim = a["dim"] % (len(shape) + 1)
    return selected(a["self"], dim, a["index"] % a["self"].shape[dim])


def _split(a: Arguments, shape: Shape) -> list[Provenance]:
    value = a["self"]
    dim = a["dim"] % len(value.dims)
    size = value.shape[dim]
    given = a["split_size"] if "split_size" in a else a["split_sizes"]
    if isinstance(given, int):
        given = [min(given, size - at) for at in range(0, size, given)]
    parts, at = [], 0
    for length in given:
        parts.append(sliced(value, dim, at, at + length, 1))
        at += length
    return parts


def _unbind(a: Arguments, shape: Shape) -> list[Provenance]:
    value = a["self"]
    dim = a["dim"] % len(value.dims)
    return [selected(value, dim, index) for index in range(value.shape[dim])]


def _cat(a: Arguments, shape: Shape) -> Provenance:
    tensors = [t for t in a["tensors"] if t.shape != (0,)]
    return concatenated(tensors, a["dim"] % len(shape))


def _stack(a: Arguments, shape: Shape) -> Provenance:
    dim = a["dim"] % len(shape)
    apart = []
    for value in a["tensors"]:
        dims = list(value.dims)
        dims.insert(dim, new_dim(1))
        apart.append(value.with_dims(dims))
    return concatenated(apart, dim)


def _pixel_shuffle(a: Arguments, shape: Shape) -> Provenance:
    """Channels become ``factor`` x ``factor`` places that see the same."""
    value, factor = a["self"], a["upscale_factor"]
    for dim in (-2, -1):
        value = value.through(len(shape) + dim, Upsample(factor))
    return in_groups(value, len(shape) - 3, shape[-3], shape[-3])


def _pixel_unshuffle(a: Arguments, shape: Shape) -> Provenance:
    value, factor = a["self"], a["downscale_factor"]
    for dim in (-2, -1):
        value = value.through(len(shape) + dim, Window(factor, stride=factor))
    return in_groups(value, len(shape) - 3, value.shape[-3], shape[-3])


def _padding(mode: BorderMode) -> SightRule:
    def rule(a: Arguments, shape: Shape) -> Provenance:
        value, pads = a["self"], list(a["pad"] if "pad" in a else a["padding"])
        for place in range(len(pads) // 2):
            before, after = pads[2 * place : 2 * place + 2]
            dim = len(value.dims) - 1 - place
            value = padded(value, dim, before, after, mode)
        return cast("Provenance", value)

    return rule


def _padded_shape(a: Arguments) -> Tensor | None:
    x, pads = a["self"], a["pad"]
    if len(pads) % 2 or len(pads) > 2 * x.ndim:
        return None
    sizes = list(x.shape)
    for place in range(len(pads) // 2):
        sizes[-1 - place] += pads[2 * place] + pads[2 * place + 1]
    return meta(x, sizes) if min(sizes, default=1) > 0 else None


def _cat_shape(a: Arguments) -> Tensor | None:
    tensors, dim = a["tensors"], a["dim"]
    first = tensors[0]
    if first.ndim < 2 or not -first.ndim <= dim < first.ndim:
        return None
    sizes = list(first.shape)
    sizes[dim] = sum(t.shape[dim] if t.ndim == first.ndim else 0 for t in tensors)
    for tensor in tensors:
        others = list(tensor.shape)
        if len(others) != first.ndim or tensor.dtype != first.dtype:
            return None
        others[dim] = sizes[dim]
        if others != sizes:
            return None
    return meta(first, sizes)


def _cat_refuses(b: Arguments) -> Refusal | None:
    tensors = [t for t in b["tensors"] if isinstance(t, Tensor) and t.shape != (0,)]
    if not tensors:
        return None
    rank = tensors[0].ndim
    dim = int(b.get("dim", 0)) % max(1, rank)
    came = " and ".join(shape_text(t.shape) for t in tensors)
    if any(t.ndim != rank for t in tensors):
        return Refusal(came, "tensors of equally many axes", "")
    for place in range(rank):
        sizes = [t.shape[place] for t in tensors]
        if place != dim and len(set(sizes)) > 1:
            return unequal(came, f"equal shapes but for axis {dim}", place, rank, sizes)
    return None


def _view_refuses(b: Arguments) -> Refusal | None:
    x, given = b["input"], b.get("rest", (b.get("shape", b.get("size")),))
    shape = given[0] if len(given) == 1 and not isinstance(given[0], int) else given
    if not isinstance(shape, (tuple, list)) or not all(
        isinstance(size, int) for size in shape
    ):
        return None
    known, total = prod(size for size in shape if size != -1), x.numel()
    if (-1 in shape and known and total % known == 0) or known == total:
        return None
    each = " x ".join(str(size) for size in x.shape[1:])
    return Refusal(
        shape_text(x.shape),
        "as many values as it makes",
        f"{each} = {prod(x.shape[1:])} values per image do not make "
        f"{' x '.join(str(size) for size in shape if size != -1)}",
        kind="view",
    )


def _read(node: Node) -> Arguments | None:
    return {"self": node.inputs[0]}


def _read_transpose(node: Node) -> Arguments | None:
    dims = node.attributes.get("perm") or range(len(node.shapes[0]) - 1, -1, -1)
    return {"self": node.inputs[0], "dims": dims}


def _read_concat(node: Node) -> Arguments | None:
    return {"tensors": node.inputs, "dim": node.attributes["axis"]}


def _read_split(node: Node) -> Arguments | None:
    axis = node.attributes.get("axis", 0)
    sizes = [shape[axis] for shape in node.shapes]
    return {"self": node.inputs[0], "dim": axis, "split_sizes": sizes}


def _onnx_padding(a: Arguments, shape: Shape) -> Provenance | None:
    """Padding is all before, then all after."""
    node: Node = a["node"]
    value = cast("Provenance", node.inputs[0])
    mode = BORDERS.get(node.attributes.get("mode", "constant"))
    pads = node.attributes.get("pads") or node.number(1)
    axes = node.number(3) or range(len(value.dims))
    if mode is None or pads is None or len(pads) != 2 * len(axes):
        return None
    for place, axis in enumerate(axes):
        before, after, dim = pads[place], pads[len(axes) + place], axis % len(shape)
        if value.shape[dim] + before + after != shape[dim]:
            return None
        value = padded(value, dim, before, after, mode)
    return value


def _onnx_slice(a: Arguments, shape: Shape) -> Provenance | None:
    node: Node = a["node"]
    value = cast("Provenance", node.inputs[0])
    starts: Sequence[Any] | None = node.attributes.get("starts") or node.number(1)
    ends = node.attributes.get("ends") or node.number(2)
    hidden = [p for p in (3, 4) if p < len(node.numbers) and node.number(p) is None]
    if starts is None or ends is None or hidden:
        return None
    axes = node.attributes.get("axes") or node.number(3) or range(len(starts))
    steps = node.number(4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1:
            return None
        dim = axis % len(value.dims)
        begin, stop, _ = slice(start, end).indices(value.shape[dim])
        value = sliced(value, dim, begin, max(begin, stop), step)
    return value


def _onnx_gather(a: Arguments, shape: Shape) -> Provenance | None:
    """One position, a run of positions, or a table that is looked up in."""
    node: Node = a["node"]
    value, places = (cast("Provenance", one) for one in node.inputs)
    axis = node.attributes.get("axis", 0) % len(value.dims)
    if not value.from_input:
        dims = [*value.dims[:axis], *places.dims, *value.dims[axis + 1 :]]
        return joined([places], dims)
    size, found = value.shape[axis], node.number(1)
    if not found or len(places.dims) > 1:
        return None
    found = [place % size for place in found]
    if not places.dims:
        return selected(value, axis, found[0])
    steps = {after - one for one, after in itertools.pairwise(found)} or {1}
    if len(steps) == 1 and (step := steps.pop()) > 0:
        return sliced(value, axis, found[0], found[-1] + 1, step)
    alone, moving = value.along(axis)
    return None if moving else made_into(alone, axis, len(found))


def _read_blocks(node: Node) -> Arguments | None:
    size = node.attributes["blocksize"]
    return {"self": node.inputs[0], "upscale_factor": size, "downscale_factor": size}


def _whole(node: Node) -> Arguments | None:
    return {"node": node}


_VIEWS = ("view", "_unsafe_view", "reshape", "squeeze", "flatten", "unflatten")
_COPIES = (
    "clone", "detach", "_to_copy", "alias", "contiguous", "lift_fresh", "dropout",
    "native_dropout", "lift",
)  # fmt: skip

OPERATIONS = (
    Operation("copy", torch=_COPIES, onnx={"Identity": _read}, sees=_same),
    Operation(
        "view",
        torch=_VIEWS,
        functions={"view": ("input", "shape"), "reshape": ("input", "shape")},
        onnx=dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _read),
        sees=_view,
        refuses=_view_refuses,
    ),
    Operation("other strides", torch=("as_strided",), sees=_strided),
    Operation("unsqueeze", torch=("unsqueeze",), sees=_unsqueeze),
    Operation("transpose", torch=("transpose", "swapaxes"), sees=_transpose),
    Operation("transpose of a matrix", torch=("t",), sees=_t),
    Operation(
        "permute",
        torch=("permute",),
        onnx={"Transpose": _read_transpose},
        sees=_permute,
    ),
    Operation("slice", torch=("slice",), sees=_slice),
    Operation("slice of a file", onnx={"Slice": _whole}, sees=_onnx_slice),
    Operation("select", torch=("select",), sees=_select),
    Operation("gathering of a file", onnx={"Gather": _whole}, sees=_onnx_gather),
    Operation(
        "split",
        torch=("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes"),
        onnx={"Split": _read_split},
        sees=_split,
    ),
    Operation("unbind", torch=("unbind",), sees=_unbind),
    Operation(
        "concatenation",
        torch=("cat",),
        functions=dict.fromkeys(("cat", "concat", "concatenate"), ("tensors", "dim")),
        onnx={"Concat": _read_concat},
        shape=_cat_shape,
        sees=_cat,
        refuses=_cat_refuses,
    ),
    Operation("stack", torch=("stack",), sees=_stack),
    Operation(
        "expand",
        torch=("expand",),
        onnx={"Expand": _read},
        sees=lambda a, shape: expanded(a["self"], shape),
    ),
    Operation(
        "pixel shuffle",
        torch=("pixel_shuffle",),
        onnx={"DepthToSpace": _read_blocks},
        sees=_pixel_shuffle,
    ),
    Operation(
        "pixel unshuffle",
        torch=("pixel_unshuffle",),
        onnx={"SpaceToDepth": _read_blocks},
        sees=_pixel_unshuffle,
    ),
    Operation(
        "padding with a constant",
        torch=("constant_pad_nd",),
        shape=_padded_shape,
        sees=_padding("zeros"),
    ),
    Operation("padding of a file", onnx={"Pad": _whole}, sees=_onnx_padding),
    Operation(
        "padding by reflection",
        torch=tuple(f"reflection_pad{axes}d" for axes in (1, 2, 3)),
        sees=_padding("reflect"),
    ),
    Operation(
        "padding by repetition",
        torch=tuple(f"replication_pad{axes}d" for axes in (1, 2, 3)),
        sees=_padding("replicate"),
    ),
)
