"""Convolutions: sizes by hand."""

import convscope as cs
from contracts.layer_case import Case

layers = cs.layers
TABLE = [[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 1, 1]]  # 8 pairs

CASES = [
    Case(
        "Conv1d",
        lambda: layers.Conv1d(3, 4, 3),
        input=(2, 3, 9),
        output=(2, 4, 7),
        parameters=4 * 3 * 3 + 4,
        channels=3,
    ),
    Case(
        "Conv1d causal",
        lambda: layers.Conv1d(3, 4, 3, dilation=2, padding="causal", bias=False),
        input=(2, 3, 9),
        output=(2, 4, 9),
        parameters=4 * 3 * 3,
        channels=3,
    ),
    Case(
        "Conv2d",
        lambda: layers.Conv2d(3, 4, 3),
        input=(2, 3, 8, 7),
        output=(2, 4, 6, 5),
        parameters=4 * 3 * 3 * 3 + 4,
        channels=3,
    ),
    Case(
        "Conv2d same, stride, partial",
        lambda: layers.Conv2d(3, 4, 3, 2, "same", padding_mode="partial"),
        input=(2, 3, 8, 7),
        output=(2, 4, 4, 4),
        parameters=4 * 3 * 3 * 3 + 4,
        channels=3,
    ),
    Case(
        "Conv2d uneven, groups, flip",
        lambda: layers.Conv2d(
            4, 6, (3, 2), padding=((0, 2), (1, 0)), groups=2, flip=True
        ),
        input=(2, 4, 8, 7),
        output=(2, 6, 8, 7),
        parameters=6 * 2 * 3 * 2 + 6,
        channels=4,
    ),
    *(
        Case(
            f"Conv2d {mode}",
            lambda mode=mode: layers.Conv2d(
                3, 4, 3, padding=2, padding_mode=mode, padding_value=0.5
            ),
            input=(2, 3, 5, 4),
            output=(2, 4, 7, 6),
            parameters=4 * 3 * 3 * 3 + 4,
            channels=3,
        )
        for mode in ("constant", "reflect", "symmetric", "replicate", "circular")
    ),
    Case(
        "Conv2d connections",
        lambda: layers.Conv2d(3, 4, 3, connections=TABLE),
        input=(2, 3, 8, 7),
        output=(2, 4, 6, 5),
        parameters=8 * 3 * 3 + 4,
        channels=3,
    ),
    Case(
        "Conv3d",
        lambda: layers.Conv3d(2, 3, 2, padding="full"),
        input=(2, 2, 3, 4, 3),
        output=(2, 3, 4, 5, 4),
        parameters=3 * 2 * 8 + 3,
        channels=2,
    ),
    Case(
        "ConvTranspose1d",
        lambda: layers.ConvTranspose1d(3, 4, 5, 3, "same"),
        input=(2, 3, 6),
        output=(2, 4, 18),
        parameters=3 * 4 * 5 + 4,
        channels=3,
    ),
    Case(
        "ConvTranspose2d",
        lambda: layers.ConvTranspose2d(3, 4, 4, 2, 1),
        input=(2, 3, 5, 4),
        output=(2, 4, 10, 8),
        parameters=3 * 4 * 16 + 4,
        channels=3,
    ),
    Case(
        "ConvTranspose2d uneven, flip",
        lambda: layers.ConvTranspose2d(
            4, 6, 3, 2, ((0, 1), (2, 1)), (1, 0), groups=2, bias=False, flip=True
        ),
        input=(2, 4, 5, 4),
        output=(2, 6, 11, 6),
        parameters=4 * 3 * 9,
        channels=4,
    ),
    Case(
        "ConvTranspose3d",
        lambda: layers.ConvTranspose3d(2, 3, 2, 2),
        input=(2, 2, 2, 3, 2),
        output=(2, 3, 4, 6, 4),
        parameters=2 * 3 * 8 + 3,
        channels=2,
    ),
    Case(
        "PartialConv1d",
        lambda: layers.PartialConv1d(3, 4, 3, padding="full"),
        input=(2, 3, 6),
        output=(2, 4, 8),
        parameters=3 * 4 * 3 + 4,
        channels=3,
    ),
    Case(
        "PartialConv2d",
        lambda: layers.PartialConv2d(4, 4, 3, 2, 1, groups=2, bias=False),
        input=(2, 4, 6, 5),
        output=(2, 4, 3, 3),
        parameters=4 * 2 * 9,
        channels=4,
    ),
    Case(
        "PartialConv3d",
        lambda: layers.PartialConv3d(2, 3, 2, dilation=2, padding="same"),
        input=(2, 2, 3, 4, 3),
        output=(2, 3, 3, 4, 3),
        parameters=3 * 2 * 8 + 3,
        channels=2,
    ),
]
