"""``convscope data``: which data sets there are, and what is wrong with a folder."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from convscope.cli.command import Command
from convscope.data.folders.audit import NEAR, AuditReport, audit
from convscope.data.published.catalog import CATALOG, StandardSet
from convscope.data.published.local_files import (
    DATA_VARIABLE,
    cache_folder,
    data_folder,
    locate,
)

SHOWN = 5  # lines per list

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def data() -> None:
    """Which data sets there are; what is wrong with one."""


@app.command("list", cls=Command)
def list_sets(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Print the data sets that have a name, and where each is on this machine.

    Example: convscope data list --json
    """
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


@app.command("audit", cls=Command)
def audit_folder(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder.")],
    near: Annotated[
        int,
        typer.Option(
            min=0,
            max=32,
            help="Bits of 64 in which near duplicates may differ; 0: exact ones only.",
        ),
    ] = NEAR,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Print what is wrong with a folder of images; exit code 1 if it must be mended.

    Example: convscope data audit photos/
    """
    report = _audited(folder, near)
    if as_json:
        typer.echo(json.dumps(report.to_dict()))
    else:
        _print_audit(report)
    if report.must_mend:
        raise typer.Exit(1)


def _audited(folder: Path, near: int) -> AuditReport:
    """The report, with a bar on standard error where a person is watching."""
    console = Console(stderr=True)
    if not sys.stderr.isatty():
        return audit(folder, near=near)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("reading images", total=None)
        return audit(
            folder,
            near=near,
            progress=lambda done, total, what: bar.update(
                task, completed=done, total=total, description=what
            ),
        )


def _print_audit(report: AuditReport) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    count = len(report.records)
    console.print(_safe(f"{report.folder}: {count:,} images"))
    if report.modes:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("class")
        for part in report.counts:
            table.add_column("images" if part == "all" else part, justify="right")
        for name in next(iter(report.counts.values())):
            table.add_row(
                Text(_safe(name)), *(f"{c[name]:,}" for c in report.counts.values())
            )
        console.print(table)
        sizes = [f"{w}x{h} ({n:,})" for (w, h), n in report.sizes[:SHOWN]]
        more = len(report.sizes) - SHOWN
        console.print(
            f"Sizes: {', '.join(sizes)}{f' and {more:,} more' if more > 0 else ''}"
        )
        for title, tally in (("Modes", report.modes), ("Formats", report.formats)):
            each = ", ".join(f"{name} ({n:,})" for name, n in tally.items())
            console.print(f"{title}: {each}")
        console.print()
    for finding in report.problems:
        console.print(f"{finding.severity}: {finding.kind}. {_safe(finding.message)}")
        for group in finding.files[:SHOWN]:
            console.print(f"    {_safe('  =  '.join(group))}")
        if len(finding.files) > SHOWN:
            console.print(f"    and {len(finding.files) - SHOWN:,} more (--json: all)")
    if not report.problems:
        console.print("Nothing to mend.")


def _safe(text: str) -> str:
    """Printable, also for names that are not Unicode or hold control characters."""
    known = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\ufffd" for c in known)
