"""``convscope play``: a page on which a network answers while one draws."""

from pathlib import Path
from typing import Annotated

import typer

from convscope.errors import ArgumentError
from convscope.terminal import say
from convscope.train.run import Run


def play(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    port: Annotated[
        int, typer.Option(help="Where to listen; by default a free port.", max=65535)
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
) -> None:
    """Open a page: draw, and watch the network think.

    Example: convscope play runs/digits-resnet9-1
    """
    try:
        from convscope.serve.portable.page_file import page_file
        from convscope.serve.running import serve
        from convscope.serve.subject import subject_of
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"play: the page needs {error.name}, which is not installed. Run "
            "pip install 'convscope[serve]'."
        ) from error
    if static is not None:
        path = page_file(subject_of(Run.load(run)), static)
        say(f"{path}: {path.stat().st_size / 1000:,.0f} kB")
        return
    serve(Run.load(run), port=port, host=host, browser=browser, say=say)
