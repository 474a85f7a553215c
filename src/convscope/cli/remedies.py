"""What to do about an error, said with the flags of the command line."""

import shlex
from collections.abc import Mapping

from convscope.errors import ConvscopeError, Remedy

# Flags that are not called as the library's arguments are.
FLAGS = {"folder": "--run", "input_shape": "--input", "input_size": "--input"}
# Functions of the library, as one types them.
COMMANDS = {"resume": "convscope train --resume"}


def with_flags(error: ConvscopeError) -> str:
    """The message as somebody at a terminal can follow it.

    >>> remedies = [Remedy("replace it", "force", True), Remedy("resize", "size", 32)]
    >>> with_flags(ConvscopeError("No.", remedies=remedies))
    'No. Replace it (--force), or resize (--size 32).'
    """
    return error.said(in_flags)


def in_flags(remedy: Remedy) -> str:
    """One remedy, with the flag that does it.

    >>> in_flags(Remedy("resize", "size", 32))
    'resize (--size 32)'
    """
    if not remedy.argument:
        return remedy.text
    names = COMMANDS if remedy.is_call else FLAGS
    flag = names.get(remedy.argument, f"--{remedy.argument.replace('_', '-')}")
    if isinstance(remedy.value, Mapping):  # a flag for each input
        sizes = (f"{n}={','.join(map(str, size))}" for n, size in remedy.value.items())
        flag = " ".join(f"{flag} {shlex.quote(size)}" for size in sizes)
    elif remedy.value is not None and remedy.value is not True:
        flag += f" {shlex.quote(str(remedy.value))}"
    return f"{remedy.text} ({flag})"
