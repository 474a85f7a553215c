"""The page of the commands: what each prints for ``--help``, word for word."""

from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

WIDTH = 92  # columns


def names(app: typer.Typer) -> list[list[str]]:
    """Every command, as the words that call it."""
    commands = app.registered_commands
    found = [[each.name or str(each.callback.__name__)] for each in commands]
    for group in app.registered_groups:
        inner = names(group.typer_instance)
        found += [[str(group.name), *words] for words in inner]
    return sorted(found)


def page() -> str:
    """The page, in reStructuredText."""
    from convscope.cli.main import app

    runner = CliRunner(env={"COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH)})
    lines = ["The commands", "============", ""]
    lines += ["Each prints JSON with ``--json``, and this with ``--help``.", ""]
    for words in names(app):
        title = " ".join(["convscope", *words])
        shown = runner.invoke(app, [*words, "--help"], prog_name="convscope")
        lines += [title, "-" * len(title), "", ".. code-block:: text", ""]
        lines += [f"   {line}".rstrip() for line in shown.output.strip().splitlines()]
        lines.append("")
    return "\n".join(lines)


def write(app: Any) -> None:
    """Write the page, if it changed."""
    path = Path(app.srcdir) / "reference" / "commands.rst"
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != page():
        path.write_text(page(), encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
