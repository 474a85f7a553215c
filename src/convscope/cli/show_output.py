"""Where a picture of ``convscope show`` goes: into a file, into a browser."""

import os
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from convscope.cli.options import known
from convscope.errors import ArgumentError
from convscope.terminal import json_text, say
from convscope.viz.film import SUFFIXES as FILM_SUFFIXES
from convscope.viz.palette import ThemeName
from convscope.viz.picture import SUFFIXES, require_free_place, suffix_of
from convscope.viz.structure import SUFFIXES as GRAPH_SUFFIXES


def _save_flag(suffixes: tuple[str, ...]) -> Any:
    """``--save``, which refuses what cannot be written before anything is done."""

    def checked(context: typer.Context, path: Path | None) -> Path | None:
        if path is not None:
            where = f"show {context.info_name} --save"
            suffix_of(path, suffixes, where)
            require_free_place(path, where)
        return path

    return typer.Option(
        "--save",
        metavar="FILE",
        help="Where to write it; its ending says the format. By default a temporary "
        "file, which opens where there is a screen.",
        callback=checked,
    )


SaveFlag = Annotated[Path | None, _save_flag(SUFFIXES)]
SaveFilmFlag = Annotated[Path | None, _save_flag(FILM_SUFFIXES)]
SaveGraphFlag = Annotated[Path | None, _save_flag(GRAPH_SUFFIXES)]
ThemeFlag = Annotated[
    str, typer.Option("--theme", metavar="light|dark", help="Colors of the picture.")
]
TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN|MODEL",
        help="A run folder, a model's name, or package.module:factory.",
    ),
]
LayerFlag = Annotated[
    str | None, typer.Option("--layer", metavar="PATH", help="Which layer, by path.")
]
InputFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="C,H,W", help="Size of one input, if not the model's own."
    ),
]
ArgumentFlag = Annotated[
    list[str] | None,
    typer.Option("--arg", metavar="KEY=VALUE", help="An argument of MODEL."),
]
WeightsFlag = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="NAME|FILE",
        help="Weights of MODEL; random ones by default.",
    ),
]


class Saved(Protocol):
    """What can be written to a file: a picture, a film."""

    data: Any

    def save(self, path: str | Path) -> Path:
        """Writes it."""
        ...


def theme_of(name: str) -> ThemeName:
    """The theme of that name.

    Raises:
        UnknownNameError: There is none.

    >>> theme_of("dark")
    'dark'
    """
    known(name, ThemeName, "theme")
    return "dark" if name == "dark" else "light"


def position_of(text: str, *, where: str) -> tuple[int, ...]:
    """``3,5`` as numbers.

    Raises:
        ArgumentError: It is something else.

    >>> position_of("3,5", where="show unit")
    (3, 5)
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.removeprefix("-").isdigit() for part in parts):
        raise ArgumentError(
            f"{where}: --position {text} is not a place. Give numbers, one for each "
            "axis, such as --position 3,5."
        )
    return tuple(map(int, parts))


def deliver(picture: Saved, save: Path | None, *, name: str, suffix: str) -> None:
    """Writes the picture, says where, and opens it if nobody said where.

    Args:
        picture: What to write.
        save: The file that was asked for.
        name: Of a temporary file.
        suffix: Of a temporary file.

    Raises:
        ArgumentError: It cannot be written.
    """
    if save is not None:
        say(str(picture.save(save)))
        return
    show_file(picture.save(Path(temporary_folder(), f"{name}{suffix}")))


def show_file(place: Path) -> None:
    """Says where a file is, and opens it where there is a screen."""
    say(str(place))
    if _has_screen():
        webbrowser.open(place.as_uri())


def as_json(record: Any) -> None:
    """Prints a record, or several, as one JSON object."""
    if isinstance(record, list | tuple):
        typer.echo(json_text([each.to_dict() for each in record]))
    else:
        typer.echo(json_text(record.to_dict()))


def temporary_folder() -> str:
    """A new one.

    Raises:
        ArgumentError: None can be made.
    """
    try:
        return tempfile.mkdtemp(prefix="convscope-")
    except OSError as error:
        raise ArgumentError(
            f"show: there is no place for a temporary file ({error.strerror}). "
            "Give --save FILE."
        ) from error


def _has_screen() -> bool:
    """Whether somebody sits at a terminal with a display."""
    if sys.stdout is None or not sys.stdout.isatty():
        return False
    if sys.platform in ("darwin", "win32"):
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
