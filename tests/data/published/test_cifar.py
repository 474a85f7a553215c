import os
import pickle
import re
import struct
import tracemalloc

import numpy as np
import pytest

from convscope.data.published.cifar import (
    parse_binary_batch,
    parse_python_batch,
    unpickle,
)
from convscope.errors import DataError
from data.files import python2_batch

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
Y = np.array([3, 8, 0, 9])
BINARY = np.c_[Y, X.reshape(4, -1)].astype(np.uint8).tobytes()


def batch(**changes):
    entries = {"data": X.reshape(4, -1), "labels": Y.tolist(), **changes}
    return pickle.dumps({k.encode(): v for k, v in entries.items()}, protocol=4)


@pytest.mark.parametrize(
    ("parse", "content"),
    [
        (parse_python_batch, python2_batch(X, Y)),
        (parse_python_batch, batch()),
        (parse_python_batch, pickle.dumps(pickle.loads(batch()), protocol=3)),
        (parse_binary_batch, BINARY),
    ],
    ids=["python 2", "python 3", "protocol 3", "binary"],
)
def test_every_version_gives_the_same_images(parse, content):
    images, labels = parse(content, where="b")
    np.testing.assert_array_equal(images, X, strict=True)
    np.testing.assert_array_equal(labels, Y)


def test_the_batch_written_here_is_what_pickle_reads():
    read = pickle.loads(python2_batch(X, Y), encoding="bytes")
    np.testing.assert_array_equal(read[b"data"], X.reshape(4, -1))
    assert read[b"labels"] == Y.tolist()


class Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


HOSTILE = {
    "os.system": Runs(os.system, "touch {}"),
    "eval": Runs(eval, "open('{}', 'w')"),
    "exec": Runs(exec, "open('{}', 'w')"),
    "open": Runs(open, "{}", "w"),
    "getattr": Runs(getattr, os, "system"),
    "numpy load": Runs(np.load, "{}"),
    "allocation": Runs(np.zeros, 10**15),
    "bytearray": Runs(bytearray, 10**15),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_pickle_that_calls_anything_is_refused_and_not_run(tmp_path, name, protocol):
    function, arguments = HOSTILE[name].call
    touched = tmp_path / "touched"
    filled = [
        a.format(touched) if isinstance(a, str) and "{}" in a else a for a in arguments
    ]
    if name == "getattr":
        filled[0] = "os"  # a module cannot be pickled; the call is what counts
    hostile = {b"data": Runs(function, *filled), b"labels": [1]}
    with pytest.raises(DataError, match=r"^b: refused, it (asks to run|uses the op)"):
        parse_python_batch(pickle.dumps(hostile, protocol=protocol), where="b")
    assert not touched.exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"cos\nsystem\n(S'touch x'\ntR.", "uses the operation STRING"),
        (b"(S'ls'\nios\nsystem\n.", "uses the operation STRING"),
        (b"\x80\x02(ios\nsystem\n.", "uses the operation INST"),
        (b"\x80\x02cposix\nsystem\n(U\x02lstR.", "asks to run posix.system"),
        (b"\x80\x02cnumpy\nload\n(U\x02lstR.", "asks to run numpy.load"),
        (b"\x80\x02cnumpy\nndarray.tofile\n.", "asks to run numpy.ndarray.tofile"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "asks to run os.system"),
        (b"\x80\x02\x82\x01.", "uses the operation EXT1"),
        (b"\x80\x02U\x01aQ.", "uses the operation BINPERSID"),
        (b"\x80\x02Nr\xff\xff\xff\xff.", "numbers a value 4294967295"),
    ],
)
def test_other_ways_to_reach_code_or_memory_are_refused(content, text):
    full = (
        f"b: refused, it {text}. A batch holds only arrays, bytes, strings, lists and "
        "dictionaries. Get the published file."
    )
    with pytest.raises(DataError, match=f"^{re.escape(full)}$"):
        unpickle(content, where="b")


def array_of(shape, data=b"", code=b"u1"):
    numbers = b"".join(b"J" + struct.pack("<i", size) for size in shape)
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85"
        b"U\x01btR(K\x01(" + numbers + b"tcnumpy\ndtype\n(U\x02" + code + b"K\x00K\x01"
        b"tR\x89T" + struct.pack("<i", len(data)) + data + b"tb."
    )


@pytest.mark.parametrize(
    "content",
    [
        array_of((2**31 - 1, 2**31 - 1)),
        array_of((-1, -1), b"x"),
        array_of((2,), b"1234567890123456", b"O8"),
        b"\x80\x02T\xff\xff\xff\x7f.",  # a string of 2 GiB that is not there
        b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.",  # bytes without end
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(J\xff\xff\xff\x7ftR.",
    ],
)
def test_a_pickle_that_promises_more_than_it_has_allocates_nothing(content):
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            parse_python_batch(content, where="b")
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kept", [0, 1, 30, 200, 6000, 12_000])
def test_a_batch_cut_short_is_refused(kept):
    for content in (python2_batch(X, Y), batch()):
        with pytest.raises(DataError, match=r"^b: "):
            parse_python_batch(content[:kept], where="b")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (pickle.dumps([1]), "b: holds a list, not a dictionary."),
        (
            pickle.dumps({"x": 1}),
            "b: a batch has an array 'data' and a list 'labels'; this one has ['x'].",
        ),
        (batch(labels=[1, 2]), "b: 4 images and 2 labels."),
        (
            batch(data=np.zeros((4, 3), np.uint8)),
            "b: 'data' has shape (4, 3), not (N, 3072).",
        ),
        (batch(labels=[0, 1, 2, 10]), "b: 'labels' must be integers from 0 to 9."),
        (
            batch(data=np.zeros((4, 3072), np.float32)),
            "b: refused, it holds an array that is not of unsigned bytes. A batch "
            "holds only arrays, bytes, strings, lists and dictionaries. "
            "Get the published file.",
        ),
    ],
)
def test_a_batch_of_another_shape_is_named(content, text):
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        parse_python_batch(content, where="b")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "b: 0 bytes are not a whole number of images of 3,073 bytes."),
        (
            BINARY[:-1],
            "b: 12,291 bytes are not a whole number of images of 3,073 bytes.",
        ),
    ],
)
def test_a_binary_batch_cut_short_is_refused(content, text):
    with pytest.raises(DataError, match=f"^{re.escape(text)} Get it again.$"):
        parse_binary_batch(content, where="b")


def test_a_binary_batch_with_another_label_is_refused():
    with pytest.raises(
        DataError, match=r"^b: holds the label 77; labels are 0 to 9\.$"
    ):
        parse_binary_batch(b"\x4d" + BINARY[1:], where="b")
