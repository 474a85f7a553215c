"""The gallery of convolution arithmetic shows what loops and torch compute."""

import ast
import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage

import arithmetic_gallery
import convscope as cs
import lecture_figures
from arithmetic_gallery import CASES, GUIDE, LECTURES
from lecture_figures import FIGURES, KERNELS

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def settings(case):
    named = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
    return {name: case.settings.get(name, least) for name, least in named.items()}


def windows_by_loops(case):
    """Along one axis: which element lies under each tap of each output."""
    s = settings(case)
    size, taps = len(case.image), len(case.kernel)
    table = [[None] * taps for _ in range(case.output)]
    if case.settings.get("transposed"):
        for element in range(size):  # each spreads over the outputs
            for tap in range(taps):
                output = element * s["stride"] + tap * s["dilation"] - s["padding"]
                if 0 <= output < case.output:
                    table[output][tap] = element
        return table
    for output in range(case.output):
        for tap in range(taps):
            place = output * s["stride"] + tap * s["dilation"] - s["padding"]
            table[output][tap] = place if 0 <= place < size else None
    return table


def by_torch(case):
    x = torch.tensor(case.image, dtype=torch.float64)
    w = torch.tensor(case.kernel, dtype=torch.float64)
    axes = x.ndim
    if case.settings.get("flip"):
        w = w.flip(tuple(range(axes)))
    s = settings(case)
    if case.settings.get("transposed"):
        call = torch.nn.functional.conv_transpose2d
    else:
        del s["output_padding"]
        call = getattr(torch.nn.functional, f"conv{axes}d")
    return call(x[None, None], w[None, None], **s)[0, 0]


@every_case
def test_a_film_has_a_frame_for_each_window_and_the_numbers_of_loops_and_torch(case):
    made = {}
    exec(case.code, {"cs": cs}, made)  # noqa: S102 - the very lines of the page
    film, steps = made["film"], made["steps"]
    axes = np.ndim(case.image)
    assert len(film.frames) == case.output**axes == len(steps.steps)
    image, weights = np.array(case.image), np.array(case.kernel)
    if case.settings.get("flip"):
        weights = np.flip(weights)
    table = windows_by_loops(case)
    places = itertools.product(range(case.output), repeat=axes)
    for frame, step, output in zip(film.frames, steps.steps, places, strict=True):
        assert step.output == output
        total, under = 0.0, []
        for tap in itertools.product(range(len(case.kernel)), repeat=axes):
            element = tuple(table[o][t] for o, t in zip(output, tap, strict=True))
            under.append(None if None in element else element)
            total += 0.0 if None in element else image[element] * weights[tap]
        assert list(step.elements) == under
        assert step.value == pytest.approx(total, abs=1e-9)
        assert frame.title.startswith(f"output ({', '.join(map(str, output))}): ")
        assert frame.title.endswith(f" = {total:.4g}".replace("-", "−"))
    expected = by_torch(case)
    assert expected.shape == (case.output,) * axes
    np.testing.assert_allclose(steps.output, expected, atol=1e-9)


@every_case
def test_the_formula_on_the_page_gives_the_size(case):
    left, _, right = case.formula().rpartition(" = ")
    plain = left.replace("−", "-").replace("×", "*").replace("/", "//")
    plain = plain.replace("⌊", "").replace("⌋", "")
    names = {type(node) for node in ast.walk(ast.parse(plain, mode="eval"))}
    assert ast.Call not in names
    assert eval(plain) == int(right) == case.output  # noqa: S307 - numbers alone


def test_the_page_has_the_fifteen_cases_the_lectures_and_every_film(tmp_path):
    assert len(GUIDE) == 15
    assert len({case.name for case in CASES}) == len(CASES)
    heights = arithmetic_gallery.write_films(tmp_path)
    page = arithmetic_gallery.page(heights)
    for each in lecture_figures.figures():
        assert f"| {each.what}<br>`{each.code}` | " in page
    for name in ("max-pooling", "kernels", "filtered"):
        assert f'"films/{name}.svg"' in page
        assert (tmp_path / f"{name}.svg").stat().st_size > 1000
    for case in (*GUIDE, *LECTURES):
        assert f"### {case.title}\n" in page
        assert case.code in page
        film = (tmp_path / f"{case.name}.html").read_text()
        assert film.count('<div class="frame"') == case.output ** np.ndim(case.image)
        assert f'"films/{case.name}.html"' in page
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 12_000_000


def test_the_library_counts_what_lectures_count():
    counted = [each.value() for each in lecture_figures.figures()]
    assert counted == lecture_figures.expected()


@pytest.mark.parametrize(
    ("name", "place", "result"),
    [
        ("plus", "plus", "correlation"),
        ("cross", "cross", "correlation"),
        ("flipped", "flip", "convolution"),
        ("not-flipped", "flip", "correlation"),
        ("moving-average", "average", "rounded"),
    ],
)
def test_the_blackboard_says_the_same(name, place, result):
    case = next(case for case in LECTURES if case.name == name)
    found = cs.analysis.convolution_steps(case.image, case.kernel, **case.settings)
    written = np.array(FIGURES[place][result])
    assert np.abs(found.output - written).max() <= (0.5 if result == "rounded" else 0)


def test_kernels_of_image_processing_do_to_a_picture_what_scipy_says():
    layer = lecture_figures.filtering()
    x = torch.rand(1, 1, 9, 8, generator=torch.Generator().manual_seed(0))
    for kernel, made in zip(KERNELS.values(), layer(x)[0].detach(), strict=True):
        expected = ndimage.correlate(x[0, 0].numpy(), np.array(kernel), mode="constant")
        np.testing.assert_allclose(made, expected, atol=1e-5)


def test_another_setting_is_noticed():
    case = next(case for case in CASES if case.name == "strided")
    wrong = arithmetic_gallery.Case(
        case.name, case.title, case.image, case.kernel, {"stride": 1}, 2
    )
    with pytest.raises(AssertionError):
        test_a_film_has_a_frame_for_each_window_and_the_numbers_of_loops_and_torch(
            wrong
        )
