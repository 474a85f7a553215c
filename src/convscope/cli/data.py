"""``convscope data``: which data sets there are, and what is wrong with a folder."""

from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from convscope.cli.command import Command
from convscope.cli.listing import Listing
from convscope.cli.options import DeviceFlag, JsonFlag
from convscope.cli.progress_bar import counting
from convscope.data.folders.audit import NEAR, AuditReport, audit
from convscope.data.folders.findings import Suspect
from convscope.data.folders.layout import Layout
from convscope.data.published.catalog import CATALOG, StandardSet
from convscope.data.published.local_files import (
    DATA_VARIABLE,
    cache_folder,
    data_folder,
    locate,
)
from convscope.terminal import Screen, json_text, printable, say
from convscope.train.embedding.features import features_of
from convscope.train.embedding.source import source_of
from convscope.train.spec import FILE as SPEC_FILE
from convscope.train.starting_weights import MODEL

SHOWN = 5  # lines per list
FEATURES = "--features"
_COUNTED = ("classes", "train", "test")

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def data() -> None:
    """List the data sets that have a name; find faults in a folder."""


@app.command("list", cls=Command)
def list_sets(
    as_json: JsonFlag = False,
) -> None:
    """List the named data sets.

    Each is shown with where it is on this machine.

    Example: convscope data list --json
    """
    records = [_record(card) for card in CATALOG.values()]
    named = data_folder()
    if as_json:
        looked = {"data": named and str(named), "cache": str(cache_folder())}
        typer.echo(json_text({"data_sets": records, "looked_in": looked}))
        return
    listing = Listing(("name", "what", "shape", *_COUNTED, "here"), names=2)
    for record in records:
        listing.rows.append(
            (
                record["name"],
                record["summary"],
                "x".join(map(str, record["shape"])),
                str(len(record["classes"])),
                f"{record['train_count']:,}",
                f"{record['test_count']:,}" if record["test_count"] else "by hash",
                _short(record),
            )
        )
    screen = Screen()
    screen.print(listing)
    screen.print()
    for record in records:
        if _short(record) == "yes":
            say(f"{record['name']}: {record['where']}")
    say(f"${DATA_VARIABLE} is {named or 'not set'}; the cache is {cache_folder()}.")
    screen.print("A data set that is not here is downloaded when it is first used.")


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


class _Audit(Command):
    """Knows which model is meant where ``--features`` names none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if FEATURES in args:
            at = args.index(FEATURES) + 1
            if at == len(args) or args[at].startswith("-") or _holds_no_run(args[at]):
                args = [*args[:at], MODEL, *args[at:]]
        return super().parse_args(ctx, args)


def _holds_no_run(word: str) -> bool:
    """Whether it is a folder, but no run: then it is what is audited."""
    return Path(word).is_dir() and not Path(word, SPEC_FILE).exists()


@app.command("audit", cls=_Audit)
def audit_folder(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of images.")],
    near: Annotated[
        int,
        typer.Option(
            min=0,
            max=32,
            help="Bits of 64 in which near duplicates may differ; 0: exact ones only.",
        ),
    ] = NEAR,
    layout: Annotated[
        Layout, typer.Option(help="classes: folders named like parts are classes.")
    ] = "auto",
    features: Annotated[
        str | None,
        typer.Option(
            FEATURES,
            metavar="[MODEL|RUN]",
            help="Look at what the pictures show, too: look-alikes, probable wrong "
            f"labels, outliers; by the features of {MODEL}, or of another.",
        ),
    ] = None,
    device: DeviceFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Print what is wrong with a folder of images; exit code 1 if it must be fixed.

    Example: convscope data audit photos/ --features
    """
    report = _audited(folder, near, layout, features, device)
    if as_json:
        typer.echo(json_text({**report.to_dict(), "features": features}))
    else:
        _print_audit(report)
    if report.must_fix:
        raise typer.Exit(1)


def _audited(
    folder: Path, near: int, layout: Layout, features: str | None, device: str | None
) -> AuditReport:
    """The report, with a bar on standard error where a person is watching."""
    with counting() as (advance, _):
        make = None
        if features is not None:  # found first: it may be missing
            source = source_of(features, device=device)
            make = partial(features_of, source, progress=advance)
        return audit(folder, near=near, layout=layout, features=make, progress=advance)


def _print_audit(report: AuditReport) -> None:
    count = len(report.records)
    say(f"{report.folder}: {count:,} images")
    if report.modes:
        parts = ["images" if part == "all" else part for part in report.counts]
        listing = Listing(("class", *parts), names=1)
        for name in next(iter(report.counts.values())):
            numbers = (f"{c[name]:,}" for c in report.counts.values())
            listing.rows.append((name, *numbers))
        Screen().print(listing)
        sizes = [f"{w}x{h} ({n:,})" for (w, h), n in report.sizes[:SHOWN]]
        more = len(report.sizes) - SHOWN
        say(f"Sizes: {', '.join(sizes)}{f' and {more:,} more' if more > 0 else ''}")
        for title, tally in (("Modes", report.modes), ("Formats", report.formats)):
            each = ", ".join(f"{name} ({n:,})" for name, n in tally.items())
            say(f"{title}: {each}")
        say("")
    for finding in report.problems:
        say(f"{finding.severity}: {finding.kind}. {printable(finding.message)}")
        lines = (
            map(_suspect, finding.suspects)
            if finding.suspects
            else ("  =  ".join(group) for group in finding.files)
        )
        for line in islice(lines, SHOWN):
            say(f"    {printable(line)}")
        if len(finding.files) > SHOWN:
            say(f"    and {len(finding.files) - SHOWN:,} more (--json: all)")
    if not report.problems:
        say("Nothing to fix.")


def _suspect(each: Suspect) -> str:
    """One line: how certain, which file, and what shows it."""
    return f"{each.score:5.2f}  {each.path}  like {each.neighbor}"
