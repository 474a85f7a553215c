"""A summary for people: text for a terminal, HTML, Markdown, CSV, two side by side."""

import csv
import html
import io
import textwrap
from collections.abc import Sequence
from fractions import Fraction

from convscope.analysis.records import AxisField, NetworkRecord, Row

FIELD_COLUMNS = 14
HEADS = ("layer", "output", "params", "%", "mult-adds", "%", "memory", "field")
COLUMNS = (
    "path", "name", "kind", "depth", "call", "output_shape", "parameters", "buffers",
    "multiply_adds", "activation_products", "activation_bytes", "field_size",
    "field_stride", "field_offset", "field_clipped",
)  # fmt: skip
LEAST = 22  # columns of the first column; below it there is no table
NARROWEST = 12  # the same, of two networks side by side
SHOWN = 4  # remarks of one kind; the rest is counted
UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


class Summary(NetworkRecord):
    """A network, counted, that prints itself as text, HTML, Markdown or CSV."""

    def __str__(self) -> str:
        return to_text(self)

    def _repr_html_(self) -> str:
        return to_html(self)

    def to_text(self, width: int = 80, depth: int | None = None) -> str:
        """A table for a terminal of ``width`` columns, nested to ``depth``."""
        return to_text(self, width, depth)

    def to_markdown(self, depth: int | None = None) -> str:
        """A table for a document, nested to ``depth``."""
        return to_markdown(self, depth)

    def to_csv(self, depth: int | None = None) -> str:
        """One line per row, all digits, nested to ``depth``."""
        return to_csv(self, depth)


def to_text(summary: NetworkRecord, width: int = 80, depth: int | None = None) -> str:
    """A table of at most ``width`` columns, and what is to be said about it.

    Where that is too narrow for a table, each layer is a paragraph.
    """
    rows = [_cells(summary, row) for row in _shown(summary, depth)]
    widths = [max(len(r[i]) for r in [HEADS, *rows]) for i in range(len(HEADS))]
    rest = sum(widths[1:]) + 2 * (len(HEADS) - 1)
    widths[0] = max(LEAST, min(widths[0], width - rest))
    if sum(widths) + 2 * (len(HEADS) - 1) > width:  # shapes of many axes
        over = sum(widths) + 2 * (len(HEADS) - 1) - width
        widths[1] = max(6, widths[1] - over)
    lines = textwrap.wrap(_title(summary), width)
    if sum(widths) + 2 * (len(HEADS) - 1) > width:
        for cells in rows:
            lines += _paragraph(cells, width)
    else:
        lines += [_line(HEADS, widths), _rule(widths)]
        lines += [_line(cells, widths) for cells in rows]
        lines.append(_rule(widths))
    for total in _totals(summary):
        lines += textwrap.wrap(total, width)
    for remark in _remarks(summary):
        lines += _wrapped(remark, width)
    return "\n".join(line.rstrip() for line in lines)


def _paragraph(cells: Sequence[str], width: int) -> list[str]:
    """A layer by its name, and below it what the table has in columns."""
    name, output, parameters, share, products, part, memory, field = cells
    inner = " " * min(len(name) - len(name.lstrip()), width // 4)
    named = [
        output,
        f"{parameters} params" + (f" ({share} %)" if share else ""),
        f"{products} mult-adds" + (f" ({part} %)" if part else ""),
        memory,
        f"field {field}",
    ]
    first = textwrap.wrap(name.strip(), width, initial_indent=inner,
                          subsequent_indent=f"{inner}  ")  # fmt: skip
    return [*first, *packed(named, width, f"{inner}  ")]


def packed(parts: Sequence[str], width: int, indent: str = "  ") -> list[str]:
    """Lines of whole parts, as many as fit into each.

    >>> packed(["one", "two", "three"], 11)
    ['  one  two', '  three']
    """
    lines: list[str] = []
    for part in filter(None, parts):
        if lines and len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += f"  {part}"
        else:
            lines += textwrap.wrap(f"{indent}{part}", width, subsequent_indent=indent)
    return lines


def to_markdown(summary: NetworkRecord, depth: int | None = None) -> str:
    """A table for a document, with all digits."""
    heads = ("layer", "output", "parameters", "multiply-adds", "bytes", "field")
    lines = [
        f"**{_title(summary)}**",
        "",
        f"| {' | '.join(heads)} |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for row in _shown(summary, depth):
        indent = "&nbsp;&nbsp;" * row.depth
        cells = (
            f"{indent}`{row.name}` {_kind(row)}".replace("|", "\\|"),
            shape_text(row.output_shape) if row.output_shapes else "?",
            f"{row.parameters:,}",
            f"{row.multiply_adds:,}" if row.counted else "?",
            f"{row.activation_bytes:,}",
            field_text(row.receptive_field),
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"{line}  " for line in _totals(summary))]
    lines += [f"- {remark}" for remark in _remarks(summary)]
    return "\n".join(lines)


def to_csv(summary: NetworkRecord, depth: int | None = None) -> str:
    """One line per row; several axes are joined with ``x``."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in _shown(summary, depth):
        fields = row.receptive_field or ()
        table.writerow(
            (
                row.path,
                row.name,
                row.kind,
                row.depth,
                row.turn + 1,
                "x".join(map(str, row.output_shape)),
                row.parameters,
                row.buffers,
                row.multiply_adds if row.counted else "",
                row.activation_products,
                row.activation_bytes,
                "x".join(str(f.size) for f in fields),
                "x".join(decimal(f.stride) for f in fields),
                "x".join(decimal(f.offset) for f in fields),
                "x".join(str(f.clipped) for f in fields),
            )
        )
    return text.getvalue()


def to_html(summary: NetworkRecord, depth: int | None = None) -> str:
    """A table for a notebook."""
    lines = ["<table>", f"<caption>{html.escape(_title(summary))}</caption>", "<thead>"]
    lines.append("<tr>" + "".join(f"<th>{head}</th>" for head in HEADS) + "</tr>")
    lines += ["</thead>", "<tbody>"]
    for row in _shown(summary, depth):
        others = _cells(summary, row)[1:]
        style = f"text-align:left;padding-left:{1 + row.depth}em"
        cells = f'<td style="{style}"><b>{html.escape(row.name)}</b> '
        cells += f"{html.escape(_kind(row))}</td>"
        cells += "".join(
            f'<td style="text-align:right">{html.escape(cell)}</td>' for cell in others
        )
        lines.append(f"<tr>{cells}</tr>")
    lines += ["</tbody>", "</table>"]
    lines += [f"<p>{html.escape(line)}</p>" for line in _totals(summary)]
    if remarks := _remarks(summary):
        items = "".join(f"<li>{html.escape(remark)}</li>" for remark in remarks)
        lines.append(f"<ul>{items}</ul>")
    return "\n".join(lines)


def versus(one: NetworkRecord, other: NetworkRecord, width: int = 80) -> str:
    """Two networks side by side, quantity by quantity."""
    rows = [("", one.name, other.name, "ratio")]
    quantities = (
        ("input", None, [_inputs(s) for s in (one, other)]),
        ("layers", "n", [len(s.layers) for s in (one, other)]),
        ("parameters", "n", [s.parameters for s in (one, other)]),
        ("multiply-adds", "n", [s.multiply_adds for s in (one, other)]),
        ("products of activations", "n", [s.activation_products for s in (one, other)]),
        ("weights", "b", [s.weight_bytes for s in (one, other)]),
        ("activations, inference", "b", [s.inference_bytes for s in (one, other)]),
        ("activations, training", "b", [s.training_bytes for s in (one, other)]),
        ("output", None, [shape_text(s.rows[0].output_shape) for s in (one, other)]),
        (
            "receptive field before it is whole",
            None,
            [_widest(s) for s in (one, other)],
        ),
    )
    for label, unit, (a, b) in quantities:
        if unit is None:
            rows.append((label, str(a), str(b), ""))
        elif int(a) or int(b):
            ratio = f"{int(b) / int(a):.3g}" if int(a) else ""
            show = byte_text if unit == "b" else "{:,}".format
            rows.append((label, show(int(a)), show(int(b)), ratio))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    over = sum(widths) + 6 - width
    if over > widths[0] - NARROWEST:
        return "\n".join(_quantities(rows, width))
    widths[0] -= max(0, over)
    lines = []
    for place, line in enumerate(rows):
        cells = [_fitted(line[0], widths[0]).ljust(widths[0])]
        cells += [c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
        if place == 0:
            lines.append(_rule(widths))
    return "\n".join(lines)


def _quantities(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Each quantity as a paragraph."""
    (_, one, other, _), *quantities = rows
    lines: list[str] = []
    for label, first, second, ratio in quantities:
        lines += textwrap.wrap(label, width)
        parts = [f"{one} {first}", f"{other} {second}"]
        lines += packed([*parts, f"ratio {ratio}" if ratio else ""], width)
    return lines


def count_text(value: int) -> str:
    """A count in at most 5 characters.

    >>> count_text(61_706), count_text(840), count_text(15_470_264_320)
    ('61.7k', '840', '15.5G')
    """
    for unit, letter in UNITS:
        if value >= 0.9995 * unit:
            scaled = value / unit
            return f"{scaled:.{max(0, 3 - len(str(int(scaled + 0.05))))}f}{letter}"
    return str(value)


def byte_text(value: int) -> str:
    """Bytes, in steps of 1024.

    >>> byte_text(246_824)
    '241 KB'
    """
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "KB")):
        if value >= 1024**power:
            scaled = value / 1024**power
            return f"{scaled:.{1 if scaled < 99.95 else 0}f} {unit}"
    return f"{value} B"


def shape_text(shape: Sequence[int]) -> str:
    """A shape, in few characters.

    >>> shape_text((64, 112, 112))
    '64x112x112'
    """
    return "x".join(str(size) for size in shape) or "scalar"


def field_text(fields: Sequence[AxisField] | None) -> str:
    """A receptive field as ``size/stride@offset``; ``?`` where it is not known.

    >>> field_text([AxisField(7, 2, -3, 4)])
    '7/2@-3'
    """
    if fields is None:
        return "?"
    if not fields:
        return "-"
    sizes = _alike([str(f.size) for f in fields])
    text = sizes
    if any(f.stride for f in fields):
        text += f"/{_alike([decimal(f.stride) for f in fields])}"
        text += f"@{_alike([decimal(f.offset) for f in fields])}"
    if any(f.misaligned for f in fields):
        text += "!"
    return text


def decimal(value: int | Fraction) -> str:
    """A number with at most two decimals."""
    return str(value) if isinstance(value, int) else f"{float(value):.2f}".rstrip("0")


def _shown(summary: NetworkRecord, depth: int | None) -> list[Row]:
    rows = [row for row in summary.rows if depth is None or row.depth <= depth]
    return rows[1:] if len(rows) > 1 and not rows[0].is_layer else rows


def _cells(summary: NetworkRecord, row: Row) -> tuple[str, ...]:
    name = "  " * max(0, row.depth - 1) + row.name
    kind = _kind(row)
    text = f"{name} {kind}" if kind else name
    return (
        text,
        shape_text(row.output_shape) if row.output_shapes else "?",
        "-" if row.turn else count_text(row.parameters),
        _share(row.parameters, summary.parameters),
        count_text(row.multiply_adds) if row.counted else "?",
        _share(row.multiply_adds, summary.multiply_adds),
        byte_text(row.activation_bytes) if row.activation_bytes else "",
        _short_field(row.receptive_field),
    )


def _short_field(fields: Sequence[AxisField] | None) -> str:
    """The field, its offset left out where three unequal axes would fill the line."""
    text = field_text(fields)
    if len(text) <= FIELD_COLUMNS:
        return text
    return text.split("@")[0] + ("!" if text.endswith("!") else "")


def _kind(row: Row) -> str:
    """The layer, or a function's arguments; calls after the first say so."""
    kind = row.kind
    if kind.startswith(f"{row.name}("):
        kind = kind.removeprefix(row.name)
        kind = "" if kind in ("()", "(inplace=False)") else kind
    return f"{kind} again" if row.turn else kind


def _share(part: int, whole: int) -> str:
    if not whole or not part:
        return ""
    percent = 100 * part / whole
    return "<1" if percent < 0.5 else f"{percent:.0f}"


def _title(summary: NetworkRecord) -> str:
    return f"{summary.name} on {_inputs(summary)}"


def _inputs(summary: NetworkRecord) -> str:
    return ", ".join(shape_text(shape) for shape in summary.input_shapes)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = _fitted(cells[0], widths[0]).ljust(widths[0])
    second = _fitted(cells[1], widths[1]).rjust(widths[1])
    others = [c.rjust(w) for c, w in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join([first, second, *others])


def _rule(widths: Sequence[int]) -> str:
    return "  ".join("-" * width for width in widths)


def _fitted(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _totals(summary: NetworkRecord) -> list[str]:
    parameters = f"{summary.parameters:,} parameters"
    if summary.trainable != summary.parameters:
        parameters += f" ({summary.trainable:,} trainable)"
    if summary.buffers:
        parameters += f", {summary.buffers:,} buffers"
    unknown = sum(not row.counted for row in summary.rows)
    rows = "1 row" if unknown == 1 else f"{unknown} rows"
    known = f" without those of {rows} marked ?" if unknown else ""
    products = f"{summary.multiply_adds:,} multiply-adds{known}"
    if summary.constant_products:
        products += f" ({summary.constant_products:,} on constants, once per batch)"
    if summary.activation_products:
        products += f", and {summary.activation_products:,} products of activations"
    return [
        f"{parameters}; {products}",
        f"weights {byte_text(summary.weight_bytes)}; activations of one image "
        f"{byte_text(summary.inference_bytes)} in inference, "
        f"{byte_text(summary.training_bytes)} in training",
        "field: size/stride@offset of the receptive field, in elements of the input",
    ]


def _remarks(summary: NetworkRecord) -> list[str]:
    return [*_most(summary), *_lost(summary), *_warnings(summary), *summary.notes]


def _most(summary: NetworkRecord) -> list[str]:
    """Which layer has most of each quantity."""
    parts = []
    for quantity, words in (
        ("parameters", "parameters"),
        ("multiply_adds", "multiply-adds"),
        ("activation_bytes", "activation memory"),
    ):
        found = summary.dominant(quantity)
        if found is not None and len(summary.layers) > 1:
            row, share = found
            parts.append(f"{row.path or row.name} has {share:.0%} of the {words}")
    return ["; ".join(parts)] if parts else []


def _lost(summary: NetworkRecord) -> list[str]:
    """Windows that leave out elements of their input."""
    losing = [i for i in summary.inexact if any(i.ignored)]
    lines = [f"{i.path}: {i.sentence}" for i in losing[:SHOWN]]
    if len(losing) > SHOWN:
        lines.append(f"{len(losing) - SHOWN} more layers ignore elements at the end")
    harmless = len(summary.inexact) - len(losing)
    if harmless:
        layers = "layer ignores" if harmless == 1 else "layers ignore"
        lines.append(f"{harmless} {layers} some of the padding at the end, no input")
    return lines


def _warnings(summary: NetworkRecord) -> list[str]:
    lines = []
    if summary.exceeding:
        first, more = summary.exceeding[0], len(summary.exceeding) - 1
        behind = f" and {more} more layers" if more else ""
        lines.append(f"the receptive field exceeds the image from {first} on{behind}")
    for row in summary.layers:
        if any(f.misaligned for f in row.receptive_field or ()):
            lines.append(
                f"branches that meet in {row.path or row.name} are misaligned: they "
                "look at different places (marked !)"
            )
            break
    for names, words in (
        (summary.unreached, "no gradient reaches"),
        (summary.frozen, "frozen:"),
        (summary.uncalled, "never called:"),
    ):
        if names:
            others = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            lines.append(f"{words} {', '.join(names[:SHOWN])}{others}")
    return lines


def _widest(summary: NetworkRecord) -> str:
    moving = [
        row
        for row in summary.layers
        if row.receptive_field and any(f.stride for f in row.receptive_field)
    ]
    return field_text(moving[-1].receptive_field) if moving else "-"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent="- ", subsequent_indent="  ")


def _alike(texts: Sequence[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)
