import pytest

from convscope.errors import ArgumentError
from convscope.viz import race, roofline

pytest.importorskip("matplotlib")


def row(name, time):
    return {
        "name": name, "absent": "", "seconds": [1.0], "ratio": 20 / time,
        "microseconds_per_image": time, "spread_microseconds": 0.5,
    }  # fmt: skip


RECORD = {
    "job": {
        "network": "lenet5", "shape": [1, 28, 28], "batch": 64, "threads": 2,
        "task": "train",
    },
    "limit_operations_per_second": 3e11, "limit_bytes_per_second": 2e10,
    "operations_per_step": 6e7, "bytes_per_step": 6e6,
    "results": [
        row("PyTorch", 20.0), row("convscope", 4.0),
        {"name": "JAX", "absent": "not there", "seconds": []},
    ],
}  # fmt: skip


def test_bars_are_as_long_as_the_times_fastest_on_top():
    (panel,) = race([RECORD]).axes
    assert [bar.get_width() for bar in panel.patches] == [20.0, 4.0]
    assert [text.get_text() for text in panel.texts] == [
        "20.0  (1.00x)",
        "4.0  (5.00x)",
    ]
    title = "lenet5, 1x28x28, batch 64, training step, 2 threads"
    assert panel.get_title(loc="left") == title


def test_the_roofline_has_a_point_for_each_at_its_speed():
    (plot,) = roofline([RECORD]).axes
    points = [line.get_xydata()[0] for line in plot.lines if len(line.get_xdata()) == 1]
    # 6e7 operations for 64 images, in 20 and in 4 microseconds an image
    speeds = [6e7 / 64 / 20e-6 / 1e9, 6e7 / 64 / 4e-6 / 1e9]
    assert [tuple(point) for point in points] == [
        (10, pytest.approx(s)) for s in speeds
    ]


def test_nothing_timed_is_nothing_drawn():
    with pytest.raises(
        ArgumentError, match=r"^race: records hold nobody who was timed"
    ):
        race([{**RECORD, "results": []}])
