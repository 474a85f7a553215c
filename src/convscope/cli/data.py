"""``convscope data``: which data sets there are, and what is wrong with a folder."""

import json
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from convscope.data.catalog import CATALOG, StandardSet
from convscope.data.locate import DATA_VARIABLE, cache_folder, data_folder, locate

app = typer.Typer(no_args_is_help=True)


@app.callback()
def data() -> None:
    """Which data sets there are; what is wrong with one."""


@app.command("list")
def list_sets(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Print the data sets that have a name, and where each is on this machine."""
    records = [_record(card) for card in CATALOG.values()]
    named = data_folder()
    if as_json:
        looked = {"data": named and str(named), "cache": str(cache_folder())}
        typer.echo(json.dumps({"data_sets": records, "looked_in": looked}))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("what")
    table.add_column("shape", no_wrap=True)
    for column in ("classes", "train", "test"):
        table.add_column(column, justify="right")
    table.add_column("here")
    for record in records:
        table.add_row(
            record["name"],
            record["summary"],
            "x".join(map(str, record["shape"])),
            str(len(record["classes"])),
            f"{record['train_count']:,}",
            f"{record['test_count']:,}" if record["test_count"] else "by hash",
            _short(record),
        )
    console = Console(highlight=False)
    console.print(table)
    for record in records:
        if _short(record) == "yes":
            console.print(f"{record['name']}: {record['where']}", soft_wrap=True)
    console.print(
        f"${DATA_VARIABLE} is {named or 'not set'}; the cache is {cache_folder()}. "
        "What is not here is downloaded when it is used.",
        soft_wrap=True,
    )


def _record(card: StandardSet) -> dict[str, Any]:
    found = locate(card)
    built_in = card.format == "built in"
    return {
        "name": card.name,
        "summary": card.summary,
        "shape": list(card.shape),
        "classes": list(card.classes),
        "train_count": card.train_count,
        "test_count": card.test_count,
        "source": card.source,
        "where": "built in" if built_in else str(found.folder) if found else None,
        "form": card.format if built_in else found.form if found else None,
        "download_bytes": sum(file.size_bytes for file in card.files),
    }


def _short(record: dict[str, Any]) -> str:
    """Whether a set is here, in words that fit into a column."""
    if record["where"] is None:
        return f"no, {record['download_bytes'] / 1e6:.0f} MB"
    return "built in" if record["form"] == "built in" else "yes"
