"""Layers of torch.nn that ours refine: normalization, padding, patches, resizing."""

from functools import partial
from math import prod

from contracts.layer_case import Case
from convscope import layers

SHAPES = {1: (2, 4, 6), 2: (2, 4, 5, 6), 3: (2, 4, 3, 4, 5)}
IMAGE = SHAPES[2]
HALF = (2, 4, 2, 3)

CASES = [
    Case("GroupNorm", partial(layers.GroupNorm, 2, 4), IMAGE, IMAGE, 8, channels=4),
    Case("LayerNorm", partial(layers.LayerNorm, (5, 6)), IMAGE, IMAGE, 2 * 30),
    Case("RMSNorm", partial(layers.RMSNorm, 6), IMAGE, IMAGE, 6),
    Case("Unfold", partial(layers.Unfold, 3, stride=2), IMAGE, (2, 4 * 9, 2 * 2)),
    Case("Fold", partial(layers.Fold, (3, 4), 2), (2, 8, 6), (2, 2, 3, 4)),
    Case("PixelShuffle", partial(layers.PixelShuffle, 2), IMAGE, (2, 1, 10, 12)),
    Case("PixelUnshuffle", lambda: layers.PixelUnshuffle(2), (2, 1, 4, 6), HALF),
    Case("Upsample", partial(layers.Upsample, scale_factor=2), IMAGE, (2, 4, 10, 12)),
    Case(
        "Upsample, bilinear",
        partial(layers.Upsample, (7, 9), mode="bilinear"),
        IMAGE,
        (2, 4, 7, 9),
    ),
]
for axes, shape in SHAPES.items():
    norm = getattr(layers, f"InstanceNorm{axes}d")
    CASES += [
        Case(norm.__name__, partial(norm, 4), shape, shape, channels=4),
        Case(
            f"{norm.__name__}, affine",
            partial(norm, 4, affine=True, track_running_stats=True),
            shape,
            shape,
            8,
            channels=4,
        ),
    ]
    amounts = tuple(range(2 * axes))  # 0 before and 1 after the last axis, and so on
    longer = tuple(
        size + amounts[2 * (axes - 1 - i)] + amounts[2 * (axes - 1 - i) + 1]
        for i, size in enumerate(shape[2:])
    )
    for kind in ("Zero", "Constant", "Replication", "Reflection", "Circular"):
        pad = getattr(layers, f"{kind}Pad{axes}d")
        value = (2.5,) if kind == "Constant" else ()
        if kind in ("Reflection", "Circular"):
            size = tuple(n + 2 for n in shape[2:])
            out = (*shape[:2], *size)
            CASES.append(Case(pad.__name__, partial(pad, 1), shape, out))
        else:
            out = (*shape[:2], *longer)
            CASES.append(Case(pad.__name__, partial(pad, amounts, *value), shape, out))
assert all(prod(case.output) for case in CASES)
