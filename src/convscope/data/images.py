"""One picture out of one file: limits first, every failure a ``BadImageError``."""

import contextlib
import io
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
from PIL import (
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
)

from convscope.data.image_formats import IN_WORDS, opener
from convscope.errors import BadImageError

ImageSource = str | Path | bytes | BinaryIO | Image.Image

MAX_PIXELS = 2**27  # 134 million: larger than any camera's, 400 MB when decoded to RGB
# Times the size that is wanted down to which a JPEG is decoded at reduced scale before
# it is resized. Of 3000 x 2000 photographs at 224 pixels, bicubic, the mean difference
# to whole decoding is 0.3 to 0.4 of 255 (99 % within 3, all within 9), in a quarter of
# the time; with once the size, which is barely faster, 0.9 to 1.7 (15 and 41).
REDUCED_TO = 2
WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # "I": Pillow before 11.3

ORIENTATION = 0x0112  # the EXIF tag; its values as in the EXIF standard, section 4.6.4
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPED = (5, 6, 7, 8)  # rows become columns; then what was first may come last
_COLUMNS_REVERSED, _ROWS_REVERSED = (2, 3, 6, 7), (3, 4, 7, 8)
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Picture:
    """One decoded picture, upright, with what its file said about it.

    Attributes:
        image: The pixels, decoded, in the mode of the file; of several the first.
        format: Such as ``"PNG"``; empty for a picture that came from no file.
        rotated: Whether EXIF asked for a rotation or reflection (now done).
        has_more: Whether the file holds more frames or pages than this one.
        reduced: Where it was decoded at a smaller scale than the file's, the box in
            ``image`` that is the picture: the last row and column may be half outside.

    >>> Picture(Image.new("I;16", (3, 2)), "PNG", rotated=False).is_wide
    True
    """

    image: Image.Image
    format: str
    rotated: bool
    has_more: bool = False
    reduced: Box | None = None

    @property
    def is_wide(self) -> bool:
        """Whether it holds more than 8 bits per pixel."""
        return self.image.mode in WIDE_MODES


def read(source: ImageSource, for_side: int | None = None) -> Picture:
    """Decodes one picture and turns it upright.

    What Pillow refuses when it is strict is refused here, also where the checksums of a
    PNG are all that shows it. Damage that no decoder can see (a changed pixel of a BMP)
    passes.

    Args:
        source: A path, the bytes of a file, a file open for reading in binary mode, or
            a Pillow image.
        for_side: Pixels that the longer side is wanted at, if the picture is resized
            next. A large JPEG is then decoded at 1/2, 1/4 or 1/8 of its scale, as long
            as both sides keep ``REDUCED_TO`` times as many.

    Raises:
        BadImageError: It cannot be opened, is no picture, is larger than ``MAX_PIXELS``
            (found from the header, before any pixel is decoded), or is damaged.

    >>> read(Image.new("L", (3, 2))).image.size
    (3, 2)
    """
    name = name_of(source)
    with _quiet_and_strict(), contextlib.ExitStack() as stack:
        try:
            file = None
            if isinstance(source, Image.Image):
                image: Image.Image = source
            else:
                file = stack.enter_context(_file(source, name))
                image = _header(file, name)
            _check_header(image, name)
            reduced = None if for_side is None else _reduced(image, for_side)
            turned = _tiff_orientation(image)  # load() turns it and forgets it
            image.load()  # before any question whose error would be swallowed
            turn = _orientation(image)
            upright = image.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else image
            if reduced is not None:
                reduced = _turned(reduced, turn, upright.size)
            return Picture(
                upright,
                image.format or "",
                rotated=turned in _UPRIGHT or turn in _UPRIGHT,
                has_more=_has_more(image, file),
                reduced=reduced,
            )
        except BadImageError:
            raise
        except Exception as error:  # Pillow lets a dozen kinds through for bad files
            raise BadImageError(f"{name}: {_reason(error)}") from error


def peek(path: str | Path) -> tuple[str, tuple[int, int]]:
    """Mode and (width, height) as the header of a file states them.

    Raises:
        BadImageError: As for ``read``, as far as the header tells.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".png") as file:
    ...     Image.new("L", (3, 2)).save(file.name)
    ...     peek(file.name)
    ('L', (3, 2))
    """
    name = str(path)
    with _quiet_and_strict():
        try:
            with _file(path, name) as file:
                image = _opened(file, name)
                _check_header(image, name)
                return image.mode, image.size
        except BadImageError:
            raise
        except Exception as error:  # as in read
            raise BadImageError(f"{name}: {_reason(error)}") from error


def name_of(source: ImageSource) -> str:
    """What to call the source in a message.

    >>> name_of("cat.png"), name_of(b"...")
    ('cat.png', 'image')
    """
    if isinstance(source, str | Path):
        return str(source)
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return name if isinstance(name, str) and name else "image"


def gray16(image: Image.Image, name: str) -> np.ndarray:
    """(H, W) uint16 from a picture in one of ``WIDE_MODES``.

    >>> gray16(Image.new("I;16", (2, 1), 900), "x.png")
    array([[900, 900]], dtype=uint16)
    """
    values = np.asarray(image)
    if values.dtype.itemsize > 2 and values.size:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise BadImageError(
                f"{name}: holds 32-bit values from {low} to {high}, which do not fit "
                "16 bits. Save it with 8 or 16 bits per pixel."
            )
    return values.astype(np.uint16)


def _file(
    source: str | Path | bytes | BinaryIO, name: str
) -> contextlib.AbstractContextManager[IO[bytes]]:
    """The source as a file that can seek, checked not to be empty."""
    if isinstance(source, str | Path):
        status = os.stat(source)  # noqa: PTH116  a str is enough
        if stat.S_ISDIR(status.st_mode):
            raise BadImageError(f"{name}: is a folder, not an image.")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise BadImageError(f"{name}: is not a regular file.")
        if status.st_size:
            return Path(source).open("rb")
        content = b""
    else:
        content = source if isinstance(source, bytes) else source.read()
    if not content:
        raise BadImageError(f"{name}: the file is empty (0 bytes).")
    return io.BytesIO(content)


def _header(file: IO[bytes], name: str) -> ImageFile.ImageFile:
    """The picture with its header read; of a PNG all checksums have been verified."""
    image = _opened(file, name)
    if isinstance(image, PngImagePlugin.PngImageFile):
        _check_header(image, name)
        image.verify()  # decoding looks at none of them, and verifying uses it up
        file.seek(0)
        image = _opened(file, name)
    return image


def _opened(file: IO[bytes], name: str) -> ImageFile.ImageFile:
    """The picture with its header read and no pixel decoded.

    Not ``Image.open``: its limit is global, and its message leaves out the size.
    """
    start = file.read(16)
    file.seek(0)
    factory = opener(start, name)
    if factory is None:
        raise BadImageError(
            f"{name}: is not a picture in a known format (it begins with "
            f"{start[:8]!r}). Known: {IN_WORDS}."
        )
    return factory(file, "")


def _check_header(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadImageError(
            f"{name}: {width:,} x {height:,} pixels are {width * height:,}, more than "
            f"the limit of {MAX_PIXELS:,}. Scale it down first."
        )
    if width * height == 0:
        raise BadImageError(f"{name}: has no pixels ({width} x {height}).")
    if image.mode == "F":
        raise BadImageError(
            f"{name}: holds floating-point values, whose black and white are not "
            "known. Save it with 8 or 16 bits per pixel."
        )


def _reduced(image: Image.Image, side: int) -> Box | None:
    """Sets a JPEG to be decoded at reduced scale; what of it is then the picture."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    width, height = image.size
    wanted = REDUCED_TO * side
    image.draft(None, (wanted, wanted))
    for scale in (2, 4, 8):  # Pillow does not tell which it took
        if image.size == (-(-width // scale), -(-height // scale)):
            return 0, 0, width / scale, height / scale
    return None


def _turned(box: Box, turn: int, size: tuple[int, int]) -> Box:
    """Where the box is once the picture is upright; ``size`` is that of then."""
    _, _, right, bottom = box
    if turn in _SWAPPED:
        right, bottom = bottom, right
    left = size[0] - right if turn in _COLUMNS_REVERSED else 0
    top = size[1] - bottom if turn in _ROWS_REVERSED else 0
    return left, top, left + right, top + bottom


def _orientation(image: Image.Image) -> int:
    """EXIF's word on which way is up; 1 where there is none or it is damaged."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:
        return 1


def _tiff_orientation(image: Image.Image) -> int:
    """What the tag of a TIFF says; 1 for any other file. It decodes nothing."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 1
    try:
        return int(image.tag_v2.get(ORIENTATION, 1))
    except Exception:
        return 1


def _has_more(image: Image.Image, file: IO[bytes] | None) -> bool:
    """Whether the file goes on after this frame or page; asked after decoding."""
    if image.format == "PSD":  # has layers, and the picture shows them all
        return False
    try:
        if image.format == "GIF" and file is not None:
            file.seek(0)  # to answer, Pillow seeks in the file, and loses the picture
            image = _opened(file, "")
        return bool(getattr(image, "is_animated", False))
    except Exception:  # what comes next is damaged: there is more
        return True


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file."
    if isinstance(error, PermissionError):
        return "permission denied."
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it."
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})."
    text = str(error) or type(error).__name__
    if "truncated" in text.lower():
        return f"the file is truncated ({text})."
    return f"the file is damaged ({text})."


_settings_lock = threading.Lock()
_settings_users = 0
_settings = contextlib.ExitStack()


@contextlib.contextmanager
def _quiet_and_strict() -> Iterator[None]:
    """Keeps Pillow's warnings in, and truncated files out, whatever the program set.

    Both are settings of the process: ``warnings.catch_warnings`` alone would leave the
    filters of another thread behind when two overlap. Here the first in sets them and
    the last out restores them.
    """
    global _settings_users
    with _settings_lock:
        if _settings_users == 0:
            _settings.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _settings.callback(
                setattr,
                ImageFile,
                "LOAD_TRUNCATED_IMAGES",
                ImageFile.LOAD_TRUNCATED_IMAGES,
            )
            ImageFile.LOAD_TRUNCATED_IMAGES = False
        _settings_users += 1
    try:
        yield
    finally:
        with _settings_lock:
            _settings_users -= 1
            if _settings_users == 0:
                _settings.close()
