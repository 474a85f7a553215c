import sys

import numpy as np
import pytest

from convscope.errors import ArgumentError, MissingExtraError, UnknownNameError
from convscope.viz import Picture

mpl = pytest.importorskip("matplotlib")


def draw(theme):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.suptitle("a < b & c")
    figure.subplots().plot([1, 3, 2], label=theme.name)
    return figure


def picture(theme="light"):
    return Picture({"values": [1, 3, 2]}, draw, theme)


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_record_gives_the_same_bytes(kind, monkeypatch):
    first = picture().encoded(kind)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")  # another day
    assert picture().encoded(kind) == first


def test_what_the_process_has_set_changes_nothing():
    first = picture().svg()
    with mpl.rc_context(
        {"axes.facecolor": "red", "font.size": 20, "lines.linewidth": 9}
    ):
        assert picture().svg() == first
        assert mpl.rcParams["font.size"] == 20


@pytest.mark.parametrize(
    ("name", "begin"), [("a.png", b"\x89PNG"), ("a.SVG", b"<?xml"), ("b.pdf", b"%PDF")]
)
def test_the_ending_says_the_format(tmp_path, name, begin):
    place = picture().save(tmp_path / name)
    assert place.read_bytes().startswith(begin)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_another_ending_is_refused_and_names_the_known(tmp_path):
    text = r"ends in '.jpg', which is no format of this\. Use \.png, \.svg or \.pdf\.$"
    with pytest.raises(ArgumentError, match=text):
        picture().save(tmp_path / "a.jpg")
    with pytest.raises(ArgumentError, match="ends in 'nothing'"):
        picture().save(tmp_path / "a")
    with pytest.raises(ArgumentError, match="No such file or directory"):
        picture().save(tmp_path / "there" / "a.png")


def test_a_file_that_is_there_is_replaced(tmp_path):
    (tmp_path / "a.png").write_text("old")
    assert picture().save(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_light_and_dark_are_the_same_drawing_in_other_colors():
    light = picture()
    dark = light.themed("dark")
    assert light.figure.get_facecolor() != dark.figure.get_facecolor()
    assert dark.data is light.data
    lines = [each.axes[0].lines[0].get_ydata() for each in (light, dark)]
    np.testing.assert_array_equal(*lines)
    assert light.themed("light") is light
    with pytest.raises(UnknownNameError, match="unknown theme 'blue'"):
        picture("blue")


def test_a_notebook_shows_it_with_its_title_as_text():
    assert 'alt="a &lt; b &amp; c"' in picture()._repr_html_()
    assert picture()._repr_png_().startswith(b"\x89PNG")


def test_the_figure_can_be_asked_through_it():
    assert picture().get_suptitle() == "a < b & c"
    with pytest.raises(AttributeError, match="no_such"):
        _ = picture().no_such


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'convscope\[viz\]'"):
        picture()


def test_names_from_outside_are_drawn_as_they_are():
    def named(theme):
        from matplotlib.figure import Figure

        figure = Figure()
        axes = figure.subplots()
        axes.set_title("cost $x^$ \x1b[2J of $\\bad{")
        axes.barh(["a $b$ c"], [10])
        axes.set_xscale("log")
        return figure

    drawn = Picture(None, named)
    assert drawn.png().startswith(b"\x89PNG")  # as a formula it is an error
    axes = drawn.axes[0]
    assert axes.get_title() == "cost $x^$ \N{REPLACEMENT CHARACTER}[2J of $\\bad{"
    assert not axes.title.get_parse_math()
    numbers = axes.get_xticklabels()
    assert all(label.get_parse_math() for label in numbers)  # powers of ten
