import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from convscope.analysis import convolution_steps
from convscope.cli.main import app
from convscope.errors import ArgumentError
from convscope.viz import arithmetic


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_all_frames_are_of_one_size_and_signals_lie_below_each_other(axes):
    steps = convolution_steps(np.ones((4,) * axes), np.ones((2,) * axes), axes=axes)
    film = arithmetic(steps)
    assert len(film.frames) == 3**axes
    (size,) = {(f.picture.width, f.picture.height) for f in film.frames}
    assert size[0] <= 4 * 30 + 2 * 30 + 3 * 30 + 200
    words = [each for each in film.frames[0].picture.items if hasattr(each, "text")]
    titles = [w for w in words if w.text.startswith(("input", "kernel", "output 3"))]
    assert len({w.x for w in titles}) == (1 if axes == 1 else 3)


def test_a_frame_shows_the_numbers_of_its_window():
    rng = np.random.default_rng(0)
    steps = convolution_steps(rng.integers(2, 9, (4, 4)), rng.integers(2, 5, (2, 2)))
    frame = arithmetic(steps).frames[4]
    drawn = ET.fromstring(frame.picture.svg())  # noqa: S314 - it is ours
    words = [each.text for each in drawn.iter() if each.tag.endswith("text")]
    step = steps.steps[4]
    assert str(step) in words
    for weight in steps.kernel.ravel():
        assert f"×{weight:g}" in words
    assert f"{step.value:.3g}" in words


def test_svg_takes_its_colors_from_the_page_and_png_from_the_theme():
    frame = arithmetic(convolution_steps([1, 2, 3], [1, 1])).frames[0].picture
    assert "var(--ink)" in frame.svg()
    assert "--ink:#" in frame.svg(fixed=True)
    dark = Image.open(io.BytesIO(frame.themed("dark").png()))
    assert dark.getpixel((1, 1)) == (20, 24, 28)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ArgumentError, match="too long a film"):
        arithmetic(convolution_steps(np.ones((40, 40)), np.ones((1, 1))))
    with pytest.raises(ArgumentError, match="5 channels"):
        arithmetic(convolution_steps(np.ones((5, 2, 2)), np.ones((5, 1, 1))))


@pytest.mark.parametrize("suffix", [".html", ".gif"])
def test_the_command_writes_a_film(tmp_path, suffix):
    place = tmp_path / f"film{suffix}"
    result = CliRunner().invoke(
        app, ["show", "arithmetic", "--input", "2", "--kernel", "2", "--padding", "1",
              "--padding-mode", "reflect", "--save", str(place)]
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert place.stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--input", "0"], "--input 0 is not 1 to 3 sizes"),
        (["--input", "a,b"], "--input a,b is not N or H,W"),
        (["--channels", "9"], "--channels 9"),
        (["--kernel", "99"], "--kernel 99"),
    ],
)
def test_wrong_flags_say_what_to_change(words, text):
    with pytest.raises(ArgumentError, match=text):
        CliRunner().invoke(app, ["show", "arithmetic", *words], catch_exceptions=False)
