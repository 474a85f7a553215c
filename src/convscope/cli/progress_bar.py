"""A bar for work that is counted, on standard error and only where somebody looks."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from convscope.data.progress import Progress as Advance
from convscope.terminal import Screen, printable, say

Complain = Callable[[str], None]


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


@contextlib.contextmanager
def counting(*, shown: bool = True) -> Iterator[tuple[Advance | None, Complain]]:
    """What to call with progress, and what to say errors with while it is shown.

    Args:
        shown: Whether a bar is wanted. There is none without a terminal.
    """
    if not (shown and sys.stderr.isatty()):
        yield None, lambda line: say(_one_line(line), error=True)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeRemainingColumn(),
    )
    console = Screen(stderr=True)
    tasks: dict[str, TaskID] = {}
    # Standard output is left alone: it may be a file.
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False
    ) as bar:

        def advance(done: int, total: int, what: str) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what)
            bar.update(tasks[what], completed=done, total=total)

        def complain(line: str) -> None:
            console.print(Text(_one_line(line)), soft_wrap=True)

        yield advance, complain


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))
