import sys

from convscope.cli.progress_bar import counting


def test_a_bar_is_drawn_on_a_terminal_and_errors_beside_it(monkeypatch, capfd):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with counting() as (advance, complain):
        advance(3, 8, "images")
        complain("Error: a: two\nlines")
        advance(8, 8, "images")
    out, err = capfd.readouterr()
    assert out == ""
    assert "8/8" in err
    assert "Error: a: two lines" in err


def test_without_a_terminal_there_is_no_bar_but_errors_are_lines(monkeypatch, capfd):
    for shown in (True, False):
        with counting(shown=shown) as (advance, complain):
            assert advance is None
            complain("Error: a: two\nlines")
        assert capfd.readouterr() == ("", "Error: a: two lines\n")
