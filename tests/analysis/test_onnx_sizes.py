"""Sizes that a file leaves open: asked for by name, given as one would guess."""

import re

import numpy as np
import pytest

from convscope.analysis.onnx import onnx_summary
from convscope.cli.remedies import with_flags
from convscope.errors import ShapeError, UnknownNameError

onnx = pytest.importorskip("onnx")
from analysis.onnx_files import node, numbers, saved, value  # noqa: E402

RELU = [node("Relu", ["x"])]


def relu(tmp_path, *shape):
    return saved(tmp_path / "open.onnx", RELU, inputs=[value("x", shape)])


def test_an_open_batch_is_one(tmp_path):
    for batch in ("N", "anything", None, -1, 0):
        record = onnx_summary(relu(tmp_path, batch, 3, 5, 7))
        assert (record.input_shapes, record.rows[0].output_shape) == (
            ((3, 5, 7),), (3, 5, 7),
        )  # fmt: skip


def test_other_open_lengths_are_asked_for_with_an_example_to_copy(tmp_path):
    path = relu(tmp_path, "N", 3, "H", None)
    with pytest.raises(ShapeError) as caught:
        onnx_summary(path)
    begins = "summary: open.onnx: input 'x' leaves axes 2 (H) and 3 open. "
    assert str(caught.value) == (
        begins + "Give your size in place of this example "
        "(input_size={'x': (1, 3, 224, 224)})."
    )
    assert with_flags(caught.value) == (
        begins + "Give your size in place of this example (--input x=1,3,224,224)."
    )


@pytest.mark.parametrize(
    "given",
    [
        (3, 5, 7), (1, 3, 5, 7), [(3, 5, 7)], [(1, 3, 5, 7)], {"x": (3, 5, 7)},
        {"x": (1, 3, 5, 7)},
    ],
)  # fmt: skip
def test_a_size_is_given_with_or_without_the_batch_in_order_or_by_name(given, tmp_path):
    record = onnx_summary(relu(tmp_path, "N", 3, "H", "W"), given)
    assert record.rows[0].output_shape == (3, 5, 7)


def test_a_question_mark_is_no_name_of_a_length(tmp_path):
    record = onnx_summary(relu(tmp_path, "?", 3, "?", "?"), (3, 5, 7))
    assert record.rows[0].output_shape == (3, 5, 7)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ((3, 5), ShapeError, "has 4 axes with the batch, and (3, 5) is given. Give 3"),
        ((3, 0, 7), ShapeError, "(3, 0, 7) is not a size for input 'x'"),
        ({"y": (3, 5, 7)}, UnknownNameError, "unknown input of open.onnx 'y'"),
        ([(3, 5, 7), (3,)], ShapeError, "has 1 inputs (x), and 2 sizes are given"),
        ((3, 5, 2**40), ShapeError, "input 'x' is 1 x 3 x 5 x 1,099,511,627,776"),
    ],
)
def test_what_is_no_size_of_it_is_refused(given, error, text, tmp_path):
    with pytest.raises(error, match=re.escape(text)):
        onnx_summary(relu(tmp_path, "N", 3, "H", "W"), given)


def two(tmp_path):
    inputs = [
        value("a", ("batch", 2, "length")),
        value("b", ("batch", "length", 4)),
        value("rate", (), onnx.TensorProto.INT64),
    ]
    return saved(tmp_path / "two.onnx", [node("MatMul", ["a", "b"])], inputs=inputs)


def test_lengths_of_one_name_are_one_length(tmp_path):
    record = onnx_summary(two(tmp_path), {"a": (2, 9)})
    assert record.rows[0].output_shape == (2, 4)
    assert record.activation_products == 2 * 9 * 4


def test_several_inputs_are_given_in_order(tmp_path):
    for given in ([(2, 9), (9, 4)], [(2, 9), (9, 4), 16000]):
        assert onnx_summary(two(tmp_path), given).activation_products == 72
    with pytest.raises(ShapeError, match=r"has 3 inputs \(a, b, rate\), and 1 size is"):
        onnx_summary(two(tmp_path), [(2, 9)])


def test_a_first_axis_that_the_file_fixes_stays_and_is_told(tmp_path):
    record = onnx_summary(relu(tmp_path, 2, "N", 8), {"x": (2, 1, 8)})
    assert record.rows[0].output_shape == (2, 1, 8)
    assert "the first axis of x is 2; all counts are for the whole of it" in (
        record.notes
    )


def test_a_size_that_does_not_fit_the_weights_is_refused(tmp_path):
    path = saved(tmp_path / "n.onnx", [node("Conv", ["x", "w"])],
                 {"w": numbers(2, 3, 3, 3)})  # fmt: skip
    with pytest.raises(ShapeError, match="has a weight for 3 channels, and 1 reach it"):
        onnx_summary(path, (1, 8, 8))
    assert onnx_summary(path, (3, 9, 9)).multiply_adds == 54 * 49


def test_sizes_are_followed_through_numbers_that_the_graph_computes(tmp_path):
    # flatten as exporters write it: the batch from Shape, then -1
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "first"], ["n"], axis=0),
        node("Unsqueeze", ["n", "axes"], ["u"]),
        node("Concat", ["u", "rest"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["f"]),
        node("MatMul", ["f", "w"]),
    ]
    tensors = {
        "first": np.array(0), "axes": np.array([0]), "rest": np.array([-1]),
        "w": numbers(192, 10),
    }  # fmt: skip
    record = onnx_summary(saved(tmp_path / "n.onnx", nodes, tensors))
    assert record.rows[-1].output_shape == (10,)
    assert (record.parameters, record.multiply_adds) == (1920, 1920)
