"""What people see while training goes on."""

import io
import os
import pty
import re
import select
import time

import pytest
from rich.console import Console

from convscope.train.training.events import (
    EpochEnded,
    Finished,
    Started,
    Stepped,
    Stopped,
    Warned,
)
from convscope.train.training.progress_bars import (
    Lines,
    TerminalBar,
    default_listeners,
    epoch_line,
)

STARTED = Started(1000, 100, 61_706, 8, 12, None, "cpu, float32", epoch=1, batch=0)
EPOCH = EpochEnded(3, 24, 0.51234, 0.25, 0.98765, 0.01, 12_345.6, 75.0, 3_700.0)
FINISHED = Finished("all 12 epochs are done", 12, 96, 75.4, None)


def lines(*events):
    stream = io.StringIO()
    listener = Lines(stream)
    for event in events:
        listener(event)
    return stream.getvalue()


def test_a_log_has_one_line_per_epoch():
    step = Stepped(1, 1, 1, 2.3, 0.1, 0.01, 100.0, 60.0)
    assert lines(STARTED, step, EPOCH, Warned("look out"), FINISHED) == (
        "training 61,706 parameters on 1,000 images (cpu, float32)\n"
        "epoch  3/12  loss 0.5123  val loss 0.2500  acc  98.77%  12,346 img/s  "
        "1:01:40 left\n"
        "warning: look out\n"
        "done after 1:15: all 12 epochs are done\n"
    )


def test_a_log_says_where_a_run_goes_on_and_which_epoch_was_kept():
    again = Started(1000, 100, 10, 8, 12, None, "cpu, float32", epoch=4, batch=7)
    assert lines(again) == (
        "training 10 parameters on 1,000 images (cpu, float32)\n"
        "going on at epoch 4, batch 7\n"
    )
    stopped = Finished("no better val loss for 3 epochs", 9, 72, 3.0, 6)
    assert lines(stopped) == (
        "done after 0:03: no better val loss for 3 epochs; kept epoch 6\n"
    )


def test_with_a_time_budget_no_number_of_epochs_is_promised():
    assert epoch_line(EPOCH, None).startswith("epoch 3  loss 0.5123")


def test_without_validation_its_columns_are_left_out():
    event = EpochEnded(3, 24, 0.5, None, None, 0.01, 900.0, 75.0, 0.0)
    assert epoch_line(event, 12) == (
        "epoch  3/12  loss 0.5000     900 img/s  0:00 left"
    )


def test_an_epoch_of_a_usual_training_fits_80_columns():
    usual = EpochEnded(99, 24, 2.5, 2.5, 1.0, 0.01, 99_999.0, 75.0, 3_599.0)
    assert len(epoch_line(usual, 99)) <= 80


def test_standard_error_decides_between_bar_and_lines(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    assert isinstance(default_listeners()[0], Lines)
    stream.isatty = lambda: True
    assert isinstance(default_listeners()[0], TerminalBar)


def drawn(*events):
    """All that a terminal of 80 columns receives; one frame for each event."""
    leader, follower = pty.openpty()
    try:
        with os.fdopen(follower, "w") as stream:
            console = Console(file=stream, force_terminal=True, width=80, height=25)
            assert stream.isatty()
            bar = TerminalBar(console)
            for event in events:
                bar(event)
                if bar._bar is not None:
                    bar._bar.refresh()
            text = b""
            end = time.monotonic() + 10
            while time.monotonic() < end and select.select([leader], [], [], 0.1)[0]:
                text += os.read(leader, 65536)
            bar(Stopped("", interrupted=True))  # ends the thread that draws
    finally:
        os.close(leader)
    return text.decode()


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_a_terminal_shows_a_bar_with_speed_and_time_left():
    step = Stepped(2, 5, 13, 0.4321, 0.1, 0.25, 8_765.0, 125.0)
    text = plain(drawn(STARTED, step, EPOCH, FINISHED))
    (frame,) = {x.strip() for x in re.split(r"[\r\n]+", text) if "8,765" in x}
    assert frame.startswith("epoch 2/12 ━━━━━")
    assert re.search(r" 25 % loss 0\.4321 8,765 img/s 0:00:0\d 2:05 left$", frame)
    assert len(frame) <= 80
    assert "epoch  3/12  loss 0.5123  val loss 0.2500  acc  98.77%" in text
    assert text.rstrip().endswith("done after 1:15: all 12 epochs are done")


@pytest.mark.parametrize("last", [FINISHED, Stopped("interrupted", interrupted=True)])
def test_the_cursor_is_given_back_however_training_ends(last):
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert shown not in drawn(STARTED)
    text = drawn(STARTED, last)
    assert text.index(hidden) < text.index(shown)


def test_a_bar_going_on_names_the_epoch_it_goes_on_with():
    again = Started(1000, 100, 10, 8, 12, None, "cpu, float32", epoch=4, batch=7)
    text = plain(drawn(again, FINISHED))
    assert "going on at epoch 4, batch 7" in text
    assert "epoch 4/12" in text
    assert "epoch 1 " not in text
