"""Norms: each element is scaled by statistics of its neighbors or of earlier batches.

Receptive fields leave the statistics out; where these span the map, a note says so.
"""

from dataclasses import replace
from math import prod
from typing import cast

from torch import Tensor

from convscope.analysis.operations.operation import (
    Arguments,
    Node,
    Operation,
    Shape,
    meta,
)
from convscope.analysis.operations.provenance import Provenance, constant
from convscope.analysis.operations.refusal import Refusal, shape_text, wrong_channels


def _fits(tensors: list[Tensor | None], shape: tuple[int, ...]) -> bool:
    return all(t is None or tuple(t.shape) == shape for t in tensors)


def _batch_shape(a: Arguments) -> tuple[Tensor, Tensor, Tensor] | None:
    x = a["input"]
    per_channel = ("weight", "bias", "running_mean", "running_var")
    if x.ndim < 2 or not _fits([a.get(n) for n in per_channel], (x.shape[1],)):
        return None
    saved = x.shape[1] if a.get("training", False) else 0
    return meta(x, x.shape), meta(x, (saved,)), meta(x, (saved,))


def _group_shape(a: Arguments) -> tuple[Tensor, Tensor, Tensor] | None:
    x, statistics = a["input"], (a["N"], a["group"])
    if x.shape[1] % a["group"] or not _fits([a["weight"], a["bias"]], (x.shape[1],)):
        return None
    return meta(x, x.shape), meta(x, statistics), meta(x, statistics)


def _layer_shape(a: Arguments) -> tuple[Tensor, Tensor, Tensor] | None:
    x, wanted = a["input"], tuple(a["normalized_shape"])
    kept = x.shape[: x.ndim - len(wanted)]
    if tuple(x.shape) != (*kept, *wanted) or not wanted:
        return None
    if not _fits([a["weight"], a["bias"]], wanted):
        return None
    statistics = (*kept, *[1] * len(wanted))
    return meta(x, x.shape), meta(x, statistics), meta(x, statistics)


def _same(a: Arguments, shape: Shape) -> Provenance:
    return cast("Provenance", a["input"])


def _is_instance_norm(a: Arguments) -> bool:
    """Instance norm: to torch a batch norm of one image with N x C channels."""
    shape = a["input"].shape
    return bool(a.get("training")) and len(shape) > 2 and shape[0] == 1


def _layer_over_space(a: Arguments) -> bool:
    value: Provenance = a["input"]
    last = value.dims[len(value.dims) - len(a["normalized_shape"]) :]
    names = {atom.name for dim in last for atom in dim}
    return any(one.atom in names for one in value.seen.values())


def _batch_refuses(b: Arguments) -> Refusal | None:
    x = b["input"]
    given = [b.get(n) for n in ("running_mean", "weight", "bias")]
    wants = next((t.shape[0] for t in given if t is not None), None)
    return None if wants is None or x.ndim < 2 else statistics_of_others(x, wants)


def statistics_of_others(x: Tensor, wants: int) -> Refusal | None:
    """Whether a batch norm has statistics for another number of channels."""
    return wrong_channels(
        x,
        x.shape[1],
        wants,
        f"(N, {wants}{', ...' if x.ndim > 2 else ''})",
        argument="num_features",
        holds="it has statistics",
    )


def _group_refuses(b: Arguments) -> Refusal | None:
    x, groups, weight = b["input"], b["num_groups"], b.get("weight")
    if x.ndim < 2:
        return None
    came = x.shape[1]
    wants = came if weight is None else weight.shape[0]
    if came == wants and came % groups == 0:
        return None
    if came != wants:
        text = f"{came} channels reach it, it has a weight for {wants}"
    else:
        text = f"{came} channels do not divide into {groups} groups"
    changes = ({"num_channels": came},) if came % groups == 0 else ()
    return Refusal(
        shape_text(x.shape), f"(N, {wants}, ...)", text, changes, "channels",
        {"came": came, "wants": wants},
    )  # fmt: skip


def _layer_refuses(b: Arguments) -> Refusal | None:
    x, wants = b["input"], tuple(b["normalized_shape"])
    came = tuple(x.shape[max(0, x.ndim - len(wants)) :])
    if came == wants:
        return None
    return Refusal(
        shape_text(x.shape),
        f"(N, ..., {', '.join(map(str, wants))})",
        f"the last {'axis is' if len(wants) == 1 else 'axes are'} "
        f"{' x '.join(map(str, came))}, its weight is for "
        f"{' x '.join(map(str, wants))}",
        ({"normalized_shape": came},),
        "features",
        {"came": prod(came), "wants": prod(wants)},
    )


def _read(node: Node) -> Arguments | None:
    return {"input": node.inputs[0]}


def _read_layer(node: Node) -> Arguments | None:
    x, axis = node.inputs[0], node.attributes.get("axis", -1)
    return None if x is None else {"input": x, "normalized_shape": x.shape[axis:]}


def _quantized_sees(a: Arguments, shape: Shape) -> list[Provenance]:
    """Codes of each element; the scale and the zero point are of the whole map."""
    nothing = replace(constant(()), from_input=True)
    return [a["input"], nothing, nothing]


_BATCH = ("input", "running_mean", "running_var", "weight", "bias")
_MAPS = ("GroupNormalization", "InstanceNormalization", "MeanVarianceNormalization")

OPERATIONS = (
    Operation(
        "batch norm",
        torch=(
            "native_batch_norm",
            "_native_batch_norm_legit",
            "_native_batch_norm_legit_no_training",
            "cudnn_batch_norm",
            "batch_norm",
        ),
        functions={"batch_norm": _BATCH},
        onnx={"BatchNormalization": _read, "LRN": _read},
        shape=_batch_shape,
        sees=_same,
        refuses=_batch_refuses,
        over_space=_is_instance_norm,
    ),
    Operation(
        "group norm",
        torch=("native_group_norm",),
        functions={"group_norm": ("input", "num_groups", "weight", "bias")},
        onnx=dict.fromkeys(_MAPS, _read),
        shape=_group_shape,
        sees=_same,
        refuses=_group_refuses,
        over_space=lambda a: len(a["input"].dims) > 2,
    ),
    Operation(
        "layer norm",
        torch=("native_layer_norm",),
        functions={"layer_norm": ("input", "normalized_shape", "weight", "bias")},
        onnx={"LayerNormalization": _read_layer},
        shape=_layer_shape,
        sees=_same,
        refuses=_layer_refuses,
        over_space=_layer_over_space,
    ),
    Operation(
        "root mean square norm",
        torch=("_fused_rms_norm",),
        functions={"rms_norm": ("input", "normalized_shape", "weight")},
        onnx={"RMSNormalization": _read_layer},
        sees=_same,
        refuses=_layer_refuses,
        over_space=_layer_over_space,
    ),
    Operation(
        "quantization on the way",
        onnx={"DynamicQuantizeLinear": _read},
        sees=_quantized_sees,
        over_space=lambda a: True,
    ),
)
