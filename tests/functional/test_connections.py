import re

import pytest
import torch

from convscope.errors import ShapeError
from convscope.functional import conv, dense_weight, read_connections

TABLE = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 1, 1]]).bool()


def test_kernels_take_their_places_in_row_order():
    weight = torch.randn(6, 2, 3)
    dense = dense_weight(weight, TABLE)
    assert dense.shape == (3, 3, 2, 3)
    assert dense[TABLE].equal(weight)
    assert dense[~TABLE].eq(0).all()


def test_an_output_sees_only_what_it_is_connected_to():
    x = torch.randn(1, 3, 6, 6, requires_grad=True)
    out = conv(x, dense_weight(torch.randn(6, 3, 3), TABLE))
    for channel, row in enumerate(TABLE):
        (grad,) = torch.autograd.grad(out[0, channel].sum(), x, retain_graph=True)
        assert grad[0].abs().sum((1, 2)).ne(0).equal(row)


def test_both_derivatives_are_right_and_it_maps():
    weight = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)

    def spread(weight):
        return dense_weight(weight, TABLE)

    assert torch.autograd.gradcheck(spread, weight)
    assert torch.autograd.gradgradcheck(spread, weight)
    mapped = torch.func.vmap(spread)(torch.stack([weight, weight]))
    assert mapped.equal(torch.stack([spread(weight), spread(weight)]))


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (
            [[1, 0], [1, 1]],
            "Conv2d: connections have shape (2, 2). Give 3 rows, one for each output "
            "channel, of 2, one for each input channel.",
        ),
        (
            [[1, 0], [0, 0], [1, 1]],
            "Conv2d: connections leave output channel 1 without an input. Give row 1 "
            "at least one, or take the channel out.",
        ),
        (
            [[1, 0], [0, 2], [1, 1]],
            "Conv2d: connections hold a value besides 0 and 1. Give booleans.",
        ),
        (
            [[1, 0], [0], [1, 1]],
            "Conv2d: connections are not a table of booleans. Give 3 rows of 2.",
        ),
    ],
)
def test_what_is_no_table_is_refused(table, text):
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        read_connections(table, 3, 2, where="Conv2d")


def test_kernels_must_be_as_many_as_pairs():
    text = (
        "dense_weight: weight has 5 kernels for 6 connected pairs. Give one for each."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        dense_weight(torch.ones(5, 3), TABLE)
