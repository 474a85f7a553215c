"""``convscope features``: what a network knows of pictures, as numbers in a file."""

from pathlib import Path
from typing import Annotated

import typer

from convscope.cli.options import JsonFlag, OptimizeFlag
from convscope.cli.progress_bar import counting
from convscope.terminal import json_text, printable, say
from convscope.train.embedding.table import feature_table, require_free


def features(
    net: Annotated[
        str,
        typer.Argument(
            metavar="RUN|MODEL",
            help="A run folder, or a model that has ImageNet weights, such as "
            "efficientnet_lite0.",
        ),
    ],
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Files, patterns in quotes, or folders; the folders in them are "
            "classes, or train, val and test.",
        ),
    ],
    save: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="Ends in .npz (everything), .csv (path, class, features) or .npy "
            "(features alone).",
        ),
    ],
    layer: Annotated[
        str | None,
        typer.Option(
            help="Take what this layer gives, averaged over positions; by default what "
            "reaches the last layer."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that is there.")
    ] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images per batch; by default as the cache bears."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="cpu, cuda, cuda:1 or mps; by default as in training, or the best."
        ),
    ] = None,
    optimize: OptimizeFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Save what a network knows of pictures: a row of numbers each, for other methods.

    A file that cannot be read gives one line on standard error; the others are saved,
    and the exit code is 1.

    Example: convscope features efficientnet_lite0 photos/ --save photos.npz
    """
    require_free(save, force=force)
    with counting() as (bar, complain):
        table = feature_table(
            net,
            paths,
            layer=layer,
            device=device,
            optimize=optimize is not False,
            batch_size=batch_size,
            progress=bar,
        )
        for each in table.set_aside:
            complain(f"Error: {printable(each.path)}: {each.reason}")
        for note in table.notes:
            complain(f"Note: {note}")
    table.save(save, force=force)
    if as_json:
        typer.echo(json_text({**table.to_dict(), "saved": str(save)}))
    else:
        count, width = table.features.shape
        named = f", {len(table.classes):,} classes" if table.classes else ""
        say(
            f"{save}: {count:,} files, {width:,} features each{named}; "
            f"{table.model}, {table.layer}"
        )
    if table.set_aside:
        raise typer.Exit(1)
