import copy
import io
import pickle
import re

import pytest
import torch
from torch import nn
from torch.nn.utils import fusion

from convscope import layers
from convscope.errors import ArgumentError, ShapeError, UnknownNameError

PAIRS = [  # ours, torch's, arguments, keyword arguments
    (layers.Conv1d, nn.Conv1d, (4, 6, 3), {}),
    (layers.Conv1d, nn.Conv1d, (4, 6, 5, 2, 1, 2, 2, False), {}),
    (layers.Conv2d, nn.Conv2d, (4, 6, (3, 2)), {"padding": (1, 0)}),
    (layers.Conv2d, nn.Conv2d, (4, 6, 3), {"padding": "same", "dilation": 2}),
    (layers.Conv2d, nn.Conv2d, (4, 6, 3, 1, 1, 1, 2, True, "reflect"), {}),
    (layers.Conv2d, nn.Conv2d, (4, 6, 3, 2, 2), {"padding_mode": "replicate"}),
    (layers.Conv2d, nn.Conv2d, (4, 6, 3, 2, 2), {"padding_mode": "circular"}),
    (layers.Conv2d, nn.Conv2d, (4, 6, 3), {"dtype": torch.float64, "device": "cpu"}),
    (layers.Conv3d, nn.Conv3d, (4, 6, 2, 1, "valid"), {}),
    (layers.Conv3d, nn.Conv3d, (4, 4, 2), {"stride": (1, 2, 1), "groups": 4}),
]
every_pair = pytest.mark.parametrize(("ours", "theirs", "given", "named"), PAIRS)
TABLE = [[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 1, 1]]  # 8 pairs


def both(ours, theirs, given, named):
    torch.manual_seed(0)
    left = ours(*given, **named)
    torch.manual_seed(0)
    return left, theirs(*given, **named)


@every_pair
def test_they_start_and_compute_as_torch_s_bit_for_bit(ours, theirs, given, named):
    left, right = both(ours, theirs, given, named)
    assert {n: p.shape for n, p in left.named_parameters()} == {
        n: p.shape for n, p in right.named_parameters()
    }
    for mine, other in zip(left.parameters(), right.parameters(), strict=True):
        assert mine.equal(other)
        assert mine.dtype == other.dtype
    x = torch.randn(2, 4, *(9, 8, 7)[: left.axes], dtype=left.weight.dtype)
    assert left(x).equal(right(x))
    assert left(x[0]).equal(right(x[0]))


@every_pair
def test_states_go_both_ways(ours, theirs, given, named):
    left, right = both(ours, theirs, given, named)
    with torch.no_grad():
        for parameter in left.parameters():
            parameter.add_(1)
    right.load_state_dict(left.state_dict())
    left.load_state_dict(right.state_dict())
    x = torch.randn(2, 4, *(9, 8, 7)[: left.axes], dtype=left.weight.dtype)
    assert left(x).equal(right(x))


@every_pair
def test_other_tools_find_torch_s_attributes(ours, theirs, given, named):
    left, right = both(ours, theirs, given, named)
    assert isinstance(left, theirs)
    for name in (*right.__constants__, "transposed"):
        assert getattr(left, name) == getattr(right, name)


def test_a_batch_norm_folds_in():
    conv, norm = layers.Conv2d(3, 4, 3).eval(), nn.BatchNorm2d(4).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(1, 2)
    x = torch.randn(2, 3, 6, 5)
    folded = fusion.fuse_conv_bn_eval(conv, norm)
    torch.testing.assert_close(folded(x), norm(conv(x)))


def test_every_argument_beyond_torch_s_shows():
    layer = layers.Conv2d(
        3,
        4,
        3,
        2,
        ((1, 0), (2, 1)),
        padding_mode="constant",
        padding_value=0.5,
        flip=True,
        bias=False,
    )
    assert repr(layer) == (
        "Conv2d(3, 4, kernel_size=(3, 3), stride=(2, 2), padding=((1, 0), (2, 1)), "
        "padding_mode='constant', padding_value=0.5, flip=True, bias=False)"
    )
    assert repr(layers.Conv1d(3, 4, 3, padding="causal", connections=TABLE)) == (
        "Conv1d(3, 4, kernel_size=(3,), stride=(1,), padding='causal', connections=8 "
        "of 12 pairs)"
    )


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_connections_hold_the_kernels_of_the_pairs_alone(axes):
    kind = (layers.Conv1d, layers.Conv2d, layers.Conv3d)[axes - 1]
    layer = kind(3, 4, 2, connections=TABLE)
    assert layer.weight.shape == (8, *(2,) * axes)
    dense = layer.dense_weight()
    assert dense[torch.tensor(TABLE).bool()].equal(layer.weight)
    plain = kind(3, 4, 2)
    with torch.no_grad():
        plain.weight.copy_(dense)
        plain.bias.copy_(layer.bias)
    x = torch.randn(2, 3, *(5, 4, 3)[:axes])
    torch.testing.assert_close(layer(x), plain(x))
    layer(x).sum().backward()
    assert layer.weight.grad.ne(0).all()


def test_each_output_starts_by_the_inputs_that_it_sees():
    rows = [[1] + [0] * 63, [1] * 64]
    layer = layers.Conv2d(64, 2, 5, connections=rows)
    narrow, wide = 1 / 5, 1 / 40  # 1 / sqrt(fan_in), fan_in 25 and 1600
    dense = layer.dense_weight()
    for output, bound in ((dense[0, 0], narrow), (dense[1], wide)):
        assert output.abs().max() <= bound
        assert output.abs().max() > 0.7 * bound  # a chance of 0.7^25 to fail
    assert layer.bias.abs()[1] <= wide


def test_a_dense_weight_shows_the_flip():
    layer = layers.Conv2d(2, 3, 3, flip=True)
    plain = layers.Conv2d(2, 3, 3)
    with torch.no_grad():
        plain.weight.copy_(layer.dense_weight())
        plain.bias.copy_(layer.bias)
    x = torch.randn(1, 2, 5, 5)
    assert layer(x).equal(plain(x))
    assert not layer.weight.equal(plain.weight)


def test_a_state_of_another_table_is_refused():
    other = [[1, 1, 0], *TABLE[1:]]
    state = layers.Conv2d(3, 4, 3, connections=other).state_dict()
    layer = layers.Conv2d(3, 4, 3, connections=TABLE)
    before = layer.weight.clone()
    text = (
        "Conv2d: connections in the state are another table, whose kernels belong to "
        "other pairs. Build the layer with that table."
    )
    with pytest.raises(RuntimeError, match=re.escape(text)):
        layer.load_state_dict(state)
    assert layer.weight.equal(before)
    same = layers.Conv2d(3, 4, 3, connections=torch.tensor(TABLE))
    same.load_state_dict(layer.state_dict())
    x = torch.randn(1, 3, 5, 5)
    assert same(x).equal(layer(x))


def test_connections_survive_copies_and_the_meta_device():
    torch.manual_seed(0)
    layer = layers.Conv2d(3, 4, 3, connections=TABLE)
    x = torch.randn(1, 3, 5, 5)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin(x).equal(layer(x))
    empty = layers.Conv2d(3, 4, 3, connections=TABLE, device="meta")
    assert empty(x.to("meta")).shape == (1, 4, 3, 3)
    filled = empty.to_empty(device="cpu")
    filled.load_state_dict(layer.state_dict())
    assert filled(x).equal(layer(x))
    torch.manual_seed(0)
    drawn = layers.Conv2d(3, 4, 3, connections=TABLE, device="meta")
    drawn = drawn.to_empty(device="cpu")
    drawn.reset_parameters()
    assert drawn.dense_weight()[~torch.tensor(TABLE).bool()].eq(0).all()
    assert drawn.connections.equal(torch.tensor(TABLE).bool())


@pytest.mark.parametrize("connections", [None, TABLE])
def test_it_exports_for_any_batch_and_saves(connections):
    layer = layers.Conv2d(3, 4, 3, padding="same", connections=connections)
    x = torch.randn(2, 3, 6, 5)
    shapes = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(layer, (x,), dynamic_shapes=shapes)
    torch.testing.assert_close(exported.module()(x[:1]), layer(x[:1]))
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert state.keys() == layer.state_dict().keys()


def test_autocast_narrows_what_it_narrows_in_torch_s():
    layer = layers.Conv2d(3, 4, 3, padding=1, padding_mode="partial")
    x = torch.randn(2, 3, 6, 5)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32
    atol = 2 * torch.finfo(torch.bfloat16).eps * layer(x).abs().max().item()
    torch.testing.assert_close(out.float(), layer(x), rtol=0, atol=2 * atol)


@pytest.mark.parametrize(
    ("given", "named", "error", "text"),
    [
        (
            (3, 4, 3),
            {"groups": 2},
            ShapeError,
            "Conv2d: in_channels=3 is not a multiple of groups=2. Use 2 or 4 channels, "
            "or groups that divide both numbers of channels.",
        ),
        (
            (3, 4, 3),
            {"padding": "vaild"},
            UnknownNameError,
            "unknown padding 'vaild'. Did you mean 'valid'?",
        ),
        (
            (3, 4, 3),
            {"padding": "causal"},
            ArgumentError,
            "Conv2d: padding='causal' needs one spatial axis in which time runs, and "
            "there are 2. Use 'same', or pairs (before, after).",
        ),
        (
            (3, 4, 3),
            {"padding_mode": "simmetric"},
            UnknownNameError,
            "unknown padding_mode 'simmetric'. Did you mean 'symmetric'?",
        ),
        (
            (3, 4, (3, 3, 3)),
            {},
            ArgumentError,
            "Conv2d: kernel_size=(3, 3, 3) has 3 values for 2 spatial axes. Give one "
            "integer, or 2.",
        ),
        (
            (3, 4, 3, 0),
            {},
            ArgumentError,
            "Conv2d: stride=0 is not an integer of at least 1. Use stride=1 or more.",
        ),
        (
            (0, 4, 3),
            {},
            ArgumentError,
            "Conv2d: in_channels=0 is not an integer of at least 1. Use in_channels=1 "
            "or more.",
        ),
        (
            (4, 4, 3),
            {"groups": 2, "connections": [[1] * 4] * 4},
            ArgumentError,
            "Conv2d: connections and groups=2 both say which channels see each other. "
            "Use groups=1.",
        ),
        (
            (3, 4, 3),
            {"connections": [[1, 1], [1, 1]]},
            ShapeError,
            "Conv2d: connections have shape (2, 2). Give 4 rows, one for each output "
            "channel, of 3, one for each input channel.",
        ),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_built(given, named, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        layers.Conv2d(*given, **named)


@pytest.mark.parametrize(
    ("named", "shape", "text"),
    [
        (
            {},
            (1, 3, 2, 9),
            "Conv2d, height: kernel_size=3 spans 3 elements, the input has 2. Use an "
            "input of at least 3, 1 more padding on each side, or kernel_size at most "
            "2.",
        ),
        (
            {"padding": 4, "padding_mode": "reflect"},
            (1, 3, 9, 4),
            "Conv2d, width: padding=(4, 4) with padding_mode='reflect' needs 5 "
            "elements, the input has 4. Use padding at most 3, or "
            "padding_mode='replicate'.",
        ),
        (
            {},
            (1, 2, 9, 9),
            "Conv2d: x must have shape (N, 3, H, W) or (3, H, W); got (1, 2, 9, 9), "
            "which has 2 channels. Build the layer for 2 channels, or give it 3.",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_torch_sees_it(named, shape, text):
    layer = layers.Conv2d(3, 4, 3, **named)
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        layer(torch.zeros(shape))
