"""The command ``convscope``: gathers the commands, turns our errors into one line."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from convscope.cli import data
from convscope.cli.evaluate import evaluate
from convscope.cli.models import models
from convscope.cli.predict import predict
from convscope.cli.summary import summary
from convscope.cli.train import train
from convscope.errors import ConvscopeError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with: convscope train",
)
app.command()(train)
app.command()(evaluate)
app.command()(predict)
app.command()(models)
app.command()(summary)
app.add_typer(data.app, name="data")


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
    """Build, train, see through and ship convolutional networks."""


def run() -> None:
    """Entry point: an error raised on purpose is one line and exit code 2."""
    try:
        app()
    except ConvscopeError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    run()
