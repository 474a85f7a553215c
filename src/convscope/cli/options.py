"""Arguments and flags that several commands have, each said once."""

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from convscope.errors import UnknownNameError
from convscope.train.recipe import Tta

RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder made by `convscope train`.")
]
TtaFlag = Annotated[
    str | None,
    typer.Option(
        "--tta",
        metavar="none|flip|shift|both",
        help="Average over each image and its mirror image, slightly shifted copies, "
        "or both; by default what the recipe says.",
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
BatchSizeFlag = Annotated[int, typer.Option("--batch-size", help="Images per batch.")]
DeviceFlag = Annotated[
    str | None,
    typer.Option(
        "--device", help="cpu, cuda, cuda:1 or mps; by default as in training."
    ),
]
OptimizeFlag = Annotated[
    bool | None,
    typer.Option(
        "--optimize/--no-optimize",
        help="Use the fastest way of running the network; by default as in training.",
    ),
]


def tta_named(name: str | None) -> Tta | None:
    """The name, if it is one.

    Raises:
        UnknownNameError: It is not.

    >>> tta_named("flip")
    'flip'
    """
    return cast("Tta | None", known(name, Tta, "tta"))


def known(name: str | None, names: object, kind: str) -> str | None:
    """``name`` if it is one of a Literal's, or None.

    >>> known("both", Tta, "tta")
    'both'
    """
    if name not in (None, *get_args(names)):
        raise UnknownNameError(kind, str(name), get_args(names))
    return name
