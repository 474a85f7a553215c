"""Pictures of races: who takes how long, and how near the machine's limits that is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convscope.errors import ArgumentError
from convscope.viz.palette import Theme, ThemeName
from convscope.viz.picture import Picture, require_matplotlib, require_records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKS = "os^Dv<>P"


def race(
    records: Sequence[dict[str, Any]], *, theme: ThemeName = "light"
) -> Picture[Sequence[dict[str, Any]]]:
    """Draw one panel of bars for each record: time per image, quartiles as whiskers.

    Args:
        records: From `convscope.bench.record`.
        theme: ``light`` or ``dark``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: There is no record, or one in which nobody was timed.
        UnknownNameError: There is no such theme.
    """
    _require_times(records, "race")
    return Picture(records, lambda theme: _bars(records, theme), theme)


def roofline(
    records: Sequence[dict[str, Any]], *, theme: ThemeName = "light"
) -> Picture[Sequence[dict[str, Any]]]:
    """Draw operations per second against operations per byte, under both limits.

    Args:
        records: From `convscope.bench.record`, all of one machine.
        theme: ``light`` or ``dark``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: There is no record, or one in which nobody was timed.
        UnknownNameError: There is no such theme.
    """
    _require_times(records, "roofline")
    return Picture(records, lambda theme: _limits(records, theme), theme)


def _bars(records: Sequence[dict[str, Any]], theme: Theme) -> "Figure":
    figure = _figure(width=7.6, height=0.6)
    heights = [len(_timed(record)) + 1.5 for record in records]
    figure.set_figheight(0.6 + 0.3 * sum(heights))
    panels = figure.subplots(
        len(records), 1, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for plot, record in zip(panels[:, 0], records, strict=True):
        rows = sorted(_timed(record), key=lambda row: -row["microseconds_per_image"])
        times = [row["microseconds_per_image"] for row in rows]
        plot.barh(
            [row["name"] for row in rows],
            times,
            xerr=[row["spread_microseconds"] for row in rows],
            color=[theme.accent if _is_ours(row) else theme.other for row in rows],
            error_kw={"elinewidth": 1, "capsize": 2, "ecolor": theme.ink},
        )
        for place, row in enumerate(rows):
            end = row["microseconds_per_image"] + row["spread_microseconds"]
            text = f"{row['microseconds_per_image']:.1f}  ({row['ratio']:.2f}x)"
            plot.text(end + max(times) * 0.01, place, text, va="center", fontsize=8)
        plot.set_xlim(0, max(times) * 1.2)
        plot.set_title(_title(record), fontsize=9, loc="left")
        plot.tick_params(labelsize=8)
        plot.spines[["top", "right"]].set_visible(False)
    panels[-1, 0].set_xlabel(
        "microseconds per image; in brackets how many times as fast as PyTorch",
        fontsize=8,
    )
    return figure


def _limits(records: Sequence[dict[str, Any]], theme: Theme) -> "Figure":
    figure = _figure(width=7.6, height=4.6)
    from matplotlib.ticker import NullFormatter

    plot = figure.subplots()
    peak = max(record["limit_operations_per_second"] for record in records) / 1e9
    bandwidth = max(record["limit_bytes_per_second"] for record in records) / 1e9
    reach = [r["operations_per_step"] / r["bytes_per_step"] for r in records]
    left, right = min(*reach, peak / bandwidth) / 4, max(*reach, peak / bandwidth) * 4
    ridge = peak / bandwidth
    plot.plot(
        [left, ridge, right], [left * bandwidth, peak, peak], color=theme.ink, lw=1.2
    )
    plot.text(right, peak * 1.1, f"float32 products: {peak:.0f} Gop/s", ha="right",
              fontsize=8)  # fmt: skip
    plot.text(left * 1.1, left * bandwidth * 1.6, f"memory: {bandwidth:.0f} GB/s",
              fontsize=8)  # fmt: skip
    for mark, record, intensity in zip(
        _MARKS * len(records), records, reach, strict=False
    ):
        for row in _timed(record):
            speed = record["operations_per_step"] / record["job"]["batch"]
            speed /= row["microseconds_per_image"] * 1e3
            ours = _is_ours(row)
            plot.plot(
                intensity, speed, mark, color=theme.accent if ours else theme.other,
                zorder=3 if ours else 2, mec=theme.paper, ms=8 if ours else 6,
            )  # fmt: skip
        plot.plot([], [], mark, color=theme.muted, label=_title(record))
    plot.set(xscale="log", yscale="log", xlim=(left, right * 1.1))
    plot.set_ylim(top=peak * 2)
    for axis in (plot.xaxis, plot.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    plot.set_xlabel("operations per byte of weights and activations", fontsize=9)
    plot.set_ylabel("Gop/s", fontsize=9)
    plot.set_title("Distance from the machine's limits (blue: convscope)", fontsize=10)
    plot.legend(fontsize=7, frameon=False, loc="lower right")
    plot.grid(visible=True, which="both", lw=0.3)
    return figure


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _require_times(records: Sequence[dict[str, Any]], where: str) -> None:
    require_matplotlib()
    every = require_records(records, dict, where, "cs.bench.record")
    if not all(_timed(record) for record in every):
        raise ArgumentError(
            f"{where}: records hold nobody who was timed. Run the race."
        )


def _timed(record: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in record["results"] if row["seconds"] and not row["absent"]]


def _is_ours(row: dict[str, Any]) -> bool:
    return bool(row["name"].startswith("convscope"))


def _title(record: dict[str, Any]) -> str:
    job = record["job"]
    options = "".join(f" {value}" for value in job.get("options", {}).values())
    size = "x".join(map(str, job["shape"]))
    what = {"train": "training step", "forward": "forward"}[job["task"]]
    threads = f"{job['threads']} thread{'s' if job['threads'] > 1 else ''}"
    return f"{job['network']}{options}, {size}, batch {job['batch']}, {what}, {threads}"
