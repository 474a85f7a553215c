"""The chapter on what is inside: filters, health, layers."""

import numpy as np

from convscope.analysis import Filters, Health, LayerHealth
from convscope.data.words import counted
from convscope.train.reporting.record import RunRecord, RunReport
from convscope.viz.filters import colored
from convscope.viz.palette import theme_named
from convscope.viz.report.markup import Markup, table, text, why_missing
from convscope.viz.report.thumbnails import Thumbnails

OPEN = 16  # rows up to which a table of layers is open


def inside_chapter(record: RunRecord, room: Thumbnails) -> str:
    """Filters, whether layers work, the table of layers."""
    pieces = [
        "<h3>What the first layer looks for</h3>",
        why_missing(record, "filters") if record.filters is None
        else _filters(record.filters, room),
    ]  # fmt: skip
    if isinstance(record, RunReport):
        pieces.append("<h3>Whether its layers work</h3>")
        pieces.append(
            why_missing(record, "health") if record.health is None
            else _health(record.health)
        )  # fmt: skip
    pieces += ["<h3>Its layers</h3>", why_missing(record, "layers")]
    if record.layers is not None:
        rows = [
            (
                Markup("&nbsp;" * 2 * row.depth + text(row.name)),
                row.kind,
                " x ".join(map(str, row.output_shapes[0][1:])) if row.output_shapes
                else "",
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
            )
            for row in record.layers.rows
        ]  # fmt: skip
        heads = ("layer", "kind", "output", "parameters", "multiply-adds")
        inner = table(heads, rows, names=3)
        total = (
            f"{record.layers.parameters:,} parameters, "
            f"{record.layers.multiply_adds:,} multiply-adds for an image"
        )
        pieces.append(
            f"<details{' open' if len(rows) <= 16 else ''}><summary>{len(rows)} "
            f"layers: {total}</summary>{inner}</details>"
        )
    return "".join(pieces)


def _filters(found: Filters, room: Thumbnails) -> str:
    """Each filter as a small picture; its input channels side by side."""
    theme, end = theme_named("light"), found.largest or 1.0
    images = []
    for number, kernel in zip(found.filters, found.weight, strict=True):
        if kernel.ndim != 3:
            return (
                '<p class="note">Not here: its filters are not of two dimensions.</p>'
            )
        if found.is_color:
            tile = colored(kernel, end, theme)
        else:
            height, between = kernel.shape[1], np.ones((kernel.shape[1], 1, 3))
            strips = [np.ones((height, 0, 3))]
            for channel in kernel:
                strips += [between] * (len(strips) > 1) + [colored(channel, end, theme)]
            tile = np.concatenate(strips, axis=1)
        source = room.of_array((255 * tile).round().astype(np.uint8))
        if source:
            wide = ' class="wide"' if len(kernel) > 1 and not found.is_color else ""
            images.append(
                f'<img{wide} src="{source}" alt="filter {number}" '
                f'title="filter {number}">'
            )
    kind = "templates, one for each of its outputs" if found.is_template else "filters"
    what = "in color, 0 is gray" if found.is_color else "orange negative, blue positive"
    if found.in_channels > 1 and not found.is_color:
        what += "; a filter's input channels side by side"
    left_out = f" ({found.left_out})" if found.left_out else ""
    if found.not_finite:
        left_out += f"; {found.not_finite:,} weights are NaN or infinite (gray)"
    return (
        f"<p>{found.out_channels:,} {kind} of {text(found.kind)}"
        f"{text(f' at {found.path}' if found.path else '')}{left_out}.</p>"
        f'<div class="filters">{"".join(images)}</div>'
        f'<p class="note">{what}; the scale goes from {-end:.3g} to {end:.3g} for all.'
        "</p>"
    )


def _health(found: Health) -> str:
    """Dead and saturated units of each activation, spreads and gradients of all."""
    acting = [layer for layer in found.layers if layer.saturated is not None]
    channels = sum(layer.channels for layer in acting)
    said = f"Over {found.images:,} of the judged images: "
    if acting:
        said += (
            f"{found.dead:,} of {channels:,} channels of its "
            f"{counted(len(acting), 'activation')} "
            "are dead: they give the same value everywhere, for every image."
        )
    else:
        said += "it has no activation whose saturation is known."
    rows = [
        (
            layer.label or "output",
            layer.kind.partition("(")[0],
            _dead(layer),
            "–" if layer.saturated is None else f"{layer.saturated:.1%}",
            f"{layer.mean:.3g}",
            f"{layer.std:.3g}",
            "–" if layer.gradient is None else f"{layer.gradient:.1e}",
        )
        for layer in found.layers
    ]
    heads = (
        "layer",
        "kind",
        "dead channels",
        "saturated",
        "mean",
        "spread",
        "gradient",
    )
    notes = "; ".join(found.notes)
    return (
        f"<p>{said}</p><details{' open' if len(rows) <= OPEN else ''}><summary>"
        f"{len(rows)} layers</summary>{table(heads, rows, names=2)}</details>"
        '<p class="note">Saturated: share of values where the activation\'s slope is '
        "below 5% of its largest; of ReLU, the zeros. Gradient: root mean square of "
        f"the loss's at one value{text(f'; {notes}' if notes else '')}.</p>"
    )


def _dead(layer: LayerHealth) -> Markup:
    said = f"{len(layer.dead):,} of {layer.channels:,}"
    return Markup(f"<b>{said}</b>" if layer.dead else said)
