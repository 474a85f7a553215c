"""What counts as a parameter of an ONNX file; every count is worked out by hand."""

import numpy as np
import pytest

from convscope.analysis.onnx import onnx_summary

onnx = pytest.importorskip("onnx")
from analysis.onnx_files import node, numbers, saved, value  # noqa: E402

CONV = node("Conv", ["x", "w"])  # two kernels of 3 x 3 over 3 channels: 54 weights
WEIGHT = numbers(2, 3, 3, 3)
INT8 = numbers(2, 3, 3, 3, dtype=np.int8)
# Each: what is stored, the nodes between it and the convolution, and what counts.
CHAINS = {
    "nothing": ({"w": WEIGHT}, [], (54, 0)),
    "Identity": ({"v": WEIGHT}, [node("Identity", ["v"], ["w"])], (54, 0)),
    "Transpose": (
        {"v": numbers(3, 2, 3, 3)},
        [node("Transpose", ["v"], ["w"], perm=[1, 0, 2, 3])],
        (54, 0),
    ),
    "Reshape": (
        {"v": numbers(54), "s": np.array([2, 3, 3, 3])},
        [node("Reshape", ["v", "s"], ["w"])],
        (54, 0),
    ),
    "Cast": (
        {"v": numbers(2, 3, 3, 3, dtype=np.float16)},
        [node("Cast", ["v"], ["w"], to=1)],
        (54, 0),
    ),
    "Cast of codes": ({"v": INT8}, [node("Cast", ["v"], ["w"], to=1)], (54, 0)),
    "DequantizeLinear": (
        {"v": INT8, "s": numbers(2), "z": numbers(2, dtype=np.int8)},
        [node("DequantizeLinear", ["v", "s", "z"], ["w"], axis=0)],
        (54, 4),
    ),
    "there and back": (
        {"v": WEIGHT, "s": np.float32(0.1), "z": np.int8(0)},
        [
            node("QuantizeLinear", ["v", "s", "z"], ["q"]),
            node("DequantizeLinear", ["q", "s", "z"], ["w"]),
        ],
        (54, 2),
    ),
    "a long chain": (
        {"v": numbers(54, dtype=np.int8), "s": np.float32(0.1),
         "t": np.array([3, 2, 3, 3])},
        [
            node("Identity", ["v"], ["a"]),
            node("DequantizeLinear", ["a", "s"], ["b"]),
            node("Reshape", ["b", "t"], ["c"]),
            node("Transpose", ["c"], ["w"], perm=[1, 0, 2, 3]),
        ],
        (54, 1),
    ),
    "two halves": (
        {"a": numbers(1, 3, 3, 3), "b": numbers(1, 3, 3, 3)},
        [node("Concat", ["a", "b"], ["w"], axis=0)],
        (54, 0),
    ),
    "a part": (
        {"v": numbers(4, 3, 3, 3), "from": np.array([1]), "to": np.array([3])},
        [node("Slice", ["v", "from", "to"], ["w"])],
        (108, 0),
    ),
    "length and direction": (
        {"v": WEIGHT, "g": numbers(2, 1, 1, 1), "axes": np.array([1, 2, 3])},
        [
            node("ReduceL2", ["v", "axes"], ["n"]),
            node("Div", ["v", "n"], ["d"]),
            node("Mul", ["d", "g"], ["w"]),
        ],
        (56, 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", ["initializer", "Constant"])
@pytest.mark.parametrize("name", CHAINS)
def test_a_weight_counts_wherever_it_is_and_whatever_lies_before_it(
    name, how, tmp_path
):
    tensors, before, expected = CHAINS[name]
    path = saved(tmp_path / "n.onnx", [*before, CONV], tensors, how=how)
    record = onnx_summary(path)
    assert (record.parameters, record.buffers) == expected
    assert record.multiply_adds == 54 * 36
    assert [row.parameters for row in record.rows] == [expected[0]]


# Each: the nodes, what is stored, and what counts of it.
ROLES = {
    "indices of Gather": (
        [node("Gather", ["x", "i"], axis=1)], {"i": np.array([2, 0])}, (0, 0)
    ),
    "a shape": ([node("Reshape", ["x", "s"])], {"s": np.array([1, 3, 64])}, (0, 0)),
    "a slice": (
        [node("Slice", ["x", "a", "b", "c", "d"])],
        {"a": np.array([1]), "b": np.array([5]), "c": np.array([2]),
         "d": np.array([2])},
        (0, 0),
    ),
    "axes": ([node("Unsqueeze", ["x", "a"])], {"a": np.array([0])}, (0, 0)),
    "bounds": (
        [node("Clip", ["x", "a", "b"])],
        {"a": np.float32(0), "b": np.float32(6)},
        (0, 0),
    ),
    "padding": (
        [node("Pad", ["x", "p", "v"])],
        {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "v": np.float32(0.5)},
        (0, 0),
    ),
    "factors of a resize": (
        [node("Resize", ["x", "", "f"])],
        {"f": np.array([1, 1, 2, 2], np.float32)},
        (0, 0),
    ),
    "a formula": (
        [node("Add", ["x", "three"], ["a"]), node("Div", ["a", "six"], ["b"]),
         node("Pow", ["b", "two"])],
        {"three": np.float32(3), "six": np.array([6], np.float32),
         "two": np.float32(2)},
        (0, 0),
    ),
    "a mask": (
        [node("Where", ["m", "x", "w"])],
        {"m": np.ones((8, 8), bool), "w": numbers(3, 1, 1)},
        (3, 0),
    ),
    "a learned factor and shift": (
        [node("Mul", ["x", "a"], ["s"]), node("Add", ["s", "b"])],
        {"a": numbers(1), "b": numbers(3, 1, 1)},
        (4, 0),
    ),
    "slopes": ([node("PRelu", ["x", "a"])], {"a": numbers(1)}, (1, 0)),
    "a batch norm": (
        [node("BatchNormalization", ["x", "g", "b", "m", "v"])],
        {name: numbers(3) for name in "gbmv"},
        (6, 6),
    ),
    "an instance norm": (
        [node("InstanceNormalization", ["x", "g", "b"])],
        {"g": numbers(3), "b": numbers(3)},
        (6, 0),
    ),
    "one that is still as it began": (
        [node("InstanceNormalization", ["x", "g", "b"])],
        {"g": np.ones(3, np.float32), "b": np.zeros(3, np.float32)},
        (6, 0),
    ),
    "a group norm in older operators": (
        [node("Reshape", ["x", "s"], ["a"]),
         node("InstanceNormalization", ["a", "g", "b"])],
        {"s": np.array([1, 1, -1]), "g": np.ones(1, np.float32),
         "b": np.zeros(1, np.float32)},
        (0, 0),
    ),
    "a bias that is shared": (
        [node("Conv", ["x", "w", "b"], ["h"]), node("Conv", ["h", "w", "b"])],
        {"w": numbers(3, 3, 1, 1), "b": numbers(3)},
        (12, 0),
    ),
    "a weight of which only the shape is used": (
        [node("Shape", ["w"], ["s"]), node("Reshape", ["x", "s"])],
        {"w": numbers(1, 3, 64)},
        (0, 0),
    ),
    "a weight that nothing reads": ([node("Relu", ["x"])], {"w": WEIGHT}, (0, 0)),
    "positions": (
        [node("Cast", ["p"], ["f"], to=1), node("Add", ["x", "f"])],
        {"p": np.arange(8)},
        (0, 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROLES)
def test_the_role_of_a_tensor_decides(name, tmp_path):
    nodes, tensors, expected = ROLES[name]
    record = onnx_summary(saved(tmp_path / "n.onnx", nodes, tensors))
    assert (record.parameters, record.buffers) == expected


def test_a_table_that_words_are_looked_up_in_counts(tmp_path):
    path = saved(
        tmp_path / "n.onnx",
        [node("Gather", ["table", "x"])],
        {"table": numbers(50, 8)},
        inputs=[value("x", (1, 7), onnx.TensorProto.INT64)],
    )
    record = onnx_summary(path)
    assert (record.parameters, record.multiply_adds) == (400, 0)
    assert record.rows[0].output_shape == (7, 8)


def microsoft(kind, inputs, **more):
    return node(kind, inputs, domain="com.microsoft", **more)


U8, S8, F32 = np.uint8(3), np.int8(0), np.float32(0.1)
CODES = {"w": INT8, "b": numbers(2, dtype=np.int32), "s": F32, "z": U8, "zw": S8}
# Each: nodes, what is stored, parameters, buffers, multiply-adds.
QUANTIZED = {
    "QLinearConv": (
        [node("QuantizeLinear", ["x", "s", "z"], ["q"]),
         node("QLinearConv", ["q", "s", "z", "w", "s", "zw", "s", "z", "b"])],
        CODES, (56, 3), 54 * 36,
    ),
    "ConvInteger": (
        [node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
         node("ConvInteger", ["q", "w", "z", "zw"], ["i"]),
         node("Cast", ["i"], ["f"], to=1), node("Mul", ["s", "ws"], ["t"]),
         node("Mul", ["f", "t"])],
        {"w": INT8, "zw": S8, "ws": numbers(2, 1, 1)}, (54, 3), 54 * 36,
    ),
    "MatMulInteger": (
        [node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
         node("MatMulInteger", ["q", "w", "z"])],
        {"w": numbers(8, 5, dtype=np.int8)}, (40, 0), 3 * 8 * 40,
    ),
    "QDQ": (
        [node("QuantizeLinear", ["x", "s", "z"], ["q"]),
         node("DequantizeLinear", ["q", "s", "z"], ["d"]),
         node("DequantizeLinear", ["w", "s", "zw"], ["wd"]),
         node("DequantizeLinear", ["b", "s"], ["bd"]),
         node("Conv", ["d", "wd", "bd"])],
        CODES, (56, 3), 54 * 36,
    ),
    "MatMulNBits": (  # 8 x 5 codes of 4 bits, in blocks of 16
        [microsoft("MatMulNBits", ["x", "w", "s"], K=8, N=5, bits=4, block_size=16)],
        {"w": numbers(5, 1, 8, dtype=np.uint8), "s": numbers(5)}, (40, 5), 3 * 8 * 40,
    ),
    "DynamicQuantizeMatMul": (
        [microsoft("DynamicQuantizeMatMul", ["x", "w", "s"])],
        {"w": numbers(8, 5, dtype=np.int8), "s": F32}, (40, 1), 3 * 8 * 40,
    ),
    "DynamicQuantizeLSTM": (  # its weights lie the other way, 8 numbers to 4 x 5
        [node("Squeeze", ["x", "first"], ["s"]),
         microsoft("DynamicQuantizeLSTM",
                   ["s", "w", "r", "b", "", "", "", "", "s", "z", "s", "z"],
                   hidden_size=5)],
        {"w": numbers(1, 8, 20, dtype=np.int8), "r": numbers(1, 5, 20, dtype=np.int8),
         "b": numbers(1, 40), "first": np.array([0]), "z": S8},
        (20 * 13 + 40, 1), 3 * 8 * 20 * 13,
    ),
    "FusedConv": (
        [microsoft("FusedConv", ["x", "w"], activation="Relu")],
        {"w": WEIGHT}, (54, 0), 54 * 36,
    ),
    "FusedMatMul": (
        [microsoft("FusedMatMul", ["x", "w"], transB=1)],
        {"w": numbers(5, 8)}, (40, 0), 3 * 8 * 40,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", QUANTIZED)
def test_codes_of_quantized_weights_count_one_for_each_number(name, tmp_path):
    nodes, tensors, counts, products = QUANTIZED[name]
    record = onnx_summary(saved(tmp_path / "n.onnx", nodes, tensors))
    assert (record.parameters, record.buffers) == counts
    assert record.multiply_adds == products
    assert not any("unknown operators" in note for note in record.notes)
    if "LSTM" not in name:  # of which not even torch's is known
        assert record.rows[-1].receptive_field is not None


def test_weights_have_the_bytes_that_they_have_in_the_file(tmp_path):
    tensors, before, _ = CHAINS["DequantizeLinear"]
    record = onnx_summary(saved(tmp_path / "n.onnx", [*before, CONV], tensors))
    assert record.weight_bytes == 54 + 2 * 4 + 2


def test_a_number_that_the_exporter_has_worked_out_is_no_parameter(tmp_path):
    for name, expected in (("val_3", 0), ("layer.scale", 1)):
        path = saved(
            tmp_path / "n.onnx", [node("Mul", ["x", name])], {name: numbers(1)}
        )
        assert onnx_summary(path).parameters == expected


def test_of_a_sparse_weight_what_is_stored_counts(tmp_path):
    values = onnx.numpy_helper.from_array(numbers(4), "w")
    places = onnx.numpy_helper.from_array(np.array([0, 7, 20, 53]), "w_at")
    sparse = onnx.helper.make_sparse_tensor(values, places, [2, 3, 3, 3])
    graph = onnx.helper.make_graph(
        [CONV], "g", [value("x", (1, 3, 8, 8))], [value("y")],
        sparse_initializer=[sparse],
    )  # fmt: skip
    onnx.save(onnx.helper.make_model(graph), tmp_path / "n.onnx")
    record = onnx_summary(tmp_path / "n.onnx")
    assert (record.parameters, record.multiply_adds) == (4, 54 * 36)
