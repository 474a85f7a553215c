"""``convscope verify``: whether the files of a run are those that training wrote."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from convscope.terminal import json_text, say
from convscope.train.verification import verify as look

_DAMAGED = 1  # an answer, not an error: scripts can tell it from one


def verify(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of train.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Compare every file of RUN with the checksum that training kept of it.

    The exit code is 1 if a file is not as it was written.

    Example: convscope verify runs/digits-resnet9-1
    """
    found = look(run)
    if as_json:
        typer.echo(json_text({**asdict(found), "intact": found.is_intact}))
    else:
        wide = max(len(each.name) for each in found.files)
        for each in found.files:
            say(f"{each.name:{wide}}  {each.state}")
        for each in found.files:
            if each.reason:
                say(each.reason, error=True)
    if not found.is_intact:
        raise typer.Exit(_DAMAGED)
