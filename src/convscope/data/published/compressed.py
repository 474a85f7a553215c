"""Reading a file that may be compressed, without trusting what it says."""

import gzip
import lzma
import zlib
from pathlib import Path

from convscope.errors import DataError

GZIP, XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"
XZ_MEMORY = 128 * 2**20  # bytes; xz -9 needs 65 MiB, a hostile header may ask for 4 GiB


def read_bytes(path: Path, *, limit: int) -> bytes:
    """The content of a plain, gzip or xz file; told apart by the first bytes.

    Args:
        path: The file.
        limit: Largest content accepted, in bytes after decompression.

    Raises:
        DataError: The file cannot be read, is cut short, is damaged, or holds more
            than ``limit``.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     Path(file.name).write_bytes(gzip.compress(b"labels")) > 0
    ...     read_bytes(Path(file.name), limit=100)
    True
    b'labels'
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(XZ))
            file.seek(0)
            if head.startswith(GZIP):
                content = gzip.GzipFile(fileobj=file).read(limit + 1)
            elif head == XZ:
                content = _read_xz(file.read(limit + 2**20), limit + 1)
            else:
                content = file.read(limit + 1)
    except EOFError:
        raise DataError(
            f"{path}: the file is cut short. Get it again, or delete it."
        ) from None
    except (OSError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: cannot be read ({error}).") from None
    if len(content) > limit:
        raise DataError(
            f"{path}: holds more than the {limit:,} bytes such a file can have; "
            "refused. Get the published file."
        )
    return content


def _read_xz(data: bytes, limit: int) -> bytes:
    """At most ``limit`` bytes; a file may be several xz streams on end."""
    content = b""
    while data and len(content) < limit:
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
        content += stream.decompress(data, max_length=limit - len(content))
        if not stream.eof and len(content) < limit:
            raise EOFError
        data = stream.unused_data.lstrip(b"\0")
    return content
