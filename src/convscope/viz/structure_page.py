"""The page of a network's graph: blocks that open and close without any script."""

from collections.abc import Iterator
from html import escape

from convscope.analysis.structure import Block, NetworkGraph, Part, nodes_of
from convscope.viz.palette import SERIES, THEMES
from convscope.viz.structure_rows import (
    COLORS,
    Level,
    by,
    label_of,
    level_of,
    percent,
    takers,
)

OPEN = 12  # rows of the whole network up to which all blocks are open at first
_LANE = 14
_STYLE = """
* { box-sizing: border-box; }
body { margin: 0; padding: 16px; background: var(--paper); color: var(--ink);
  font: 14px/1.4 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 960px; margin: 0 auto; }
h1 { font-size: 20px; margin: 0 0 4px; overflow-wrap: anywhere; }
.totals { color: var(--muted); margin: 0 0 16px; }
.level { display: flex; flex-direction: column; }
.row { display: grid; grid-template-columns: var(--rails) minmax(0, 1fr); }
.rails { position: relative; }
.rails i { position: absolute; display: block; background: var(--accent); }
.rails .arrow { background: none; width: 0; height: 0; border: 4px solid transparent;
  border-left-color: var(--accent); border-right: 0; }
.cell { min-width: 0; padding-bottom: 12px; position: relative; }
.flows > .cell::after { content: ""; position: absolute; left: 32px; bottom: 0;
  height: 12px; border-left: 1.5px solid var(--muted); }
.part { border: 1px solid var(--line); border-left: 5px solid var(--stripe);
  border-radius: 4px; padding: 6px 12px; display: grid; gap: 0 16px;
  grid-template-columns: minmax(0, 1fr) 148px 84px 84px; align-items: center; }
.name { font-weight: 600; overflow-wrap: anywhere; }
.kind, .field, .part small { color: var(--muted); font-size: 12px; }
.kind { display: block; font-weight: 400; overflow-wrap: anywhere; }
.shape { text-align: right; } .field { display: block; }
.share { font-size: 12px; text-align: right; }
.share b { display: block; height: 4px; border-radius: 2px; margin-top: 4px;
  background: linear-gradient(to right, var(--accent) var(--of), var(--empty) 0); }
details > summary { list-style: none; cursor: pointer; border-radius: 4px; }
details > summary::-webkit-details-marker { display: none; }
summary .name::before { content: "+ "; color: var(--accent); }
details[open] > summary .name::before { content: "\\2212  "; }
details > .level { border-left: 2px solid var(--line); margin: 8px 0 4px 8px;
  padding-left: 8px; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.stub { color: var(--muted); font-size: 12px; padding: 4px 0; line-height: 16px; }
.heads { display: grid; grid-template-columns: minmax(0, 1fr) 148px 84px 84px;
  gap: 0 16px; padding: 0 12px 4px; color: var(--muted); font-size: 12px;
  text-align: right; }
@media (max-width: 560px) {
  .part, .heads { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr);
    padding: 6px 8px; }
  .part > :first-child { grid-column: 1 / -1; }
  .part > .shape { grid-column: 1 / -1; text-align: left; }
  .field { display: inline; margin-left: 8px; }
  .heads > :nth-child(-n + 2) { display: none; }
  details > .level { margin-left: 0; padding-left: 4px; }
}
"""


def structure_page(graph: NetworkGraph, block: Block) -> str:
    """One HTML file, light and dark, without a script or a request.

    Args:
        graph: The network.
        block: Its blocks.
    """
    tokens = {
        name: ";".join(
            f"--{key}:{value}"
            for key, value in theme.to_dict().items()
            if key != "name"
        )
        for name, theme in THEMES.items()
    }
    opened = len(graph.nodes) <= OPEN
    taken = takers(graph.nodes)
    title = escape(graph.name)
    rows = "".join(_level(block, graph, taken, opened))
    notes = "".join(f"<p class=totals>{escape(note)}</p>" for note in graph.notes)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n:root {{ color-scheme: light dark; "
        f"{tokens['light']} }}\n@media (prefers-color-scheme: dark) {{ :root {{ "
        f"{tokens['dark']} }} }}\n{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{title}</h1>\n<p class=totals>{graph.parameters:,} parameters, "
        f"{graph.multiply_adds:,} multiply-adds for one input, {len(graph.nodes)} "
        "layers and functions. Values flow downwards; what skips rows runs at the "
        "left. A row that begins with + opens.</p>\n"
        "<div class=heads aria-hidden=true><span></span><span>shape, field</span>"
        "<span>multiply-adds</span><span>parameters</span></div>\n"
        f"{rows}{notes}</main>\n</body>\n</html>\n"
    )


def _level(
    block: Block, graph: NetworkGraph, taken: dict[str, set[str]], opened: bool
) -> Iterator[str]:
    level = level_of(block, taken)
    wide = level.rails.lanes * _LANE + (8 if level.rails.lanes else 0)
    yield f'<div class=level style="--rails:{wide}px">\n'
    number = 0
    for source in level.sources:
        yield _row(level, number, f"<div class=stub>from {escape(source)}</div>")
        number += 1
    for part in level.parts:
        if isinstance(part, Block):
            state = " open" if opened else ""
            inner = "".join(_level(part, graph, taken, opened))
            content = f"<details{state}><summary>{_part(part, graph)}</summary>{inner}"
            yield _row(level, number, f"{content}</details>")
        else:
            yield _row(level, number, _part(part, graph))
        number += 1
    if level.leaves:
        yield _row(level, number, "<div class=stub>to layers further on</div>")
    yield "</div>\n"


def _row(level: Level, number: int, content: str) -> str:
    flows = " flows" if level.rails.flows[number] else ""
    drawn = "".join(_lines(level, number))
    return (
        f'<div class="row{flows}"><div class=rails aria-hidden=true>{drawn}</div>'
        f"<div class=cell>{content}</div></div>\n"
    )


def _lines(level: Level, number: int) -> Iterator[str]:
    """The pieces of rails beside one row: into it at 14 pixels, out of it at 30."""
    for rail in level.rails.rails:
        if not rail.start <= number <= rail.end:
            continue
        right = rail.lane * _LANE + 10
        top, bottom = "0", "0"
        if number == rail.start:
            top = "30px"
            yield f'<i style="right:0;width:{right}px;top:30px;height:2px"></i>'
        if number in rail.stops:
            yield f'<i style="right:4px;width:{right - 4}px;top:14px;height:2px"></i>'
            yield '<i class=arrow style="right:0;top:11px"></i>'
        if number == rail.end:
            yield (
                f'<i style="right:{right - 2}px;width:2px;top:{top};height:16px"></i>'
            )
        else:
            yield (
                f'<i style="right:{right - 2}px;width:2px;top:{top};bottom:{bottom}">'
                "</i>"
            )


def _part(part: Part, graph: NetworkGraph) -> str:
    last = nodes_of(part)[-1]
    color = SERIES[6] if isinstance(part, Block) else COLORS.get(last.family, "")
    stripe = f"--stripe:{color or 'var(--other)'}"
    inside = f", {len(nodes_of(part))} inside" if isinstance(part, Block) else ""
    field = ""
    if last.receptive_field:
        field = f"<span class=field>field {by(last.receptive_field)}</span>"
    shares = "".join(
        f"<span class=share title='{own:,} {what}'>{percent(own / max(whole, 1))}"
        f'<b style="--of:{100 * own / max(whole, 1):.2f}%"></b></span>'
        for own, whole, what in (
            (part.multiply_adds, graph.multiply_adds, "multiply-adds"),
            (part.parameters, graph.parameters, "parameters"),
        )
    )
    return (
        f'<div class=part style="{stripe}"><span class=name>'
        f"{escape(label_of(part) or 'network')}<span class=kind>{escape(part.kind)}"
        f"{inside}</span></span><span class=shape>{by(last.shape)}{field}</span>"
        f"{shares}</div>"
    )
