"""The formats of image files that are read: the one list, which the docs show too."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO

from PIL import Image, ImageFile


@dataclass(frozen=True)
class ImageFormat:
    """A format, and how its files are recognized.

    Attributes:
        name: As people write it.
        key: Pillow's name for it.
        plugin: Pillow's module for it; imported when the first file needs it.
        suffixes: Of file names, lower case, the usual one first.

    >>> FORMATS[0].name, FORMATS[0].suffixes
    ('PNG', ('.png', '.apng'))
    """

    name: str
    key: str
    plugin: str
    suffixes: tuple[str, ...]


# All rasters that Pillow decodes by itself; left out are those that are mostly no
# pictures (stubs, films), that need another program (EPS, WMF), or floating point.
FORMATS = (
    ImageFormat("PNG", "PNG", "Png", (".png", ".apng")),
    ImageFormat("JPEG", "JPEG", "Jpeg", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")),
    ImageFormat("TIFF", "TIFF", "Tiff", (".tif", ".tiff")),
    ImageFormat("WebP", "WEBP", "WebP", (".webp",)),
    ImageFormat("GIF", "GIF", "Gif", (".gif",)),
    ImageFormat("BMP", "BMP", "Bmp", (".bmp",)),
    ImageFormat("PPM", "PPM", "Ppm", (".ppm", ".pgm", ".pbm", ".pnm", ".pfm")),
    ImageFormat("AVIF", "AVIF", "Avif", (".avif", ".avifs")),
    ImageFormat(
        "JPEG 2000",
        "JPEG2000",
        "Jpeg2K",
        (".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c"),
    ),
    ImageFormat("DIB", "DIB", "Bmp", (".dib",)),
    ImageFormat("DDS", "DDS", "Dds", (".dds",)),
    ImageFormat("ICO", "ICO", "Ico", (".ico",)),
    ImageFormat("MSP", "MSP", "Msp", (".msp",)),
    ImageFormat("PCX", "PCX", "Pcx", (".pcx",)),
    ImageFormat("PSD", "PSD", "Psd", (".psd",)),
    ImageFormat("QOI", "QOI", "Qoi", (".qoi",)),
    ImageFormat("SGI", "SGI", "Sgi", (".sgi", ".rgb", ".rgba", ".bw")),
    ImageFormat("Sun raster", "SUN", "Sun", (".ras",)),
    ImageFormat("TGA", "TGA", "Tga", (".tga", ".icb", ".vda", ".vst")),
    ImageFormat("XBM", "XBM", "Xbm", (".xbm",)),
)
SUFFIXES = frozenset(suffix for f in FORMATS for suffix in f.suffixes)
NAMED = 9  # formats that messages name; the others are rare
IN_WORDS = (
    ", ".join(f.name for f in FORMATS[:NAMED]) + f" and {len(FORMATS) - NAMED} others"
)

Opener = Callable[[IO[bytes], str], ImageFile.ImageFile]


def opener(start: bytes, name: str) -> Opener | None:
    """What reads the header of a file, or None where no format knows it.

    Args:
        start: The first 16 bytes.
        name: Of the file; it only decides where a format has no mark of its own.

    >>> opener(b"GIF89a", "picture.png").__name__
    'GifImageFile'
    """
    for image_format in FORMATS:
        if image_format.key not in Image.OPEN:
            try:
                importlib.import_module(f"PIL.{image_format.plugin}ImagePlugin")
            except ImportError:  # an older Pillow
                continue
        if image_format.key not in Image.OPEN:
            continue
        factory, accept = Image.OPEN[image_format.key]
        if accept is None:
            known = PurePath(name).suffix.lower() in image_format.suffixes
        else:
            known = accept(start) is True  # a string says that a library is missing
        if known:
            return factory
    return None
