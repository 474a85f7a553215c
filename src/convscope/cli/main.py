"""The command ``convscope``: gathers the commands, turns our errors into one line."""

import contextlib
import errno
import io
import os
import sys
import warnings
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from convscope.cli import data, show
from convscope.cli.bench import bench
from convscope.cli.command import Command
from convscope.cli.evaluate import evaluate
from convscope.cli.features import features
from convscope.cli.models import models
from convscope.cli.play import play
from convscope.cli.predict import predict
from convscope.cli.remedies import with_flags
from convscope.cli.report import report
from convscope.cli.summary import summary
from convscope.cli.train import train
from convscope.cli.verify import verify
from convscope.errors import ConvscopeError
from convscope.terminal import say

_CANNOT_BE_WRITTEN = (errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,  # boxes leave the text of 40 flags a third of the screen
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with: convscope train",
)
app.command(cls=Command)(train)
app.command(cls=Command, short_help="Measure how good a run is and where it fails.")(
    evaluate
)
app.command(cls=Command, short_help="Print the most probable classes of images.")(
    predict
)
app.command(cls=Command, short_help="Write what a run is worth into one HTML file.")(
    report
)
app.command(cls=Command, short_help="Open a page: draw, and watch the network think.")(
    play
)
app.command(
    cls=Command, short_help="Save what a network knows of pictures, as numbers."
)(features)
app.command(cls=Command, short_help="Compare a run's files with their checksums.")(
    verify
)
app.command(cls=Command)(models)
app.command(
    cls=Command, short_help="Print a network's shapes, costs and receptive fields."
)(summary)
app.command(
    cls=Command, short_help="Compare our speed with other libraries on this machine."
)(bench)
app.add_typer(data.app, name="data")
app.add_typer(show.app, name="show")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"convscope {version('convscope')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Build, train, see inside and ship convolutional networks."""


def _warn(message: Warning | str, *_where: object, **_more: object) -> None:
    say(f"warning: {message}", error=True)


def run() -> None:
    """Entry point: an error raised on purpose is one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what its encoding lacks becomes ?
            stream.reconfigure(errors="replace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            code = _exit_code()
        if sys.stdout is not None:
            sys.stdout.flush()
    except ConvscopeError as error:
        _complain(with_flags(error))
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.filename is not None or error.errno not in _CANNOT_BE_WRITTEN:
            raise
        _give_up_output()
        _complain(f"the output cannot be written: {error.strerror}.")
    sys.exit(code)


def _exit_code() -> int | str | None:
    try:
        app(prog_name="convscope")
    except SystemExit as stop:
        return stop.code
    return 0


def _complain(text: str) -> NoReturn:
    with contextlib.suppress(OSError):  # standard error may be full, too
        say(f"Error: {text}", error=True)
    sys.exit(2)


def _give_up_output() -> None:
    """Leaves nothing in standard output that Python would try to write at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    run()
