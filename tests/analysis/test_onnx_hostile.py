"""Files that are damaged or mean harm: one line each, at once, and in little memory."""

import contextlib
import itertools
import random
import tracemalloc

import numpy as np
import pytest

from convscope.analysis.onnx import loading, onnx_summary
from convscope.errors import ArgumentError, ConvscopeError

onnx = pytest.importorskip("onnx")
from analysis.onnx_files import node, numbers, saved, value  # noqa: E402

helper, TensorProto = onnx.helper, onnx.TensorProto
CONV = [node("Conv", ["x", "w"])]
WEIGHT = {"w": numbers(2, 3, 3, 3)}


def refused(path, text, *given):
    with pytest.raises(ArgumentError, match=text) as caught:
        onnx_summary(path, *given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a network", bytes(range(256)) * 9])
def test_what_is_no_network_is_refused(content, tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    refused(path, "bad.onnx")
    refused(tmp_path / "none.onnx", "is not there")
    refused(tmp_path, "is not there")


def test_a_file_that_was_cut_off_or_changed_is_read_or_refused(tmp_path):
    whole = saved(tmp_path / "n.onnx", CONV, WEIGHT).read_bytes()
    path, drawn = tmp_path / "cut.onnx", random.Random(0)
    for place in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << drawn.randrange(8)
        for content in (whole[:place], bytes(flipped)):
            path.write_bytes(content)
            with contextlib.suppress(ConvscopeError):
                onnx_summary(path).to_text()


def broken(**change):
    """A weight of which the file says what is not so."""
    tensor = helper.make_tensor("w", TensorProto.FLOAT, (2, 3, 3, 3), [0.5] * 54)
    if change.get("raw"):
        tensor.ClearField("float_data")
        tensor.raw_data = change["raw"]
    if "dims" in change:
        del tensor.dims[:]
        tensor.dims.extend(change["dims"])
    tensor.data_type = change.get("code", tensor.data_type)
    return tensor


DAMAGED = {
    "too many numbers": ({"dims": (2**20, 2**20, 3, 3)}, "and 54 are there"),
    "more than any machine holds": ({"dims": (2**62, 2**62)}, "54 are there"),
    "a length below zero": ({"dims": (2, -3, 3, 3)}, "impossible shape"),
    "too many axes": ({"dims": (1,) * 300}, "impossible shape"),
    "too few bytes": ({"raw": b"123"}, "216 bytes, and 3 are there"),
    "another type": ({"code": TensorProto.INT64}, "of INT64, 54 numbers, and 0"),
    "a type that is none": ({"code": 99}, "type 99, which ONNX does not have"),
    "no type": ({"code": 0}, "type 0, which ONNX does not have"),
}


@pytest.mark.parametrize("how", ["initializer", "Constant"])
@pytest.mark.parametrize("name", DAMAGED)
def test_a_weight_that_is_not_as_it_says_is_refused(name, how, tmp_path):
    change, text = DAMAGED[name]
    path = saved(tmp_path / "n.onnx", CONV, {"w": broken(**change)}, how=how)
    tracemalloc.start()
    refused(path, text)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def elsewhere(tmp_path, location, **more):
    tensor = broken()
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": location, **more}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, text
    return saved(tmp_path / "far.onnx", CONV, {"w": tensor})


@pytest.mark.parametrize("location", ["../../etc/passwd", "/etc/passwd", "gone", "\0"])
def test_weights_in_other_files_are_not_read_and_their_shapes_suffice(
    location, tmp_path
):
    record = onnx_summary(elsewhere(tmp_path, location))
    assert (record.parameters, record.multiply_adds) == (54, 54 * 36)
    assert any("not found beside the file" in note for note in record.notes)


def test_another_file_that_is_too_short_is_refused(tmp_path):
    path = elsewhere(tmp_path, "weights.bin", offset="100", length="216")
    (tmp_path / "weights.bin").write_bytes(bytes(316))
    assert onnx_summary(path).parameters == 54
    (tmp_path / "weights.bin").write_bytes(bytes(315))
    refused(path, "has 315 bytes, and a weight ends at byte 316")
    refused(elsewhere(tmp_path, "w", length="7"), "lies in 7 bytes of another file")
    refused(elsewhere(tmp_path, "w", offset="many"), "does not say where it lies")


GRAPHS = {
    "a missing weight": (
        CONV, {}, "Conv reads 'w', which nothing in the file makes or holds"
    ),
    "a circle": (
        [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]),
         node("Neg", ["b"], ["y"])],
        {}, "nodes wait for each other in a circle",
    ),
    "a node that waits for itself": ([node("Add", ["x", "y"])], {}, "in a circle"),
    "a name made twice": (
        [node("Relu", ["x"]), node("Neg", ["x"])], {}, "'y' is made twice"
    ),
    "an end that nothing makes": (
        [node("Relu", ["x"], ["z"])], {}, "the end of the network reads 'y'"
    ),
    "an empty constant": (
        [node("Constant", [], ["w"]), *CONV], {}, "the constant 'w' is empty"
    ),
    "weights that do not fit": (
        [node("MatMul", ["x", "w"])], {"w": numbers(7, 2)}, "Incompatible dimensions"
    ),
    "numbers that contradict": (
        [node("Reshape", ["x", "s"])], {"s": np.array([1, 7])}, "Reshape 'Reshape_0'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_that_cannot_be_followed_is_refused(name, tmp_path):
    nodes, tensors, text = GRAPHS[name]
    refused(saved(tmp_path / "n.onnx", nodes, tensors), text)


NONSENSE = {
    "an axis that is not there": (
        [node("LayerNormalization", ["x", "w"], axis=2**31)], r"has axis=2147483648"
    ),
    "a step of nothing": ([node("Conv", ["x", "w"], strides=[0, 1])], "has strides="),
    "no groups": ([node("Conv", ["x", "w"], group=0)], "has group=0"),
    "an order of too many": (
        [node("Transpose", ["x"], perm=[0, 1, 2, 9])], r"has perm=\[0, 1, 2, 9\]"
    ),
    "more parts than sizes": (
        [node("Split", ["x"], ["y", "z"], num_outputs=1)], "num_outputs=1, and 2"
    ),
    "an attribute that it does not have": (
        [node("Relu", ["x"], speed=3)], "Relu 'Relu_0' is not as ONNX has it"
    ),
    "an attribute of another type": (
        [node("Concat", ["x", "x"], axis="first")], "Concat_0' is not as ONNX has it"
    ),
    "too few inputs": ([node("Conv", ["x"])], "Conv 'Conv_0' is not as ONNX has it"),
    "windows for another number of axes": (
        [node("MaxPool", ["x"], kernel_shape=[2])], "MaxPool 'MaxPool_0'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NONSENSE)
def test_attributes_that_make_no_sense_are_refused(name, tmp_path):
    nodes, text = NONSENSE[name]
    refused(saved(tmp_path / "n.onnx", nodes, WEIGHT), text)


def test_the_wrong_kind_of_constant_is_refused(tmp_path):
    path = saved(tmp_path / "n.onnx", [node("Constant", [], ["w"], value=3), *CONV])
    refused(path, "the constant 'w' is empty")


def test_nodes_in_another_order_are_put_in_order(tmp_path):
    nodes = [node("Relu", ["h"]), node("Conv", ["x", "w"], ["h"])]
    record = onnx_summary(saved(tmp_path / "n.onnx", nodes, WEIGHT))
    assert [row.kind.partition("(")[0] for row in record.rows] == ["Conv", "Relu"]


LARGE = {
    "ConstantOfShape": [node("ConstantOfShape", ["s"], ["c"])],
    "Expand": [node("Expand", ["one", "s"], ["c"])],
    "Tile": [node("Unsqueeze", ["one", "axes"], ["u"]),
             node("Tile", ["u", "s"], ["c"])],
    "Range": [node("Range", ["zero", "many", "one"], ["c"])],
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_constants_of_any_size_are_not_made(name, tmp_path):
    path = saved(
        tmp_path / "n.onnx",
        [*LARGE[name], node("Size", ["c"], ["n"]), node("Cast", ["n"], ["f"], to=1),
         node("Mul", ["x", "f"])],
        {
            "s": np.array([2**40]), "one": np.array(1), "zero": np.array(0),
            "many": np.array(2**40), "axes": np.array([0]),
        },
    )  # fmt: skip
    tracemalloc.start()
    assert onnx_summary(path).parameters == 0
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_a_long_signal_is_measured_and_its_fields_are_left_out(tmp_path):
    inputs = [value("x", (1, 1, 2**24))]
    path = saved(tmp_path / "n.onnx", CONV, {"w": numbers(2, 1, 3)}, inputs=inputs)
    tracemalloc.start()
    record = onnx_summary(path)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()
    assert record.multiply_adds == 6 * (2**24 - 2)
    assert record.rows[0].receptive_field is None


def test_too_many_nodes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "MOST_NODES", 1)
    nodes = [node("Relu", [a], [b]) for a, b in (("x", "h"), ("h", "y"))]
    refused(saved(tmp_path / "n.onnx", nodes), "has 2 nodes, more than 1")


def calling(name, other, times):
    """A function of the file that calls another one a number of times."""
    names = ["a", *(f"t{n}" for n in range(times - 1)), "b"]
    calls = [
        node(other, [one], [then], domain="mine" if other != "Relu" else "")
        for one, then in itertools.pairwise(names)
    ]
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    return helper.make_function("mine", name, ["a"], ["b"], calls, imports)


def test_functions_that_come_to_billions_of_nodes_are_counted_first(tmp_path):
    functions = [calling("f0", "Relu", 8)]
    functions += [calling(f"f{n}", f"f{n - 1}", 8) for n in range(1, 20)]
    path = saved(
        tmp_path / "n.onnx", [node("f19", ["x"], domain="mine")], functions=functions
    )
    refused(path, f"has {8**20:,} nodes with its functions written out")


def test_a_function_that_calls_itself_is_refused(tmp_path):
    functions = [calling("f", "g", 1), calling("g", "f", 1)]
    path = saved(
        tmp_path / "n.onnx", [node("f", ["x"], domain="mine")], functions=functions
    )
    refused(path, "calls itself")


def nested(depth):
    """Branches within branches, down to one node."""
    inner = helper.make_graph([node("Relu", ["x"], ["o"])], "b", [], [value("o")])
    other = helper.make_graph([node("Neg", ["x"], ["o"])], "b", [], [value("o")])
    for _ in range(depth):
        step = node("If", ["c"], ["o"], then_branch=inner, else_branch=other)
        inner = helper.make_graph([step], "b", [], [value("o")])
    return inner.node


def test_graphs_within_graphs_are_followed(tmp_path):
    path = saved(tmp_path / "n.onnx", nested(20), {"c": np.array(True)}, outputs=["o"])
    assert [row.kind for row in onnx_summary(path).rows] == ["Relu()"]


def field(number, content):
    """A field of a message as protobuf writes it, which refuses to nest so deeply."""
    size, digits = len(content), []
    while size > 127:
        digits.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *digits, size]) + content


def test_graphs_too_deep_for_the_format_are_refused(tmp_path):
    content = b""
    for _ in range(3000):  # model: graph 7; graph: node 1; node: attribute 5; its g 6
        content = field(1, field(5, field(6, content)))
    (tmp_path / "n.onnx").write_bytes(field(7, content))
    refused(tmp_path / "n.onnx", "cannot be read as ONNX")
