"""``convscope data``: which data sets there are, and what is wrong with a folder."""

import typer

app = typer.Typer(
    no_args_is_help=True, help="Which data sets there are; what is wrong with one."
)
