"""Class names that say that a mirrored image is of another class."""

import re
from collections.abc import Sequence

_SIDES = (
    ("left", "right"), ("east", "west"), ("port", "starboard"),
    ("clockwise", "counterclockwise"), ("clockwise", "anticlockwise"),
    ("cw", "ccw"), ("ltr", "rtl"), ("lefthand", "righthand"),
    ("sinistral", "dextral"), ("links", "rechts"), ("gauche", "droite"),
    ("izquierda", "derecha"), ("esquerda", "direita"), ("sinistra", "destra"),
    ("лево", "право"), ("左", "右"),
)  # fmt: skip
# Told by one name alone: mirrored, "turn left" and "eastbound" are something else.
_ALONE = ("left", "right", "lefthand", "righthand", "leftward", "rightward",
          "eastbound", "westbound", "clockwise", "counterclockwise",
          "anticlockwise")  # fmt: skip
# Words and signs of which each is the other in a mirror; told by both being there.
_GLYPHS = (
    ("b", "d"), ("p", "q"), ("s", "z"), ("n", "и"), ("l", "r"), ("e", "w"),
    ("<", ">"), ("(", ")"), ("[", "]"), ("{", "}"), ("/", "\\"), ("«", "»"),
    ("←", "→"), ("lt", "gt"), ("slash", "backslash"), ("ne", "nw"), ("se", "sw"),
    ("northeast", "northwest"), ("southeast", "southwest"),
)  # fmt: skip
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]|[^\w\s.,-]")


def mirrored_classes(names: Sequence[str]) -> str:
    """Why the names say that mirroring changes the class, in words; empty if not.

    >>> mirrored_classes(["turn_left", "TurnRight", "stop"])
    "'turn_left' and 'TurnRight' are mirror images of each other"
    >>> mirrored_classes(["b", "d", "p"])
    "'b' and 'd' are mirror images of each other"
    >>> mirrored_classes(["keep left", "stop"])
    "'keep left' names a side"
    >>> mirrored_classes(["cat", "dog"])
    ''
    """
    words = {name: _words(name) for name in names}
    known = {tuple(found): name for name, found in words.items()}
    for name, found in words.items():
        for one, two in (*_SIDES, *_GLYPHS):
            mirrored = [{one: two, two: one}.get(word, word) for word in found]
            other = known.get(tuple(mirrored))
            if mirrored != found and other is not None:
                return f"{name!r} and {other!r} are mirror images of each other"
    for name, found in words.items():
        if set(found) & set(_ALONE):
            return f"{name!r} names a side"
    if len(names) > 2 and all(len(name) == 1 and name.isalpha() for name in names):
        return "the classes are letters"
    return ""


def _words(name: str) -> list[str]:
    """Lower-case words: ``TurnLeft``, ``turn-left`` and ``turn_left2`` have the same.

    >>> _words("33_TurnLeft")
    ['turn', 'left']
    """
    return [word.lower() for word in _WORD.findall(name)] or [name.lower()]
