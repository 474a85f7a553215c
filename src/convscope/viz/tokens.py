"""The design tokens of every page: colors of ``palette.py``, sizes, light and dark."""

from convscope.viz.palette import THEMES

SIZES = {"step": 4, "small": 14, "text": 16, "large": 20}
"""Pixels: of the grid, and of the three sizes of text."""


def stylesheet() -> str:
    """Variables that a page's own stylesheet uses; nothing is drawn by them alone.

    Colors are the fields of a ``Theme`` (``--paper``, ``--on-accent``), sizes those of
    ``SIZES``. Paper is always light.

    >>> stylesheet().splitlines()[1]
    '--step:4px;--small:14px;--text:16px;--large:20px;'
    """
    sizes = "".join(f"--{name}:{pixels}px;" for name, pixels in SIZES.items())
    return (
        f":root{{color-scheme:light dark;\n{sizes}\n{_colors('light')}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{_colors('dark')}}}}}\n"
        "@media print{:root{color-scheme:light}}\n"
    )


def _colors(theme: str) -> str:
    return "".join(
        f"--{name.replace('_', '-')}:{value};"
        for name, value in THEMES[theme].to_dict().items()
        if name != "name"
    )
