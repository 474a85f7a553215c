import warnings

import pytest
import torch

from analysis import networks
from convscope.analysis import summary
from convscope.analysis.onnx.graph import onnx_summary
from convscope.errors import ArgumentError, ShapeError

onnx = pytest.importorskip("onnx")
helper = onnx.helper
CASES = {
    "lenet5": (networks.lenet5, (1, 32, 32)),
    "inception": (lambda: networks.Inception(3, 4), (3, 16, 16)),
    "unet": (networks.UNet, (3, 16, 16)),
    "volume": (networks.volume, (1, 6, 12, 14)),
}


def exported(net, size, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(net.eval(), (torch.zeros(1, *size),), path, dynamo=False)
    return path


@pytest.mark.parametrize("name", CASES)
def test_the_file_says_the_same_as_the_network(name, tmp_path):
    build, size = CASES[name]
    net = build()
    record = summary(net, size)
    file = onnx_summary(exported(net, size, tmp_path / "net.onnx"))
    assert (file.parameters, file.multiply_adds) == (
        record.parameters,
        record.multiply_adds,
    )
    assert file.rows[-1].output_shape == record.rows[0].output_shape
    assert file.rows[-1].receptive_field == record.rows[0].receptive_field


def graph_of(nodes, path, shape=(1, 3, 8, 8), weights=()):
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], initializer=list(weights))
    onnx.save(helper.make_model(graph), path)
    return path


def test_same_padding_by_name_is_understood(tmp_path):
    weight = helper.make_tensor("w", onnx.TensorProto.FLOAT, (2, 3, 3, 3), [0.0] * 54)
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER", strides=[2, 2]
    )
    path = graph_of([node], tmp_path / "same.onnx", weights=[weight])
    row = onnx_summary(path).rows[0]
    assert (row.output_shape, row.multiply_adds) == ((2, 4, 4), 54 * 16)
    assert row.receptive_field[0].offset == 0


def test_a_length_left_open_is_asked_for(tmp_path):
    node = helper.make_node("Relu", ["x"], ["y"])
    path = graph_of([node], tmp_path / "open.onnx", shape=("N", 3, "H", "W"))
    with pytest.raises(
        ShapeError, match="Give its size, such as 3,224,224 \\(input_shape"
    ):
        onnx_summary(path)
    assert onnx_summary(path, [(3, 5, 7)]).rows[0].output_shape == (3, 5, 7)
    with pytest.raises(ShapeError, match="Give 3 numbers"):
        onnx_summary(path, [(3, 5)])


def test_weights_in_other_files_are_not_read(tmp_path):
    weight = helper.make_tensor("w", onnx.TensorProto.FLOAT, (2, 3, 1, 1), [0.0] * 6)
    weight.ClearField("float_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    path = graph_of([node], tmp_path / "far.onnx", weights=[weight])
    assert onnx_summary(path).parameters == 6


def test_a_loop_is_refused(tmp_path):
    value = helper.make_tensor_value_info("o", onnx.TensorProto.FLOAT, None)
    inner = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["o"])], "i", [], [value]
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    with pytest.raises(ArgumentError, match="If has a graph of its own"):
        onnx_summary(graph_of([node], tmp_path / "loop.onnx"))


@pytest.mark.parametrize("content", [b"", b"not a network", bytes(range(256)) * 9])
def test_what_is_no_network_is_refused(content, tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ArgumentError):
        onnx_summary(path)
    with pytest.raises(ArgumentError, match="is not there"):
        onnx_summary(tmp_path / "none.onnx")


def test_too_many_nodes_are_refused(tmp_path, monkeypatch):
    from convscope.analysis.onnx import graph as onnx_graph

    monkeypatch.setattr(onnx_graph, "MOST_NODES", 1)
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in (("x", "h"), ("h", "y"))]
    with pytest.raises(ArgumentError, match="has 2 nodes, more than 1"):
        onnx_summary(graph_of(nodes, tmp_path / "long.onnx"))
