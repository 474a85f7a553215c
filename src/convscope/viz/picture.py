"""`Picture`: what every picture function returns."""

import base64
import html
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from convscope.errors import ArgumentError, MissingExtraError
from convscope.terminal import printable_lines
from convscope.viz.palette import SERIES, Theme, ThemeName, theme_named

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Record = TypeVar("Record")
SUFFIXES = (".png", ".svg", ".pdf")
DOTS = 160  # per inch of a PNG
_SALT = "convscope"  # of names in an SVG, which would be drawn by lot otherwise
# Nothing that differs from one day, or from one version of matplotlib, to another.
_NO_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


class Picture(Generic[Record]):
    """A drawing of a record, in light or in dark; a notebook shows it.

    The same record gives the same bytes. What is not here is asked of the figure, so
    that ``picture.axes`` and ``picture.savefig`` work as with any figure of matplotlib.

    Args:
        data: What is drawn.
        draw: Makes the figure in a theme; called once for each theme that is wanted.
        theme: ``light`` or ``dark``.

    Attributes:
        data: The record.
        theme: The theme's name.
        figure: The figure, to change or to put elsewhere.

    Raises:
        MissingExtraError: matplotlib is not installed.
        UnknownNameError: There is no such theme.

    >>> def draw(theme):
    ...     from matplotlib.figure import Figure
    ...     return Figure(figsize=(1, 1))
    >>> picture = Picture({"loss": 0.5}, draw)
    >>> picture.data, picture.png()[1:4]
    ({'loss': 0.5}, b'PNG')
    """

    def __init__(
        self,
        data: Record,
        draw: "Callable[[Theme], Figure]",
        theme: ThemeName = "light",
    ) -> None:
        self.data, self.theme, self._draw = data, theme, draw
        tokens = theme_named(theme)
        with _styled(tokens):
            self.figure = draw(tokens)
        _take_literally(self.figure)

    def themed(self, theme: ThemeName) -> "Picture[Record]":
        """The same picture in a theme.

        Args:
            theme: ``light`` or ``dark``.
        """
        return self if theme == self.theme else Picture(self.data, self._draw, theme)

    def save(self, path: str | Path, *, dots: int = DOTS) -> Path:
        """Writes a file, in place of one that is there, and returns its path.

        Args:
            path: Ends in ``.png``, ``.svg`` or ``.pdf``, which says the format.
            dots: Of a PNG per inch, 10 to 1200.

        Raises:
            ArgumentError: Another ending, ``dots`` is out of range, or the file cannot
                be written.
        """
        place = Path(path)
        kind = suffix_of(place, SUFFIXES, "Picture.save")
        if not 10 <= dots <= 1200:
            raise ArgumentError(
                f"Picture.save: dots={dots} is not between 10 and 1200. Use {DOTS}."
            )
        return write(place, self.encoded(kind, dots), "Picture.save")

    def encoded(self, kind: str, dots: int = DOTS) -> bytes:
        """The content of a file: ``png``, ``svg`` or ``pdf``."""
        made = io.BytesIO()
        with _styled(theme_named(self.theme)):
            self.figure.savefig(
                made, format=kind, dpi=dots, metadata=_NO_METADATA[kind]
            )
        return made.getvalue()

    def png(self) -> bytes:
        """The picture as PNG."""
        return self.encoded("png")

    def svg(self) -> str:
        """The picture as SVG, letters as outlines so that it looks alike anywhere."""
        return self.encoded("svg").decode()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "figure":
            raise AttributeError(f"'Picture' has no attribute {name!r}")
        return getattr(self.figure, name)

    def _repr_png_(self) -> bytes:
        return self.png()

    def _repr_html_(self) -> str:
        code = base64.b64encode(self.png()).decode()
        said = html.escape(self.figure.get_suptitle() or "picture", quote=True)
        return (
            f'<img alt="{said}" style="max-width:100%" '
            f'width="{round(self.figure.get_figwidth() * 100)}" '
            f'src="data:image/png;base64,{code}">'
        )

    def __repr__(self) -> str:
        return f"Picture({type(self.data).__name__}, theme={self.theme!r})"


def require_matplotlib() -> None:
    """Refuses to draw without it.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise MissingExtraError("matplotlib", "viz") from None


def require_record(found: object, kind: type, where: str, maker: str) -> None:
    """Refuses to draw what is not such a record, as a network is not.

    Args:
        found: What was given.
        kind: The record's class.
        where: What an error message begins with.
        maker: The function that makes such a record.

    Raises:
        ArgumentError: It is something else.

    >>> require_record({}, dict, "race", "cs.bench.record")
    """
    if not isinstance(found, kind):
        raise ArgumentError(
            f"{where}: found is of class {type(found).__name__}, not "
            f"{kind.__name__}. Give what {maker} returns."
        )


def require_records(
    found: object, kind: type[Record], where: str, maker: str
) -> tuple[Record, ...]:
    """One record, or several, as a tuple.

    Raises:
        ArgumentError: There is none, or something else.

    >>> require_records([{}, {}], dict, "race", "cs.bench.record")
    ({}, {})
    """
    several = isinstance(found, list | tuple)
    records = tuple(found) if isinstance(found, list | tuple) else (found,)
    if several and not records:
        raise ArgumentError(f"{where}: found is empty. Give at least one record.")
    for each in records:
        require_record(each, kind, where, maker)
    return records


def suffix_of(path: Path, known: tuple[str, ...], where: str) -> str:
    """The format that a file's name asks for, without its dot.

    Raises:
        ArgumentError: It is none of ``known``.

    >>> suffix_of(Path("a.PNG"), SUFFIXES, "Picture.save")
    'png'
    """
    suffix = path.suffix.lower()
    if suffix not in known:
        *most, last = known
        raise ArgumentError(
            f"{where}: path={str(path)!r} ends in {suffix or 'nothing'!r}, which is no "
            f"format of this. Use {', '.join(most)} or {last}."
        )
    return suffix[1:]


def write(path: Path, content: bytes, where: str) -> Path:
    """Puts a file in the place of what is there, at once and whole.

    Raises:
        ArgumentError: It cannot be written.
    """
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(draft).chmod(0o644)
            Path(draft).replace(path)
        except OSError:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _cannot_be_written(path, error, where) from error
    return path


def require_free_place(path: Path, where: str) -> None:
    """Refuses a place that `write` could not write to; nothing is left there.

    Raises:
        ArgumentError: It is a folder, or its folder takes no file.
    """
    if path.is_dir():
        raise ArgumentError(
            f"{where}: path={str(path)!r} is a folder. Give a file in it."
        )
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _cannot_be_written(path, error, where) from error
    os.close(handle)
    Path(draft).unlink()


def _cannot_be_written(path: Path, error: OSError, where: str) -> ArgumentError:
    return ArgumentError(
        f"{where}: path={str(path)!r} cannot be written: {error.strerror or error}. "
        "Give a file in a folder that is there."
    )


def _take_literally(figure: "Figure") -> None:
    """Names from outside are no formulas: $ in them is $, and nothing moves a line.

    Numbers at the axes stay formulas, where powers of ten are written so.
    """
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter

    every: list[Any] = figure.findobj(lambda each: hasattr(each, "get_ticklabels"))
    ticks = {
        id(label)
        for axis in every
        if not isinstance(axis.get_major_formatter(), FixedFormatter)
        for minor in (False, True)
        for label in axis.get_ticklabels(minor=minor)
    }
    for text in figure.findobj(Text):
        if id(text) not in ticks:
            text.set_parse_math(False)
            text.set_text(printable_lines(text.get_text()))


@contextmanager
def _styled(theme: Theme) -> Iterator[None]:
    """The defaults of matplotlib and this theme, whatever the process has set."""
    require_matplotlib()
    import matplotlib as mpl
    from cycler import cycler

    colors = [theme.accent, *SERIES[1:]]
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "svg.hashsalt": _SALT,
                "figure.facecolor": theme.paper,
                "savefig.facecolor": theme.paper,
                "axes.facecolor": theme.paper,
                "axes.edgecolor": theme.line,
                "axes.labelcolor": theme.ink,
                "axes.titlecolor": theme.ink,
                "axes.prop_cycle": cycler(color=colors),
                "grid.color": theme.line,
                "legend.edgecolor": theme.line,
                "legend.labelcolor": theme.ink,
                "text.color": theme.ink,
                "xtick.color": theme.muted,
                "ytick.color": theme.muted,
                "font.size": 9,
            }
        )
        yield
