"""The program of a subject's network, checked against the network itself."""

from dataclasses import replace

import numpy as np
import torch

from convscope.serve.portable.interpret import interpret
from convscope.serve.portable.lowering import program_of
from convscope.serve.portable.program import Array, PortableError, Program
from convscope.serve.portable.recording import outputs_of
from convscope.serve.subject import Subject

TOLERANCE = 1e-4  # of the range of a card


def checked_program(
    subject: Subject, labels: tuple[str, ...], inputs: Array
) -> Program:
    """A program whose every card has the network's values on ``inputs``.

    Its constants are float16 where that leaves the values within the tolerance.

    Args:
        subject: Whose network.
        labels: Of the cards, and of other layers whose values matter.
        inputs: (N, C, H, W), as the network takes them.

    Raises:
        PortableError: A layer is not known, or a card differs.
    """
    program = program_of(subject.net, torch.from_numpy(inputs[:1].copy()), labels)
    found = [_values(subject, labels, x[None]) for x in inputs]
    halves = tuple(one.astype(np.float16) for one in program.constants)
    small = replace(program, constants=halves)
    with np.errstate(over="ignore", invalid="ignore"):
        if all(_differing(small, x[None], v) is None
               for x, v in zip(inputs, found, strict=True)):  # fmt: skip
            return small
    for x, values in zip(inputs, found, strict=True):
        card = _differing(program, x[None], values)
        if card is not None:
            raise PortableError(
                f"play: layer {labels[card]!r} does in the page something else than "
                "here: its values depend on the input in a way that one pass does not "
                "show. Use the page with its server."
            )
    return program


def _values(
    subject: Subject, labels: tuple[str, ...], x: Array
) -> dict[int | None, Array]:
    """Of each card by its number; None is the answer's."""
    found, answer = outputs_of(subject.net, torch.from_numpy(x.copy()))
    values: dict[int | None, Array] = {None: answer.numpy()}
    for number, label in enumerate(labels):
        if number and label and label in found:
            values[number] = found[label].numpy()
    return values


def _differing(
    program: Program, x: Array, values: dict[int | None, Array]
) -> int | None:
    """The first card whose values differ."""
    made = interpret(program, x)
    for number, wanted in values.items():
        at = program.output if number is None else program.cards[number]
        if at is None:
            return number
        spread = max(float(np.ptp(wanted)), float(np.abs(wanted).max()), 1e-6)
        if not (np.abs(made[at] - wanted) <= TOLERANCE * spread).all():
            return len(program.cards) - 1 if number is None else number
    return None
