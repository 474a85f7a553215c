"""Nodes that move elements: the file says of them what the network says."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convscope.analysis import summary
from convscope.analysis.onnx import onnx_summary

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper


class Moved(nn.Module):
    """Elements moved between two convolutions, of which the last reads them."""

    def __init__(self, move, channels=4):
        super().__init__()
        self.before = nn.Conv2d(3, 4, 3, stride=2, bias=False)
        self.move = move
        self.after = nn.Conv2d(channels, 2, 3, bias=False)

    def forward(self, x):
        return self.after(self.move(self.before(x)))


MOVES = {
    "sliced": lambda x: x[:, :, 1:-1, 2:],
    "sliced with a step": lambda x: x[:, :, ::2, 1::2],
    "one of two parts": lambda x: x.split(4, dim=2)[1],
    "sliced by its own size": lambda x: x[:, :, 1 : x.shape[2] - 1],
    "both halves": lambda x: torch.cat(x[..., :6].split(3, 3), dim=2),
    "unequal parts": lambda x: x.split([3, 4], dim=3)[1],
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "nearest to a size": lambda x: F.interpolate(x, size=(11, 5)),
    "linear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "linear to a size": lambda x: F.interpolate(x, size=(10, 9), mode="bilinear"),
    "corners": lambda x: F.interpolate(
        x, size=(10, 9), mode="bilinear", align_corners=True
    ),
    "cubic": lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"),
}


@pytest.mark.parametrize("name", MOVES)
def test_the_file_says_what_the_network_says(name, tmp_path):
    net, size = Moved(MOVES[name]), (3, 15, 15)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(
            net.eval(), (torch.zeros(1, *size),), tmp_path / "net.onnx", dynamo=False
        )
    record, file = summary(net, size), onnx_summary(tmp_path / "net.onnx")
    assert file.rows[-1].output_shape == record.rows[-1].output_shape
    assert file.parameters == record.parameters
    assert file.multiply_adds == record.multiply_adds
    assert not any("unknown" in note for note in file.notes)
    assert record.rows[-1].receptive_field is not None
    assert file.rows[-1].receptive_field == record.rows[-1].receptive_field


def followed(tmp_path, kind, *constants, outputs=("y",), opset=18, **attributes):
    """The summary of one node on a map of 6 by 6."""
    names = [
        f"c{place}" if one is not None else "" for place, one in enumerate(constants)
    ]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 2, 6, 6))
    made = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in outputs
    ]
    weights = [
        numpy_helper.from_array(np.array(one), name)
        for one, name in zip(constants, names, strict=True)
        if one is not None
    ]
    node = helper.make_node(kind, ["x", *names], list(outputs), **attributes)
    graph = helper.make_graph([node], "g", [x], made, initializer=weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    onnx.save(model, tmp_path / "node.onnx")
    return onnx_summary(tmp_path / "node.onnx")


def test_numbers_that_move_elements_are_no_parameters(tmp_path):
    factors = np.array([1, 1, 2, 2], np.float32)
    record = followed(
        tmp_path, "Resize", None, factors, mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip
    assert record.parameters == 0
    assert record.rows[0].output_shape == (2, 12, 12)
    assert record.rows[0].receptive_field[0].stride == 0.5


def test_all_parts_of_a_split_are_in_its_row(tmp_path):
    record = followed(tmp_path, "Split", np.array([2, 4]), outputs=("y", "z"), axis=2)
    (row,) = record.rows
    assert row.output_shapes == ((2, 2, 6), (2, 4, 6))
    assert row.activation_bytes == 4 * 2 * 6 * 6


class Padded(nn.Module):
    def __init__(self, mode, pads):
        super().__init__()
        self.mode, self.pads = mode, pads

    def forward(self, x):
        return F.pad(x, self.pads, mode=self.mode)


@pytest.mark.parametrize("pads", [(1, 2, 0, 3), (2, 1, 3, 0), (1, 0, 1, 0)])
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate"])
def test_padding_is_followed_in_every_mode(mode, pads, tmp_path):
    left, right, top, bottom = pads
    given = np.array([0, 0, top, left, 0, 0, bottom, right])
    onnx_mode = "edge" if mode == "replicate" else mode
    file = followed(tmp_path, "Pad", given, mode=onnx_mode)
    record = summary(Padded(mode, pads), (2, 6, 6))
    assert file.rows[0].output_shape == record.rows[0].output_shape
    assert file.rows[0].receptive_field == record.rows[0].receptive_field


def test_what_is_cut_off_is_followed(tmp_path):
    record = followed(tmp_path, "Pad", np.array([0, 0, -1, 2, 0, 0, -2, 0]))
    assert record.rows[0].output_shape == (2, 3, 8)
    assert [field.offset for field in record.rows[0].receptive_field] == [1, -2]


def test_circular_padding_is_followed(tmp_path):
    pads = np.array([0, 0, 1, 0, 0, 0, 0, 2])
    record = followed(tmp_path, "Pad", pads, mode="wrap", opset=19)
    assert record.rows[0].output_shape == (2, 7, 8)
    assert [field.offset for field in record.rows[0].receptive_field] == [-1, 0]


FACTORS = np.array([1, 1, 1.4, 1.4], np.float32)
OTHERS = {
    "a factor that the sizes do not have": (
        "Resize", (None, FACTORS), {"mode": "linear"}
    ),
    "nearest by another rule": (
        "Resize", (None, None, np.array([1, 2, 8, 8])), {"mode": "nearest"}
    ),
    "antialiasing": (
        "Resize", (None, None, np.array([1, 2, 3, 3])),
        {"mode": "linear", "antialias": 1},
    ),
    "backwards": (
        "Slice", (np.array([-1]), np.array([-7]), np.array([3]), np.array([-1])), {}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_torch_does_not_do_is_said_to_be_unknown(name, tmp_path):
    kind, constants, attributes = OTHERS[name]
    record = followed(tmp_path, kind, *constants, **attributes)
    assert record.rows[0].receptive_field is None
    assert f"receptive fields are unknown after {kind}" in record.notes


@pytest.mark.parametrize(("opset", "outputs"), [(13, 4), (21, 4), (22, 3)])
def test_pooling_that_rounds_up_goes_by_the_rule_of_its_opset(opset, outputs, tmp_path):
    record = followed(
        tmp_path, "MaxPool", opset=opset, ceil_mode=1,
        kernel_shape=[1, 1], strides=[3, 3], pads=[0, 0, 2, 2],
    )  # fmt: skip
    (row,) = record.rows
    assert row.output_shape == (2, outputs, outputs)
    assert [(field.size, field.stride) for field in row.receptive_field] == [(1, 3)] * 2
