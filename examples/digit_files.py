"""Writes ten real handwritten digits as PNG files, to have something to predict.

Usage: python examples/digit_files.py FOLDER
"""

import sys
from pathlib import Path

from PIL import Image

import convscope as cs


def main(folder: Path) -> None:
    """One file for each class, from the test part of the built-in digits."""
    digits = cs.data.load("digits")
    folder.mkdir(parents=True, exist_ok=True)
    for label, name in enumerate(digits.classes):
        first = int((digits.test.labels == label).nonzero()[0])
        pixels = digits.test.pixels[first, 0].numpy()
        Image.fromarray(pixels).save(folder / f"a-{name}.png")
    print(f"wrote {len(digits.classes)} files to {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
