import pytest
import torch
from torch import nn

from convscope.analysis import health as measure
from convscope.viz import health

pytest.importorskip("matplotlib")


def found():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 3),
    )
    with torch.no_grad():
        net[1].bias[0] = -100
    return measure(net, [(torch.randn(6, 1, 8, 8), torch.arange(6) % 3)])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_bars_and_dots_are_the_records_figures(theme):
    record = found()
    picture = health(record, theme=theme)
    rows = [each for each in record.layers if not each.kind.startswith("Flatten")]
    dead, flat, spread, slope, _, norm = picture.axes
    assert [bar.get_width() for bar in dead.patches[: len(rows)]] == [
        100 * len(each.dead) / each.channels for each in rows
    ]
    assert flat.patches[2].get_width() == 100 * rows[2].saturated
    assert list(spread.lines[0].get_xdata()) == [each.std for each in rows]
    assert list(slope.lines[0].get_xdata()) == [each.gradient for each in rows]
    assert [t.get_text() for t in dead.texts] == ["1 of 4"]
    assert norm.get_title() == "1"
    picture.figure.canvas.draw()


def test_gradients_that_are_not_known_are_said():
    record = measure(nn.Conv2d(1, 2, 3), [(torch.rand(2, 1, 5, 5), torch.zeros(2))])
    texts = [t.get_text() for plot in health(record).axes for t in plot.texts]
    assert texts.count("not known") == 2
