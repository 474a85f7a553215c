"""Every product is counted: beside torch's own counter, on networks that hide some."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convscope import models
from convscope.analysis import summary


class Net(nn.Module):
    """Layers by name, and a forward that is given."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


def steps(net, x):
    state = None
    for step in range(x.shape[1]):
        state = net.cell(x[:, step], state)
    return state[0] if isinstance(state, tuple) else state


def queried(net, x):
    queries = net.queries.expand(x.shape[0], -1, -1)
    return net.attention(queries, x, x)[0]


def queried_once(net, x):
    return net.first(x) + net.second(net.queries).mean(0)


def with_positions(net, x):
    places = torch.ones(x.shape[1], 2, device=x.device)
    return net.last(x + net.positions(places))


def transposed_in_place(net, x):
    y = x * 1
    y.transpose_(1, 2)
    return net.last(y)


def rows_written(net, x):
    out = x.new_zeros(x.shape)
    for row in range(x.shape[1]):
        out[:, row] = x[:, row] * 2
    return net.last(out)


def through_numpy(net, x):
    return net.last(torch.from_numpy(np.sqrt(x.detach().numpy())))


def packed(net, x):
    lengths = [x.shape[1]] * x.shape[0]
    rows = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
    return net.last(net.rnn(rows)[1][0][0])


CASES = {
    "GRU": lambda: (
        Net(
            lambda n, x: n.last(n.rnn(x)[0]),
            rnn=nn.GRU(6, 4, batch_first=True),
            last=nn.Linear(4, 100),
        ),
        (5, 6),
    ),
    "two LSTMs": lambda: (
        Net(
            lambda n, x: n.rnn(x)[0],
            rnn=nn.LSTM(6, 4, num_layers=2, bidirectional=True, batch_first=True),
        ),
        (3, 6),
    ),
    "channels last and pooled": lambda: (
        Net(
            lambda n, x: n.last(n.pool(x.permute(0, 3, 1, 2)).flatten(1)),
            pool=nn.AdaptiveAvgPool2d(1),
            last=nn.Linear(8, 1000),
        ),
        (6, 5, 8),
    ),
    "transposed in place": lambda: (
        Net(transposed_in_place, last=nn.Linear(8, 1000)),
        (8, 4),
    ),
    "LSTM cell": lambda: (Net(steps, cell=nn.LSTMCell(6, 4)), (5, 6)),
    "GRU cell": lambda: (Net(steps, cell=nn.GRUCell(6, 4)), (5, 6)),
    "learned queries": lambda: (
        Net(
            queried,
            queries=nn.Parameter(torch.rand(5, 8)),
            attention=nn.MultiheadAttention(8, 2, batch_first=True),
        ),
        (7, 8),
    ),
    "queries once per batch": lambda: (
        Net(
            queried_once,
            queries=nn.Parameter(torch.rand(5, 8)),
            first=nn.Linear(8, 3),
            second=nn.Linear(8, 3),
        ),
        (7, 8),
    ),
    "positions": lambda: (
        Net(with_positions, positions=nn.Linear(2, 8), last=nn.Linear(8, 3)),
        (4, 8),
    ),
    "rows written": lambda: (Net(rows_written, last=nn.Linear(8, 3)), (4, 8)),
    "NumPy inside": lambda: (Net(through_numpy, last=nn.Linear(8, 3)), (4, 8)),
    "outer products": lambda: (
        Net(
            lambda n, x: torch.einsum("bij,bkj->bik", n.one(x), n.one(x)),
            one=nn.Linear(8, 3),
        ),
        (4, 8),
    ),
    "transposed convolution": lambda: (
        Net(
            lambda n, x: n.up(n.down(x)),
            down=nn.Conv2d(3, 8, 3, 2),
            up=nn.ConvTranspose2d(8, 3, 4, 2, groups=1),
        ),
        (3, 9, 8),
    ),
    "encoder": lambda: (
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0).train(),
        (6, 8),
    ),
}


# Not in torch's counter: weights laid out by a table, and windows that are no weights.
OTHERWISE = ("jarrett", "lenet5_1998")


def counted(net, shape, device="meta"):
    """On the processor torch does not look into a fused LSTM."""
    with FlopCounterMode(display=False) as counter:
        net.to(device)(torch.rand(1, *shape, device=device))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", CASES)
def test_the_sum_of_all_products_is_torchs(name):
    net, shape = CASES[name]()
    record = summary(net, shape, training=net.training)
    ours = record.multiply_adds + record.activation_products
    device = "cpu" if name == "NumPy inside" else "meta"
    assert ours == counted(net, shape, device)


@pytest.mark.parametrize("name", [n for n in models.cards() if n not in OTHERWISE])
def test_our_models_are_counted_as_torch_does(name):
    card = models.find(name)
    size = tuple(max(card.min_size, 32) for _ in card.input_shape[1:])
    with torch.device("meta"):
        net = models.build(name, in_channels=card.input_shape[0], input_size=size)
        with FlopCounterMode(display=False) as counter:
            net.eval()(torch.empty(1, card.input_shape[0], *size))
    record = summary(net, (card.input_shape[0], *size))
    assert record.multiply_adds == counter.get_total_flops() // 2


def test_products_on_constants_are_shown_apart_once_per_batch():
    net, shape = CASES["queries once per batch"]()
    record = summary(net, shape)
    assert (record.multiply_adds, record.constant_products) == (7 * 24 + 5 * 24, 120)
    assert "288 multiply-adds (120 on constants, once per batch)" in str(record)


def test_a_packed_sequence_is_counted_where_torch_counts_none():
    net = Net(packed, rnn=nn.LSTM(6, 4, batch_first=True), last=nn.Linear(4, 2))
    assert summary(net, (4, 6)).multiply_adds == 4 * (6 + 4) * 16 + 4 * 2


def test_what_left_torch_and_came_back_still_depends_on_the_input():
    record = summary(Net(through_numpy, last=nn.Conv2d(3, 4, 3)), (3, 8, 8))
    assert record.rows[0].receptive_field is None
    assert record.constant_products == 0


def test_a_layout_written_in_place_keeps_its_receptive_field():
    net, shape = CASES["channels last and pooled"]()
    assert [f.size for f in summary(net, shape).rows[0].receptive_field] == [5, 8]
