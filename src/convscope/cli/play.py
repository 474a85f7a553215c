"""``convscope play``: a page on which a network answers while one draws."""

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.cli.network import named_network
from convscope.cli.show_input import preprocessing_of
from convscope.cli.show_output import ArgumentFlag, InputFlag
from convscope.errors import ArgumentError, MissingExtraError
from convscope.models.published_weights import PRETRAINED, is_installed
from convscope.terminal import say
from convscope.train.run import Run
from convscope.train.spec import FILE

if TYPE_CHECKING:
    from convscope.serve.subject import Subject


def play(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|MODEL",
            help="A run folder, or the weights file in it; a model's name, or "
            "package.module:factory.",
        ),
    ],
    port: Annotated[
        int,
        typer.Option(help="Where to listen; by default a free port.", min=0, max=65535),
    ] = 0,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; 0.0.0.0 opens it to the network."),
    ] = "127.0.0.1",
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page.")
    ] = True,
    static: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the page as one HTML file that needs no server, and end.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="NAME|FILE",
            help="Weights of MODEL; by default published ones if they are installed, "
            "else random ones.",
        ),
    ] = None,
    sizes: InputFlag = None,
    arguments: ArgumentFlag = None,
) -> None:
    """Open a page: draw, and watch the network think. Ctrl-C ends it.

    Example: convscope play runs/digits-resnet9-1
    """
    try:
        from convscope.serve.portable.page_file import page_file
        from convscope.serve.running import serve
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "serve") from error
    try:
        shown = _subject(target, weights, sizes, arguments)
        if static is not None:
            path = page_file(shown, static)
            say(f"{path}: {path.stat().st_size / 1000:,.0f} kB")
            return
        serve(shown, port=port, host=host, browser=browser, say=say)
    except KeyboardInterrupt:  # before the page was there
        raise typer.Exit(130) from None
    _end_at_once()


def _end_at_once() -> None:
    """Does not wait for a thread that prepares what nobody needs any more."""
    main = threading.main_thread()
    if any(not one.daemon and one is not main for one in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _subject(
    target: str,
    weights: str | None,
    sizes: list[str] | None,
    arguments: list[str] | None,
) -> "Subject":
    from convscope.serve.subject import subject_of, subject_of_network

    path = Path(target)
    if path.is_file() and (path.parent / FILE).is_file():
        path = path.parent
    if path.is_dir():
        if weights or sizes or arguments:
            raise ArgumentError(
                f"play: {target} is a run, which has its own model, weights and size. "
                "Leave out --weights, --input and --arg."
            )
        return subject_of(Run.load(path, device="cpu"))
    if path.is_file():
        raise ArgumentError(
            f"play: {target} is a file, and not of a run. Give a run folder, or a "
            f"model's name with --weights {target}."
        )
    if weights is None and target in PRETRAINED and is_installed(target):
        weights = PRETRAINED[target].name
    named = named_network(
        target, where="play", sizes=sizes, arguments=arguments, weights=weights
    )
    shape = named.input_shape or ()
    if shape and (len(shape) != 3 or shape[0] not in (1, 3)):
        raise ArgumentError(
            f"play: {target} takes {shape}, and the page shows pictures in gray or "
            "color. Give --input 1,H,W or 3,H,W."
        )
    return subject_of_network(
        named.net, named.title, preprocessing_of(named, "play"), named.classes
    )
