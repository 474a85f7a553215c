"""Lines and bars as SVG that takes its colors from the page, light or dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from convscope.train.judging.uncertainty import CalibrationBin
from convscope.viz.report.markup import name as shown
from convscope.viz.report.markup import text

WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 14, 40


@dataclass(frozen=True)
class Line:
    """One line of a chart: a name and a value for each x; None where there is none."""

    name: str
    values: Sequence[float | None]


def curves(title: str, x: Sequence[float], lines: Sequence[Line], unit: str) -> str:
    """Lines over epochs, with the range of both axes; empty where nothing is drawn."""
    drawn = [line for line in lines if any(v is not None for v in line.values)]
    if not drawn or not x:
        return ""
    values = [v for line in drawn for v in line.values if v is not None]
    low, high = min(values), max(values)
    ticks = nice_ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    plot = _Plot(min(x), max(x), low, high)
    parts = [plot.grid(ticks, unit), plot.x_labels(epoch_ticks(x), "epoch")]
    for number, line in enumerate(drawn):
        points = [
            (plot.x(at), plot.y(value))
            for at, value in zip(x, line.values, strict=True)
            if value is not None
        ]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        if len(points) == 1:
            (px, py) = points[0]
            parts.append(
                f'<circle class="c{number}" cx="{px:.1f}" cy="{py:.1f}" r="3"/>'
            )
        else:
            parts.append(f'<polyline class="c{number}" points="{path}"/>')
        last = next(v for v in reversed(line.values) if v is not None)
        parts.append(
            f'<circle class="c{number} dot" cx="{points[-1][0]:.1f}" '
            f'cy="{points[-1][1]:.1f}" r="2.5"><title>{text(line.name)}: '
            f"{last:.4g}</title></circle>"
        )
    key = "".join(
        f'<span class="key c{number}">{text(line.name)}</span>'
        for number, line in enumerate(drawn)
    )
    return _figure(title, "".join(parts), key)


def reliability(bins: Sequence[CalibrationBin]) -> str:
    """Accuracy over confidence, with the line on which both are the same."""
    plot = _Plot(0.0, 1.0, 0.0, 1.0)
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    most = max(b.count for b in bins)
    parts = [
        plot.grid(ticks, "%"),
        plot.x_labels(ticks, "confidence", percent=True),
        f'<line class="ideal" x1="{plot.x(0):.1f}" y1="{plot.y(0):.1f}" '
        f'x2="{plot.x(1):.1f}" y2="{plot.y(1):.1f}"/>',
    ]
    for each in bins:
        if each.accuracy is None or each.confidence is None:
            continue
        left, right = plot.x(each.low), plot.x(each.high)
        top = plot.y(each.accuracy)
        said = (
            f"{each.count:,} images, {each.low:.0%} to {each.high:.0%} sure: mean "
            f"confidence {each.confidence:.1%}, accuracy {each.accuracy:.1%}"
        )
        strength = 0.25 + 0.75 * each.count / most
        parts.append(
            f'<rect class="bar" x="{left + 0.5:.1f}" y="{top:.1f}" '
            f'width="{right - left - 1:.1f}" height="{plot.y(0) - top:.1f}" '
            f'fill-opacity="{strength:.2f}"><title>{said}</title></rect>'
            f'<line class="mean" x1="{left:.1f}" x2="{right:.1f}" '
            f'y1="{plot.y(each.confidence):.1f}" y2="{plot.y(each.confidence):.1f}"/>'
        )
    key = (
        '<span class="key bar">accuracy (darker: more images)</span>'
        '<span class="key mean">mean confidence</span>'
    )
    return _figure(
        "Calibration: how right it is when it is so sure", "".join(parts), key
    )


def intervals(rows: Sequence[tuple[str, float, tuple[float, float], bool]]) -> str:
    """Accuracies with their intervals, one under the other, on one scale.

    Args:
        rows: Name, value, interval, and whether it is the one that matters.
    """
    low = min(end for _, _, (end, _), _ in rows)
    low = 0.0 if low < 0.5 else math.floor(10 * low) / 10
    made = []
    for name, value, (start, end), main in rows:
        at, left, right = (
            100 * (max(v, low) - low) / (1 - low) for v in (value, start, end)
        )
        made.append(
            f'<div class="interval{" main" if main else ""}"><span>{shown(name)}</span>'
            '<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
            '<line x1="0" x2="100" y1="5" y2="5"/>'
            f'<rect x="{left:.2f}" width="{max(right - left, 0.4):.2f}" y="2" '
            f'height="6"/><rect class="at" x="{max(0, at - 0.3):.2f}" width="0.6" '
            'y="0" height="10"/>'
            f"</svg><b>{value:.1%}</b><i>{start:.1%} to {end:.1%}</i></div>"
        )
    scale = f'<p class="note">scale from {low:.0%} to 100%; bars are 95% intervals</p>'
    return f'<div class="intervals">{"".join(made)}</div>{scale}'


def nice_ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers from just below ``low`` to just above ``high``.

    >>> nice_ticks(0.13, 0.97)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    if low == high:  # one epoch: far enough apart to be told apart
        low, high = low - 0.05 * abs(low), high + 0.05 * abs(high)
    span = max(high - low, 1e-9 * max(1.0, abs(high)))
    raw = span / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= raw * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, max(last, first + 1) + 1)]


def epoch_ticks(x: Sequence[float], about: int = 6) -> list[float]:
    """Whole numbers among ``x``, the first and the last with them.

    >>> epoch_ticks(list(range(1, 21)))
    [1, 5, 10, 15, 20]
    """
    last = max(x)
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**9)
                if (last - min(x)) / s <= about)  # fmt: skip
    inner = [k for k in x if k % step == 0]
    return sorted({min(x), last, *inner}) if inner else sorted({min(x), last})


class _Plot:
    def __init__(self, x0: float, x1: float, y0: float, y1: float) -> None:
        self._x0, self._y0 = x0, y0
        self._dx, self._dy = (x1 - x0) or 1.0, (y1 - y0) or 1.0

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - self._x0) / self._dx

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - self._y0) / self._dy

    def grid(self, ticks: Sequence[float], unit: str) -> str:
        made = []
        for tick in ticks:
            y = self.y(tick)
            label = f"{tick:.4g}" if unit != "%" else f"{100 * tick:.4g}%"
            made.append(
                f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" '
                f'y2="{y:.1f}"/><text class="end" x="{LEFT - 6}" y="{y + 4:.1f}">'
                f"{label}</text>"
            )
        return "".join(made)

    def x_labels(
        self, ticks: Sequence[float], name: str, *, percent: bool = False
    ) -> str:
        made = "".join(
            f'<text class="middle" x="{self.x(t):.1f}" y="{HEIGHT - BOTTOM + 16}">'
            f"{f'{100 * t:.0f}%' if percent else f'{t:g}'}</text>"
            for t in ticks
        )
        middle = (LEFT + WIDTH - RIGHT) / 2
        return f'{made}<text class="middle" x="{middle}" y="{HEIGHT - 6}">{name}</text>'


def _figure(title: str, inner: str, key: str) -> str:
    return (
        f'<figure class="chart"><figcaption>{text(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(title)}">'
        f'{inner}</svg><p class="keys">{key}</p></figure>'
    )
