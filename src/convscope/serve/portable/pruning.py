"""A program without what nobody looks at."""

from typing import Any

from convscope.serve.portable.program import Operation, Program

_WEIGHTS = ("w", "b", "mean", "var")


def pruned(program: Program) -> Program:
    """Only the operations and constants that the cards and the answer need."""
    needed = {at for at in (*program.cards, program.output) if at is not None} | {0}
    for place in range(len(program.operations), 0, -1):
        if place in needed:
            needed |= {at for at in program.operations[place - 1]["in"] if at >= 0}
    values = {old: new for new, old in enumerate(sorted(needed))}
    kept = [program.operations[old - 1] for old in sorted(needed) if old]
    used = sorted({at for one in kept for at in _constants(one)})
    constants = {old: new for new, old in enumerate(used)}
    return Program(
        tuple(_renumbered(one, values, constants) for one in kept),
        tuple(program.constants[at] for at in used),
        tuple(None if at is None else values[at] for at in program.cards),
        values[program.output],
        {
            card: (_new(weight, constants), _new(bias, constants))
            for card, (weight, bias) in program.parameters.items()
        },
    )


def _new(at: int | None, constants: dict[int, int]) -> int | None:
    return None if at is None else constants[at]


def _constants(one: Operation) -> list[int]:
    found = [-1 - at for at in one["in"] if at < 0]
    return found + [one[name] for name in _WEIGHTS if one.get(name) is not None]


def _renumbered(
    one: Operation, values: dict[int, int], constants: dict[int, int]
) -> Operation:
    made: dict[str, Any] = {**one}
    made["in"] = [
        values[at] if at >= 0 else -1 - constants[-1 - at] for at in one["in"]
    ]
    for name in _WEIGHTS:
        if one.get(name) is not None:
            made[name] = constants[one[name]]
    return made
