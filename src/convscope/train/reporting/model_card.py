"""A run's README.md as model hubs read it: the same figures, and how to use it."""

import json
from typing import Any

from convscope.terminal import printable
from convscope.train.reporting.record import RunReport


def model_card(report: RunReport) -> str:
    """Markdown with the head that Hugging Face's hub reads (model-index).

    Args:
        report: From ``cs.report``.

    Source:
        The hub's model card specification: metadata between two lines of ``---``. It
        is written as JSON, which is YAML too, so that no name needs escaping twice.
    """
    spec, e = report.spec, report.evaluation
    low, high = e.interval
    metrics: list[dict[str, Any]] = [
        {"type": "accuracy", "value": round(e.accuracy, 6), "name": "accuracy"},
        {"type": "f1", "value": round(e.macro.f1, 6), "name": "macro F1"},
    ]
    if e.top5 is not None:
        metrics.append({"type": "accuracy", "value": round(e.top5, 6), "name": "top-5"})
    data = {"name": spec.data.name, "type": spec.data.name, "split": e.part}
    head = {
        "library_name": "convscope",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "convscope", spec.model.name or "custom"],
        "model-index": [
            {
                "name": report.title,
                "results": [
                    {
                        "task": {"type": "image-classification"},
                        "dataset": data,
                        "metrics": metrics,
                    }
                ],
            }
        ],
    }
    lines = [f"{key}: {json.dumps(value)}" for key, value in head.items()]
    trained = (
        f"{spec.model.name or 'A network of its own'} with {spec.model.parameters:,} "
        f"parameters, trained by convscope {spec.convscope} on {spec.data.train:,} "
        f"images of {_plain(spec.data.name)}."
    )
    limits = [*e.notes, *report.missing.values(), *([e.doubt] if e.doubt else [])]
    if e.trained_on:
        limits.insert(0, f"These figures are of {e.of_what}, not of new ones.")
    classes = ", ".join(_plain(name) for name in spec.classes[:100])
    if len(spec.classes) > 100:
        classes += f" and {len(spec.classes) - 100} more"
    height, width = spec.input_shape[1:]
    return "\n".join(
        [
            "---", *lines, "---", "", f"# {_plain(report.title)}", "", trained, "",
            f"**Accuracy {e.accuracy:.2%}** (95% interval {low:.2%} to {high:.2%}) on "
            f"{e.judged_on} of {_plain(e.data)}; expected calibration "
            f"error {e.calibration_error:.1%}.", "",
            "## What it takes and gives", "",
            f"Pictures, brought to {height} x {width} pixels; one probability for each "
            f"of {len(spec.classes)} classes: {classes}.", "",
            "```console", "$ convscope predict RUN IMAGE...", "```", "",
            "## Beside it", "",
            *_beside(report),
            "", "## What to know", "",
            *([f"- {_plain(each)}" for each in (*report.findings, *limits)] or ["-"]),
            "",
        ]
    )  # fmt: skip


def _beside(report: RunReport) -> list[str]:
    rows = ["| method | accuracy | images |", "| --- | ---: | ---: |"]
    e = report.evaluation
    rows.append(f"| this network | {e.accuracy:.2%} | {e.samples:,} |")
    rows += [
        f"| {each.name} | {each.accuracy:.2%} | {each.images:,} |"
        for each in report.baselines
    ]
    return rows


def _plain(value: str) -> str:
    """Text that is no markup, in one line."""
    shown = printable(value)
    for mark in "\\`*_<>[]|#":
        shown = shown.replace(mark, "\\" + mark)
    return shown
