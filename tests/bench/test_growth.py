import pytest
import torch

from convscope.bench import growth
from convscope.bench.growth import STEPS, Point
from convscope.viz import growth as picture


@pytest.fixture(scope="module")
def record():
    before = dict(STEPS)
    STEPS["depth"] = (1, 2)
    try:
        yield growth(["depth"], start=Point(batch=2, size=8), seconds=0.005, repeats=1)
    finally:
        STEPS.update(before)


def test_each_point_is_timed_both_ways_and_counted(record):
    (curve,) = record["curves"]
    first = 8 * 8 * 8 * 9 + 8 * 4 * 4 * 10  # 3x3 on 8x8, then a linear layer
    assert curve["multiply_adds"] == [first, first + 4 * 4 * 8 * 8 * 9]
    assert set(curve["microseconds"]) == {"PyTorch", "convscope"}
    assert all(min(times) > 0 for times in curve["microseconds"].values())


def test_the_picture_has_a_line_for_each_way_and_one_for_the_arithmetic(record):
    pytest.importorskip("matplotlib")
    (plot,) = picture(record).axes
    ours, slope = plot.lines[1], plot.lines[2]
    assert ours.get_ydata().tolist() == record["curves"][0]["microseconds"]["convscope"]
    ratio = slope.get_ydata()[1] / slope.get_ydata()[0]
    products = record["curves"][0]["multiply_adds"]
    assert ratio == pytest.approx(products[1] / products[0])


def test_the_threads_are_left_as_they_were():
    before = torch.get_num_threads()
    growth(["threads"], start=Point(batch=1, size=8), seconds=0.001, repeats=1)
    assert torch.get_num_threads() == before
