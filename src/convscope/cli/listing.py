"""Rows of names and numbers that can be read in a wide window and in a narrow one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from convscope.terminal import cell, printable

READABLE = 16  # columns below which a name that is folded cannot be read any more
_GAP = 2


@dataclass
class Listing:
    """A table where the window is wide enough for it, else a paragraph a row.

    Attributes:
        heads: Of the columns; a column of names may have none.
        names: How many of the first columns hold names; the others hold numbers.
        whole: Names are paths, to be copied: they are never folded.
        rows: As text.
        total: A last row in bold.
    """

    heads: Sequence[str]
    names: int
    whole: bool = False
    rows: list[Sequence[str]] = field(default_factory=list)
    total: Sequence[str] | None = None

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterable[RenderableType]:
        """What rich asks for."""
        if self._narrowest() <= options.max_width:
            yield self._table()
        else:
            yield from self._paragraphs(options.max_width)

    def _all(self) -> list[Sequence[str]]:
        return [*self.rows, *([self.total] if self.total else [])]

    def _narrowest(self) -> int:
        """Columns that the table cannot do without."""
        widths = []
        for index, head in enumerate(self.heads):
            lines = [head, *(row[index] for row in self._all())]
            width = max(cell_len(cell(line).plain) for line in lines)
            foldable = index < self.names and not self.whole
            widths.append(min(width, READABLE) if foldable else width)
        return sum(widths) + _GAP * (len(widths) - 1)

    def _table(self) -> Table:
        table = Table(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
        )
        for index, head in enumerate(self.heads):
            if index < self.names:
                table.add_column(head, overflow="fold", no_wrap=self.whole)
            else:
                table.add_column(head, justify="right", no_wrap=True)
        for row in self.rows:
            table.add_row(*map(cell, row))
        if self.total:
            table.add_row(*map(cell, self.total), style="bold")
        return table

    def _paragraphs(self, width: int) -> Iterable[Text]:
        for row in self._all():
            name = cell(row[0], "bold")
            if self.whole:
                name.no_wrap, name.overflow = True, "ignore"
            yield name
            rest = zip(self.heads[1:], row[1:], strict=True)
            parts = [f"{head} {value}".strip() for head, value in rest if value]
            yield from map(Text, _packed([printable(part) for part in parts], width))


def _packed(parts: Sequence[str], width: int) -> Iterable[str]:
    """Indented lines of whole parts, as many as fit into each."""
    line = ""
    for part in parts:
        if line and cell_len(line) + 2 + cell_len(part) > width:
            yield line
            line = ""
        line += "  " + part
    if line:
        yield line
