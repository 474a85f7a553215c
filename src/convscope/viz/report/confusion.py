"""The confusion matrix, and the pictures behind each of its cells."""

import json
from typing import Any

from convscope.train.judging.answers import Answers
from convscope.train.judging.metrics import Evaluation
from convscope.viz.report.markup import Markup, table, text
from convscope.viz.report.markup import name as shorter
from convscope.viz.report.thumbnails import Thumbnails

MATRIX = 30  # classes at most; beyond that only the pairs are shown
PAIRS = 20
BEHIND = 12  # pictures of one cell


def confusion(answers: Answers, e: Evaluation, room: Thumbnails) -> str:
    """A table of counts whose cells open their pictures; of many classes, the pairs."""
    if e.correct == e.samples:
        return "<h3>Confusion</h3><p>No class is confused with another.</p>"
    behind, shown = _behind(answers, room)
    payload = (
        f'<script type="application/json" id="behind">{_safe(behind)}</script>'
        '<div id="cell" aria-live="polite"></div>'
    )
    if len(e.classes) <= MATRIX:
        return f"<h3>Confusion</h3>{_note(shown)}{_matrix(e)}{payload}"
    return f"<h3>Most often confused</h3>{_hint(shown)}{_pairs(e)}{payload}"


def _note(shown: str) -> str:
    return (
        '<p class="note">A row is the true class, a column what it was called. Point '
        "at a number outside the diagonal to see its pictures, choose it to keep "
        f"them{shown}.</p>"
    )


def _hint(shown: str) -> str:
    return (
        '<p class="note">Point at a number to see its pictures, choose it to keep '
        f"them{shown}.</p>"
    )


def _matrix(e: Evaluation) -> str:
    most = e.confused[0][0]
    heads = "".join(
        f'<th scope="col"><span title="{text(name)}">{text(name)}</span></th>'
        for name in e.classes
    )
    rows = []
    for i, (name, counts) in enumerate(zip(e.classes, e.confusion, strict=True)):
        cells = []
        for j, count in enumerate(counts):
            share = count / e.per_class[i].support if e.per_class[i].support else 0.0
            said = (
                f"{count:,} of {e.per_class[i].support:,} images of {name} are called "
                f"{e.classes[j]} ({share:.1%})"
            )
            if i == j:
                cells.append(f'<td class="right" title="{text(said)}">{count}</td>')
            elif count:
                strength = 0.12 + 0.6 * count / most
                cells.append(
                    f'<td style="--s:{strength:.2f}"><button data-cell="{i},{j}" '
                    f'title="{text(said)}" aria-label="{text(said)}">{count}</button>'
                    "</td>"
                )
            else:
                cells.append('<td class="zero">·</td>')
        head = f'<th scope="row" title="{text(name)}">{text(name)}</th>'
        rows.append(f"<tr>{head}{''.join(cells)}</tr>")
    return (
        f'<div class="scroll" tabindex="0"><table class="matrix"><thead><tr><td></td>'
        f"{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _pairs(e: Evaluation) -> str:
    rows = [
        (
            shorter(e.classes[i]),
            shorter(e.classes[j]),
            Markup(f'<button data-cell="{i},{j}">{count:,}</button>'),
            f"{count / e.per_class[i].support:.1%}",
        )
        for count, i, j in e.confused[:PAIRS]
    ]
    return table(("true", "called", "images", "of the class"), rows, names=2)


def _behind(answers: Answers, room: Thumbnails) -> tuple[dict[str, Any], str]:
    """The pictures of each cell, the surest first, and what is left out."""
    cells: dict[str, list[list[object]]] = {}
    totals: dict[str, int] = {}
    labels, predicted = answers.labels, answers.predicted
    confidence = answers.confidence
    for i in map(int, answers.wrong):
        key = f"{labels[i]},{predicted[i]}"
        totals[key] = totals.get(key, 0) + 1
        own = cells.setdefault(key, [])
        if len(own) < BEHIND:
            own.append(
                [
                    room.of(answers.samples.pixels[i]),
                    str(answers.samples.names[i]),
                    round(float(confidence[i]), 4),
                ]
            )
    most = max(totals.values(), default=0)
    shown = f", the {BEHIND} surest of each" if most > BEHIND else ""
    found: dict[str, Any] = {
        "classes": list(answers.classes),
        "cells": cells,
        "totals": totals,
    }
    return found, shown


def _safe(value: object) -> str:
    """JSON that cannot end the element which it stands in."""
    coded = json.dumps(value, separators=(",", ":"))
    return coded.replace("<", "\\u003c").replace("&", "\\u0026")
