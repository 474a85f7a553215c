"""Runs a command in a terminal of 80 columns and draws what it leaves on the screen.

Usage: python docs/terminal_picture.py OUTPUT.svg COMMAND [ARGUMENT...]
"""

import io
import os
import pty
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 80


def record(command: list[str]) -> str:
    """What the command writes to a terminal."""
    os.environ.update(COLUMNS=str(COLUMNS), TERM="xterm-256color")
    written = bytearray()

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 65536)
        written.extend(data)
        return data

    pty.spawn(command, read)
    return written.decode()


def screen(written: str) -> str:
    """The lines that stay: what a live bar draws over itself is left out."""
    text = re.sub(r"\x1b\[\?\d+[hl]", "", written).replace("\r\n", "\n")
    lines: list[str] = []
    for line in text.split("\n"):
        erased = len(re.findall(r"\x1b\[1A", line))
        if erased:
            del lines[len(lines) - erased :]
        kept = re.split(r"\x1b\[2K|\r", line)[-1]
        lines.append(re.sub(r"\x1b\[1A", "", kept))
    return "\n".join(lines).strip("\n")


def main(output: Path, command: list[str]) -> None:
    """Records, draws, writes."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    shown = " ".join([Path(command[0]).name, *command[1:]])
    console.print(Text.assemble(("$ ", "dim"), (shown, "bold")))
    console.print(Text.from_ansi(screen(record(command))))
    picture = console.export_svg(title="convscope")
    # The reader's own monospaced font will do: nothing is fetched to show a picture.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    output.write_text(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
