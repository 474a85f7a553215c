"""Which units see which, as tables that the page looks up."""

from typing import Any

from convscope.analysis.probes.cones import Region
from convscope.serve.cards import Cards


def fields_of(cards: Cards, number: int) -> dict[str, Any]:
    """For each unit's place along each axis, what it sees, and what sees it.

    Boxes of an image have sides of their own: what is seen along an axis depends on the
    place along that axis alone. So a table for each axis has all units.

    Args:
        cards: Of the network.
        number: Of the card whose units these are.

    Returns:
        ``{"before": {card: [axis, ...]}, "after": ...}``; an axis is ``{"first": [...],
        "last": [...]}`` by the unit's place, -1 where nothing is connected.
    """
    card = cards[number]
    label = card.label
    if label not in cards.cones.shapes:  # probabilities: of the layer before, all
        return {"before": {}, "after": {}}
    space = card.shape[1:]
    middle = [size // 2 for size in space]
    found: dict[str, dict[str, list[dict[str, list[int]]]]] = {
        "before": {},
        "after": {},
    }
    for side, look in (("before", cards.cones.sees), ("after", cards.cones.seen_by)):
        for axis, size in enumerate(space or (1,)):
            rows = []
            for place in range(size):
                index = [*middle]
                if space:
                    index[axis] = place
                rows.append(look(label, (0, *index) if card.shape else ()))
            for other in cards.cards:
                if other.id == number or not any(other.label in row for row in rows):
                    continue
                spans = [_span(row.get(other.label), axis, other.shape) for row in rows]
                table = found[side].setdefault(str(other.id), [])
                if len(other.shape) > 1 and len(table) < len(other.shape) - 1:
                    table.append({"first": [s[0] for s in spans],
                                  "last": [s[1] for s in spans]})  # fmt: skip
        if not space:  # every unit of a vector is connected with the whole of each map
            for other in cards.cards:
                regions = look(label, (0,))
                if str(other.id) in found[side] and other.label in regions:
                    found[side][str(other.id)] = [
                        {"first": [first], "last": [last]}
                        for first, last in regions[other.label].box[1:]
                    ]
    return found


def _span(region: Region | None, axis: int, shape: tuple[int, ...]) -> tuple[int, int]:
    if region is None:
        return -1, -1
    box = region.box
    return box[axis + 1] if axis + 1 < len(box) else (0, max(shape[-1] - 1, 0))
