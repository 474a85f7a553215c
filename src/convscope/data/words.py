"""Counts and lists of names as messages write them."""

from collections.abc import Sequence


def counted(count: int, noun: str) -> str:
    """The number with its noun.

    >>> counted(1, "file"), counted(1200, "class")
    ('1 file', '1,200 classes')
    """
    plural = noun + ("es" if noun.endswith(("s", "x")) else "s")
    return f"{count:,} {noun if count == 1 else plural}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names in quotes, and how many more there are.

    >>> listed(["cat", "dog", "emu"], most=2)
    "'cat', 'dog' and 1 more"
    """
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
