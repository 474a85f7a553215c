import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from convscope.data.published.idx import parse, read
from convscope.errors import DataError
from data.files import idx_bytes

GOOD = idx_bytes(np.arange(24).reshape(2, 3, 4))


@given(arrays(np.uint8, st.tuples(*[st.integers(0, 5)] * 3)))
def test_what_is_written_is_read(array):
    np.testing.assert_array_equal(
        parse(idx_bytes(array), where="x", ndim=3), array, strict=True
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            b"",
            "x: not an IDX file; it starts with nothing, not with 00 00 08 03. "
            "Get the published file.",
        ),
        (
            b"\x89PNG\r\n",
            "x: not an IDX file; it starts with 89 50 4e 47, not with 00 00 08 03. "
            "Get the published file.",
        ),
        (
            b"\0\0\x0d" + GOOD[3:],
            "x: holds float32, but images and labels are unsigned bytes (0x08).",
        ),
        (
            b"\0\0\x77" + GOOD[3:],
            "x: holds type 0x77, but images and labels are unsigned bytes (0x08).",
        ),
        (idx_bytes(np.zeros(2)), "x: has 1 axes, but 3 are needed."),
        (
            GOOD[:9],
            "x: is cut short inside its header of 16 bytes (9 are there). "
            "Get it again.",
        ),
        (
            GOOD[:-1],
            "x: is cut short: the header says (2, 3, 4), 24 bytes, but 23 follow. "
            "Get it again.",
        ),
        (
            GOOD + b"!",
            "x: is too long: the header says (2, 3, 4), 24 bytes, but 25 follow. "
            "Get it again.",
        ),
        (
            GOOD[:4] + b"\xff" * 12,
            f"x: is cut short: the header says ({2**32 - 1}, {2**32 - 1}, "
            f"{2**32 - 1}), {(2**32 - 1) ** 3:,} bytes, but 0 follow. Get it again.",
        ),
    ],
)
def test_what_is_not_such_a_file_is_refused_with_the_reason(content, text):
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        parse(content, where="x", ndim=3)


def test_a_file_is_read_by_path(tmp_path):
    (tmp_path / "labels").write_bytes(idx_bytes(np.array([3, 1])))
    assert read(tmp_path / "labels", ndim=1, limit=100).tolist() == [3, 1]
