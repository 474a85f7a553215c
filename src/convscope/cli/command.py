"""A command that knows what a misspelled flag was meant to be."""

import difflib
from typing import Any

import typer
from typer.core import TyperCommand

from convscope.errors import UnknownNameError

# typer hands out click's usage errors only as the base of this one.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


class Command(TyperCommand):
    """Refuses an unknown flag as we refuse any other name outside a closed set."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses; a flag close to one of ours raises UnknownNameError."""
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            given = str(getattr(error, "option_name", ""))
            known = [
                name
                for parameter in self.get_params(ctx)
                for name in (*parameter.opts, *parameter.secondary_opts)
                if name.startswith("--")
            ]
            if given in known or not difflib.get_close_matches(given, known, n=1):
                raise
            raise UnknownNameError("option", given, known) from None
