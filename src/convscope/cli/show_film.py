"""``convscope show film``: filters and maps through the epochs of a training."""

from pathlib import Path
from typing import Annotated

import typer

from convscope.cli.options import JsonFlag, RunArgument
from convscope.cli.show_output import (
    LayerFlag,
    SaveFilmFlag,
    ThemeFlag,
    as_json,
    deliver,
    theme_of,
)
from convscope.train.run import Run


def film(
    run: RunArgument,
    layer: LayerFlag = None,
    seconds: Annotated[float, typer.Option(help="Between two frames.")] = 0.6,
    theme: ThemeFlag = "light",
    save: SaveFilmFlag = None,
    show_json: JsonFlag = False,
) -> None:
    """Show how filters and maps changed in training, of a run that kept a film.

    Train with --film to keep one. FILE ends in .gif or .html.

    Example: convscope show film runs/digits-lenet5-1 --save film.html
    """
    chosen = theme_of(theme)
    found = Run.load(run).film()
    if show_json:
        as_json(found)
        return
    from convscope.viz import training_film

    made = training_film(found, layer, name=Path(run).name, seconds=seconds)
    deliver(made.themed(chosen), save, name="film", suffix=".html")
