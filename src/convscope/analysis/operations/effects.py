"""How each of torch's operations moves what a tensor sees, and what it multiplies.

``RULES[name](arguments, shape)``  the value of the first result, or a list of all
``NORMS[name](arguments)``         whether its statistics span space
``product_counts(...)``            products in convolutions and matrix products
``window_of(...)``                 windows that may not fit exactly

Arguments are those of torch's schema, with a `Provenance` in place of each tensor.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any, TypeAlias, cast

from torch import Tensor

from convscope.analysis.operations.provenance import (
    Provenance,
    broadcast,
    constant,
    joined,
    new_dim,
)
from convscope.analysis.operations.rearrange import (
    concatenated,
    expanded,
    padded,
    permuted,
    resized,
    selected,
    sliced,
    swapped,
    viewed,
)
from convscope.arithmetic import (
    Adaptive,
    AxisLayer,
    BorderMode,
    ResizeMode,
    Transposed,
    Upsample,
    Window,
    convolution_multiply_adds,
    linear_multiply_adds,
)

Arguments: TypeAlias = dict[str, Any]
Shape: TypeAlias = tuple[int, ...]
Rule: TypeAlias = Callable[[Arguments, Shape], "Provenance | list[Provenance]"]

END = 2**62  # torch writes an open end of a slice as the largest integer


def _convolution(a: Arguments, shape: Shape) -> Provenance:
    value, weight = a["input"], a["weight"]
    axes = len(weight.shape) - 2
    channels = len(value.dims) - axes - 1
    for axis, layer in enumerate(_convolution_layers(a, weight.shape)):
        value = value.through(channels + 1 + axis, layer)
    return _mixed_into(
        joined([value, weight.mixed(range(axes + 2))], value.dims),
        channels,
        shape[channels],
    )


def _convolution_layers(a: Arguments, weight: Shape) -> list[AxisLayer]:
    axes = len(weight) - 2
    layers: list[AxisLayer] = []
    for axis in range(axes):
        stride, padding, dilation, more = (
            _at(a[name], axis)
            for name in ("stride", "padding", "dilation", "output_padding")
        )
        pads = (padding, padding)
        if a["transposed"]:
            layers.append(Transposed(weight[2 + axis], stride, pads, dilation, more))
        else:
            layers.append(Window(weight[2 + axis], stride, pads, dilation))
    return layers


def _pool(a: Arguments, shape: Shape) -> Provenance:
    value = a["self"]
    axes = len(a["kernel_size"])
    first = len(value.dims) - axes
    for axis, layer in enumerate(_pool_layers(a, axes)):
        value = value.through(first + axis, layer)
    return cast("Provenance", value)


def _pool_layers(a: Arguments, axes: int) -> list[Window]:
    layers = []
    for axis in range(axes):
        kernel = _at(a["kernel_size"], axis)
        padding = _at(a["padding"], axis)
        stride = _at(a["stride"], axis) if a["stride"] else kernel
        dilation = _at(a.get("dilation", 1), axis)
        rounding = "torch" if a["ceil_mode"] else False
        layers.append(
            Window(kernel, stride, (padding, padding), dilation, rounding)  # type: ignore[arg-type]  # a literal
        )
    return layers


def _adaptive(a: Arguments, shape: Shape) -> Provenance:
    value, axes = a["self"], len(a["output_size"])
    for axis in range(axes):
        dim = len(value.dims) - axes + axis
        value = value.through(dim, Adaptive(shape[dim]))
    return cast("Provenance", value)


def _resize(mode: ResizeMode) -> Rule:
    def rule(a: Arguments, shape: Shape) -> Provenance:
        value: Provenance = a["self"] if "self" in a else a["input"]
        corners = bool(a.get("align_corners", False))
        for dim in range(2, len(shape)):
            value = resized(value, dim, shape[dim], mode, align_corners=corners)
        return value

    return rule


def _padded(mode: BorderMode) -> Rule:
    def rule(a: Arguments, shape: Shape) -> Provenance:
        value, pads = a["self"], list(a["pad"] if "pad" in a else a["padding"])
        for place in range(len(pads) // 2):
            before, after = pads[2 * place : 2 * place + 2]
            dim = len(value.dims) - 1 - place
            value = padded(value, dim, before, after, mode)
        return cast("Provenance", value)

    return rule


def _reduced(a: Arguments, shape: Shape) -> Provenance:
    value = a["self"]
    rank = len(value.dims)
    given = a.get("dim")
    dims = range(rank) if given in (None, []) else _list(given)
    gone = {dim % rank for dim in dims} if rank else set()
    value = value.mixed(gone)
    kept = [
        (new_dim(1) if a.get("keepdim") else None) if dim in gone else old
        for dim, old in enumerate(value.dims)
    ]
    return cast("Provenance", value.with_dims(dim for dim in kept if dim is not None))


def _spread(a: Arguments, shape: Shape) -> Provenance:
    """Softmax, cumulative sums: every position of one dimension sees the others."""
    return cast("Provenance", a["self"].mixed([a["dim"]]))


def _matrix(first: str, second: str) -> Rule:
    def rule(a: Arguments, shape: Shape) -> Provenance:
        left, right = a[first], a[second]
        left = left.mixed([-1])
        right = right.mixed([-2 if len(right.dims) > 1 else -1])
        batch = len(left.dims) - 2
        if batch > 0:  # bmm: batches of both are the same positions
            names = [left.dims[i] for i in range(batch)]
            right = broadcast([constant([*left.shape[:batch], 1, 1]), right])
            right = replace(right, dims=(*names, *right.dims[batch:]))
        dims = [*left.dims[:-1], *right.dims[max(batch, 0) + 1 :]]
        return joined([left, right], dims)

    return rule


def _linear(a: Arguments, shape: Shape) -> Provenance:
    value = a["input"].mixed([-1])
    return _mixed_into(value, len(value.dims) - 1, shape[-1])


def _attention(a: Arguments, shape: Shape) -> Provenance:
    query, key, value = a["query"], a["key"], a["value"]
    everything = [v.mixed(range(len(v.dims))) for v in (key, value)]
    made = joined([query.mixed([-1]), *everything], query.dims)
    return _mixed_into(made, len(shape) - 1, shape[-1])


def _mixed_into(value: Provenance, dim: int, size: int) -> Provenance:
    """All positions along ``dim`` made into ``size`` others."""
    value = value.mixed([dim])
    dims = list(value.dims)
    dims[dim] = new_dim(size)
    return value.with_dims(dims)


def _view(a: Arguments, shape: Shape) -> Provenance:
    return viewed(a["self"], shape)


def _same(a: Arguments, shape: Shape) -> Provenance:
    return cast("Provenance", a["self"])


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


def _expand(a: Arguments, shape: Shape) -> Provenance:
    return expanded(a["self"], shape)


def _pixel_shuffle(a: Arguments, shape: Shape) -> Provenance:
    """Channels become ``factor`` x ``factor`` places that see the same."""
    value, factor = a["self"], a["upscale_factor"]
    for dim in (-2, -1):
        value = value.through(len(shape) + dim, Upsample(factor))
    return _mixed_into(value, len(shape) - 3, shape[-3])


def _pixel_unshuffle(a: Arguments, shape: Shape) -> Provenance:
    value, factor = a["self"], a["downscale_factor"]
    for dim in (-2, -1):
        value = value.through(len(shape) + dim, Window(factor, stride=factor))
    return _mixed_into(value, len(shape) - 3, shape[-3])


RULES: dict[str, Rule] = {
    "convolution": _convolution,
    "linear": _linear,
    "mm": _matrix("self", "mat2"),
    "bmm": _matrix("self", "mat2"),
    "addmm": _matrix("mat1", "mat2"),
    "baddbmm": _matrix("batch1", "batch2"),
    "mv": _matrix("self", "vec"),
    "max_pool1d": _pool,
    "max_pool2d_with_indices": _pool,
    "max_pool3d_with_indices": _pool,
    "avg_pool1d": _pool,
    "avg_pool2d": _pool,
    "avg_pool3d": _pool,
    "_adaptive_avg_pool2d": _adaptive,
    "_adaptive_avg_pool3d": _adaptive,
    "adaptive_avg_pool1d": _adaptive,
    "adaptive_max_pool2d": _adaptive,
    "adaptive_max_pool3d": _adaptive,
    "constant_pad_nd": _padded("zeros"),
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "view": _view,
    "_unsafe_view": _view,
    "reshape": _view,
    "squeeze": _view,
    "unsqueeze": _unsqueeze,
    "transpose": _transpose,
    "t": _t,
    "permute": _permute,
    "slice": _slice,
    "select": _select,
    "split": _split,
    "split_with_sizes": _split,
    "unbind": _unbind,
    "cat": _cat,
    "stack": _stack,
    "expand": _expand,
    "_softmax": _spread,
    "_safe_softmax": _spread,
    "_log_softmax": _spread,
    "cumsum": _spread,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_attention_math": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
}
for _name in (
    "mean",
    "sum",
    "amax",
    "amin",
    "max",
    "min",
    "var",
    "std",
    "prod",
    "linalg_vector_norm",
    "argmax",
    "argmin",
    "any",
    "all",
    "logsumexp",
    "norm",
    "var_mean",
    "std_mean",
):
    RULES[_name] = _reduced
for _name in (
    "clone",
    "detach",
    "_to_copy",
    "alias",
    "contiguous",
    "lift_fresh",
    "dropout",
    "native_dropout",
):
    RULES[_name] = _same
RULES["native_dropout"] = lambda a, shape: cast("Provenance", a["input"])
for _axes in (1, 2, 3):
    RULES[f"reflection_pad{_axes}d"] = _padded("reflect")
    RULES[f"replication_pad{_axes}d"] = _padded("replicate")
    RULES[f"upsample_nearest{_axes}d"] = _resize("nearest")
RULES["upsample_linear1d"] = _resize("linear")
RULES["upsample_bilinear2d"] = _resize("linear")
RULES["upsample_trilinear3d"] = _resize("linear")
RULES["upsample_bicubic2d"] = _resize("cubic")

ELEMENTWISE = frozenset(
    {
        "where",
        "masked_fill",
        "bernoulli",
        "lerp",
        "addcmul",
        "addcdiv",
        "copy",
        "fill",
        "_prelu_kernel",
        "hardtanh",
        "leaky_relu",
        "elu",
        "gelu",
        "silu",
        "mish",
        "hardswish",
        "hardsigmoid",
        "softplus",
        "clamp",
        "celu",
        "threshold",
        "rrelu",
    }
)
BLANK = (  # take a tensor's shape, not its elements
    "empty",
    "zeros",
    "ones",
    "full",
    "rand",
    "new_",
)
IGNORED = frozenset({"sym_size", "sym_stride", "sym_numel", "is_same_size"})


def _over_space(a: Arguments) -> bool:
    value = a["input"]
    return len(value.dims) > 2


def _layer_norm_over_space(a: Arguments) -> bool:
    value: Provenance = a["input"]
    last = value.dims[len(value.dims) - len(a["normalized_shape"]) :]
    names = {atom.name for dim in last for atom in dim}
    return any(one.atom in names for one in value.seen.values())


NORMS: dict[str, Callable[[Arguments], bool]] = {
    "native_batch_norm": lambda a: False,
    "_native_batch_norm_legit": lambda a: False,
    "_native_batch_norm_legit_no_training": lambda a: False,
    "cudnn_batch_norm": lambda a: False,
    "batch_norm": lambda a: False,
    "native_group_norm": _over_space,
    "native_layer_norm": _layer_norm_over_space,
}


def product_counts(
    name: str, given: Arguments, output: Tensor
) -> tuple[int, list[Tensor]] | None:
    """How many products the operation makes, and the two tensors it multiplies."""
    if name == "convolution":
        x, weight, groups = given["input"], given["weight"], given["groups"]
        transposed = given["transposed"]
        axes = weight.ndim - 2
        sizes = (x if transposed else output).shape[-axes:]
        channels = (weight.shape[0], weight.shape[1] * groups)
        products = convolution_multiply_adds(
            *channels, weight.shape[2:], sizes, groups=groups
        )
        return products * prod(x.shape[: x.ndim - axes - 1]), [x, weight]
    pair = {
        "mm": ("self", "mat2"),
        "bmm": ("self", "mat2"),
        "addmm": ("mat1", "mat2"),
        "baddbmm": ("batch1", "batch2"),
        "mv": ("self", "vec"),
        "linear": ("input", "weight"),
    }.get(name)
    if pair is not None:
        left, right = given[pair[0]], given[pair[1]]
        products = linear_multiply_adds(
            left.shape[-1], output.shape[-1], positions=prod(output.shape[:-1])
        )
        if name == "mv":
            products = left.numel()
        return products, [left, right]
    if name.startswith("_scaled_dot_product"):
        query, key, value = given["query"], given["key"], given["value"]
        scores = prod(query.shape[:-1]) * key.shape[-2]
        return scores * (query.shape[-1] + value.shape[-1]), [query, key]
    return None


def window_of(name: str, given: Arguments) -> tuple[Any, ...] | None:
    """Sizes and layers of a window that may leave a rest: convolution and pooling."""
    if name == "convolution" and not given["transposed"]:
        weight = given["weight"].shape
        layers = cast("list[Window]", _convolution_layers(given, tuple(weight)))
        return tuple(given["input"].shape[-len(layers) :]), tuple(layers)
    if RULES.get(name) is _pool:
        layers = _pool_layers(given, len(given["kernel_size"]))
        return tuple(given["self"].shape[-len(layers) :]), tuple(layers)
    return None


def _at(values: int | Sequence[int], axis: int) -> int:
    """One axis of an argument of which one value may serve all."""
    if isinstance(values, int):
        return values
    return values[axis] if len(values) > axis else values[0]


def _list(value: int | Sequence[int]) -> list[int]:
    return [value] if isinstance(value, int) else list(value)
