"""``convscope show why``: what in a picture speaks for its class, and how surely."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, TypeAlias, cast

import torch
import typer

from convscope.analysis.attribution.attribute import METHODS, Method
from convscope.analysis.attribution.record import Ranked, Trust, joined, ranking
from convscope.cli.network import Named, named_network
from convscope.cli.options import JsonFlag, known
from convscope.cli.progress_bar import Complain, counting
from convscope.cli.show_input import ScalingFlag, class_number, preprocessing_of
from convscope.cli.show_output import (
    ArgumentFlag,
    InputFlag,
    LayerFlag,
    TargetArgument,
    ThemeFlag,
    WeightsFlag,
    deliver,
    show_file,
    temporary_folder,
    theme_of,
)
from convscope.errors import ArgumentError
from convscope.terminal import json_text, printable, say
from convscope.train.judging.attribution import (
    PictureAttributions,
    attribute_files,
    class_of_folder,
)
from convscope.train.judging.prediction import Failure
from convscope.viz.palette import ThemeName
from convscope.viz.picture import SUFFIXES as _DRAWN
from convscope.viz.picture import require_free_place, suffix_of

_WHERE = "show why"
MOST = 16  # pictures in one drawing
_PAGES = (".html", ".htm")

Records: TypeAlias = Iterator[PictureAttributions]
Classes: TypeAlias = tuple[str, ...] | None
ClassOf: TypeAlias = Callable[[str], int]


def why(
    target: TargetArgument,
    pictures: Annotated[
        list[str],
        typer.Argument(metavar="PICTURE...", help="Files, folders, patterns."),
    ],
    method: Annotated[
        str, typer.Option(metavar="NAME", help=f"How: {', '.join(METHODS)}.")
    ] = "grad_cam",
    class_name: Annotated[
        str | None,
        typer.Option(
            "--class",
            "--target",
            metavar="NAME|NUMBER",
            help="By default the one that it names.",
        ),
    ] = None,
    minus: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|NUMBER",
            help="What speaks for the class rather than this one.",
        ),
    ] = None,
    loss: Annotated[
        bool,
        typer.Option(
            "--loss",
            help="What raises the loss of the true class: --class, or that by which a "
            "picture's folder is called.",
        ),
    ] = False,
    layer: LayerFlag = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust/--no-trust", help="Measure how far each map can be believed."
        ),
    ] = True,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Every method side by side, ranked by trust."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of masks, orders and shuffles.")] = 0,
    input_size: InputFlag = None,
    arguments: ArgumentFlag = None,
    weights: WeightsFlag = None,
    scaling: ScalingFlag = None,
    theme: ThemeFlag = "light",
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="FILE|FOLDER",
            help="A drawing (.png, .svg, .pdf), a page (.html), or a folder for a page "
            "and a drawing of each picture, of which there may be any number.",
        ),
    ] = None,
    show_json: JsonFlag = False,
) -> None:
    """Draw what in pictures speaks for their class, and say how far to trust that.

    Example: convscope show why runs/photos-1 cat.jpg --save why.png
    """  # fmt: skip
    known(method, Method, "method")
    _require_place(save)
    named = named_network(
        target, where=_WHERE, sizes=input_size, arguments=arguments, weights=weights,
        scaling=scaling,
    )  # fmt: skip
    if named.is_random:
        raise ArgumentError(
            f"{_WHERE}: {target} has random weights, so that nothing speaks for what "
            "it says. Give a run folder, or --weights."
        )
    told = _Told(named.classes)
    with counting() as (bar, complain):
        records = attribute_files(
            named.net,
            preprocessing_of(named, _WHERE),
            pictures,
            _class(class_name, loss, named),
            minus=class_number(minus, named, "--minus", _WHERE),
            loss=loss,
            methods=METHODS if compare else [cast("Method", method)],
            layer=layer,
            trust=trust or compare,
            seed=seed,
            progress=bar,
        )
        good = told.good(records, complain)
        if show_json:
            told.print_json(good)
        else:
            _deliver(good, save, named.classes, theme_of(theme))
            told.print()
    if told.failed:
        raise typer.Exit(1)


def _require_place(save: Path | None) -> None:
    """Refuses what could not be written, before anything is done.

    Raises:
        ArgumentError: An ending of another kind of file, or a place that takes none.
    """
    if save is None:
        return
    where = f"{_WHERE} --save"
    if save.suffix and not save.is_dir():
        suffix_of(save, (*_DRAWN, *_PAGES), where)
    if save.suffix.lower() in _DRAWN:
        require_free_place(save, where)
    else:  # its folder is made where there is none
        place = save / "index.html" if save.is_dir() or not save.suffix else save
        folder = next(each for each in place.parents if each.exists())
        require_free_place(folder / place.name, where)


def _class(given: str | None, loss: bool, named: Named) -> int | ClassOf | None:
    chosen = class_number(given, named, "--class", _WHERE)
    if chosen is not None or not loss:
        return chosen
    if named.classes is None:
        raise ArgumentError(
            f"{_WHERE}: --loss needs the true class, and {named.name} has no names of "
            "classes. Give --class."
        )
    return class_of_folder(named.classes)


def _deliver(
    records: Records, save: Path | None, classes: Classes, theme: ThemeName
) -> None:
    """Draws pictures as they come: a few in one drawing, many on a page."""
    from convscope.viz import attribution, save_attributions

    drawn = save is not None and save.suffix.lower() in _DRAWN
    first = list(itertools.islice(records, MOST))
    rest = [] if drawn else list(itertools.islice(records, 1))
    if not first:
        return
    if save is not None and not drawn:
        made = save_attributions(
            itertools.chain(first, rest, records), save, classes=classes, theme=theme
        )
        say(str(made))
    elif rest:
        made = save_attributions(
            itertools.chain(first, rest, records), temporary_folder(), classes=classes,
            theme=theme,
        )  # fmt: skip
        show_file(made)
    else:
        by_method = zip(*(each.found for each in first), strict=True)
        together = {each.title: each for each in map(joined, by_method)}
        best = ranking([(name, each.trust) for name, each in together.items()])
        pixels = torch.stack([each.pixels for each in first]).numpy()
        ranked = [together[one.method] for one in best]
        drawing = attribution(ranked, pixels, classes=classes, theme=theme)
        deliver(drawing, save, name="why", suffix=".png")
        if drawn and next(records, None) is not None:
            say(
                f"the first {MOST} pictures are drawn; give --save FOLDER for all",
                error=True,
            )


class _Told:
    """What was found, in lines.

    Args:
        classes: Names of classes, if they have any.
    """

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.failed = 0
        self.lines: list[str] = []
        self.notes: dict[str, None] = {}
        self.trust: dict[str, list[Trust]] = {}

    def good(
        self, records: Iterator[PictureAttributions | Failure], complain: Complain
    ) -> Records:
        """The pictures that could be read, noted on the way; errors are said."""
        for each in records:
            if isinstance(each, Failure):
                complain(f"Error: {printable(each.path)}: {each.reason}")
                self.failed += 1
                continue
            self._note(each)
            yield each

    def _note(self, each: PictureAttributions) -> None:
        first = each.found[0]
        if len(self.lines) <= MOST:
            verdict = ""
            if len(each.found) == 1 and first.trust:
                verdict = f": {first.trust[0].verdict} ({first.trust[0].figures})"
            self.lines.append(f"{each.path}: {first.named(self.classes)}{verdict}")
        for record in each.found:
            self.trust.setdefault(record.title, []).extend(record.trust)
            self.notes.update(dict.fromkeys(record.notes))

    def print(self) -> None:
        """The lines of a few pictures, or the ranking of methods."""
        if len(self.trust) == 1:
            say(next(iter(self.trust)))
        if len(self.lines) <= MOST:
            for line in self.lines:
                say(f"  {line}")
        for place, one in enumerate(self._ranking(), start=1):
            if len(self.trust) > 1:
                say(f"{place}. {one}")
            elif len(self.lines) > MOST:
                say(f"  {one}")
        for note in self.notes:
            say(f"  {note}")
        if self.classes is None and self.lines:
            say("  Classes are numbered as the outputs are: their names are not known.")

    def print_json(self, records: Records) -> None:
        """Everything but the maps, as one object."""
        made = [
            {"path": each.path, "found": [one.to_dict() for one in each.found]}
            for each in records
        ]
        ranked = [one.to_dict() for one in self._ranking()]
        typer.echo(json_text({"pictures": made, "ranking": ranked}))

    def _ranking(self) -> tuple[Ranked, ...]:
        return ranking([(k, found) for k, found in self.trust.items() if found])
