"""Interpolation to another size."""

from typing import Any, cast

from convscope.analysis.operations.operation import (
    Arguments,
    Node,
    Operation,
    Shape,
    SightRule,
)
from convscope.analysis.operations.provenance import Provenance
from convscope.analysis.operations.rearrange import resized
from convscope.arithmetic import ResizeMode

RESIZES: dict[str, ResizeMode] = {
    "nearest": "nearest",
    "linear": "linear",
    "cubic": "cubic",
}
COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners")


def _resize(mode: ResizeMode) -> SightRule:
    def rule(a: Arguments, shape: Shape) -> Provenance:
        value: Provenance = a["self"] if "self" in a else a["input"]
        corners = bool(a.get("align_corners", False))
        for dim in range(2, len(shape)):
            value = resized(value, dim, shape[dim], mode, align_corners=corners)
        return value

    return rule


def _onnx(a: Arguments, shape: Shape) -> Provenance | None:
    """Interpolation by torch's rules; None for those that torch does not have."""
    node: Node = a["node"]
    value, given = cast("Provenance", node.inputs[0]), node.attributes
    mode = RESIZES.get(given.get("mode", "nearest"))
    place = given.get("coordinate_transformation_mode", "half_pixel")
    if mode is None or given.get("antialias") or shape[:2] != value.shape[:2]:
        return None
    if mode != "nearest" and place not in COORDINATES:
        return None
    scales = given.get("scales") or node.number(
        len(node.numbers) - 1 if len(node.numbers) < 4 else 2
    )
    for dim in range(2, len(shape)):
        size, outputs = value.shape[dim], shape[dim]
        if mode == "nearest" and outputs % size and not _rounds_as_torch(given):
            return None
        if scales and len(scales) == len(shape) and scales[dim] * size != outputs:
            return None  # torch goes by the sizes, the file by its factor
        corners = place == "align_corners"
        value = resized(value, dim, outputs, mode, align_corners=corners)
    return value


def _rounds_as_torch(given: Any) -> bool:
    """Whether the nearest element is torch's; with whole factors it always is."""
    place = given.get("coordinate_transformation_mode", "half_pixel")
    return bool(place == "asymmetric" and given.get("nearest_mode") == "floor")


def _whole(node: Node) -> Arguments | None:
    return {"node": node}


OPERATIONS = (
    Operation(
        "nearest neighbor",
        torch=tuple(f"upsample_nearest{axes}d" for axes in (1, 2, 3)),
        sees=_resize("nearest"),
    ),
    Operation(
        "linear interpolation",
        torch=("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"),
        sees=_resize("linear"),
    ),
    Operation(
        "cubic interpolation", torch=("upsample_bicubic2d",), sees=_resize("cubic")
    ),
    Operation(
        "resizing of a file", onnx={"Resize": _whole, "Upsample": _whole}, sees=_onnx
    ),
)
