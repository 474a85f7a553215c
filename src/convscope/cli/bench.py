"""``convscope bench``: ours beside the peers on this machine."""

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from convscope import models
from convscope.bench import (
    ENTRANTS,
    Job,
    growth,
    growth_table,
    race,
    record,
    table,
)
from convscope.errors import ArgumentError
from convscope.terminal import Screen, json_text, say

DEFAULT_NETWORK = "lenet_page"


def bench(
    networks: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Names of models.")
    ] = None,
    batches: Annotated[
        list[int] | None,
        typer.Option("--batch", min=1, help="Images per step; may be repeated."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads for each; by default all cores.")
    ] = None,
    forward: Annotated[
        bool, typer.Option("--forward", help="Time the forward pass alone.")
    ] = False,
    growing: Annotated[
        bool,
        typer.Option(
            "--growth",
            help="Instead, show how time grows with batch size, channels, image size, "
            "depth and threads.",
        ),
    ] = False,
    repeats: Annotated[int, typer.Option(min=1, help="How often each is timed.")] = 7,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="About how long each timing takes.")
    ] = 0.5,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only those whose name contains this; may be repeated."),
    ] = None,
    python: Annotated[
        str,
        typer.Option(
            help="The interpreter that has JAX, Keras and ONNX Runtime, if not this "
            "one.",
            show_default="this one",
        ),
    ] = sys.executable,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write the measurements and the figures here."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per race.")
    ] = False,
) -> None:
    """Time a training step here: ours, PyTorch's in every setting, JAX's, Keras's.

    All get the same weights, images and threads. One whose losses or gradients differ
    from PyTorch's is left out; the others are timed in turn. x is how many times as
    fast as PyTorch, limit the share of this machine's speed in large matrix products.

    Example: convscope bench lenet5 --batch 64 --batch 512 --threads 1
    """
    if growing:
        _grow(seconds, repeats, save, as_json)
        return
    if shutil.which(python) is None:
        raise ArgumentError(f"bench: --python {python} is not a program.")
    entrants = [
        entrant
        for entrant in ENTRANTS
        if not only
        or entrant.name == "PyTorch"
        or any(part.lower() in entrant.name.lower() for part in only)
    ]
    kept = []
    for network in networks or [DEFAULT_NETWORK]:
        for batch in batches or [64, 512]:
            job = Job(
                network,
                models.find(network).input_shape,
                batch,
                threads or os.cpu_count() or 1,
                "forward" if forward else "train",
            )
            with Screen(stderr=True).status(f"{network}, batch {batch}") as status:
                results = race(
                    job,
                    entrants,
                    repeats=repeats,
                    seconds=seconds,
                    python=python,
                    progress=status.update,
                )
            kept.append(record(job, results))
            if as_json:
                typer.echo(json_text(kept[-1]))
            else:
                many = "s" if job.threads > 1 else ""
                say(f"{network}, batch {batch}, {job.threads} thread{many}:")
                say(table(kept[-1]) + "\n")
    if save is not None:
        from convscope.viz import race as bars
        from convscope.viz import roofline

        save.mkdir(parents=True, exist_ok=True)
        (save / "race.json").write_text(json_text(kept, indent=1) + "\n")
        bars(kept).save(save / "race.svg")
        roofline(kept).save(save / "roofline.svg")
        say(f"Written: {save}/race.json, race.svg, roofline.svg", error=True)


def _grow(seconds: float, repeats: int, save: Path | None, as_json: bool) -> None:
    with Screen(stderr=True).status("growth") as status:
        found = growth(seconds=seconds, repeats=repeats, progress=status.update)
    say(json_text(found) if as_json else growth_table(found))
    if save is not None:
        from convscope.viz import growth as picture

        save.mkdir(parents=True, exist_ok=True)
        (save / "growth.json").write_text(json_text(found, indent=1) + "\n")
        picture(found).save(save / "growth.svg")
        say(f"Written: {save}/growth.json, growth.svg", error=True)
