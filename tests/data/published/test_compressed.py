import gzip
import lzma
import random
import re
import struct
import tracemalloc
import zlib

import pytest

from convscope.data.published.compressed import read_bytes
from convscope.errors import DataError

CONTENT = bytes(range(256)) * 40
PACK = {"plain": bytes, "gzip": gzip.compress, "xz": lzma.compress}


@pytest.mark.parametrize("form", PACK)
def test_content_comes_back_whatever_the_form_and_the_name(tmp_path, form):
    path = tmp_path / "any.name"
    path.write_bytes(PACK[form](CONTENT))
    assert read_bytes(path, limit=len(CONTENT)) == CONTENT


@pytest.mark.parametrize("form", ["gzip", "xz"])
def test_streams_on_end_are_one_file(tmp_path, form):
    path = tmp_path / "file"
    path.write_bytes(PACK[form](CONTENT) + PACK[form](b"more"))
    assert read_bytes(path, limit=10**6) == CONTENT + b"more"


@pytest.mark.parametrize("form", PACK)
def test_one_byte_above_the_limit_is_refused(tmp_path, form):
    path = tmp_path / "file"
    path.write_bytes(PACK[form](CONTENT))
    text = (
        f"{path}: holds more than the 10,239 bytes such a file can have; refused. "
        "Get the published file."
    )
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        read_bytes(path, limit=len(CONTENT) - 1)


@pytest.mark.parametrize("form", ["gzip", "xz"])
def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path, form):
    path = tmp_path / "bomb"
    path.write_bytes(PACK[form](bytes(50_000_000)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="holds more than the 1,000 bytes"):
            read_bytes(path, limit=1000)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_an_xz_header_that_asks_for_gigabytes_is_refused(tmp_path):
    path = tmp_path / "greedy.xz"
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**20}]
    greedy = bytearray(lzma.compress(b"x", filters=filters))
    size = greedy.index(b"\x21\x01", 12) + 2  # LZMA2, one byte of properties
    greedy[size] = 40  # a dictionary of 4 GiB
    end = 12 + (greedy[12] + 1) * 4
    greedy[end - 4 : end] = struct.pack("<I", zlib.crc32(greedy[12 : end - 4]))
    path.write_bytes(greedy)
    with pytest.raises(DataError, match=r"cannot be read \(Memory usage limit"):
        read_bytes(path, limit=1000)


@pytest.mark.parametrize("form", ["gzip", "xz"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_file_cut_short_says_so(tmp_path, form, kept):
    path = tmp_path / "file"
    whole = PACK[form](random.Random(0).randbytes(10_000))
    path.write_bytes(whole[: int(len(whole) * kept)])
    text = f"{path}: the file is cut short. Get it again, or delete it."
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        read_bytes(path, limit=10**6)


@pytest.mark.parametrize("form", ["gzip", "xz"])
def test_a_damaged_file_is_noticed(tmp_path, form):
    path = tmp_path / "file"
    damaged = bytearray(PACK[form](CONTENT))
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(DataError):
        read_bytes(path, limit=10**6)


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_bytes(tmp_path / "none", limit=10)
