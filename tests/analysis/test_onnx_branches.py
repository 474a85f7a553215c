"""Branches, loops and operators that nobody knows: followed, or said to be unknown."""

import numpy as np
import pytest

from convscope.analysis.onnx import onnx_summary

onnx = pytest.importorskip("onnx")
from analysis.onnx_files import node, numbers, saved, stored_as, value  # noqa: E402

helper = onnx.helper
BOOL, INT64 = onnx.TensorProto.BOOL, onnx.TensorProto.INT64


def branch(kernel):
    """A convolution of ``x`` from around it, with a weight of its own."""
    held, _ = stored_as({"w": numbers(2, 3, kernel, kernel)}, "initializer")
    pads = [kernel // 2] * 4
    return helper.make_graph(
        [node("Conv", ["x", "w"], ["o"], pads=pads)], "b", [], [value("o")], held
    )


def choice(tmp_path, before, tensors, inputs):
    made = node("If", ["c"], then_branch=branch(3), else_branch=branch(5))
    return saved(tmp_path / "if.onnx", [*before, made], tensors, inputs=inputs)


IMAGE = value("x", (1, 3, 8, 8))


@pytest.mark.parametrize(("says", "weights"), [(True, 54), (False, 150)])
def test_the_branch_of_a_constant_condition_is_followed(says, weights, tmp_path):
    path = choice(tmp_path, [], {"c": np.array(says)}, [IMAGE])
    record = onnx_summary(path)
    assert (record.parameters, record.multiply_adds) == (weights, weights * 64)
    assert record.rows[0].receptive_field[0].size == (3 if says else 5)


def test_a_condition_that_is_computed_from_sizes_is_constant(tmp_path):
    before = [node("Shape", ["x"], ["s"]), node("Size", ["s"], ["n"]),
              node("Equal", ["n", "four"], ["c"])]  # fmt: skip
    path = choice(tmp_path, before, {"four": np.array(4)}, [IMAGE])
    assert onnx_summary(path).parameters == 54


def test_a_condition_on_an_input_is_decided_by_its_value(tmp_path):
    rate = value("rate", (), INT64)
    before = [node("Equal", ["rate", "r"], ["c"])]
    path = choice(tmp_path, before, {"r": np.array(16000)}, [IMAGE, rate])
    assert onnx_summary(path, {"rate": 16000}).parameters == 54
    assert onnx_summary(path, {"rate": 8000}).parameters == 150
    record = onnx_summary(path)
    assert (record.parameters, record.multiply_adds) == (54 + 150, 0)
    (row,) = [row for row in record.rows if row.kind.startswith("If")]
    assert not row.counted
    assert (
        "which branch If takes depends on the input; a value for rate may decide it"
    ) in record.notes
    assert "without those of 1 row marked ?" in str(record)
    assert ",204,0,,0," in record.to_csv()  # no number of products, rather than 0
    assert "| 204 | ? |" in record.to_markdown()


def test_what_a_loop_holds_counts_and_its_products_are_unknown(tmp_path):
    held, _ = stored_as({"w": numbers(8, 8), "i": np.array([2, 0, 1])}, "initializer")
    body = helper.make_graph(
        [
            node("MatMul", ["h", "w"], ["m"]),
            node("Gather", ["m", "i"], ["next"], axis=1),
            node("Identity", ["c"], ["again"]),
        ],
        "body",
        [value("n", (), INT64), value("c", (), BOOL), value("h", (1, 3, 8, 8))],
        [value("again", (), BOOL), value("next")],
        held,
    )
    path = saved(
        tmp_path / "n.onnx", [node("Loop", ["times", "", "x"], body=body)],
        {"times": np.array(3)},
    )  # fmt: skip
    record = onnx_summary(path)
    assert (record.parameters, record.multiply_adds) == (64, 0)
    assert any(note.startswith("unknown operators: Loop;") for note in record.notes)
    assert "receptive fields are unknown after Loop" in record.notes


def test_an_operator_of_its_own_domain_stops_nothing(tmp_path):
    path = saved(
        tmp_path / "n.onnx",
        [
            node("Mixer", ["x", "m", "codes", "places"], ["h"], domain="com.acme"),
            node("Conv", ["h", "w"]),
        ],
        {
            "m": numbers(3, 3), "codes": numbers(4, 4, dtype=np.int8),
            "places": np.arange(7), "w": numbers(2, 3, 3, 3),
        },
        declared=[value("h", (1, 3, 8, 8))],
    )  # fmt: skip
    record = onnx_summary(path)
    assert (record.parameters, record.multiply_adds) == (9 + 16 + 54, 54 * 36)
    assert [row.counted for row in record.rows] == [False, True]
    assert [row.receptive_field for row in record.rows] == [None, None]
    assert "receptive fields are unknown after com.acme.Mixer" in record.notes


def test_where_its_size_is_not_declared_the_rest_still_counts(tmp_path):
    path = saved(
        tmp_path / "n.onnx",
        [node("Mixer", ["x"], ["h"], domain="com.acme"), node("Conv", ["h", "w"])],
        {"w": numbers(2, 3, 3, 3)},
    )
    record = onnx_summary(path)
    assert (record.parameters, record.multiply_adds) == (54, 0)
    assert [row.output_shapes for row in record.rows] == [(), ()]
    assert record.to_text().count("?") >= 4
    assert any("multiply-adds of Conv are not included" in n for n in record.notes)


def test_functions_of_the_file_are_written_out(tmp_path):
    function = helper.make_function(
        "mine", "twice", ["a", "v"], ["b"],
        [node("Conv", ["a", "v"], ["h"]), node("Conv", ["h", "v"], ["b"])],
        [helper.make_opsetid("", 18)],
    )  # fmt: skip
    path = saved(
        tmp_path / "n.onnx", [node("twice", ["x", "w"], domain="mine")],
        {"w": numbers(3, 3, 3, 3)}, functions=[function],
    )  # fmt: skip
    record = onnx_summary(path)
    assert (record.parameters, record.multiply_adds) == (81, 81 * (36 + 16))


RECURRENT = {"LSTM": 4, "GRU": 3, "RNN": 1}


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_layers_multiply_every_weight_at_every_step(kind, both, tmp_path):
    gates, ways = RECURRENT[kind], 1 + both
    more = {"direction": "bidirectional"} if both else {}
    path = saved(
        tmp_path / "n.onnx",
        [node(kind, ["x", "w", "r", "b", "", "h"], hidden_size=4, **more)],
        {
            "w": numbers(ways, 4 * gates, 6), "r": numbers(ways, 4 * gates, 4),
            "b": numbers(ways, 8 * gates), "h": np.zeros((ways, 1, 4), np.float32),
        },
        inputs=[value("x", (5, 1, 6))],
    )  # fmt: skip
    record = onnx_summary(path)
    assert record.multiply_adds == 5 * ways * gates * 4 * (6 + 4)
    assert record.parameters == ways * gates * 4 * (6 + 4 + 2)
    assert record.rows[0].output_shape == (5, ways, 1, 4)


def test_a_recurrent_layer_of_which_only_the_last_state_is_used_is_counted(tmp_path):
    path = saved(
        tmp_path / "n.onnx", [node("RNN", ["x", "w", "r"], ["", "y"], hidden_size=4)],
        {"w": numbers(1, 4, 6), "r": numbers(1, 4, 4)}, inputs=[value("x", (5, 1, 6))],
    )  # fmt: skip
    (row,) = onnx_summary(path).rows
    assert (row.multiply_adds, row.output_shapes) == (5 * 40, ((1, 4),))


def test_a_state_to_begin_with_counts_if_it_was_learned(tmp_path):
    path = saved(
        tmp_path / "n.onnx", [node("RNN", ["x", "w", "r", "", "", "h"], hidden_size=4)],
        {"w": numbers(1, 4, 6), "r": numbers(1, 4, 4), "h": numbers(1, 1, 4)},
        inputs=[value("x", (5, 1, 6))],
    )  # fmt: skip
    assert onnx_summary(path).parameters == 24 + 16 + 4


OTHER = {
    "Einsum": (
        [node("Einsum", ["x", "w"], equation="nchw,cd->nhwd")], {"w": numbers(3, 5)},
        3 * 64 * 5, 0,
    ),
    "DeformConv": (
        [node("DeformConv", ["x", "w", "o"])],
        {"w": numbers(2, 3, 3, 3), "o": numbers(1, 18, 6, 6)}, 54 * 36, 0,
    ),
    "Attention": (  # 8 queries and 8 keys of 8 numbers, for each of 3 heads
        [node("Attention", ["x", "x", "x"])], {}, 0, 3 * 8 * 8 * (8 + 8),
    ),
    "DepthToSpace": (
        [node("Conv", ["x", "w"], ["h"]), node("DepthToSpace", ["h"], blocksize=2)],
        {"w": numbers(4, 3, 3, 3)}, 108 * 36, 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_products_of_other_operators(name, tmp_path):
    nodes, tensors, weights, activations = OTHER[name]
    path = saved(tmp_path / "n.onnx", nodes, tensors, opset=23)
    record = onnx_summary(path)
    assert record.multiply_adds == weights
    assert record.activation_products == activations
    assert all(row.counted for row in record.rows)
