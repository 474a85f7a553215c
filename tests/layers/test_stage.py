"""A stage is its parts, in the order of the papers."""

import copy
import pickle
import re

import pytest
import torch
from torch import nn

from convscope import functional as F
from convscope.errors import (
    ArgumentError,
    CallError,
    ConvscopeError,
    ShapeError,
    UnknownNameError,
)
from convscope.layers import LocalContrastNorm2d, Stage1d, Stage2d, Stage3d, stages


def names(stage):
    return [name for name, _ in stage.named_children()]


def test_the_published_stage_is_the_formulas_of_the_paper_one_after_the_other():
    torch.manual_seed(0)
    stage = Stage2d.of("F_CSG-R_abs-N-P_A", 2, 3, 5, pool_size=4, pool_stride=2)
    stage.activation.weight.data = torch.tensor([0.5, 1.0, 2.0])
    x = torch.randn(2, 2, 20, 18)
    maps = torch.conv2d(x, stage.filters.weight, stage.filters.bias)
    maps = (stage.activation.weight[:, None, None] * maps.tanh()).abs()
    maps = F.local_contrast_norm(maps, 9)
    expected = torch.nn.functional.avg_pool2d(maps, 4, 2)
    torch.testing.assert_close(stage(x), expected)


@pytest.mark.parametrize(
    ("notation", "parts"),
    [
        ("F", ["filters", "activation"]),
        ("F - P_A", ["filters", "activation", "pooling"]),
        ("F_CSG-N-P_M", ["filters", "activation", "normalization", "pooling"]),
        ("F-R-P_A", ["filters", "activation", "rectification", "pooling"]),
        ("F_CSG-R_abs", ["filters", "activation", "rectification"]),
    ],
)
def test_each_row_of_the_papers_table_can_be_written_down(notation, parts):
    assert names(Stage2d.of(notation, 1, 4, 3)) == parts


def test_the_notation_can_be_overruled():
    stage = Stage2d.of("F-R-P_A", 1, 4, 3, activation="relu", pooling="max")
    assert isinstance(stage.activation, nn.ReLU)


def test_batch_normalization_stands_before_the_activation_and_takes_the_bias():
    stage = Stage2d(3, 4, 3, normalization="batch")
    assert names(stage) == ["filters", "normalization", "activation"]
    assert stage.filters.bias is None
    assert Stage2d(3, 4, 3, normalization="batch", bias=True).filters.bias is not None
    assert Stage2d(3, 4, 3).filters.bias is not None


def test_response_normalization_is_as_krizhevsky_publishes_it():
    layer = Stage2d(3, 4, 3, normalization="response").normalization
    assert (layer.size, layer.alpha, layer.beta, layer.k) == (5, 1e-4, 0.75, 2.0)
    assert not layer.average


def test_every_combination_of_parts_runs_in_every_dimension():
    for axes, kind in {1: Stage1d, 2: Stage2d, 3: Stage3d}.items():
        x = torch.randn(2, 2, *[6] * axes)
        for activation in ("relu", "tanh", "sigmoid", "gelu", "silu", "gain", None):
            for normalization in ("contrast", "response", "batch", None):
                for pooling in ("max", "average", "lp", None):
                    stage = kind(
                        2,
                        3,
                        3,
                        activation=activation,
                        rectification=pooling == "max",
                        normalization=normalization,
                        pooling=pooling,
                    )
                    side = 4 if pooling is None else 2
                    assert stage(x).shape == (2, 3, *[side] * axes)


def test_a_part_may_be_given_as_a_layer():
    norm, act, pool = LocalContrastNorm2d(5), nn.Hardswish(), nn.AdaptiveAvgPool2d(1)
    stage = Stage2d(1, 2, 3, activation=act, normalization=norm, pooling=pool)
    assert (stage.activation, stage.normalization, stage.pooling) == (act, norm, pool)


def test_options_of_the_filters_reach_them():
    stage = Stage2d(
        4, 8, 3, stride=2, padding="same", padding_mode="partial", groups=2, bias=False
    )
    assert stage(torch.ones(1, 4, 9, 9)).shape == (1, 8, 5, 5)
    assert (stage.filters.groups, stage.filters.padding_mode) == (2, "partial")


def test_an_image_without_a_batch_goes_through():
    stage = Stage2d.of("F_CSG-R_abs-N-P_A", 2, 3, 3).eval()
    x = torch.randn(2, 8, 8)
    torch.testing.assert_close(stage(x), stage(x[None])[0])


def test_a_slice_is_a_plain_sequence_of_the_same_parts():
    stage = Stage2d(1, 2, 3, pooling="max")
    part = stage[:2]
    assert type(part) is nn.Sequential
    assert names(part) == ["filters", "activation"]
    assert part[0] is stage[0] is stage.filters
    assert stage[-1] is stage.pooling


def test_copies_and_pickles_give_the_same():
    stage = Stage2d.of("F_CSG-R_abs-N-P_M", 1, 2, 3)
    x = torch.randn(1, 1, 8, 8)
    for twin in (copy.deepcopy(stage), pickle.loads(pickle.dumps(stage))):
        assert torch.equal(twin(x), stage(x))


def test_stages_follow_each_other_and_share_what_they_do_not_say():
    net = stages(
        3,
        [
            8,
            {"out_channels": 16, "kernel_size": 5},
            {"out_channels": 4, "pooling": None},
        ],
        kernel_size=3,
        padding="same",
        pooling="max",
        pool_size=2,
    )
    assert net(torch.zeros(2, 3, 16, 12)).shape == (2, 4, 4, 3)
    assert [s.filters.kernel_size for s in net] == [(3, 3), (5, 5), (3, 3)]
    assert net[0].pooling.kernel_size == net[1].pooling.kernel_size == 2
    assert isinstance(stages(1, [2], axes=3, kernel_size=3)[0], Stage3d)


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (
            UnknownNameError,
            "unknown activation 'rleu'. Did you mean 'relu'?",
            lambda: Stage2d(1, 2, 3, activation="rleu"),
        ),
        (
            UnknownNameError,
            "unknown normalization 'batchnorm'. Did you mean 'batch'?",
            lambda: Stage2d(1, 2, 3, normalization="batchnorm"),
        ),
        (
            UnknownNameError,
            "unknown pooling 'avg'. Did you mean 'average'?",
            lambda: Stage2d(1, 2, 3, pooling="avg"),
        ),
        (
            UnknownNameError,
            "unknown part of a stage 'P_B'. Did you mean 'P_M'?",
            lambda: Stage2d.of("F-P_B", 1, 2, 3),
        ),
        (
            ArgumentError,
            "Stage2d: notation='F-N-R-P_A' has 'R' out of order. Write F, then any of "
            "R, N and P_A or P_M, in this order.",
            lambda: Stage2d.of("F-N-R-P_A", 1, 2, 3),
        ),
        (
            ArgumentError,
            "Stage2d: notation='R-P_A' has 'R' out of order. Write F, then any of R, N "
            "and P_A or P_M, in this order.",
            lambda: Stage2d.of("R-P_A", 1, 2, 3),
        ),
        (
            ArgumentError,
            "stages: stage 2 has no out_channels. Give the number of its filters.",
            lambda: stages(1, [2, {"pooling": "max"}], kernel_size=3),
        ),
        (
            ArgumentError,
            "stages: stage 1 has no kernel_size. Give one to it, or one for all "
            "stages.",
            lambda: stages(1, [2, {"out_channels": 3, "kernel_size": 3}]),
        ),
        (
            CallError,
            "stages: unknown argument 'kernel'. Did you mean 'kernel_size'?",
            lambda: stages(1, [2], kernel=3),
        ),
        (
            ArgumentError,
            "Stage2d: pool_size=3 but pooling=None pools nothing. Name the pooling: "
            "'max', 'average' or 'lp'; or leave the size out.",
            lambda: Stage2d(3, 8, 3, pool_size=3),
        ),
        (
            ArgumentError,
            "Stage1d: pool_stride=2 but pooling=None pools nothing. Name the pooling: "
            "'max', 'average' or 'lp'; or leave the size out.",
            lambda: Stage1d.of("F-R", 3, 8, 3, pool_stride=2),
        ),
        (
            ArgumentError,
            "Stage2d: pool_size=3 but pooling=MaxPool2d is a layer, with windows of "
            "its own. Name the pooling: 'max', 'average' or 'lp'; or leave the size "
            "out.",
            lambda: Stage2d(3, 8, 3, pool_size=3, pooling=torch.nn.MaxPool2d(2)),
        ),
        (
            ArgumentError,
            "Stage2d: pool_size=3 but pooling=None pools nothing. Name the pooling: "
            "'max', 'average' or 'lp'; or leave the size out.",
            lambda: stages(1, [2], kernel_size=3, pool_size=3),
        ),
        (
            ArgumentError,
            "stages: each=[] makes no stages. Give 1 to 3 axes and at least one stage.",
            lambda: stages(1, [], kernel_size=3),
        ),
        (
            ShapeError,
            "Stage2d: x must have shape (N, 1, H, W) or (1, H, W); got (2, 3, 8, 8), "
            "which has 3 channels. Build the layer for 3 channels, or give it 1.",
            lambda: Stage2d(1, 2, 3)(torch.zeros(2, 3, 8, 8)),
        ),
    ],
)
def test_what_cannot_be_is_refused_in_full_sentences(error, text, call):
    with pytest.raises(ConvscopeError, match=f"^{re.escape(text)}$") as caught:
        call()
    assert type(caught.value) is error
