"""``convscope show why``: what in a picture speaks for its class, and how surely."""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from convscope.analysis import Attribution, attribute
from convscope.analysis.attribution.attribute import METHODS, Method
from convscope.cli.network import Named, named_network
from convscope.cli.options import JsonFlag, known
from convscope.cli.show_output import (
    LayerFlag,
    SaveFlag,
    TargetArgument,
    ThemeFlag,
    WeightsFlag,
    as_json,
    deliver,
    theme_of,
)
from convscope.data.preprocessing import Preprocessing
from convscope.errors import ArgumentError, DataError, UnknownNameError
from convscope.terminal import say
from convscope.train.judging.prediction import Failure, find_images

_WHERE = "show why"
MOST = 16  # pictures in one drawing


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
            "--class", metavar="NAME|NUMBER", help="By default the one that it names."
        ),
    ] = None,
    minus: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|NUMBER",
            help="What speaks for the class rather than this one.",
        ),
    ] = None,
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
    weights: WeightsFlag = None,
    theme: ThemeFlag = "light",
    save: SaveFlag = None,
    show_json: JsonFlag = False,
) -> None:
    """Draw what in a picture speaks for its class, and say how far to trust that.

    Example: convscope show why runs/photos-1 cat.jpg --save why.png
    """
    known(method, Method, "method")
    named = named_network(target, where=_WHERE, weights=weights)
    made = _preprocessing(named, target, weights)
    names = named.run.spec.classes if named.run is not None else None
    pixels, paths = _pixels(pictures, made)
    inputs = made.normalize(pixels)
    wanted = _class(class_name, names, "--class")
    other = _class(minus, names, "--minus")
    methods: tuple[Any, ...] = METHODS if compare else (method,)
    found: list[Attribution] = [
        attribute(
            named.net, inputs, wanted, minus=other, method=each,
            layer=layer if each == "grad_cam" else None, trust=trust or compare,
            seed=seed,
        )
        for each in methods
    ]  # fmt: skip
    if compare:
        found.sort(key=lambda each: -sum(t.gain for t in each.trust))
    if show_json:
        as_json(found if compare else found[0])
        return
    from convscope.viz import attribution as picture

    deliver(
        picture(found, pixels.numpy(), classes=names, theme=theme_of(theme)),
        save, name="why", suffix=".png",
    )  # fmt: skip
    for line in _said(found, paths, names):
        say(line)


def _said(
    found: list[Attribution], paths: list[str], names: tuple[str, ...] | None
) -> list[str]:
    lines = []
    for each in found:
        at = f" at {each.layer}" if each.layer else ""
        lines.append(f"{each.method}{at}")
        for number, path in enumerate(paths):
            own = each.classes[number]
            name = names[own] if names is not None else f"class {own}"
            verdict = f": {each.trust[number].verdict}" if each.trust else ""
            lines.append(f"  {path}: {name}{verdict}")
        lines += [f"  {note}" for note in each.notes]
    return lines


def _preprocessing(named: Named, target: str, weights: str | None) -> Preprocessing:
    """How pictures become inputs: as the run says, or as the weights were trained."""
    if named.run is not None:
        return named.run.spec.preprocessing
    from convscope.models.published_weights import PRETRAINED
    from convscope.train.starting_weights import find_start

    if weights is not None and target in PRETRAINED:
        return find_start(weights, target).preprocessing(3, None)
    raise ArgumentError(
        f"{_WHERE}: nobody says how pictures become inputs of {target}. Give a run "
        "folder, or a model with published weights (--weights imagenet)."
    )


def _pixels(given: list[str], made: Preprocessing) -> tuple[Tensor, list[str]]:
    entries = find_images(given)
    bad = [entry for entry in entries if isinstance(entry, Failure)]
    if bad:
        raise DataError(f"{_WHERE}: {bad[0].path}: {bad[0].reason}")
    paths = [str(entry) for entry in entries]
    if len(paths) > MOST:
        say(f"the first {MOST} of {len(paths)} pictures are drawn", error=True)
    paths = paths[:MOST]
    decoded = [torch.from_numpy(made.decode(Path(path))) for path in paths]
    return torch.stack(decoded), paths


def _class(given: str | None, names: tuple[str, ...] | None, flag: str) -> int | None:
    if given is None:
        return None
    if names is not None and given in names:
        return names.index(given)
    if given.isdigit():
        return int(given)
    if names is None:
        raise ArgumentError(f"{_WHERE}: {flag} {given} is no number. Give one.")
    raise UnknownNameError("class", given, names)
