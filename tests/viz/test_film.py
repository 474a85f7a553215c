import io
import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image, ImageSequence

from convscope.errors import ArgumentError
from convscope.viz import Film, Frame, Picture

pytest.importorskip("matplotlib")


def drawing(height, size=(1, 1)):
    def draw(theme):
        from matplotlib.figure import Figure

        figure = Figure(figsize=size)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 3), ylim=(0, 9))
        axes.plot([0, height], [0, height**2])
        return figure

    return Picture(height, draw)


def film(**options):
    frames = [Frame(f"epoch {i} </script><b>", drawing(i + 1)) for i in range(3)]
    return Film(frames, [1, 2, 3], name="a & b", **options)


def test_a_gif_has_every_frame_for_as_long_as_said():
    images = Image.open(io.BytesIO(film(seconds=0.25).gif()))
    holds = [frame.info["duration"] for frame in ImageSequence.Iterator(images)]
    assert holds == [250, 250, 750]  # the last stays longer before it repeats
    assert images.info["loop"] == 0
    assert film().gif() == film().gif()


def test_frames_of_different_sizes_are_no_gif():
    two = Film([Frame("a", drawing(1)), Frame("b", drawing(1, (2, 1)))], None)
    with pytest.raises(
        ArgumentError, match=r"different sizes \(160x160, 320x160 dots\)"
    ):
        two.gif()


class Found(HTMLParser):
    """Elements, their links, and what scripts hold."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.ids = [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.links += [values[k] for k in ("src", "href", "data") if k in values]
        if "id" in values:
            self.ids[values["id"]] = values


def test_the_page_needs_nothing_else_and_has_what_plays_it():
    page = film().html()
    found = Found(page)
    assert found.links
    assert all(link.startswith("data:image/png;base64,") for link in found.links)
    assert not re.search(r"https?:|url\(|@import", page)
    assert {"play", "back", "on", "place", "speed", "title"} <= found.ids.keys()
    assert found.ids["place"]["max"] == "2"
    assert "prefers-reduced-motion" in page
    assert "prefers-color-scheme: dark" in page


def test_titles_are_told_as_they_are_and_close_no_script():
    page = film().html()
    found = Found(page)
    assert found.tags.count("script") == 2
    assert "b" not in found.tags
    told = re.search(r'application/json">(.*?)</script>', page, re.DOTALL).group(1)
    assert json.loads(told)["titles"][1] == "epoch 1 </script><b>"
    assert "<title>a &amp; b</title>" in page


def test_vector_frames_are_in_the_page_as_they_are():
    page = film(vector=True).html()
    assert page.count("<svg") == 3
    assert "data:image" not in page


@pytest.mark.parametrize("name", ["a.gif", "a.html"])
def test_the_ending_says_the_format(tmp_path, name):
    assert film().save(tmp_path / name).stat().st_size > 1000


def test_what_cannot_be_a_film_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"^Film: frames is empty"):
        Film([], None)
    with pytest.raises(ArgumentError, match=r"^Film: seconds=0 is not above 0"):
        film(seconds=0)
    with pytest.raises(ArgumentError, match=r"Use \.gif or \.html\.$"):
        film().save(tmp_path / "a.mp4")
