"""Listeners that show how training goes: a bar, a notebook bar, or plain lines."""

import html
import math
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from convscope.terminal import Screen, printable
from convscope.train.training.events import (
    EpochEnded,
    Event,
    FinalStarted,
    Finished,
    FoldJudged,
    FoldStarted,
    Listener,
    Started,
    Stepped,
    Stopped,
    Warned,
)


def default_listeners() -> Sequence[Listener]:
    """A bar where there is a screen, else one line per epoch, on standard error."""
    if _in_notebook():
        return (NotebookBar(),)
    if sys.stderr.isatty():
        return (TerminalBar(Screen(stderr=True)),)
    return (Lines(sys.stderr),)


def clock(seconds: float) -> str:
    """A duration for people.

    >>> clock(75), clock(3700), clock(float("inf"))
    ('1:15', '1:01:40', '-:--')
    """
    if not math.isfinite(seconds):
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def epoch_line(event: EpochEnded, epochs: int | None) -> str:
    """One epoch as one line of aligned text, 80 columns in a usual training."""
    number = f"{event.epoch:>{len(str(epochs))}}/{epochs}" if epochs else event.epoch
    line = f"epoch {number}  loss {event.train_loss:.4f}"
    if event.val_loss is not None and event.val_accuracy is not None:
        line += f"  val loss {event.val_loss:.4f}  acc {event.val_accuracy:7.2%}"
    speed = f"{event.images_per_second:,.0f} img/s"
    return f"{line}  {speed:>12}  {clock(event.seconds_left)} left"


def fold_line(event: FoldStarted | FoldJudged | FinalStarted) -> str:
    """What a cross-validation does, or has found.

    >>> fold_line(FoldStarted(1, 1, 2, 5, 160, 40))
    'fold 2/5: training on 160 images, 40 are left out'
    >>> fold_line(FoldJudged(2, 3, 1, 5, 31, 40, 12.0, 168.0))
    'fold 1/5 of repeat 2/3: 31 of 40 right (77.50%) after 0:12, about 2:48 left'
    >>> fold_line(FinalStarted(200))
    'the network that is kept: training on all 200 images'
    """
    if isinstance(event, FinalStarted):
        return (
            f"the network that is kept: training on all {event.train_images:,} images"
        )
    name = f"fold {event.fold}/{event.folds}"
    if event.repeats > 1:
        name += f" of repeat {event.repeat}/{event.repeats}"
    if isinstance(event, FoldStarted):
        return (
            f"{name}: training on {event.train_images:,} images, {event.left_out:,} "
            "are left out"
        )
    return (
        f"{name}: {event.correct:,} of {event.images:,} right "
        f"({event.correct / event.images:.2%}) after {clock(event.seconds)}, about "
        f"{clock(event.seconds_left)} left"
    )


class Lines:
    """One plain line per epoch, for logs.

    >>> Lines(sys.stdout)(Warned("the disk is nearly full"))
    warning: the disk is nearly full
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._epochs: int | None = None

    def __call__(self, event: Event) -> None:
        """Writes a line if the event is worth one."""
        match event:
            case Started():
                self._epochs = event.epochs
                self._say(
                    f"training {event.parameters:,} parameters on "
                    f"{event.train_images:,} images ({event.setting})"
                )
                if _goes_on(event):
                    self._say(_going_on_line(event))
            case EpochEnded():
                self._say(epoch_line(event, self._epochs))
            case Warned():
                self._say(f"warning: {event.text}")
            case FoldStarted() | FoldJudged() | FinalStarted():
                self._say(fold_line(event))
            case Finished():
                self._say(finished_line(event))

    def _say(self, text: str) -> None:
        self._stream.write(printable(text) + "\n")
        self._stream.flush()


def _goes_on(event: Started) -> bool:
    return event.epoch > 1 or event.batch > 0


def _going_on_line(event: Started) -> str:
    return f"going on at epoch {event.epoch}, batch {event.batch}"


def finished_line(event: Finished) -> str:
    """Why and when training ended.

    >>> finished_line(Finished("all 9 epochs are done", 9, 90, 61.0, 7))
    'done after 1:01: all 9 epochs are done; kept epoch 7'
    """
    kept = f"; kept epoch {event.chosen_epoch}" if event.chosen_epoch else ""
    return f"done after {clock(event.seconds)}: {event.reason}{kept}"


class _Left(ProgressColumn):
    """Time left, as the loop estimates it."""

    def render(self, task: Task) -> Text:
        """The text of the column."""
        left = clock(task.fields.get("left", math.inf))
        return Text(f"{left} left", style="progress.remaining")


class TerminalBar:
    """A live bar with speed, time left and loss; finished epochs scroll above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._epochs: int | None = None
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __call__(self, event: Event) -> None:
        """Draws what the event changes."""
        match event:
            case Started():
                self._start(event)
            case Stepped() if self._bar is not None:
                self._bar.update(
                    self._task,
                    completed=event.progress,
                    description=self._epoch_text(event),
                    loss=f"loss {event.loss:.4f}",
                    speed=f"{event.images_per_second:,.0f} img/s",
                    left=event.seconds_left,
                )
            case EpochEnded():
                self._console.print(
                    epoch_line(event, self._epochs), highlight=False, style="dim"
                )
            case Warned():
                self._console.print(f"warning: {event.text}", style="yellow")
            case FoldStarted() | FoldJudged() | FinalStarted():
                self._console.print(fold_line(event), highlight=False)
            case Finished():
                self._close()
                self._console.print(finished_line(event), highlight=False)
            case Stopped():
                self._close()

    def _start(self, event: Started) -> None:
        self._epochs = event.epochs
        self._console.print(
            f"training {event.parameters:,} parameters on {event.train_images:,} "
            f"images ({event.setting})",
            highlight=False,
        )
        if _goes_on(event):
            self._console.print(_going_on_line(event), highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[loss]}"),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            _Left(),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task(
            self._epoch_text(event), total=1.0, loss="", speed="", left=math.inf
        )
        self._bar.start()

    def _epoch_text(self, event: Started | Stepped) -> str:
        total = f"/{self._epochs}" if self._epochs else ""
        return f"epoch {event.epoch}{total}"

    def _close(self) -> None:
        """Takes the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class NotebookBar:
    """The same in a notebook cell, drawn anew in place."""

    def __init__(self) -> None:
        from IPython.display import HTML, display  # only there in a notebook

        self._html: Any = HTML
        self._handle: Any = display(HTML("starting"), display_id=True)
        self._epochs: int | None = None
        self._last = -1.0
        self._lines: list[str] = []

    def __call__(self, event: Event) -> None:
        """Draws what the event changes, at most a hundred times a training."""
        match event:
            case Started():
                self._epochs = event.epochs
            case Stepped() if event.progress - self._last >= 0.01:
                self._last = event.progress
                self._draw(
                    f"<progress value='{event.progress:.3f}' max='1'></progress> "
                    f"epoch {event.epoch}, loss {event.loss:.4f}, "
                    f"{event.images_per_second:,.0f} img/s, "
                    f"{clock(event.seconds_left)} left"
                )
            case EpochEnded():
                self._lines.append(epoch_line(event, self._epochs))
            case Warned():
                self._lines.append(f"warning: {event.text}")
            case FoldStarted() | FoldJudged() | FinalStarted():
                self._last = -1.0
                self._lines.append(fold_line(event))
            case Finished():
                self._draw(html.escape(finished_line(event)))
            case Stopped():
                self._draw(html.escape(f"stopped: {event.reason}"))

    def _draw(self, top: str) -> None:
        rows = html.escape("\n".join(self._lines[-12:]))
        self._handle.update(self._html(f"{top}<pre>{rows}</pre>"))


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    found = shell.get_ipython() if shell is not None else None
    return type(found).__name__ == "ZMQInteractiveShell"
